import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bytesOf, type OnnxModel, readModel, writeModel } from '../../src/onnx/index.ts';
import { codeOf, codesOf, encoded, fileOf, folder, run, smallNet } from './support.ts';

/** The small net with its weights outside, with these entries for the first of them. */
function outside(entries: Readonly<Record<string, string>>, at = folder()): string {
  const model = smallNet();
  const contents = model.graph.initializers.map(bytesOf);
  writeFileSync(join(at, 'weights.bin'), Buffer.concat(contents));
  let offset = 0;
  const initializers = model.graph.initializers.map((tensor, i) => {
    const own = { location: 'weights.bin', offset: String(offset), length: String(contents[i].length) };
    offset += contents[i].length;
    const all = new Map(Object.entries(i === 0 ? { ...own, ...entries } : own));
    return { ...tensor, data: { storage: 'external', entries: all, files: null, bytes: null } as const };
  });
  const moved: OnnxModel = { ...model, graph: { ...model.graph, initializers } };
  return fileOf(moved, 'model.onnx', at);
}

/** Every command that needs the weights refuses, and nothing is written beside the model. */
async function isRefused(path: string): Promise<void> {
  const before = readdirSync(dirname(path), { recursive: true }).sort();
  const { inspect: _, verify: __, ...codes } = await codesOf(path);
  expect(codes).toEqual({ cut: 'E_EXTERNAL_DATA', eval: 'E_EXTERNAL_DATA', bench: 'E_EXTERNAL_DATA' });
  expect(readdirSync(dirname(path), { recursive: true }).sort()).toEqual(before);
}

test('the file that the others are made from is sound', async () => {
  const codes = await codesOf(outside({}));
  expect(codes).toEqual({ inspect: '', cut: '', verify: 'E_PLAN', eval: '', bench: '' });
});

describe('CVE-2022-25882, CVE-2024-27318: locations outside the folder', () => {
  test.each([
    '../../../../../etc/passwd',
    '../secret.bin',
    'sub/../../secret.bin',
    'sub/../weights.bin',
    './../secret.bin',
    'sub/./../../secret.bin',
    '/etc/passwd',
    '//etc/passwd',
    '\\\\host\\share\\x',
    'C:\\Windows\\win.ini',
    '..\\secret.bin',
    'file:///etc/passwd/../../../x',
    'weights.bin\0/../../x',
  ])('%j', async location => {
    const at = folder();
    const own = join(at, 'model');
    mkdirSync(join(own, 'sub'), { recursive: true });
    writeFileSync(join(at, 'secret.bin'), new Uint8Array(2 ** 12));
    await isRefused(outside({ location }, own));
  });
});

test('CVE-2026-27489: symbolic links', async () => {
  const at = folder();
  writeFileSync(join(at, 'secret.bin'), new Uint8Array(2 ** 12));
  for (const [target, location] of [
    [join(at, 'secret.bin'), 'link'],
    ['../secret.bin', 'link'],
    ['weights.bin', 'link'],
    [at, 'folder/secret.bin'],
  ]) {
    const own = join(at, String(readdirSync(at).length));
    mkdirSync(own);
    symlinkSync(target, join(own, location.split('/')[0]));
    await isRefused(outside({ location }, own));
  }
});

test('CVE-2026-34446: hard links', async () => {
  const at = folder();
  const own = join(at, 'model');
  mkdirSync(own);
  writeFileSync(join(at, 'secret.bin'), new Uint8Array(2 ** 12));
  linkSync(join(at, 'secret.bin'), join(own, 'inside.bin'));
  await isRefused(outside({ location: 'inside.bin' }, own));
});

test('special files: pipes, devices, folders', async () => {
  const own = folder();
  execFileSync('mkfifo', [join(own, 'pipe')]);
  mkdirSync(join(own, 'folder'));
  for (const location of ['pipe', 'folder', '.']) await isRefused(outside({ location }, own));
});

