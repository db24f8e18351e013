import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { type AttributeInput, ints, type OnnxModel, withInts } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { certify } from '../../src/runtime/certificate.ts';
import { stream } from '../../src/util/random.ts';
import { couplingOf, exactCut, initializer, membersOf, type Net, netOf, randomPlan, sizes } from './nets.ts';
import { expectAgreement } from './zoo.ts';

describe('B02: branches that are joined along another axis than the channels go together', () => {
  /** Conv A and Conv B 3>6, joined, normalised, Relu, Conv 6>4. */
  const joined = (axis: number) =>
    netOf((g, x) => {
      const parts = [g.conv(x, 3, 6, { name: 'a' }), g.conv(x, 3, 6, { name: 'b' })];
      return g.conv(g.op('Relu', [g.norm(g.op('Concat', parts, { axis }, 'joined'), 6, 'bn')]), 6, 4, { name: 'c' });
    });

  test.each([2, -2, 3, -1, 0, -4])('axis %i', async axis => {
    const model = joined(axis);
    const coupling = couplingOf(model);
    expect(sizes(coupling)).toEqual({ 'a.weight': 6 });
    expect(membersOf(coupling, 'a.weight')).toEqual(
      expect.arrayContaining([
        'a.weight 0',
        'a.bias 0',
        'b.weight 0',
        'b.bias 0',
        'bn.scale 0',
        'joined 1',
        'c.weight 1',
      ]),
    );
    const channels = (name: string) => [...coupling.channelsOf({ value: name, axis: 0 })!];
    expect(channels('a.weight')).toEqual(channels('b.weight'));
    const cut = await exactCut(model, [[0, 2, 3, 5]]);
    expect(initializer(cut, 'b.weight').dims).toEqual([4, 3, 3, 3]);
    for (let seed = 0; seed < 3; seed++) await expectAgreement(coupling, randomPlan(coupling, stream(seed, 'B02')));
  });

  test('along the channels they do not', () => {
    const model = netOf((g, x) => {
      const parts = [g.conv(x, 3, 6, { name: 'a' }), g.conv(x, 3, 6, { name: 'b' })];
      return g.conv(g.op('Concat', parts, { axis: 1 }), 12, 4, { name: 'c' });
    });
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 6, 'b.weight': 6 });
  });
});

describe('B04: constant sizes of a Resize hold the channel count', () => {
  const nearest = { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' };
  const linear = { mode: 'linear', coordinate_transformation_mode: 'half_pixel' };

  /** Two branches of 8 channels that one vector of sizes enlarges. */
  const twoBranches = (attributes: Record<string, AttributeInput>) =>
    netOf((g, x) => {
      const sizesOfBoth = g.ints('S', 1, 8, 16, 16);
      const branch = (name: string, to: number) => {
        const up = g.op('Resize', [g.conv(x, 3, 8, { name }), '', '', sizesOfBoth], attributes);
        return g.conv(up, 8, to, { name: `${name}.head` });
      };
      return [branch('A', 4), branch('B', 6)];
    });
  const plan = [
    [0, 1, 3, 4, 7],
    [0, 1, 2, 4, 5, 6, 7],
  ];
  const vectors = (model: OnnxModel) =>
    model.graph.initializers
      .filter(({ name }) => name.startsWith('S'))
      .map(ints)
      .sort();

  test('nearest: the vector that both share is split', async () => {
    for (const model of [twoBranches(nearest), unshare(twoBranches(nearest), operators)]) {
      expect(sizes(couplingOf(model))).toEqual({ 'A.weight': 8, 'B.weight': 8 });
      expect(vectors(await exactCut(model, plan))).toEqual([
        [1, 5, 16, 16],
        [1, 7, 16, 16],
      ]);
    }
  });

  test('linear, half_pixel', async () => {
    const coupling = couplingOf(twoBranches(linear));
    expect(vectors(cutModel(coupling, plan))).toEqual([
      [1, 5, 16, 16],
      [1, 7, 16, 16],
    ]);
    await expectAgreement(coupling, plan, { exact: false });
    for (let seed = 0; seed < 3; seed++) {
      await expectAgreement(coupling, randomPlan(coupling, stream(seed, 'B04')), { exact: false, seed });
    }
  });

  /** Conv 3>8, enlarged, summed over the channels: nothing behind would complain about channels too many. */
  const summed = netOf((g: Net, x) => {
    const up = g.op('Resize', [g.conv(x, 3, 8, { name: 'A' }), '', '', g.ints('S', 1, 8, 16, 16)], nearest);
    return g.op('ReduceSum', [up, g.ints('axes', 1)], {}, 'sum');
  });
  const [kept] = plan;

  test('sizes that are left at the old count fail the certificate', async () => {
    const request = { full: summed, kept: [kept], operators, values: 'small-integers' } as const;
    const right = cutModel(couplingOf(summed), [kept]);
    expect(await certify({ ...request, small: right })).toMatchObject({ passed: true, maxAbsError: 0 });
    const stale: OnnxModel = {
      ...right,
      graph: {
        ...right.graph,
        initializers: right.graph.initializers.map(t => (t.name === 'S' ? withInts(t, [4], [1, 8, 16, 16]) : t)),
      },
    };
    const found = await certify({ ...request, small: stale });
    expect(found).toMatchObject({ passed: false, failure: expect.stringContaining("'S'") });
  });

  test('also where a wrong rule would leave them: the runtime stretches the channels without an error', async () => {
    const careless = new Map(operators).set('::Resize', { ...operators.get('::Resize')!, cut: () => null });
    const found = await certify({
      full: summed,
      small: cutModel(coupleGraph(buildGraph(summed, careless)), [kept]),
      kept: [kept],
      operators: careless,
      values: 'small-integers',
    });
    expect(found.passed).toBe(false);
    expect(found.maxAbsError).toBeGreaterThan(0);
  });

  test('sizes that are put together at run time, for a batch of any length', async () => {
    const model = netOf(
      (g, x) => {
        const a = g.conv(x, 3, 8, { name: 'A' });
        const start = g.op('Slice', [g.op('Shape', [a]), g.ints('start', 0), g.ints('end', 2)]);
        const target = g.op('Concat', [start, g.ints('S', 16, 16)], { axis: 0 });
        return g.conv(g.op('Resize', [a, '', '', target], nearest), 8, 4, { name: 'b' });
      },
      { shape: ['N', 3, 8, 8] },
    );
    expect(sizes(couplingOf(model))).toEqual({ 'A.weight': 8 });
    await exactCut(model, [kept]);
  });
});
