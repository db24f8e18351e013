import { expect, test } from 'vitest';
import { buildGraph, type Graph } from '../../src/graph/graph.ts';
import { tensorOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { unshare, unsharedGraph } from '../../src/rewrite/unshare.ts';
import { couplingOf, type Net, netOf, outputsOf, sizes } from '../prune/nets.ts';

/** Two branches with norms that share all their vectors, as exporters write a fresh network. */
const shared = (g: Net, x: string) => {
  const ones = g.initializer('ones', new Float32Array(6).fill(1), [6]);
  const zeros = g.initializer('zeros', new Float32Array(6), [6]);
  const branch = (name: string) => {
    const norm = g.op('BatchNormalization', [g.conv(x, 3, 6, { name, bias: false }), ones, zeros, zeros, ones]);
    return g.conv(norm, 6, 2, { name: `${name}.next` });
  };
  return ['a', 'b'].map(branch);
};

test('shared vectors are copied, so that their users can be pruned apart', async () => {
  const model = netOf(shared);
  expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 6 });
  const apart = unshare(model, operators);
  expect(sizes(couplingOf(apart))).toEqual({ 'a.weight': 6, 'b.weight': 6 });
  // 4 users of each kind of number: one keeps the original.
  expect(apart.graph.initializers.map(({ name }) => name).filter(name => /^(ones|zeros)/.test(name))).toEqual([
    'ones',
    'zeros',
    'ones_2',
    'ones_3',
    'ones_4',
    'zeros_2',
    'zeros_3',
    'zeros_4',
  ]);
  expect(await outputsOf(apart)).toEqual(await outputsOf(model));
});

test('a file without shared constants is left as it is', () => {
  const model = netOf((g, x) => g.conv(g.conv(x, 3, 5), 5, 2));
  expect(unshare(model, operators)).toBe(model);
});

test('a weight that is used twice stays shared', () => {
  const model = netOf((g, x) => {
    const w = g.weight('w', [3, 3, 1, 1]);
    return g.op('Conv', [g.op('Conv', [x, w]), w]);
  });
  expect(unshare(model, operators)).toBe(model);
});

test('a user without a role keeps the original; names that are taken are avoided', () => {
  const model = netOf((g, x) => {
    const b = g.weight('b', [3]);
    g.weight('b_2', [3]);
    const conv = g.op('Conv', [x, g.weight('w', [3, 3, 1, 1]), b], {}, 'conv');
    return [conv, g.op('Foo', [b], {}, 'foo')];
  });
  const apart = unshare(model, operators);
  expect(apart.graph.nodes.map(({ input }) => input.at(-1))).toEqual(['b_3', 'b']);
});

test('constants in nodes are copied too', () => {
  const model = netOf((g, x) => {
    const target = g.op('Constant', [], { value: tensorOf('', BigInt64Array.of(1n, 3n, 64n), [3]) }, 'target');
    return [g.op('Reshape', [x, target]), g.op('Reshape', [g.op('Relu', [x]), target])];
  });
  const apart = unshare(model, operators);
  expect(apart.graph.initializers.map(({ name }) => name)).toEqual(['target_2']);
});

test('up to IR version 3 the copies are inputs too', () => {
  const apart = unshare(netOf(shared, { irVersion: 3, opset: 9 }), operators);
  const inputs = new Set(apart.graph.inputs.map(({ name }) => name));
  for (const { name } of apart.graph.initializers) expect(inputs.has(name), name).toBe(true);
});

test('vectors that are passed on by Identity nodes become constants of their users, with the same outputs', async () => {
  const net = netOf((g, x) => {
    const ones = g.initializer('ones', new Float32Array(6).fill(1), [6]);
    const zeros = g.initializer('zeros', new Float32Array(6), [6]);
    const passed = (value: string) => g.op('Identity', [value]);
    const branch = (name: string) => {
      const conv = g.conv(x, 3, 6, { name, bias: false });
      const norm = g.op('BatchNormalization', [conv, passed(ones), passed(zeros), zeros, ones]);
      return g.conv(norm, 6, 2, { name: `${name}.next` });
    };
    return ['a', 'b'].map(branch);
  });
  const own = unshare(net, operators);
  expect(own.graph.nodes.some(node => node.opType === 'Identity')).toBe(false);
  expect(sizes(couplingOf(own))).toEqual(sizes(couplingOf(unshare(netOf(shared), operators))));
  expect(await outputsOf(own)).toEqual(await outputsOf(net));
});

