import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { compileSources, installPackages } from '../../scripts/setup.mjs';

const home = resolve(import.meta.dirname, '../..');
let root: string;
const path = (...parts: string[]) => join(root, ...parts);
const write = (file: string, text: string) => writeFileSync(path(file), text);

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 's2h-setup-'));
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true });
});

/** A checkout with one source and our compiler. */
function checkout() {
  mkdirSync(path('src'));
  mkdirSync(path('node_modules'));
  symlinkSync(join(home, 'node_modules/typescript'), path('node_modules/typescript'));
  const options = {
    target: 'es2022',
    module: 'nodenext',
    rootDir: 'src',
    outDir: 'dist',
    declaration: true,
    types: [],
  };
  write('package.json', '{"type": "module"}');
  write(
    'tsconfig.json',
    JSON.stringify({ compilerOptions: { ...options, rewriteRelativeImportExtensions: true }, include: ['src'] }),
  );
  write('src/one.ts', "import { two } from './two.ts';\nexport const one: number = two - 1;\n");
  write('src/two.ts', 'export const two = 2;\n');
}

const said = () =>
  vi
    .mocked(process.stderr.write)
    .mock.calls.map(([text]) => String(text))
    .join('');

test('sources are compiled once, and again when one changes or goes', () => {
  checkout();
  compileSources(root);
  expect(readFileSync(path('dist/one.js'), 'utf8')).toContain('"./two.js"');
  expect(existsSync(path('dist/one.d.ts'))).toBe(true);
  expect(said()).toBe('s2h: compiling src into dist (first start) …\n');

  compileSources(root);
  expect(said().split('\n').length).toBe(2);

  write('src/two.ts', 'export const two = 3;\n');
  rmSync(path('src/one.ts'));
  compileSources(root);
  expect(readFileSync(path('dist/two.js'), 'utf8')).toContain('two = 3');
  expect(existsSync(path('dist/one.js'))).toBe(false);
  expect(said()).toContain('s2h: compiling src into dist (sources have changed) …\n');
});

test('a source that does not parse leaves what was compiled as it was', () => {
  checkout();
  compileSources(root);
  write('src/two.ts', 'export const two = ;\n');
  expect(() => compileSources(root)).toThrow(/do not compile:\nsrc\/two.ts\(1,20\): error/);
  expect(readFileSync(path('dist/two.js'), 'utf8')).toContain('two = 2');
});

test('several processes at once compile once', async () => {
  checkout();
  const setup = pathToFileURL(join(home, 'scripts/setup.mjs')).href;
  const script = `import { compileSources } from '${setup}'; compileSources(${JSON.stringify(root)}); const { one } = await import(${JSON.stringify(path('dist/one.js'))}); console.log(one);`;
  const runs = Array.from({ length: 3 }, () => output(process.execPath, ['--input-type=module', '-e', script]));
  const results = await Promise.all(runs);
  expect(results.map(({ out }) => out)).toEqual(['1\n', '1\n', '1\n']);
  expect(
    results
      .map(({ err }) => err)
      .join('')
      .match(/compiling/g)?.length,
  ).toBe(1);
});

test('a lock of a process that is gone is taken over', async () => {
  checkout();
  const script = `import { withLock } from ${JSON.stringify(pathToFileURL(join(home, 'scripts/lock.mjs')).href)}; withLock(${JSON.stringify(root)}, () => process.kill(process.pid, 'SIGKILL'));`;
  await output(process.execPath, ['--input-type=module', '-e', script]);
  compileSources(root);
  expect(existsSync(path('dist/one.js'))).toBe(true);
});

/** Puts an npm in front of the real one that logs its arguments and runs a script in the checkout. */
function fakeNpm(body: string) {
  mkdirSync(path('bin'));
  write('bin/npm', `#!/bin/sh\necho "$@" >> '${path('npm.log')}'\n${body}\n`);
  chmodSync(path('bin/npm'), 0o755);
  vi.stubEnv('PATH', path('bin') + delimiter + process.env.PATH);
}
const lock = (version: string) =>
  JSON.stringify({
    packages: {
      '': { optionalDependencies: { b: '1.0.0' } },
      'node_modules/a': { version },
      'node_modules/b': { version, optional: true },
      'node_modules/c': { version, optional: true },
    },
  });
const npmCalls = () =>
  existsSync(path('npm.log')) ? readFileSync(path('npm.log'), 'utf8').trim().split('\n').length : 0;

