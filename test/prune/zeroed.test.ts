import { expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { floats, type OnnxModel } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { type Coupling, coupleGraph } from '../../src/prune/groups.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { finiteInputs } from '../../src/runtime/inputs.ts';
import { openModel } from '../../src/runtime/session.ts';
import { stream } from '../../src/util/random.ts';
import { chainNet, integerNets } from '../runtime/integer-nets.ts';

const coupled = (model: OnnxModel): Coupling => coupleGraph(buildGraph(unshare(model, operators), operators));

/** At least one channel of each group stays and at least one goes. */
function randomPlan({ groups }: Coupling, seed: number): number[][] {
  const random = stream(seed, 'plan');
  return groups.map(({ size }) => {
    const count = 1 + random.int(size - 1);
    return [...random.permutation(size).slice(0, count)].sort((a, b) => a - b);
  });
}

async function outputOf(model: OnnxModel): Promise<number[]> {
  const session = await openModel(model, { optimize: 'none' });
  try {
    const { Y } = await session.run(finiteInputs(session.inputs, { batch: 2, values: 'small-integers', seed: 5 }));
    return Array.from(Y.data as Float32Array);
  } finally {
    await session.dispose();
  }
}

test('columns of removed channels are zero, and nothing else changes', () => {
  const coupling = coupled(chainNet());
  const before = coupling.graph.model;
  const after = zeroConsumers(coupling, [
    [0, 2, 3, 4, 5, 7],
    [1, 4],
  ]);
  expect(after.graph.nodes).toEqual(before.graph.nodes);
  const changed = after.graph.initializers.filter((tensor, i) => tensor !== before.graph.initializers[i]);
  expect(changed.map(tensor => tensor.name)).toEqual(['b.weight', 'head.weight']);
  const kernel = (channel: number) => [1, 6].includes(channel);
  const b = floats(coupling.graph.tensors.get('b.weight')!).map((x, i) => (kernel(Math.floor(i / 9) % 8) ? 0 : x));
  expect(floats(changed[0])).toEqual(b);
  const head = floats(coupling.graph.tensors.get('head.weight')!).map((x, i) => ([1, 4].includes(i % 6) ? x : 0));
  expect(floats(changed[1])).toEqual(head);
});

test('a plan that keeps everything changes nothing', () => {
  const coupling = coupled(chainNet());
  const after = zeroConsumers(
    coupling,
    coupling.groups.map(({ size }) => Array.from({ length: size }, (_, i) => i)),
  );
  expect(after.graph).toEqual(coupling.graph.model.graph);
});

test('where there is no constant weight a product with zeros and ones comes first', () => {
  const coupling = coupled(integerNets['a sum over channels']());
  const after = zeroConsumers(coupling, [[1, 2, 6]]);
  const [mask] = after.graph.initializers.slice(-1);
  expect([mask.dims, [...floats(mask)]]).toEqual([
    [1, 8, 1, 1],
    [0, 1, 1, 0, 0, 0, 1, 0],
  ]);
  expect(after.graph.nodes.map(node => node.opType)).toEqual(['Conv', 'Add', 'Mul', 'ReduceSum', 'Identity']);
});

test('a follower is not zeroed', () => {
  const coupling = coupled(integerNets['a depthwise convolution']());
  const after = zeroConsumers(coupling, [[0, 3]]);
  const changed = after.graph.initializers.filter((tensor, i) => tensor !== coupling.graph.model.graph.initializers[i]);
  expect(changed.map(tensor => tensor.name)).toEqual(['c.weight']);
});

test.each(Object.keys(integerNets))('%s: it equals the cut', async name => {
  const coupling = coupled(integerNets[name]());
  expect(coupling.groups.length).toBeGreaterThan(0);
  for (let seed = 0; seed < 4; seed++) {
    const kept = randomPlan(coupling, seed);
    const zeroed = await outputOf(zeroConsumers(coupling, kept));
    expect({ seed, output: zeroed }).toEqual({ seed, output: await outputOf(cutModel(coupling, kept)) });
    // The removed channels did matter.
    if (seed === 0) expect(zeroed).not.toEqual(await outputOf(coupling.graph.model));
  }
});
