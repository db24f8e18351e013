import fc from 'fast-check';
import { expect, test } from 'vitest';
import { elementCount, type OnnxModel } from '../../src/onnx/index.ts';
import { costOf, parametersOf } from '../../src/prune/cost.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { stream } from '../../src/util/random.ts';
import { couplingOf, everything, outputsOf, randomPlan } from './nets.ts';
import { type NetPlan, netPlans, randomNet } from './random-nets.ts';

const soak = Number(process.env.S2H_SOAK ?? 1);
/** Printed by fast-check when a property fails; give it as S2H_SEED to see the same graphs again. */
const seed = Number(process.env.S2H_SEED ?? 20_261_126);
const runs = (count: number) => ({ numRuns: count * soak, seed });

const planOf = (net: NetPlan, model: OnnxModel) => {
  const coupling = couplingOf(model);
  return { coupling, kept: randomPlan(coupling, stream(net.seed, 'plan')) };
};
test('a cut file gives exactly what the full one gives with the consumers zeroed', async () => {
  await fc.assert(
    fc.asyncProperty(netPlans, async net => {
      const model = randomNet(net);
      const { coupling, kept } = planOf(net, model);
      const [full, cut] = [await outputsOf(zeroConsumers(coupling, kept)), await outputsOf(cutModel(coupling, kept))];
      expect(cut).toEqual(full);
    }),
    runs(200),
  );
});

test('with nothing to cut the file stays the same, byte for byte', () => {
  fc.assert(
    fc.property(netPlans, net => {
      const model = randomNet(net);
      const coupling = couplingOf(model);
      expect(cutModel(coupling, everything(coupling))).toBe(model);
    }),
    runs(50),
  );
});

test('the costs of a cut file are those that were promised', () => {
  fc.assert(
    fc.property(netPlans, net => {
      const model = randomNet(net);
      const { coupling, kept } = planOf(net, model);
      const counts = kept.map(channels => channels.length);
      const cut = couplingOf(cutModel(coupling, kept));
      expect(costOf(cut, 'macs').full).toBeCloseTo(costOf(coupling, 'macs').at(counts), 6);
      const elements = [...parametersOf(coupling.graph).keys()].map(name => elementCount(cut.graph.tensors.get(name)!));
      const left = elements.reduce((a, b) => a + b, 0);
      expect(costOf(coupling, 'params').at(counts)).toBeCloseTo(left, 6);
    }),
    runs(100),
  );
});

test('the nets have what cuts are about', () => {
  const found = new Set<string>();
  fc.assert(
    fc.property(netPlans, net => {
      const model = randomNet(net);
      const { coupling, kept } = planOf(net, model);
      const cut = cutModel(coupling, kept);
      const made = new Set(model.graph.nodes.map(node => node.output[0]));
      for (const { opType, output, input } of cut.graph.nodes) {
        if (opType !== 'Gather' || !input[1].endsWith('_indices')) continue;
        found.add(made.has(output[0]) ? 'a node that became a Gather' : 'a Gather in front of a node');
      }
      if (cut.graph.nodes.length < model.graph.nodes.length) found.add('nodes that were left out');
      if (coupling.groups.length > 4) found.add('many groups');
      if (coupling.groups.some(({ members }) => members.some(({ multiplicity }) => multiplicity === 2))) {
        found.add('channels that lie twice on an axis');
      }
    }),
    { ...runs(400), seed: 1 },
  );
  expect([...found].sort()).toEqual([
    'a Gather in front of a node',
    'a node that became a Gather',
    'channels that lie twice on an axis',
    'many groups',
    'nodes that were left out',
  ]);
});
