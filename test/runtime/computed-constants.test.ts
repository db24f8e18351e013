import { expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { unsharedGraph } from '../../src/rewrite/unshare.ts';
import { withComputedConstants } from '../../src/runtime/computed-constants.ts';
import { type Net, netOf, outputsOf, sizes } from '../prune/nets.ts';

/** A weight that the file standardises by a BatchNormalization in training mode, as exporters write it. */
function standardised(g: Net, name: string, dims: readonly number[]): string {
  const rows = g.op('Reshape', [g.weight(name, dims), g.ints(`${name}.rows`, 1, dims[0], -1)]);
  const vector = (part: string, value: number) =>
    g.initializer(`${name}.${part}`, new Float32Array(dims[0]).fill(value), [dims[0]]);
  const vectors = [vector('gain', 0.5), vector('zero', 0), vector('mean', 0), vector('variance', 1)];
  const outputs = [`${name}.standard`, `${name}.means`, `${name}.variances`];
  g.node(
    'BatchNormalization',
    [rows, ...vectors],
    { training_mode: 1, epsilon: 1e-5 },
    { name: `${name}.bn`, outputs },
  );
  return g.op('Reshape', [outputs[0], g.ints(`${name}.dims`, ...dims)], {}, `${name}.weight`);
}

const net = (irVersion?: number): OnnxModel =>
  netOf(
    (g, x) => {
      const a = g.op('Relu', [g.op('Conv', [x, standardised(g, 'a', [8, 3, 3, 3])], { pads: [1, 1, 1, 1] })]);
      return g.op('Conv', [a, standardised(g, 'b', [6, 8, 3, 3])], { pads: [1, 1, 1, 1] });
    },
    { shape: ['N', 3, 8, 8], opset: 15, ...(irVersion ? { irVersion } : {}) },
  );

test('weights that a normalisation is computed over become constants, and the answers stay', async () => {
  const model = net();
  const graph = unsharedGraph(model, operators);
  expect(sizes(coupleGraph(graph))).toEqual({});
  const { graph: changed, values } = await withComputedConstants(graph);
  // The channels of the first one's input are those of the image.
  expect(values).toEqual(['b.weight']);
  expect(changed.nodes.filter(({ opType }) => opType === 'BatchNormalization')).toHaveLength(1);
  expect(sizes(coupleGraph(changed))).toEqual({ 'a.weight': 8 });
  expect(await outputsOf(changed.model)).toEqual(await outputsOf(model));
});

test('a file without such weights stays as it is', async () => {
  const plain = netOf((g, x) => g.conv(g.op('Relu', [g.conv(x, 3, 8, { name: 'a' })]), 8, 4, { name: 'b' }));
  const graph = buildGraph(plain, operators);
  expect(await withComputedConstants(graph)).toEqual({ graph, values: [], coupling: null });
  // Scaled in the graph, which channels pass through.
  const scaled = netOf((g, x) => {
    const weight = g.op('Mul', [g.weight('w', [8, 3, 3, 3]), g.initializer('s', Float32Array.of(0.5), [])]);
    return g.conv(g.op('Conv', [x, weight], { pads: [1, 1, 1, 1] }), 8, 4, { name: 'b' });
  });
  expect((await withComputedConstants(buildGraph(scaled, operators))).values).toEqual([]);
});
