import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { sha256Files } from '../../src/util/hash.ts';

const folder = mkdtempSync(join(tmpdir(), 's2h-hash-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

test('the SHA-256 of files one after the other', () => {
  // FIPS 180-2, appendix B.1.
  const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  expect(sha256Files(file('abc', 'abc'))).toBe(abc);
  expect(sha256Files(file('a', 'a'), file('none', ''), file('bc', 'bc'))).toBe(abc);
  // head -c 1048581 /dev/zero | sha256sum
  const zeros = '005d020dceb0c8d8865e66b06e30e8b1113ba10b1821865430130ddd73b3c155';
  expect(sha256Files(file('zeros', new Uint8Array(2 ** 20 + 5)))).toBe(zeros);
});
