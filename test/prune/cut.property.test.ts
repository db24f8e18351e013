import fc from 'fast-check';
import { expect, test } from 'vitest';
import { elementCount } from '../../src/onnx/index.ts';
import { costOf, parametersOf } from '../../src/prune/cost.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { stream } from '../../src/util/random.ts';
import { couplingOf, everything, randomPlan } from './nets.ts';
import { holds, nets, type RandomNet } from './property.ts';
import { expectAgreement } from './zoo.ts';

const cutOf = ({ plan, model }: RandomNet) => {
  const coupling = couplingOf(model, plan.options);
  return { coupling, kept: randomPlan(coupling, stream(plan.seed, 'plan')) };
};

test('a cut file computes what the full one does with the consumers zeroed, and with masks at the mask points', () =>
  holds(2000, async net => {
    const { coupling, kept } = cutOf(net);
    await expectAgreement(coupling, kept, { exact: !net.plan.rounds, seed: net.plan.seed });
  }));

test('with nothing to cut the file stays the same, byte for byte', () =>
  holds(300, async ({ plan, model }) => {
    const coupling = couplingOf(model, plan.options);
    expect(cutModel(coupling, everything(coupling))).toBe(model);
  }));

test('the costs of a cut file are those that were promised', () =>
  holds(300, async net => {
    const { coupling, kept } = cutOf(net);
    const counts = kept.map(channels => channels.length);
    const cut = couplingOf(cutModel(coupling, kept));
    expect(costOf(coupling, 'macs').at(counts)).toBeCloseTo(costOf(cut, 'macs').full, 6);
    const codes = [...coupling.graph.tensors.keys()].filter(name => name.endsWith('.codes'));
    const elements = [...parametersOf(coupling.graph).keys(), ...codes].map(name =>
      elementCount(cut.graph.tensors.get(name)!),
    );
    expect(costOf(coupling, 'params').at(counts)).toBeCloseTo(
      elements.reduce((a, b) => a + b, 0),
      6,
    );
  }));

test('the nets have what cuts are about', () => {
  const found = new Map<string, number>();
  const see = (what: string, is = true) => {
    if (is) found.set(what, (found.get(what) ?? 0) + 1);
  };
  for (const net of fc.sample(nets, { numRuns: 600, seed: 1 })) {
    const { coupling, kept } = cutOf(net);
    const cut = cutModel(coupling, kept);
    const made = new Set(net.model.graph.nodes.map(node => node.output[0]));
    const gathers = cut.graph.nodes.filter(({ opType, input }) => opType === 'Gather' && input[1].endsWith('_indices'));
    const isOld = gathers.map(({ output }) => made.has(output[0]));
    for (const type of new Set(net.model.graph.nodes.map(({ opType }) => opType))) see(`operator ${type}`);
    see('any net');
    see('something to cut', coupling.groups.length > 0);
    see('many groups', coupling.groups.length > 4);
    see('a node that became a Gather', isOld.includes(true));
    see('a Gather in front of a node', isOld.includes(false));
    see('nodes that were left out', cut.graph.nodes.length < net.model.graph.nodes.length);
    const multiplicities = coupling.groups.flatMap(({ members }) => members.map(({ multiplicity }) => multiplicity));
    see('channels that lie twice on an axis', multiplicities.includes(2));
  }
  const forms = ['a node that became a Gather', 'a Gather in front of a node', 'nodes that were left out'];
  for (const what of [...forms, 'channels that lie twice on an axis', 'many groups'])
    expect(found.keys()).toContain(what);
  expect(found.get('something to cut')! / found.get('any net')!).toBeGreaterThan(0.8);
  expect([...found.keys()].filter(what => what.startsWith('operator')).length).toBeGreaterThan(50);
});