test('packages are installed when missing, and again when the lock file changes', () => {
  fakeNpm('mkdir -p node_modules');
  write('package-lock.json', lock('1.0.0'));
  installPackages(root, { setup: true });
  expect(readFileSync(path('npm.log'), 'utf8')).toMatch(/^ci --ignore-scripts/);
  expect(said()).toBe('s2h: installing npm packages into node_modules (there are none yet) …\n');
  installPackages(root, { setup: true });
  expect(npmCalls()).toBe(1);
  write('package-lock.json', lock('1.0.1'));
  installPackages(root, { setup: true });
  expect(npmCalls()).toBe(2);
  expect(said()).toContain('(package-lock.json has changed since they were installed)');
});

test('packages that npm installed itself are left alone', () => {
  fakeNpm('exit 1');
  mkdirSync(path('node_modules'));
  write('package-lock.json', lock('1.0.0'));
  const record = (packages: object) => write('node_modules/.package-lock.json', JSON.stringify({ packages }));
  // c is an optional package of a package: for another platform.
  record({ 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { version: '1.0.0' } });
  installPackages(root, { setup: true });
  expect(npmCalls()).toBe(0);
  rmSync(path('node_modules/.s2h-stamp'));
  record({ 'node_modules/a': { version: '1.0.0' } });
  expect(() => installPackages(root, { setup: true })).toThrow();
  expect(npmCalls()).toBe(1);
});

test('--no-setup installs nothing and says how to', () => {
  fakeNpm('');
  write('package-lock.json', lock('1.0.0'));
  expect(() => installPackages(root, { setup: false })).toThrow(
    `npm packages have to be installed first (there are none yet), and --no-setup forbids it. Run: cd ${root} && npm ci --ignore-scripts`,
  );
  expect(npmCalls()).toBe(0);
});

test('a failing npm is told with its own reason, and tried again the next time', () => {
  fakeNpm('echo "npm error code ENOTFOUND" >&2; echo "npm error network getaddrinfo ENOTFOUND registry" >&2; exit 1');
  write('package-lock.json', lock('1.0.0'));
  for (let i = 0; i < 2; i++) {
    expect(() => installPackages(root, { setup: true })).toThrow(
      'npm could not install the packages: code ENOTFOUND network getaddrinfo ENOTFOUND registry.',
    );
  }
  expect(npmCalls()).toBe(2);
});

test.skipIf(process.getuid?.() === 0)('a checkout that cannot be written says so', () => {
  checkout();
  chmodSync(root, 0o555);
  try {
    expect(() => compileSources(root)).toThrow(
      `Compiled sources have to be written into ${root}, which is not possible (EACCES).`,
    );
  } finally {
    chmodSync(root, 0o755);
  }
});

/** Runs the launcher's shell part with a PATH of its own. */
function launcher(from: string, node: string | undefined) {
  mkdirSync(path('tools'));
  for (const tool of ['readlink', 'dirname', 'uname']) symlinkSync(join('/usr/bin', tool), path('tools', tool));
  if (node !== undefined) {
    write('tools/node', `#!/bin/sh\n${node}\n`);
    chmodSync(path('tools/node'), 0o755);
  }
  return output('/bin/sh', [from, 'prune', 'a b', '--flops=1'], { PATH: path('tools') });
}
const node22 = 'if [ "$1" = --version ]; then echo v22.1.0; else for a in "$@"; do echo "[$a]"; done; fi';

test('the launcher finds its folder through symbolic links and keeps arguments whole', async () => {
  symlinkSync(join(home, 's2h'), path('first'));
  symlinkSync('first', path('second'));
  const { out, code } = await launcher(path('second'), node22);
  expect(out).toBe(`[${home}/scripts/launch.mjs]\n[prune]\n[a b]\n[--flops=1]\n`);
  expect(code).toBe(0);
});

test.each([
  ['is too old here (v18.19.0)', 'echo v18.19.0'],
  ['was not found on the PATH', undefined],
  ['does not start', 'exit 127'],
])('the launcher says what to install when Node.js %s', async (reason, node) => {
  const { out, err, code } = await launcher(join(home, 's2h'), node);
  expect([out, code]).toEqual(['', 1]);
  expect(err).toContain(`error[E_NODE]: s2hpruner runs on Node.js 20 or newer, which ${reason}`);
  expect(err).toMatch(/apt-get install nodejs|brew install node/);
});

interface Output {
  readonly out: string;
  readonly err: string;
  readonly code: number | null;
}

function output(command: string, args: string[], env?: NodeJS.ProcessEnv): Promise<Output> {
  const child = spawn(command, args, { env: env ?? process.env });
  let out = '';
  let err = '';
  child.stdout.on('data', data => (out += data));
  child.stderr.on('data', data => (err += data));
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', code => done({ out, err, code }));
  });
}
