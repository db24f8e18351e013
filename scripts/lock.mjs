// One process at a time per checkout: the lock is a file in the temporary folder that holds its owner's process id.
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Runs `task` while no other process does so for the same folder; waits for the other one otherwise. The lock of a
 * process that is gone is taken over.
 * @param {string} root
 * @param {() => void} task
 */
export function withLock(root, task) {
  const user = process.getuid?.() ?? 0;
  const path = join(tmpdir(), `s2h-${user}-${createHash('sha256').update(root).digest('hex').slice(0, 16)}.lock`);
  let said = false;
  while (!take(path)) {
    const owner = ownerOf(path);
    if (owner === 'gone') {
      rmSync(path, { force: true });
      continue;
    }
    if (!said) process.stderr.write(`s2h: waiting for another s2h that is setting up this checkout (${owner}) …\n`);
    said = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
  try {
    task();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path) {
  try {
    writeFileSync(path, `${process.pid}\n`, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Who holds the lock; 'gone' when that process has ended, or ended before it wrote its id. */
function ownerOf(path) {
  try {
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    if (pid) return isRunning(pid) ? `process ${pid}` : 'gone';
    return Date.now() - statSync(path).mtimeMs > 5000 ? 'gone' : 'starting';
  } catch {
    return 'ending';
  }
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
