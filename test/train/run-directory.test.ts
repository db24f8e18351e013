import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import { createRunDirectory, openRunDirectory } from '../../src/train/run-directory.ts';
import { UserError } from '../../src/util/errors.ts';

const folder = mkdtempSync(join(tmpdir(), 's2h-run-directory-'));
afterAll(() => rmSync(folder, { recursive: true }));
let count = 0;
let out = '';
beforeEach(() => {
  out = join(folder, `out${count++}`);
});

const write = (...names: string[]) => {
  mkdirSync(out, { recursive: true });
  for (const name of names) writeFileSync(join(out, name), name);
};
const create = () => createRunDirectory(out, 'net', 1000);
const refusal = (work: () => unknown): UserError => {
  try {
    work();
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('it was not refused');
};

/** What a killed process may leave of a run's files. */
const left = [
  'start.onnx.tmp-12',
  'start.onnx.new-12',
  'start.onnx.new-12.tmp-12',
  'pruned.onnx.data.tmp-3',
  'config.json.tmp-99',
  'events.jsonl.tmp-1',
  'report.md.tmp-7',
  'checkpoint-30.safetensors.tmp-4000000',
];
const deadLock = JSON.stringify({ host: hostname(), pid: 2 ** 23, started: null });

test('what a killed process left of its own files is nothing, and goes', () => {
  write(...left);
  create().release();
  expect(readdirSync(out)).toEqual([]);
});

test.each(['thesis.tmp-1', 'notes.new-2', 'start.onnx.tmp', 'my-config.json.tmp-1', 'run.lock.txt', 'checkpoint-1.pt'])(
  "somebody's own %s makes a folder not empty, and stays",
  name => {
    write(...left, name);
    const error = refusal(create);
    expect([error.code, error.exitCode]).toEqual(['E_RUN_EXISTS', 2]);
    expect(readdirSync(out).sort()).toEqual([...left, name].sort());
  },
);

test('so does a folder, whatever its name', () => {
  for (const name of ['keep.tmp-1', 'config.json.tmp-4', 'start.onnx', 'run.lock']) {
    out = join(folder, `out${count++}`);
    mkdirSync(join(out, name), { recursive: true });
    expect(refusal(create).code).toBe('E_RUN_EXISTS');
    expect(existsSync(join(out, name))).toBe(true);
  }
  out = join(folder, `out${count++}`);
  write('start.onnx');
  writeFileSync(join(out, 'run.lock'), deadLock);
  mkdirSync(join(out, 'cut.onnx'));
  expect(refusal(create).code).toBe('E_RUN_EXISTS');
  expect(readdirSync(out).sort()).toEqual(['cut.onnx', 'run.lock', 'start.onnx']);
});

test('going on with a run removes what was being written, and nothing else', () => {
  write('config.json', 'thesis.tmp-1', 'events.jsonl', ...left);
  mkdirSync(join(out, 'config.json.tmp-5'));
  openRunDirectory(out).release();
  expect(readdirSync(out).sort()).toEqual(['config.json', 'config.json.tmp-5', 'events.jsonl', 'thesis.tmp-1']);
});

test('a run whose first checkpoint failed between its data and its list leaves nothing', () => {
  const { file, discard } = create();
  for (const name of ['start.onnx', 'config.json', 'events.jsonl', 'checkpoint-1.safetensors'])
    writeFileSync(file(name), name);
  writeFileSync(file('checkpoint.json.tmp-1'), '');
  discard();
  expect(existsSync(out)).toBe(false);

  mkdirSync(out);
  const again = create();
  writeFileSync(again.file('checkpoint-1.safetensors'), '');
  again.discard();
  expect(readdirSync(out)).toEqual([]);
});
