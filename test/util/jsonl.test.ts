import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  appendJsonLine,
  closeJsonLines,
  type JsonObject,
  openJsonLines,
  readJsonLines,
  truncateJsonLines,
} from '../../src/util/jsonl.ts';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 's2hpruner-test-'));
  path = join(folder, 'events.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true }));

const append = (...events: JsonObject[]) => {
  const log = openJsonLines(path);
  for (const event of events) appendJsonLine(log, event);
  closeJsonLines(log);
};

test('what was appended is read back, over several openings', () => {
  expect(readJsonLines(path)).toEqual([]);
  append({ type: 'start', name: 'a\nb' }, { step: 1 });
  append({ step: 2 });
  expect(readJsonLines(path)).toEqual([{ type: 'start', name: 'a\nb' }, { step: 1 }, { step: 2 }]);
});

test('a torn last line is ignored, and removed before more is appended', () => {
  append({ step: 1 });
  for (const torn of ['{', '{"step":2', '{"text":"é'.slice(0, -1), '{"a":{}']) {
    appendFileSync(path, torn);
    expect(readJsonLines(path)).toEqual([{ step: 1 }]);
    append();
    expect(readFileSync(path, 'utf8')).toBe('{"step":1}\n');
  }
});

test('a last line that only lacks its line break is kept', () => {
  writeFileSync(path, '{"step":1}\n{"step":2}');
  expect(readJsonLines(path)).toHaveLength(2);
  append({ step: 3 });
  expect(readFileSync(path, 'utf8')).toBe('{"step":1}\n{"step":2}\n{"step":3}\n');
});

test('a broken line in the middle is an error with its number', () => {
  writeFileSync(path, '{"step":1}\nnonsense\n{"step":3}\n');
  expect(() => readJsonLines(path)).toThrow(/Line 2/);
});

test('truncation keeps the lines before the first match, byte for byte', () => {
  writeFileSync(path, '{"step": 1}\n{"step":2}\n{"step":3}\n{"step":1}\n{"st');
  expect(truncateJsonLines(path, event => event.step === 9)).toBe(0);
  expect(truncateJsonLines(path, event => (event.step as number) > 2)).toBe(2);
  expect(readFileSync(path, 'utf8')).toBe('{"step": 1}\n{"step":2}\n');
  expect(truncateJsonLines(path, (_, index) => index >= 0)).toBe(2);
  expect(readFileSync(path, 'utf8')).toBe('');
});

test('a log that cannot be opened is an error with its path', () => {
  expect(() => openJsonLines(folder)).toThrow(new RegExp(`E_WRITE|${folder}`));
});
