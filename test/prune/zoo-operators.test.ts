import { describe, expect, test } from 'vitest';
import { DataType, GraphBuilder, tensorOf } from '../../src/onnx/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { comparedValues } from '../../src/runtime/compared.ts';
import { stream } from '../../src/util/random.ts';
import { around, couplingOf, type Net, netOf, randomPlan, reasons, sizes } from './nets.ts';
import { inZoo, run } from './zoo.ts';

const int64 = (g: Net, name: string, values: readonly number[], dims: readonly number[]) =>
  g.initializer(name, BigInt64Array.from(values, BigInt), dims);
const bools = (g: Net, name: string, ...values: number[]) =>
  g.tensor({ ...tensorOf(name, Uint8Array.from(values), [values.length], DataType.BOOL), name });

describe('Einsum', () => {
  inZoo(
    'as a 1x1 convolution',
    () =>
      netOf((g, x) => {
        const a = g.op('Einsum', [x, g.weight('w', [8, 3])], { equation: 'nchw,oc->nohw' });
        return g.op('Einsum', [g.weight('v', [5, 8]), g.op('Relu', [a])], { equation: 'oc,nchw->nohw' });
      }),
    { groups: { w: 8 } },
  );
  inZoo(
    'without an output, whose letters are then sorted',
    () =>
      netOf(
        (g, x) =>
          g.op('Einsum', [g.op('Einsum', [x, g.weight('w', [12, 8])], { equation: 'ab,bz' }), g.weight('v', [8, 5])], {
            equation: 'nk,kp',
          }),
        { shape: [2, 12] },
      ),
    { groups: { w: 8 } },
  );
  inZoo(
    'with broadcast axes in front',
    () =>
      netOf(
        (g, x) => {
          const a = g.op('Einsum', [x, g.weight('w', [6, 8])], { equation: '...k,kp->...p' });
          return g.op('Einsum', [a, g.weight('v', [8, 4])], { equation: '... k, k p' });
        },
        { shape: [2, 3, 6] },
      ),
    { groups: { w: 8 } },
  );
  inZoo(
    'queries by keys: the inner letter goes on both sides',
    () =>
      netOf(
        (g, x) => {
          const [q, k] = ['wq', 'wk'].map(w => g.op('MatMul', [x, g.weight(w, [6, 8])]));
          return g.op('Einsum', [q, k], { equation: 'bqd,bkd->bqk' });
        },
        { shape: [2, 5, 6] },
      ),
    { groups: { wq: 8 } },
  );
  inZoo(
    'projections to heads: dims of every head, the heads stay',
    () =>
      netOf(
        (g, x) => {
          const part = (w: string) => g.op('Einsum', [x, g.weight(w, [6, 2, 4])], { equation: 'bsd,dhk->bshk' });
          const scores = g.op('Einsum', [part('wq'), part('wk')], { equation: 'bqhk,bthk->bhqt' });
          const context = g.op('Einsum', [scores, part('wv')], { equation: 'bhqt,bthk->bqhk' });
          return g.op('Einsum', [context, g.weight('wo', [2, 4, 6])], { equation: 'bqhk,hkd->bqd' });
        },
        { shape: [2, 3, 6] },
      ),
    { groups: { wq: 4, wv: 4 } },
  );
  inZoo(
    'three operands',
    () =>
      netOf(
        (g, x) =>
          g.op('Einsum', [x, g.op('Relu', [g.weight('w', [6, 8])]), g.weight('v', [8, 3])], {
            equation: 'nk,kp,pq->nq',
          }),
        { shape: [2, 6] },
      ),
    { groups: {} },
  );
});

describe('reductions over the channels', () => {
  for (const type of ['ReduceL1', 'ReduceSumSquare', 'ReduceSum'] as const) {
    inZoo(
      `${type}: removed channels add nothing`,
      () => netOf((g, x) => reduced(g, type, g.op('Relu', [g.conv(x, 3, 8, { name: 'a' })])), { opset: 18 }),
      { groups: { 'a.weight': 8 } },
    );
  }
  for (const type of ['ReduceL2', 'ReduceLogSum'] as const) {
    inZoo(
      `${type}, which rounds`,
      () => netOf((g, x) => reduced(g, type, g.op('Exp', [g.conv(x, 3, 8, { name: 'a' })])), { opset: 18 }),
      { groups: { 'a.weight': 8 }, exact: false },
    );
  }
  for (const type of ['ReduceProd', 'ReduceLogSumExp', 'ReduceMean', 'ReduceMax', 'ReduceMin'] as const) {
    inZoo(`${type} is a wall`, () => netOf((g, x) => reduced(g, type, g.conv(x, 3, 8, { name: 'a' })), { opset: 18 }), {
      groups: {},
      walls: { 'a.weight': new RegExp(`^${type} 'r' reduces over it$`) },
    });
  }
  const reduced = (g: Net, type: string, x: string) => g.op(type, [x, g.ints('axes', 1)], {}, 'r');
});

