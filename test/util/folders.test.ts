import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { makeFolders } from '../../src/util/folders.ts';

const folder = mkdtempSync(join(tmpdir(), 's2h-folders-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('Folders are made from the first that is missing, which is told', () => {
  expect(makeFolders(join(folder, 'a', 'b', 'c'))).toBe(join(folder, 'a'));
  expect(existsSync(join(folder, 'a', 'b', 'c'))).toBe(true);
  expect(makeFolders(join(folder, 'a', 'b'))).toBeUndefined();
});

test('A file in the way is an error', () => {
  writeFileSync(join(folder, 'file'), '');
  expect(() => makeFolders(join(folder, 'file'))).toThrow(/EEXIST/);
  expect(() => makeFolders(join(folder, 'file', 'x'))).toThrow(/ENOTDIR|EEXIST/);
});

test.runIf(process.platform === 'linux')('A file system that has no such folder answers instead of hanging', () => {
  expect(() => makeFolders('/proc/x/y')).toThrow(/ENOENT/);
});
