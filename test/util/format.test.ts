import { expect, test } from 'vitest';
import { amount, bytes, count, duration, milliseconds, percent, table, within } from '../../src/util/format.ts';

test('shares', () => {
  expect(percent(0.1234)).toBe('12.3 %');
  expect(percent(1)).toBe('100.0 %');
  expect(percent(0.5, 0)).toBe('50 %');
  expect(percent(Number.NaN)).toBe('unknown');
});

test('counts and sizes keep three digits and never show 1000 of a unit', () => {
  const counts: [number, string][] = [
    [0, '0'],
    [999, '999'],
    [1000, '1.00 k'],
    [40_813_000, '40.8 M'],
    [999_499, '999 k'],
    [999_500, '1.00 M'],
    [1.8203e9, '1.82 G'],
    [-2500, '-2.50 k'],
    [0.5, '0.500'],
  ];
  for (const [value, text] of counts) expect(count(value)).toBe(text);
  expect(bytes(17)).toBe('17 B');
  expect(bytes(1_073_741)).toBe('1.07 MB');
  expect(bytes(Number.POSITIVE_INFINITY)).toBe('unknown');
});

test('how many of something', () => {
  expect([0, 1, 2].map(n => amount(n, 'group'))).toEqual(['0 groups', '1 group', '2 groups']);
});

test('lengths of time carry over to the next unit', () => {
  const times: [number, string][] = [
    [0.00123, '1.23 ms'],
    [0, '0 ms'],
    [8.24, '8.2 s'],
    [59.96, '1 min 0 s'],
    [192, '3 min 12 s'],
    [3599.6, '1 h 0 min'],
    [7500, '2 h 5 min'],
    [76 * 3600, '3 d 4 h'],
    [-61, '-1 min 1 s'],
  ];
  for (const [seconds, text] of times) expect(duration(seconds)).toBe(text);
  expect(milliseconds(0.1234)).toBe('0.123 ms');
  expect(milliseconds(1234)).toBe('1230 ms');
});

test('a share with its interval', () => {
  expect(within(0.9341, [0.92881, 0.93903])).toBe('93.41 % (92.88 to 93.90)');
  expect(within(1, [0.72, 1])).toBe('100.00 % (72.00 to 100.00)');
});

test('a table in the terminal aligns its columns whatever the colours', () => {
  const rows = [['group', 'kept'], ['conv1', '\u001b[32m16\u001b[39m'], ['layer1.0', '8 of 64'], ['x']];
  expect(table(rows)).toBe(
    ['group        kept', '────────  ───────', 'conv1          \u001b[32m16\u001b[39m', 'layer1.0  8 of 64', 'x'].join(
      '\n',
    ),
  );
  expect(table([])).toBe('');
});

test('a table in markdown escapes bars and line breaks', () => {
  const rows = [
    ['name', 'n'],
    ['a|b', '1'],
    ['two\nlines', '12'],
  ];
  expect(table(rows, { style: 'markdown', align: ['right', 'left'] })).toBe(
    ['|      name | n   |', '| --------: | --- |', '|      a\\|b | 1   |', '| two lines | 12  |'].join('\n'),
  );
});