describe('operators that choose', () => {
  inZoo(
    'an ArgMax tail keeps its classes, and what comes before is cut',
    () =>
      netOf((g, x) => {
        const scores = g.conv(g.op('Relu', [g.conv(x, 3, 8, { name: 'a' })]), 8, 5, { name: 'scores' });
        return g.op('Cast', [g.op('ArgMax', [scores], { axis: 1, keepdims: 0 }, 'mask')], { to: 1 });
      }),
    { groups: { 'a.weight': 8 }, walls: { 'scores.weight': /^ArgMax 'mask' gives an index into it$/ } },
  );
  for (const [type, attributes] of [
    ['ArgMax', { axis: -1, keepdims: 1 }],
    ['ArgMin', { axis: 2, keepdims: 0 }],
  ] as const) {
    inZoo(
      `${type} along a row goes channel by channel`,
      () =>
        netOf((g, x) => {
          const places = g.op('Cast', [g.op(type, [g.conv(x, 3, 8, { name: 'a' })], attributes)], { to: 1 });
          const sum = g.op('ReduceSum', [places, g.ints('axes', 1)]);
          return sum;
        }),
      { groups: { 'a.weight': 8 } },
    );
  }
  inZoo(
    'TopK along a row, and over the channels',
    () =>
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const [values] = g.node('TopK', [a, g.ints('k', 2)], { axis: 3 }, { outputs: ['values', 'places'] });
        const b = g.conv(values, 8, 6, { name: 'b' });
        return g.node('TopK', [b, g.ints('n', 3)], { axis: 1 }, { name: 'best', outputs: ['best', 'which'] })[0];
      }),
    { groups: { 'a.weight': 8 }, walls: { 'b.weight': /^TopK 'best' chooses along it$/ } },
  );
  inZoo(
    'Compress drops columns',
    () =>
      around((g, a) => g.op('Compress', [a, bools(g, 'keep', 1, 0, 1, 1, 0, 0, 1, 0)], { axis: 3 }, 'some'), 8, {
        opset: 11,
      }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'Compress of channels is a wall',
    () =>
      around((g, a) => g.op('Compress', [a, bools(g, 'keep', 1, 0, 1, 1, 0, 0, 1, 0)], { axis: 1 }, 'some'), 4, {
        opset: 11,
      }),
    { groups: {}, walls: { 'a.weight': /^Compress 'some' picks from it$/ } },
  );
  test('NonZero, NonMaxSuppression and Unique name themselves; what comes before is cut', () => {
    const tails: Record<string, (g: Net, scores: string) => string> = {
      NonZero: (g, scores) => g.op('NonZero', [scores], {}, 'tail'),
      Unique: (g, scores) => g.op('Unique', [scores], {}, 'tail'),
      NonMaxSuppression: (g, scores) => {
        const boxes = g.op('Reshape', [scores, g.ints('boxes', 1, -1, 4)]);
        return g.op('NonMaxSuppression', [boxes, g.op('Reshape', [scores, g.ints('s', 1, 4, -1)])], {}, 'tail');
      },
    };
    for (const [type, tail] of Object.entries(tails)) {
      const model = netOf((g, x) =>
        tail(g, g.conv(g.op('Relu', [g.conv(x, 3, 8, { name: 'a' })]), 8, 4, { name: 'scores' })),
      );
      const coupling = couplingOf(model);
      expect(sizes(coupling)).toEqual({ 'a.weight': 8 });
      expect(Object.keys(reasons(coupling))).toEqual(['scores.weight']);
      expect(coupling.graph.nodes.at(-1)!.operator).toMatchObject({ type, discrete: true });
    }
  });
});

