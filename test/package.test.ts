import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileSources } from '../scripts/setup.mjs';

const root = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const project = mkdtempSync(join(tmpdir(), 's2h-package-'));
/** Paths inside the package. */
let packed: string[];

const run = (command: string, args: readonly string[], cwd = project) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const node = (...args: string[]) => run(process.execPath, args);

beforeAll(() => {
  compileSources(root);
  // Scripts are left out, since `prepack` would check types once more.
  const [pack] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], root));
  packed = pack.files.map(({ path }: { path: string }) => path);
  writeFileSync(join(project, 'package.json'), '{"private": true, "type": "module"}');
  const quick = ['--ignore-scripts', '--prefer-offline', '--omit=optional', '--no-audit', '--no-fund'];
  run('npm', ['install', ...quick, join(project, pack.filename)]);
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

test('the package holds what it needs to run and nothing else', () => {
  const folders = new Set(packed.map(path => path.split('/')[0]));
  const expected = ['LICENSE', 'README.md', 'dist', 'native', 'package.json'];
  expect([...folders].filter(folder => !expected.includes(folder))).toEqual([]);
  expect(packed).toContain('dist/cli/bin.js');
  expect(packed).toContain('native/addon.cc');
  expect(packed.filter(path => /\.test\.|(^|\/)\.|\.tgz$|\.node$/.test(path))).toEqual([]);
});

test('everything that package.json points to is in the package', () => {
  const { types, default: entry } = manifest.exports['.'];
  for (const path of [types, entry, ...Object.values<string>(manifest.bin)])
    expect(packed).toContain(path.replace(/^\.\//, ''));
});

test('an empty project can use the commands', () => {
  for (const name of Object.keys(manifest.bin)) {
    expect(run(join(project, 'node_modules/.bin', name), ['--version'])).toBe(`${manifest.version}\n`);
  }
  expect(run(join(project, 'node_modules/.bin/s2h'), ['data', '--json'])).toContain('"cifar100"');
});

test('an empty project can import the library, without running anything by that', () => {
  const script = 'import * as library from "s2hpruner"; console.log(JSON.stringify(Object.keys(library)));';
  writeFileSync(join(project, 'use.js'), script);
  const names = JSON.parse(node('use.js'));
  for (const name of ['prune', 'train', 'evaluate', 'verify']) expect(names).toContain(name);
});

test('the types of the library are found, and are those of the example in README.md', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const [, source] = readme.match(/## As a library\n+```ts\n(.*?)```/s)!;
  expect(source).toContain("from 's2hpruner'");
  writeFileSync(join(project, 'use.ts'), source);
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2022',
    '--skipLibCheck',
    '--types',
    'node',
  ];
  const types = ['--typeRoots', join(root, 'node_modules/@types')];
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  expect(node(tsc, ...options, ...types, 'use.ts')).toBe('');
});

test('optional packages are really optional', () => {
  expect(existsSync(join(project, 'node_modules/onnxruntime-node'))).toBe(false);
  expect(run(join(project, 'node_modules/.bin/s2h'), ['models', '--json'])).toContain('"resnet20"');
});
