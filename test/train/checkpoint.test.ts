import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { hashOfModel } from '../../src/commands/run-settings.ts';
import { newestCheckpoint } from '../../src/train/checkpoint.ts';

// Node reads no file of more than 2 GiB in one go; here it reads none of more than 1 MiB.
vi.mock('node:fs', async original => {
  const fs = await original<typeof import('node:fs')>();
  const readFileSync = (path: string, options?: BufferEncoding) => {
    if (fs.statSync(path).size > 2 ** 20)
      throw Object.assign(new RangeError('File size is greater than 2 GiB'), { code: 'ERR_FS_FILE_TOO_LARGE' });
    return fs.readFileSync(path, options);
  };
  return { ...fs, readFileSync };
});

const folder = mkdtempSync(join(tmpdir(), 's2h-checkpoint-'));
afterAll(() => rmSync(folder, { recursive: true }));

const large = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * i) % 251));
const sha256 = (...parts: Uint8Array[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};

test('a large checkpoint is checked in pieces', () => {
  const whole = { step: 7, file: 'checkpoint-7.safetensors', sha256: sha256(large), seconds: 1, images: 16 };
  writeFileSync(join(folder, whole.file), large);
  const pointer = { format: 's2h-checkpoint/1', ...whole, previous: null };
  writeFileSync(join(folder, 'checkpoint.json'), JSON.stringify(pointer));
  expect(newestCheckpoint(folder, () => {})).toMatchObject(whole);
  writeFileSync(join(folder, whole.file), large.subarray(1));
  expect(() => newestCheckpoint(folder, () => {})).toThrow('checkpoint-7.safetensors is damaged');
});

test('so is a large model, and its weights in another file', () => {
  const path = join(folder, 'start.onnx');
  writeFileSync(path, large);
  expect(hashOfModel(path)).toBe(sha256(large));
  writeFileSync(`${path}.data`, large.subarray(5));
  expect(hashOfModel(path)).toBe(sha256(large, large.subarray(5)));
});
