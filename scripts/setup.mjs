// The two things that a checkout needs before a command can start: npm packages and compiled sources.
// Both are recognised by a stamp, so that a start which needs neither costs a few file reads.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { withLock } from './lock.mjs';

/** Set-up that could not be done, in words for the user. */
export class SetupError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const say = message => process.stderr.write(`s2h: ${message}\n`);
const readText = path => (existsSync(path) ? readFileSync(path, 'utf8') : '');
const sha256 = text => createHash('sha256').update(text).digest('hex');

/**
 * Installs what package-lock.json names (`npm ci`) unless it is there already, by our stamp or by npm's own record.
 * @param {string} root
 * @param {{ setup: boolean }} options `setup: false` refuses instead
 */
export function installPackages(root, { setup }) {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  const stamp = join(root, 'node_modules', '.s2h-stamp');
  const wanted = `${sha256(lock)} ${process.platform}-${process.arch}\n`;
  if (readText(stamp) === wanted) return;
  if (isInstalled(root, JSON.parse(lock))) return writeQuietly(stamp, wanted);

  const reason = existsSync(join(root, 'node_modules'))
    ? 'package-lock.json has changed since they were installed'
    : 'there are none yet';
  if (!setup) {
    throw new SetupError(
      'E_NO_SETUP',
      `npm packages have to be installed first (${reason}), and --no-setup forbids it. ` +
        `Run: cd ${root} && npm ci --ignore-scripts`,
    );
  }
  checkWritable(root, 'npm packages');
  withLock(root, () => {
    if (readText(stamp) === wanted) return;
    say(`installing npm packages into node_modules (${reason}) …`);
    runNpm(root);
    writeFileSync(stamp, wanted);
  });
}

/** Whether npm's own record of what it installed agrees with the lock file. */
function isInstalled(root, lock) {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, 'utf8')).packages;
  const wanted = new Set(Object.keys(lock.packages[''].optionalDependencies ?? {}).map(name => `node_modules/${name}`));
  return Object.entries(lock.packages).every(([path, entry]) => {
    if (path === '' || installed[path]?.version === entry.version) return true;
    // Optional packages of packages are builds for one platform each; npm leaves the others out.
    return entry.optional && !installed[path] && !wanted.has(path);
  });
}

function runNpm(root) {
  const result = spawnSync('npm', ['ci', '--ignore-scripts', '--include=dev', '--no-audit', '--no-fund'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' },
    maxBuffer: 2 ** 28,
  });
  if (result.error?.code === 'ENOENT') {
    throw new SetupError(
      'E_NPM',
      'npm is needed to install packages, and was not found. It comes with Node.js; on Debian: apt-get install npm',
    );
  }
  if (result.status !== 0) {
    const lines = `${result.stderr}${result.stdout}`.split('\n').filter(line => /^npm (error|ERR!)/.test(line));
    const log = lines.filter(line => !/A complete log|^npm (error|ERR!)\s*$/.test(line)).slice(0, 6);
    throw new SetupError(
      'E_NPM',
      `npm could not install the packages${log.length ? `: ${log.map(line => line.replace(/^npm (error|ERR!) /, '')).join(' ')}` : ` (${result.error?.message ?? `status ${result.status}`})`}. ` +
        `Check the network and the registry (npm config get registry), then run the same command again, or by hand: cd ${root} && npm ci --ignore-scripts`,
    );
  }
}

/**
 * Compiles src/ into dist/ when a source was changed, added or removed since the last time. Types are not checked here
 * (`./s2h test` does), which leaves about two seconds. Files are replaced one by one by a rename, so a process that
 * is still loading sees whole files only.
 * @param {string} root
 */
export function compileSources(root) {
  const dist = join(root, 'dist');
  const stamp = join(dist, '.s2h-stamp');
  const wanted = `${fingerprint(root)}\n`;
  if (readText(stamp) === wanted) return;
  checkWritable(root, 'compiled sources');
  withLock(root, () => {
    if (readText(stamp) === wanted) return;
    say(`compiling src into dist (${existsSync(stamp) ? 'sources have changed' : 'first start'}) …`);
    mkdirSync(dist, { recursive: true });
    const fresh = mkdtempSync(join(dist, '.fresh-'));
    try {
      const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
      const result = spawnSync(process.execPath, [tsc, '--noCheck', '--outDir', fresh], {
        cwd: root,
        encoding: 'utf8',
      });
      if (result.status !== 0) {
        throw new SetupError(
          'E_COMPILE',
          `The sources in ${join(root, 'src')} do not compile:\n${result.stdout}${result.stderr}`.trimEnd(),
        );
      }
      replaceFiles(fresh, dist);
      writeFileSync(stamp, wanted);
    } finally {
      rmSync(fresh, { recursive: true, force: true });
    }
  });
}

/** Hash over name, size and modification time of everything that the compiler reads, and the compiler's version. */
function fingerprint(root) {
  const describe = path => {
    const { size, mtimeMs } = statSync(path);
    return `${relative(root, path)} ${size} ${mtimeMs}`;
  };
  const inputs = [
    ...filesBelow(join(root, 'src')),
    join(root, 'tsconfig.json'),
    join(root, 'node_modules', 'typescript', 'package.json'),
  ];
  return sha256(inputs.map(describe).sort().join('\n'));
}

function replaceFiles(from, to) {
  const names = new Set(filesBelow(from).map(path => relative(from, path)));
  for (const name of names) {
    const target = join(to, name);
    if (existsSync(target) && readFileSync(target).equals(readFileSync(join(from, name)))) continue;
    mkdirSync(dirname(target), { recursive: true });
    renameSync(join(from, name), target);
  }
  for (const path of filesBelow(to)) if (!names.has(relative(to, path))) rmSync(path);
}

const filesBelow = folder =>
  existsSync(folder)
    ? readdirSync(folder, { withFileTypes: true }).flatMap(entry =>
        entry.isDirectory() ? filesBelow(join(folder, entry.name)) : [join(folder, entry.name)],
      )
    : [];

function checkWritable(root, what) {
  try {
    rmSync(mkdtempSync(join(root, '.write-')), { recursive: true });
  } catch (error) {
    throw new SetupError(
      'E_READ_ONLY',
      `${what[0].toUpperCase()}${what.slice(1)} have to be written into ${root}, which is not possible (${error.code}). ` +
        'Copy the checkout to a folder of your own and run it there, or run the command once as the owner of this one.',
    );
  }
}

function writeQuietly(path, text) {
  try {
    writeFileSync(path, text);
  } catch {
    // A read-only checkout that is complete works; it only compares the lock file at every start.
  }
}
