import { expect, test } from 'vitest';
import {
  changeNode,
  floats,
  isInteger,
  type OnnxModel,
  type OnnxTensor,
  withFloats,
  withName,
} from '../../src/onnx/index.ts';
import { changeMessage } from '../../src/onnx/visit.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import type { Coupling } from '../../src/prune/groups.ts';
import { type KeptChannels, keptIndices } from '../../src/prune/plan.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { certify } from '../../src/runtime/certificate.ts';
import { type Random, stream } from '../../src/util/random.ts';
import { couplingOf, randomPlan } from './nets.ts';
import { holds } from './property.ts';
import { randomNet } from './random-nets.ts';
import { expectSame, run } from './zoo.ts';

test('two cuts one after the other are one cut by the composed plan', async () => {
  const counts = { nets: 0, composed: 0 };
  await holds(400, async ({ plan, model }) => {
    const random = stream(plan.seed, 'twice');
    const coupling = couplingOf(model, plan.options);
    const first = randomPlan(coupling, random);
    const after = couplingOf(cutModel(coupling, first), plan.options);
    const second = randomPlan(after, random);
    const composed = composedPlan(coupling, first, after, second);
    counts.nets++;
    if (!composed) return;
    counts.composed++;
    const [twice, once] = [cutModel(after, second), cutModel(coupling, composed)];
    expectSame('twice', await run(twice, plan.seed), await run(once, plan.seed));
    expect(parameters(twice)).toEqual(parameters(once));
  });
  expect(counts.composed).toBeGreaterThan(0.8 * counts.nets - 10);
});

/**
 * What two plans leave of the first graph's channels; null where the second tells channels apart that the first graph
 * ties: a grouped convolution with one input left in each group has become a depthwise one.
 */
function composedPlan(
  coupling: Coupling,
  first: KeptChannels,
  after: Coupling,
  second: KeptChannels,
): KeptChannels | null {
  const [left, right] = [aliveOf(coupling, first), aliveOf(after, second)];
  const indices = keptIndices(coupling, first);
  const fates = new Map<number, number>();
  for (const { members } of after.groups) {
    for (const { value, axis } of members) {
      const [before, now] = [coupling.channelsOf({ value, axis }), after.channelsOf({ value, axis })];
      const kept = indices({ value, axis });
      for (const [i, channel] of now?.entries() ?? []) {
        if (channel < 0 || !coupling.graph.types.has(value)) continue;
        const original = before?.[kept?.[i] ?? i] ?? -1;
        if (original < 0 || (fates.get(original) ?? right[channel]) !== right[channel]) return null;
        fates.set(original, right[channel]);
      }
    }
  }
  const composed = coupling.groups.map(({ size }, g) =>
    Array.from({ length: size }, (_, i) => i).filter(i => {
      const channel = coupling.offsets[g] + i;
      return left[channel] === 1 && fates.get(channel) !== 0;
    }),
  );
  return composed.some(channels => channels.length === 0) ? null : composed;
}

function aliveOf({ channels, offsets }: Coupling, kept: KeptChannels): Uint8Array {
  const alive = new Uint8Array(channels);
  kept.forEach((own, g) => {
    for (const channel of own) alive[offsets[g] + channel] = 1;
  });
  return alive;
}

/** Rounded constants by name; indices depend on the order in which nodes were replaced. */
const parameters = ({ graph }: OnnxModel) =>
  Object.fromEntries(
    graph.initializers.filter(t => !isInteger(t.dataType)).map(t => [t.name, `[${t.dims}] ${floats(t)}`]),
  );

test('other names and another order of nodes change nothing', () =>
  holds(400, async ({ plan, model }) => {
    const random = stream(plan.seed, 'names');
    const names = new Map<string, string>();
    const rename = (name: string) => {
      if (name && !names.has(name)) names.set(name, `${random.int(1e9)}/${names.size}`);
      return name && names.get(name)!;
    };
    const other = renamed(model, rename, random);
    const [before, after] = [model, other].map(form => couplingOf(form, plan.options));
    const channels = matchedChannels(before, after, rename);
    const kept = randomPlan(before, random);
    const alive = aliveOf(before, kept);
    const same = after.groups.map(({ size }, g) =>
      Array.from({ length: size }, (_, i) => i).filter(i => alive[channels.get(after.offsets[g] + i)!] === 1),
    );
    const results = await run(cutModel(before, kept), plan.seed);
    const wanted = Object.fromEntries(Object.entries(results).map(([name, result]) => [rename(name), result]));
    // Random inputs depend on the names of inputs, so those have to stay.
    expectSame('renamed', await run(cutModel(after, same), plan.seed), wanted);
  }));

