import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { precisionOf } from '../../src/commands/run-precision.ts';
import { createRunDirectory } from '../../src/train/run-directory.ts';
import { refusal, scratch } from './support.ts';

const directory = createRunDirectory(join(scratch(), 'run'), 'net', 1000);
const path = directory.file('precision.json');
const chosen = { precision: 'bfloat16', milliseconds: { float32: 9, bfloat16: 4 } } as const;
const never = () => Promise.reject(new Error('it was probed'));

test('what a probe chose is kept', async () => {
  expect((await precisionOf('auto', directory, async () => chosen)).precision).toBe('bfloat16');
  expect((await precisionOf('auto', directory, never)).notes.join()).toContain('4 ms in bfloat16');
});

test.each(['', '{"precision": "bfloat16"', '{"precision": "int8"}', '[]'])(
  'a damaged file is named: %j',
  async text => {
    writeFileSync(path, text);
    const error = await refusal(precisionOf('auto', directory, never));
    expect([error.code, error.exitCode, error.where]).toEqual(['E_PRECISION', 1, path]);
    expect(error.fix).toContain('Remove it and resume');
    rmSync(path);
    expect((await precisionOf('auto', directory, async () => chosen)).precision).toBe('bfloat16');
  },
);
