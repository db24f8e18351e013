import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const folder = new URL('.', import.meta.url);
const files = readdirSync(folder).filter(name => /^zoo-.*\.test\.ts$/.test(name));

/** Graphs and tests that a file of the zoo has; a table of them counts as one. */
const entriesOf = (file: string): number =>
  readFileSync(new URL(file, folder), 'utf8').match(/^ *(inZoo|test(\.each)?)\(/gm)?.length ?? 0;

test('the zoo has at least 80 graphs', () => {
  expect(files.map(entriesOf).reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(80);
});
