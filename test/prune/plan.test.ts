import { describe, expect, test } from 'vitest';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { graphHash, keptIndices, planOf, readPlan } from '../../src/prune/plan.ts';
import { UserError } from '../../src/util/errors.ts';
import { couplingOf, type Net, netOf } from './nets.ts';

const build = (g: Net, x: string) => {
  const a = g.op('Relu', [g.conv(x, 3, 8, { name: 'a' })]);
  return g.conv(g.conv(a, 8, 6, { name: 'd', group: 1 }), 6, 4, { name: 'b' });
};
const coupling = couplingOf(netOf(build));
const kept = [
  [0, 3, 4],
  [1, 5],
];
const plan = () =>
  structuredClone(planOf(coupling, kept)) as {
    graph: string;
    groups: { name: string; size: number; kept: number[] }[];
  };

test('a plan that was written is read again, through JSON', () => {
  expect(readPlan(JSON.parse(JSON.stringify(planOf(coupling, kept))), coupling)).toEqual(kept);
});

test('it lists what is cut, for readers', () => {
  expect(planOf(coupling, kept).cuts).toEqual([
    { initializer: 'a.weight', axis: 0, kept: [0, 3, 4], role: 'producer' },
    { initializer: 'a.bias', axis: 0, kept: [0, 3, 4], role: 'follower' },
    { initializer: 'd.weight', axis: 0, kept: [1, 5], role: 'producer' },
    { initializer: 'd.weight', axis: 1, kept: [0, 3, 4], role: 'consumer' },
    { initializer: 'd.bias', axis: 0, kept: [1, 5], role: 'follower' },
    { initializer: 'b.weight', axis: 1, kept: [1, 5], role: 'consumer' },
  ]);
});

test('only graph and groups are read', () => {
  expect(readPlan({ ...plan(), format: 's2h-plan/1', cuts: 'edited', note: 1 }, coupling)).toEqual(kept);
});

test('kept indices: null where all of an axis stays', () => {
  const indices = keptIndices(coupling, kept);
  expect(indices({ value: 'a.weight', axis: 0 })).toEqual([0, 3, 4]);
  expect(indices({ value: 'a.weight', axis: 1 })).toBeNull();
  expect(indices({ value: 'nothing', axis: 0 })).toBeNull();
});

describe('the hash of a graph', () => {
  const hash = (model: OnnxModel) => graphHash(couplingOf(model).graph);
  test('does not see weights: a plan fits a retrained copy', () =>
    expect(hash(netOf(build, { seed: 2 }))).toBe(hash(netOf(build))));
  test('sees shapes, nodes and attributes', () => {
    const others = [
      netOf(build, { shape: [1, 3, 9, 8] }),
      netOf((g, x) => g.op('Relu', [build(g, x)])),
      netOf((g, x) => g.op('LeakyRelu', [build(g, x)], { alpha: 0.5 })),
      netOf((g, x) => g.op('LeakyRelu', [build(g, x)], { alpha: 0.25 })),
    ];
    expect(new Set([netOf(build), ...others].map(hash)).size).toBe(5);
  });
  test('does not see the batch: a plan fits a copy that was exported with another one', () => {
    const withBatch = (batch: number | string) =>
      netOf(
        (g, x) => {
          const a = g.op('Flatten', [g.conv(x, 3, 8, { name: 'a' })], {}, 'flat');
          // A fixed batch stands in the target; an open one is read off the input.
          const target =
            typeof batch === 'number'
              ? g.ints('target', batch, 8, 64)
              : g.op(
                  'Concat',
                  [g.op('Slice', [g.op('Shape', [x]), g.ints('from', 0), g.ints('to', 1)]), g.ints('rest', 8, 64)],
                  {
                    axis: 0,
                  },
                );
          return g.node('Reshape', [a, target], {}, { name: 'split', output: 'split' });
        },
        { shape: [batch, 3, 8, 8] },
      );
    const hashes = [1, 4, 'N', 'batch'].map(batch => hash(withBatch(batch)));
    expect(new Set(hashes).size).toBe(1);
  });
  test('sees indices', () => {
    const from = (start: number) =>
      netOf((g, x) => g.op('Slice', [x, g.ints('s', start), g.ints('e', start + 2), g.ints('a', 2)]));
    expect(hash(from(1))).not.toBe(hash(from(2)));
  });
});

describe('a plan is refused', () => {
  const refusal = (change: (p: ReturnType<typeof plan>) => unknown): string => {
    const changed = plan();
    const replaced = change(changed);
    try {
      readPlan(typeof replaced === 'object' && replaced !== null ? replaced : changed, coupling, 'plan.json');
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      expect(error).toMatchObject({ code: 'E_PLAN', where: 'plan.json' });
      return (error as UserError).what;
    }
    return 'no error';
  };

  test.each<[string, (p: ReturnType<typeof plan>) => unknown, RegExp]>([
    ['of another graph', p => void (p.graph = 'abc'), /another graph \(abc, this file has [0-9a-f]{32}\)/],
    ['of another format', p => ({ ...p, format: 's2h-plan/2' }), /not a plan of the format s2h-plan\/1/],
    ['that is no object', () => [], /not a plan/],
    ['without groups', p => ({ ...p, groups: undefined }), /groups/],
    ['with numbers that are not whole', p => void p.groups[1].kept.push(1.5), /groups\[1\]\.kept\[2\]/],
    [
      'with a group too many',
      p => void p.groups.push({ name: 'other', size: 2, kept: [0] }),
      /a group 'other' that this graph lacks/,
    ],
    ['with a group too few', p => void p.groups.pop(), /lacks the group 'd\.weight'/],
    ['with a group twice', p => void p.groups.push(p.groups[0]), /group 'a\.weight' twice/],
    ['with another size', p => void (p.groups[0].size = 9), /Group 'a\.weight' has 8 channels, in the plan 9/],
    ['that keeps nothing of a group', p => void (p.groups[1].kept = []), /Group 'd\.weight' keeps no channel/],
    [
      'with a channel past the end',
      p => void (p.groups[0].kept = [2, 8]),
      /Group 'a\.weight' keeps channel 8 at position 1, but has channels 0 to 7/,
    ],
    [
      'with a negative channel',
      p => void (p.groups[0].kept = [-1, 2]),
      /Group 'a\.weight' keeps channel -1 at position 0/,
    ],
    [
      'with a channel twice',
      p => void (p.groups[0].kept = [2, 2]),
      /Group 'a\.weight' lists channel 2 at position 1 after 2/,
    ],
    [
      'that is not in ascending order',
      p => void (p.groups[0].kept = [4, 3]),
      /Group 'a\.weight' lists channel 3 at position 1 after 4/,
    ],
  ])('%s', (_, change, message) => {
    expect(refusal(change)).toMatch(message);
  });
});
