import { expect, test } from 'vitest';
import { type Circumstances, settle } from '../../src/commands/run-settings.ts';

const at = (trained: boolean): Circumstances => {
  return { verb: 'prune', trained, normalised: true, dataName: 'cifar100', trainImages: 45_000 };
};

// The table of docs/method.md, Settings.
test.each([
  ['s2h from scratch', 's2h', false, [0.1, 0.7, 1], 'none'],
  ['s2h from a trained file', 's2h', true, [0, 0.1, 0.1], 'original'],
  ['dmp from scratch', 'dmp', false, [0.1, 0.7, 1], 'none'],
  ['dmp from a trained file', 'dmp', true, [0.1, 0.7, 1], 'none'],
  ['given widths from a trained file', 'uniform', true, null, 'original'],
] as const)('phases and teacher of %s', (_, method, trained, phases, teacher) => {
  const settings = settle({ method }, at(trained));
  expect(settings.teacher).toBe(teacher);
  if (phases) expect([settings.searchFrom, settings.searchUntil, settings.finishFrom]).toEqual(phases);
});

test.each([
  [true, true, 10],
  [false, true, 0],
  [true, false, 1],
  [false, false, 1],
])(
  'steps are clipped from a trained file (%s) and without normalisation (normalised: %s) to %d',
  (trained, normalised, clip) => {
    expect(settle({}, { ...at(trained), normalised }).clip).toBe(clip);
    expect(settle({ clip: 3 }, { ...at(trained), normalised }).clip).toBe(3);
  },
);

test('the short recipe: a short search from any start, and its finish where the search ends', () => {
  const phases = (trained: boolean, given: object) => {
    const { searchFrom, searchUntil, finishFrom } = settle({ recipe: 'short', ...given }, at(trained));
    return [searchFrom, searchUntil, finishFrom];
  };
  expect(phases(false, {})).toEqual([0.02, 0.1, 0.1]);
  expect(phases(false, { searchUntil: 0.2 })).toEqual([0.02, 0.2, 0.2]);
  expect(phases(true, {})).toEqual([0, 0.1, 0.1]);
  expect(phases(true, { method: 'dmp' })).toEqual([0, 0.1, 0.1]);
});

test('a weight of the labels is taken where there is a teacher, and refused where there is none', () => {
  expect(settle({ labelWeight: 0.5 }, at(true)).labelWeight).toBe(0.5);
  expect(settle({ method: 'dmp', finishFrom: 0.8, labelWeight: 0.5 }, at(true)).teacher).toBe('original');
  for (const key of ['labelWeight', 'teacherTemperature'] as const) {
    const refused = [() => settle({ [key]: 0.5 }, at(false)), () => settle({ [key]: 0.5, finishFrom: 1 }, at(true))];
    for (const call of refused) expect(call).toThrow(/does nothing here: it belongs to --teacher original or soft/);
  }
});

test('training alone settles no teacher, no method of pruning and no order', () => {
  expect(settle({}, { ...at(true), verb: 'train' })).toMatchObject({
    teacher: 'none',
    method: 'plain',
    order: 'natural',
  });
});