describe('indexing', () => {
  const places = (dims: readonly number[]) => {
    const random = stream(6, 'places');
    return Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.int(8));
  };
  inZoo(
    'GatherElements in rows: the indices of removed channels go with them',
    () => around((g, a) => g.op('GatherElements', [a, int64(g, 'i', places([1, 8, 8, 3]), [1, 8, 8, 3])], { axis: 3 })),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'GatherElements of channels is a wall',
    () =>
      around(
        (g, a) => g.op('GatherElements', [a, int64(g, 'i', places([1, 4, 8, 8]), [1, 4, 8, 8])], { axis: 1 }, 'pick'),
        4,
      ),
    { groups: {}, walls: { 'a.weight': /^GatherElements 'pick' picks from it$/ } },
  );
  for (const type of ['ScatterElements', 'Scatter'] as const) {
    inZoo(
      `${type} into rows`,
      () =>
        netOf(
          (g, x) => {
            const [a, b] = ['a', 'b'].map(name => g.conv(x, 3, 8, { name }));
            const i = int64(
              g,
              'i',
              Array.from({ length: 512 }, (_, k) => (k * 3) % 8),
              [1, 8, 8, 8],
            );
            return g.conv(g.op(type, [a, i, b], { axis: 2 }), 8, 4, { name: 'c' });
          },
          { opset: type === 'Scatter' ? 10 : 13 },
        ),
      { groups: { 'a.weight': 8 } },
    );
  }
  inZoo(
    'GatherND and ScatterND whose channels stand last',
    () =>
      netOf((g, x) => {
        const last = (y: string) => g.op('Transpose', [y], { perm: [0, 2, 3, 1] });
        const [a, b] = ['a', 'b'].map(name => last(g.conv(x, 3, 8, { name })));
        const picked = g.op('GatherND', [b, int64(g, 'i', [0, 1, 2, 0, 5, 5], [2, 3])]);
        const put = g.op('ScatterND', [a, int64(g, 'j', [0, 0, 0, 0, 7, 1], [2, 3]), picked]);
        return g.op('MatMul', [put, g.weight('w', [8, 5])]);
      }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'ScatterND into channels is a wall',
    () =>
      netOf((g, x) => {
        const update = g.weight('u', [2, 8, 8]);
        const put = g.op(
          'ScatterND',
          [g.conv(x, 3, 8, { name: 'a' }), int64(g, 'i', [0, 1, 0, 4], [2, 2]), update],
          {},
          'put',
        );
        return g.conv(put, 8, 4, { name: 'b' });
      }),
    { groups: {}, walls: { 'a.weight': /^ScatterND 'put' puts into it by index$/ } },
  );
  inZoo(
    'OneHot of an index keeps the depth',
    () =>
      netOf((g, x) => {
        const scores = g.conv(g.conv(x, 3, 8, { name: 'a' }), 8, 5, { name: 'scores' });
        const which = g.op('ArgMax', [scores], { axis: 1, keepdims: 0 });
        const values = g.initializer('values', Float32Array.of(0, 1), [2]);
        return g.op('OneHot', [which, g.ints('depth', 5), values], { axis: 1 });
      }),
    { groups: { 'a.weight': 8 }, walls: { 'scores.weight': /gives an index into it/ } },
  );
});

describe('operators that go by place', () => {
  inZoo('Trilu of maps', () => around((g, a) => g.op('Trilu', [a], { upper: 0 })), { groups: { 'a.weight': 8 } });
  inZoo(
    'Trilu over channels is a wall',
    () =>
      netOf((g, x) => {
        const last = g.op('Transpose', [g.conv(x, 3, 8, { name: 'a' })], { perm: [0, 2, 3, 1] });
        return g.op('MatMul', [g.op('Trilu', [last], {}, 'half'), g.weight('w', [8, 5])]);
      }),
    { groups: {}, walls: { 'a.weight': /^Trilu 'half' goes by the place along it$/ } },
  );
  inZoo(
    'ReverseSequence in time',
    () =>
      netOf(
        (g, x) => {
          const a = g.op('MatMul', [x, g.weight('w', [6, 8])]);
          const reversed = g.op('ReverseSequence', [a, g.ints('lengths', 3, 1)], { batch_axis: 1, time_axis: 0 });
          return g.op('MatMul', [reversed, g.weight('v', [8, 5])]);
        },
        { shape: [4, 2, 6] },
      ),
    { groups: { w: 8 } },
  );
  inZoo(
    'CenterCropPad of maps',
    () => around((g, a) => g.op('CenterCropPad', [a, g.ints('size', 5, 10)], { axes: [2, 3] }), 8, { opset: 18 }),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'Col2Im folds what it is given',
    () =>
      netOf(
        (g, x) => {
          const columns = g.op('Reshape', [
            g.conv(g.conv(x, 3, 8, { name: 'a' }), 8, 4, { name: 'b' }),
            g.ints('t', 1, 4, 64),
          ]);
          return g.op('Col2Im', [columns, g.ints('image', 9, 9), g.ints('block', 2, 2)], {}, 'fold');
        },
        { opset: 18 },
      ),
    { groups: { 'a.weight': 8 }, walls: { 'b.weight': /^Col2Im 'fold' folds it$/ } },
  );
});

