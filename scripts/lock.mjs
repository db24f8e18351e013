// One process at a time per checkout: the lock is a file in the temporary folder that holds its owner's process id.
// src/util/lock.ts does the same for what is compiled; this runs before anything is.
import { createHash, randomUUID } from 'node:crypto';
import { linkSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The file that stands for the lock of a folder. */
export function lockPath(root) {
  const user = process.getuid?.() ?? 0;
  return join(tmpdir(), `s2h-${user}-${createHash('sha256').update(root).digest('hex').slice(0, 16)}.lock`);
}

/**
 * Runs `task` while no other process does so for the same folder; waits for the other one otherwise. The lock of a
 * process that is gone is taken over.
 * @param {string} root
 * @param {() => void} task
 */
export function withLock(root, task) {
  const path = lockPath(root);
  const text = `${process.pid} ${randomUUID()}\n`;
  let said = false;
  while (!create(path, text)) {
    const found = look(path);
    if (found && isGone(found) && removeGone(path, found.text, text)) continue;
    if (!said) {
      const who = ownerOf(found);
      process.stderr.write(`s2h: waiting for another s2h that is setting up this checkout (${who}) …\n`);
    }
    said = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
  try {
    task();
  } finally {
    removeOwn(path, text);
  }
}

/** The file appears with its content, but where the file system has no links. */
function create(path, text) {
  const temporary = `${path}.${randomUUID()}`;
  try {
    writeFileSync(temporary, text);
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(error.code)) throw error;
    return createPlain(path, text);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function createPlain(path, text) {
  try {
    writeFileSync(path, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function look(path) {
  try {
    return { text: readFileSync(path, 'utf8'), ageMs: Date.now() - statSync(path).mtimeMs };
  } catch {
    return undefined;
  }
}

const pidOf = text => Number.parseInt(text, 10);

function ownerOf(found) {
  if (!found) return 'ending';
  const pid = pidOf(found.text);
  return pid ? `process ${pid}` : 'starting';
}

/** Whether the owner has ended, or ended before it wrote its id; nothing here waits for itself. */
function isGone({ text, ageMs }) {
  const pid = pidOf(text);
  return pid ? pid === process.pid || !isRunning(pid) : ageMs > 5000;
}

/**
 * Removes a lock whose owner is gone, but never the one that another process has put in its place meanwhile: who
 * removes locks holds the file beside it, and looks again. False where another process is at it.
 */
function removeGone(path, gone, text) {
  const guard = `${path}.takeover`;
  if (!create(guard, text)) {
    const found = look(guard);
    if (found && isGone(found)) rmSync(guard, { force: true });
    return false;
  }
  try {
    if (look(path)?.text === gone) rmSync(path, { force: true });
  } finally {
    removeOwn(guard, text);
  }
  return true;
}

function removeOwn(path, text) {
  if (look(path)?.text === text) rmSync(path, { force: true });
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