test.each<[string, Record<string, string>]>([
  ['a negative offset', { offset: '-8' }],
  ['a negative length', { length: '-1' }],
  ['an enormous length', { length: '9999999999999' }],
  ['a length past 2^53', { length: '99999999999999999999999' }],
  ['an offset past the end', { offset: '123456789' }],
  ['an offset past 2^53', { offset: '18446744073709551615' }],
  ['numbers in other notations', { offset: '0x10', length: '1e3' }],
  ['a length that does not fit the shape', { length: '4' }],
])('CVE-2026-34445 (GHSA-538c-55jv-c5g9): %s', async (_, entries) => {
  const path = outside(entries);
  const codes = await codesOf(path);
  // A length that contradicts the shape is seen before the data file is.
  for (const command of ['cut', 'eval', 'bench']) expect(codes[command]).toMatch(/^E_(EXTERNAL|TENSOR)_DATA$/);
});

test('CVE-2026-34445: keys that are members of objects change nothing', async () => {
  for (const key of ['__proto__', '__class__', 'constructor', 'toString', 'basepath']) {
    const path = outside(Object.fromEntries([[key, '/etc/passwd']]));
    // ONNX Runtime knows its keys too.
    for (const code of Object.values(await codesOf(path))) expect(code).toMatch(/^(E_RUNTIME|E_PLAN)?$/);
  }
  expect(Object.keys(Object.prototype)).toEqual([]);
});

test('ranges that overlap without being equal', async () => {
  await isRefused(outside({ offset: '8', length: '864' }));
});

test('CVE-2024-27319: lengths that run out of what they are in', async () => {
  const bytes = encoded(smallNet());
  for (let at = 0; at < bytes.length; at += 7) {
    const damaged = bytes.slice();
    damaged.set([0xff, 0xff, 0xff, 0xff, 0x7f], Math.min(at, bytes.length - 5));
    expect(codeOf(await run('inspect', fileOf(damaged)))).toMatch(/^(E_ONNX_CORRUPT|E_GRAPH|E_TENSOR_DATA)?$/);
  }
});

test('CVE-2025-51480: what is written never takes its name from the input', () => {
  const at = folder();
  const [own, out] = [join(at, 'in'), join(at, 'out')];
  for (const path of [own, out]) mkdirSync(path);
  const path = outside({}, own);
  mkdirSync(join(own, 'sub'));
  copyFileSync(join(own, 'weights.bin'), join(own, 'sub', 'w.bin'));
  const files = writeModel(readModel(outside({ location: 'sub/w.bin' }, own)), join(out, 'small.onnx'));
  expect(files.map(file => basename(file))).toEqual(['small.onnx', 'small.onnx.data']);
  expect(readdirSync(out, { recursive: true }).sort()).toEqual(['small.onnx', 'small.onnx.data']);
  // Nothing is written at all where the input names something else.
  const victim = join(at, 'victim');
  writeFileSync(victim, 'untouched');
  const hostile = outside({ location: '../victim' }, own);
  expect(() => writeModel(readModel(hostile), join(out, 'other.onnx'))).toThrow(/not a path below/);
  expect(readFileSync(victim, 'utf8')).toBe('untouched');
  expect(existsSync(join(out, 'other.onnx'))).toBe(false);
  expect(path).toBe(hostile);
});

test('CVE-2024-5187, CVE-2026-28500: no archive is unpacked and no hub is asked', async () => {
  for (const content of ['PK\x03\x04..', '\x1f\x8b\x08', 'ustar', 'https://example.org/x.onnx', 'hub:resnet'])
    expect(codeOf(await run('inspect', fileOf(Buffer.from(content))))).toBe('E_ONNX_CORRUPT');
  for (const path of ['https://example.org/model.onnx', 'onnx/models:main'])
    expect(codeOf(await run('inspect', path))).toBe('E_NOT_FOUND');
});

test('a data file that is replaced between reading and use is noticed', () => {
  const path = outside({});
  const model = readModel(path);
  truncateSync(join(dirname(path), 'weights.bin'), 4000);
  expect(statSync(join(dirname(path), 'weights.bin')).size).toBe(4000);
  expect(() => bytesOf(model.graph.initializers[0])).toThrow(/has changed since/);
});