describe('random numbers', () => {
  const noisy = (noise: (g: Net, a: string) => string) =>
    netOf((g, x) => {
      const a = g.conv(g.conv(x, 3, 6, { name: 'z' }), 6, 8, { name: 'a' });
      return g.conv(g.op('Add', [a, noise(g, a)], {}, 'sum'), 8, 4, { name: 'b' });
    });
  test.each<[string, (g: Net, a: string) => string]>([
    ['RandomNormalLike', (g, a) => g.op('RandomNormalLike', [a], {}, 'noise')],
    ['RandomUniform', g => g.op('RandomUniform', [], { shape: [1, 8, 8, 8] }, 'noise')],
  ])('%s follows, is no constant, and outputs are compared before it', async (_, noise) => {
    const coupling = couplingOf(noisy(noise));
    expect(sizes(coupling)).toEqual({ 'z.weight': 6, 'a.weight': 8 });
    expect(coupling.graph.fixed.has('noise')).toBe(false);
    const kept = randomPlan(coupling, stream(2, 'noise'));
    const { values, replaced } = comparedValues(coupling, kept);
    expect(replaced).toEqual(['b']);
    expect(values.map(({ name }) => name)).toContain('a');
    const small = cutModel(coupling, kept);
    expect((await run(small)).b.shape).toEqual([1, 4, 8, 8]);
  });
});

describe('sequences', () => {
  inZoo(
    'a value that goes into one keeps its channels',
    () =>
      netOf((g, x) => {
        const a = g.conv(g.conv(x, 3, 8, { name: 'a' }), 8, 6, { name: 'b' });
        const parts = g.op(
          'SplitToSequence',
          [a, g.initializer('two', BigInt64Array.of(2n), [])],
          { axis: 1 },
          'parts',
        );
        const second = g.op('SequenceAt', [parts, g.initializer('one', BigInt64Array.of(1n), [])]);
        return g.conv(g.value(second, [1, 2, 8, 8]), 2, 3, { name: 'c' });
      }),
    { groups: { 'a.weight': 8 }, walls: { 'b.weight': /^SplitToSequence 'parts' keeps it in a sequence$/ } },
  );
});

describe('control flow', () => {
  /** A sub-graph that hands on, or passes through a convolution, a value of the outer graph. */
  const branch = (name: string, value: string, weight?: string) => {
    const inner = new GraphBuilder({ name });
    inner.output(
      weight
        ? inner.node('Conv', [value, weight], {}, { output: `${name}_out` })
        : inner.node('Identity', [value], {}, { output: `${name}_out` }),
    );
    return inner.graphProto();
  };
  inZoo(
    'what an If gives has to stay, what follows its consumers is cut',
    () =>
      netOf((g, x) => {
        g.input('p', [], DataType.BOOL);
        const a = g.conv(g.conv(x, 3, 6, { name: 'z' }), 6, 8, { name: 'a' });
        const chosen = g.op('If', ['p'], { then_branch: branch('t', a), else_branch: branch('e', a) }, 'choice');
        return g.conv(g.conv(g.value(chosen, [1, 8, 8, 8]), 8, 5, { name: 'b' }), 5, 2, { name: 'c' });
      }),
    { groups: { 'z.weight': 6, 'b.weight': 5 }, walls: { 'a.weight': /^If 'choice' .*sub-graph$/ } },
  );
  inZoo(
    'values that a Loop carries',
    () =>
      netOf((g, x) => {
        const body = new GraphBuilder({ name: 'body' });
        body.input('step', [], DataType.INT64);
        body.input('go', [], DataType.BOOL);
        body.input('carried', [1, 8, 8, 8]);
        body.output(body.node('Identity', ['go'], {}, { output: 'on' }), [], DataType.BOOL);
        body.output(body.node('Add', ['carried', 'carried'], {}, { output: 'next' }), [1, 8, 8, 8]);
        const a = g.conv(g.conv(x, 3, 6, { name: 'z' }), 6, 8, { name: 'a' });
        const count = g.initializer('count', BigInt64Array.of(2n), []);
        const on = g.tensor({ ...tensorOf('true', Uint8Array.of(1), [], DataType.BOOL), name: 'true' });
        return g.conv(g.op('Loop', [count, on, a], { body: body.graphProto() }, 'loop'), 8, 4, { name: 'b' });
      }),
    { groups: { 'z.weight': 6 }, walls: { 'a.weight': /^Loop 'loop' hands it to or from a sub-graph$/ } },
  );
  test('a function of the file is a wall, even where it is called like an operator', () => {
    const model = netOf((g, x) =>
      g.conv(g.op('Relu', [g.conv(g.conv(x, 3, 6, { name: 'z' }), 6, 8, { name: 'a' })], {}, 'own'), 8, 4),
    );
    const coupling = couplingOf({ ...model, functions: new Set(['::Relu']) });
    expect(sizes(coupling)).toEqual({ 'z.weight': 6 });
    expect(reasons(coupling)['a.weight']).toMatch(/'own'/);
  });
});
