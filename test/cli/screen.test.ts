import { expect, test } from 'vitest';
import { createScreen } from '../../src/cli/screen.ts';

/** A screen that writes into a string, and a clock that the test moves. */
function fake(isTerminal: boolean, columns = 80) {
  const seen = { text: '', ms: 0 };
  const screen = createScreen({ write: text => (seen.text += text), isTerminal, columns, now: () => seen.ms });
  return { seen, screen };
}

test('a terminal has one line that is drawn over, at most ten times a second', () => {
  const { seen, screen } = fake(true);
  for (let done = 0; done <= 4; done++, seen.ms += 50) screen.progress({ label: 'training', done, total: 100 });
  expect(seen.text.split('\r\x1b[2K')).toEqual([
    '',
    'training 0/100  0 %',
    'training 2/100  2 %  4.9 s left',
    'training 4/100  4 %  4.8 s left',
  ]);
});

test('the time left follows the rate of the last half minute', () => {
  const { seen, screen } = fake(true);
  for (let done = 0; done <= 100; done++, seen.ms += 1000) screen.progress({ label: 'training', done, total: 1000 });
  for (let done = 101; done <= 140; done++, seen.ms += 10_000)
    screen.progress({ label: 'training', done, total: 1000 });
  expect(seen.text.endsWith('training 140/1000  14 %  2 h 23 min left')).toBe(true);
});

test('a line that stays takes the progress line away first', () => {
  const { seen, screen } = fake(true);
  screen.progress({ label: 'a', done: 1, total: 2, detail: 'loss 1' });
  screen.line('saved');
  expect(seen.text).toBe('\r\x1b[2Ka 1/2  50 %  loss 1\r\x1b[2Ksaved\n');
});

test('a narrow terminal never wraps the line', () => {
  const { seen, screen } = fake(true, 24);
  screen.progress({ label: 'training', done: 1, total: 2, detail: 'x'.repeat(100) });
  expect(seen.text.length).toBe('\r\x1b[2K'.length + 23);
});

test('elsewhere there is a plain line every ten seconds and at the end', () => {
  const { seen, screen } = fake(false);
  for (let done = 0; done <= 25; done++, seen.ms += 1000) screen.progress({ label: 'training', done, total: 25 });
  expect(seen.text).toBe(
    'training 0/25  0 %\ntraining 10/25  40 %  15.0 s left\ntraining 20/25  80 %  5.0 s left\ntraining 25/25  100 %\n',
  );
});

test('a new piece of work starts its own count', () => {
  const { seen, screen } = fake(false);
  screen.progress({ label: 'training', done: 1, total: 5 });
  screen.progress({ label: 'evaluating', done: 1, total: 5 });
  expect(seen.text).toBe('training 1/5  20 %\nevaluating 1/5  20 %\n');
});

test('bytes are shown as sizes, other units by name, and an unknown total not at all', () => {
  const { seen, screen } = fake(false);
  screen.progress({ label: 'fetching', done: 1.5e6, total: 1.9e8, unit: 'bytes' });
  screen.progress({ label: 'decoding', done: 5, total: 20, unit: 'images' });
  screen.progress({ label: 'reading', done: 1.5e6, total: null, unit: 'bytes' });
  expect(seen.text).toBe('fetching 1.50 MB/190 MB  0 %\ndecoding 5/20 images  25 %\nreading 1.50 MB\n');
});