test('scales of codes: those of channels are copied, one for everything is not, and codes that are used twice tie', () => {
  const layer = (g: Net, x: string, codes: string, name: string) => {
    const w = g.op('DequantizeLinear', [codes, 'steps', 'zeros'], { axis: 0 }, `${name}.w`);
    return g.op('Conv', [g.op('DequantizeLinear', [g.op('QuantizeLinear', [x, 'step']), 'step']), w], {}, name);
  };
  const build = (own: boolean) =>
    netOf((g, x) => {
      g.initializer('step', Float32Array.of(0.5), []);
      g.initializer('steps', new Float32Array(6).fill(1), [6]);
      g.initializer('zeros', new Int8Array(6), [6]);
      const codes = ['a', 'b'].map(name => g.initializer(`${name}.q`, new Int8Array(18), [6, 3, 1, 1]));
      return ['a', 'b'].map((name, i) => g.conv(layer(g, x, codes[own ? i : 0], name), 6, 2, { name: `${name}.next` }));
    });
  const apart = unshare(build(true), operators);
  const names = apart.graph.initializers.map(({ name }) => name);
  expect(names.filter(name => /^(step|zeros)/.test(name)).sort()).toEqual([
    'step',
    'steps',
    'steps_2',
    'zeros',
    'zeros_2',
  ]);
  expect(sizes(couplingOf(apart))).toEqual({ 'a.w': 6, 'b.w': 6 });
  expect(sizes(couplingOf(unshare(build(false), operators)))).toEqual({ 'a.w': 6 });
});

test('its graph is what would be worked out of the file that it leaves', () => {
  for (const irVersion of [3, 8]) {
    const graph = unsharedGraph(netOf(shared, { irVersion, opset: 9 }), operators);
    const again = buildGraph(graph.model, operators);
    const plain = ({ nodes, producers, consumers, operators: _, ...rest }: Graph) => ({
      ...rest,
      nodes: nodes.map(node => [node.index, node.name, node.proto, node.inputs.map((_, i) => node.type(i))]),
      producers: [...producers].map(([value, node]) => [value, node.name]),
      consumers: [...consumers].map(([value, uses]) => [value, uses.map(({ node, input }) => [node.name, input])]),
    });
    expect(plain(graph)).toEqual(plain(again));
    for (const order of ['tensors', 'types', 'constants'] as const) {
      expect([...graph[order].keys()], order).toEqual([...again[order].keys()]);
    }
  }
});

test('copies that a cut leaves whole are one constant again, those that it shortens are not', async () => {
  for (const irVersion of [3, 8]) {
    const model = netOf(
      (g, x) => {
        const mask = g.weight('mask', [1, 1, 8, 8]);
        const ones = g.initializer('ones', new Float32Array(6).fill(1), [6]);
        const zeros = g.initializer('zeros', new Float32Array(6), [6]);
        const layer = (from: string, channels: number, name: string) => {
          const conv = g.op('Add', [g.conv(from, channels, 6, { name, bias: false }), mask]);
          return g.op('Mul', [g.op('BatchNormalization', [conv, ones, zeros, zeros, ones]), mask]);
        };
        return g.conv(layer(layer(x, 3, 'a'), 6, 'b'), 6, 2, { name: 'c' });
      },
      { irVersion, opset: 9 },
    );
    const coupling = couplingOf(unshare(model, operators));
    expect(sizes(coupling)).toEqual({ 'a.weight': 6, 'b.weight': 6 });
    const cut = cutModel(coupling, [
      [0, 2, 5],
      [1, 2, 3, 4],
    ]);
    const names = cut.graph.initializers.map(({ name }) => name);
    expect(names.filter(name => name.startsWith('mask'))).toEqual(['mask']);
    expect(names.filter(name => name.startsWith('ones'))).toHaveLength(4);
    const inputs = new Set(cut.graph.inputs.map(({ name }) => name));
    expect(names.filter(name => inputs.has(name))).toEqual(irVersion < 4 ? names : []);
    expect(await outputsOf(cut)).toEqual(
      await outputsOf(
        zeroConsumers(coupling, [
          [0, 2, 5],
          [1, 2, 3, 4],
        ]),
      ),
    );
  }
});
