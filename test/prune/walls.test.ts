import { describe, expect, test } from 'vitest';
import { DataType, GraphBuilder } from '../../src/onnx/index.ts';
import { wallsOf } from '../../src/prune/walls.ts';
import { couplingOf, head, type Net, netOf, reasons, sizes } from './nets.ts';

describe('walls name the node that caused them', () => {
  const through = (build: (g: Net, a: string) => string, options = {}) =>
    reasons(couplingOf(netOf((g, x) => head(g, build(g, g.conv(x, 3, 8, { name: 'a' })), 8), options)))['a.weight'];

  test('an unknown operator', () => {
    expect(through((g, a) => g.op('Foo', [a], {}, 'mystery'))).toBe("no rule for Foo ('mystery')");
  });
  test('an operator of another domain', () => {
    const model = (g: Net, a: string) => g.node('Relu', [a], {}, { name: 'other', domain: 'com.example', output: 'o' });
    expect(through(model, { domains: { 'com.example': 1 } })).toBe("no rule for com.example::Relu ('other')");
  });
  test('a softmax over the channels', () => {
    expect(through((g, a) => g.op('Softmax', [a], { axis: 1 }, 'sm'))).toBe("Softmax 'sm' normalises over it");
  });
  test('a reduction over the channels', () => {
    expect(through((g, a) => g.op('ReduceMean', [a], { axes: [1] }, 'mean'))).toBe("ReduceMean 'mean' reduces over it");
  });
  test('pads of other channels', () => {
    const pads = (g: Net, a: string) =>
      g.op('Pad', [a, g.ints('p', 0, 2, 0, 0, 0, 0, 0, 0)], { mode: 'reflect' }, 'pad');
    expect(through(pads)).toBe("Pad 'pad' pads by reflect along it");
  });
  test('cropped channels', () => {
    expect(through((g, a) => g.op('Pad', [a, g.ints('p', 0, -2, 0, 0, 0, 0, 0, 0)], {}, 'pad'))).toBe(
      "Pad 'pad' crops it",
    );
  });
  test('one picked channel', () => {
    const pick = (g: Net, a: string) =>
      g.op('Gather', [a, g.initializer('one', BigInt64Array.of(3n), [])], { axis: 1 }, 'pick');
    expect(through(pick)).toBe("Gather 'pick' picks one index of it");
  });
  test('a reshape that mixes channels and columns', () => {
    const mix = (g: Net, a: string) => g.op('Reshape', [a, g.ints('t', 1, 4, 16, 8)], {}, 'mix');
    expect(through(mix)).toBe("Reshape 'mix' regroups it with other axes");
  });
  test('indices into the channels', () => {
    const pool = (g: Net, a: string) =>
      g.node('MaxPool', [a], { kernel_shape: [1, 1] }, { name: 'pool', outputs: ['pooled', 'indices'] })[0];
    expect(through(pool)).toBe("MaxPool 'pool' gives indices into it");
  });

  test('the channels of the graph output, and of what is added to it', () => {
    const coupling = couplingOf(
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        return g.op('Add', [a, g.conv(x, 3, 8, { name: 'b' })], {}, 'sum');
      }),
    );
    expect(coupling.groups).toEqual([]);
    expect(reasons(coupling)).toEqual({ 'a.weight': "graph output 'sum'" });
  });

  test('what an If reads inside, and the rest stays prunable (B09)', () => {
    const branch = (weight: string) => {
      const inner = new GraphBuilder({ name: weight });
      inner.output(inner.node('Conv', ['c', weight], {}, { output: `${weight}_out` }));
      return inner.graphProto();
    };
    const coupling = couplingOf(
      netOf((g, x) => {
        g.input('p', [], DataType.BOOL);
        g.weight('W1', [4, 8, 1, 1]);
        g.weight('W2', [4, 8, 1, 1]);
        g.op('Relu', [g.conv(g.conv(x, 3, 6, { name: 'first' }), 6, 8, { name: 'second' })], {}, 'c');
        return g.op('If', ['p'], { then_branch: branch('W1'), else_branch: branch('W2') }, 'choice');
      }),
    );
    expect(sizes(coupling)).toEqual({ 'first.weight': 6 });
    expect(reasons(coupling)).toEqual({ 'second.weight': "If 'choice' reads it in a sub-graph" });
    // What it holds besides is out of reach, too.
    const unlock = 'Export the model without If, Loop or Scan around it.';
    expect(wallsOf(coupling)).toMatchObject([
      { groups: [{ name: 'second.weight', size: 8 }], unlock },
      { reason: "what If 'choice' computes is in a sub-graph", node: { opType: 'If' }, groups: [], unlock },
    ]);
  });

  test('a weight that a caller may replace (B11)', () => {
    const model = netOf((g, x) =>
      g.conv(g.conv(g.conv(x, 3, 4, { name: 'a' }), 4, 5, { name: 'b' }), 5, 2, { name: 'c' }),
    );
    const listed = new GraphBuilder();
    listed.input('b.weight', [5, 4, 3, 3]);
    const coupling = couplingOf({
      ...model,
      graph: { ...model.graph, inputs: [...model.graph.inputs, ...listed.graph().inputs] },
    });
    expect(coupling.groups).toEqual([]);
    expect(reasons(coupling)).toMatchObject({
      'a.weight': "graph input 'b.weight', which a caller may replace",
      'b.weight': "graph input 'b.weight', which a caller may replace",
    });
  });
});