/** The same graph under other names, its nodes and initializers in another order. Inputs keep their names. */
function renamed(model: OnnxModel, rename: (name: string) => string, random: Random): OnnxModel {
  const inputs = new Set(model.graph.inputs.map(({ name }) => name));
  const initial = new Set(model.graph.initializers.map(({ name }) => name));
  const to = (name: string) => (inputs.has(name) && !initial.has(name) ? name : rename(name));
  const shuffled = <T>(list: readonly T[]) => Array.from(random.permutation(list.length), i => list[i]);
  const info = <T extends { name: string }>(value: T): T =>
    changeMessage(value, { name: to(value.name) } as Partial<T>);
  return {
    ...model,
    graph: {
      ...model.graph,
      nodes: shuffledNodes(model, random).map(node =>
        changeNode(node, { input: node.input.map(to), output: node.output.map(to), name: rename(node.name) }),
      ),
      initializers: shuffled(model.graph.initializers).map(tensor => withName(tensor, to(tensor.name))),
      inputs: model.graph.inputs.map(info),
      outputs: model.graph.outputs.map(info),
      valueInfo: shuffled(model.graph.valueInfo).map(info),
    },
  };
}

/** The nodes in a random order in which every value is made before it is read. */
function shuffledNodes({ graph }: OnnxModel, random: Random): OnnxModel['graph']['nodes'] {
  const waiting = [...graph.nodes];
  const missing = new Set(waiting.flatMap(node => node.output));
  const done = [];
  while (waiting.length > 0) {
    const ready = waiting.filter(node => !node.input.some(name => missing.has(name)));
    const next = ready[random.int(ready.length)];
    waiting.splice(waiting.indexOf(next), 1);
    for (const name of next.output) missing.delete(name);
    done.push(next);
  }
  return done;
}

/** Channels of the second coupling with those of the first: on every axis the same indices have to go together. */
function matchedChannels(before: Coupling, after: Coupling, rename: (name: string) => string): Map<number, number> {
  const there = new Map<number, number>();
  const back = new Map<number, number>();
  const matches = (channel: number, other: number): boolean => {
    if (channel < 0 || other < 0) return channel === other;
    const fits = (there.get(other) ?? channel) === channel && (back.get(channel) ?? other) === other;
    there.set(other, channel);
    back.set(channel, other);
    return fits;
  };
  for (const [value, { shape }] of before.graph.types) {
    const name = after.graph.types.has(value) ? value : rename(value);
    shape?.forEach((_, axis) => {
      const [a, b] = [before.channelsOf({ value, axis }), after.channelsOf({ value: name, axis })];
      const fits = a ? b !== null && a.every((channel, i) => matches(channel, b[i])) : b === null;
      if (!fits) expect.fail(`axis ${axis} of ${value}: channels ${a} are ${b} in the other order`);
    });
  }
  return there;
}

test('a corrupted plan fails the certificate, and its outputs differ', async () => {
  const counts = { nets: 0, differ: 0 };
  await holds(200, async ({ plan }) => {
    const model = withDistinctWeights(randomNet({ ...plan, weightsInNodes: false }), plan.seed);
    const coupling = couplingOf(unshare(model, operators));
    const random = stream(plan.seed, 'plan');
    const kept = randomPlan(coupling, random);
    const corrupted = corruptedPlan(coupling, kept, random);
    if (!corrupted) return;
    const small = cutModel(coupling, kept);
    const judge = (plan: KeptChannels) => certify({ full: model, small, kept: plan, operators, random: 2, batch: 2 });
    expect(await judge(kept)).toMatchObject({ passed: true });
    expect(await judge(corrupted)).toMatchObject({ passed: false, maxAbsError: null });
    counts.nets++;
    const [full, cut] = [await run(zeroConsumers(coupling, corrupted), 1, false), await run(small, 1, false)];
    if (JSON.stringify(full) !== JSON.stringify(cut)) counts.differ++;
  });
  // The rest is dead: behind a Relu that lets nothing through, say.
  expect(counts.differ).toBeGreaterThan(0.5 * counts.nets - 10);
});

/** A plan that keeps another channel instead of one of its own. */
function corruptedPlan({ groups }: Coupling, kept: KeptChannels, random: Random): KeptChannels | null {
  const free = groups.flatMap(({ size }, g) => (kept[g].length < size ? [g] : []));
  if (free.length === 0) return null;
  const group = free[random.int(free.length)];
  const gone = Array.from({ length: groups[group].size }, (_, i) => i).filter(i => !kept[group].includes(i));
  const changed = kept[group].with(random.int(kept[group].length), gone[random.int(gone.length)]);
  return kept.with(
    group,
    [...changed].sort((a, b) => a - b),
  );
}

/** Weights that no two channels share. */
function withDistinctWeights(model: OnnxModel, seed: number): OnnxModel {
  const random = stream(seed, 'distinct');
  const distinct = (tensor: OnnxTensor) =>
    isInteger(tensor.dataType) || tensor.dims.length < 2
      ? tensor
      : withFloats(
          tensor,
          tensor.dims,
          floats(tensor).map(x => x + 0.1 * random.normal()),
        );
  return { ...model, graph: { ...model.graph, initializers: model.graph.initializers.map(distinct) } };
}
