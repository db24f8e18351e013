import { expect, test } from 'vitest';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import type { Coupling, CouplingOptions } from '../../src/prune/groups.ts';
import type { KeptChannels } from '../../src/prune/plan.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { finiteInputs } from '../../src/runtime/inputs.ts';
import { openModel } from '../../src/runtime/session.ts';
import { stream } from '../../src/util/random.ts';
import { maskedModel } from './masked.ts';
import { couplingOf, randomPlan, reasons, sizes } from './nets.ts';

/** What is to be found in a graph of the zoo. */
export interface Expected {
  /** All groups that can be cut: `name: size`. */
  readonly groups: Readonly<Record<string, number>>;
  /**
   * Weights whose channels stay, and why: the node's name and the reason. Those that are not listed have to end in a
   * graph output.
   */
  readonly walls?: Readonly<Record<string, RegExp>>;
  /** Linear operators, Relu, Max and Add on small integers, which have to agree to the last bit (default). */
  readonly exact?: boolean;
  readonly options?: CouplingOptions;
}

/** How far outputs may be apart where arithmetic rounds, in parts of the output's largest value. */
const limit = 1e-4;

/**
 * One graph of the zoo, as a test: its groups and walls are those that are expected; then random uneven cuts give, in ONNX
 * Runtime, what the full graph gives with the consumers' columns zeroed and with masks at the mask points.
 */
export function inZoo(name: string, build: () => OnnxModel, expected: Expected): void {
  const { groups, walls = {}, exact = true, options } = expected;
  test(name, async () => {
    const coupling = couplingOf(build(), options);
    expect(sizes(coupling)).toEqual(groups);
    expectWalls(reasons(coupling), walls);
    const original = await run(coupling.graph.model, 0, exact);
    let mattered = coupling.groups.length === 0;
    for (let seed = 0; seed < 4; seed++) {
      const zeroed = await expectAgreement(coupling, randomPlan(coupling, stream(seed, 'zoo')), { exact, seed });
      mattered ||= JSON.stringify(zeroed) !== JSON.stringify(original);
    }
    expect(mattered, 'removed channels that matter').toBe(true);
  });
}

function expectWalls(found: Readonly<Record<string, string>>, expected: Readonly<Record<string, RegExp>>): void {
  const others = Object.entries(found).filter(([group]) => !(group in expected));
  expect(others.filter(([, reason]) => !/^graph output/.test(reason))).toEqual([]);
  for (const [group, reason] of Object.entries(expected)) {
    expect({ group, reason: found[group] }).toEqual({ group, reason: expect.stringMatching(reason) });
  }
}

type Outputs = Readonly<Record<string, { readonly shape: readonly number[]; readonly data: readonly number[] }>>;

/**
 * A cut by this plan, the zeroed full graph and the masked one have to compute the same.
 * @returns what they compute for the first input
 */
export async function expectAgreement(
  coupling: Coupling,
  kept: KeptChannels,
  { exact = true, seed = 0 }: { readonly exact?: boolean; readonly seed?: number } = {},
): Promise<Outputs> {
  const zeroed = await run(zeroConsumers(coupling, kept), seed, exact);
  expectSame('cut', await run(cutModel(coupling, kept), seed, exact), zeroed, exact);
  // A recurrence sums over its units from step to step, where no mask reaches; nothing trains through one.
  if (!coupling.graph.nodes.some(({ opType }) => ['LSTM', 'GRU', 'RNN'].includes(opType)))
    expectSame('masked', await run(maskedModel(coupling, kept), seed, exact), zeroed, exact);
  return zeroed;
}

/** Outputs have to have the same shapes and, but for roundings, the same elements; -0 is 0. */
export function expectSame(what: string, found: Outputs, wanted: Outputs, exact = true): void {
  for (const [name, { shape, data }] of Object.entries(wanted)) {
    expect({ what, name, shape: found[name]?.shape }).toEqual({ what, name, shape });
    const scale = data.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-6);
    const error = data.reduce((most, x, i) => worse(most, distance(x, found[name].data[i])), 0);
    expect(error, `${what}: largest error of '${name}', whose scale is ${scale}`).toBeLessThanOrEqual(
      exact ? 0 : limit * scale,
    );
  }
}

const distance = (a: number, b: number): number => (Object.is(a, b) ? 0 : Math.abs(a - b));

/** The larger error; what is no number is worst. */
const worse = (a: number, b: number): number => (b <= a ? a : Number.isNaN(b) ? Number.POSITIVE_INFINITY : b);

/** Outputs in ONNX Runtime, without its optimiser and on one thread, for a batch of two. */
export async function run(model: OnnxModel, seed = 0, exact = true): Promise<Outputs> {
  const session = await openModel(model, { optimize: 'none' });
  try {
    const values = exact ? 'small-integers' : 'normal';
    const results = await session.run(finiteInputs(session.inputs, { batch: 2, values, seed }));
    return Object.fromEntries(
      Object.entries(results).map(([name, { shape, data }]) => [
        name,
        { shape, data: Array.from(data as ArrayLike<number | bigint>, Number) },
      ]),
    );
  } finally {
    await session.dispose();
  }
}
