import fc from 'fast-check';
import { vi } from 'vitest';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { type NetPlan, netPlans, randomNet } from './random-nets.ts';

const { S2H_SOAK, S2H_SEED, S2H_PATH } = process.env;
/** A soak begins somewhere else every time. */
const start = { seed: Number(S2H_SEED ?? (S2H_SOAK ? Date.now() % 2 ** 31 : 20_261_126)), path: S2H_PATH ?? '' };

// Shrinking what fails takes a while, and a soak takes what it takes.
vi.setConfig({ testTimeout: S2H_SOAK ? 0 : 600_000 });

/** A random net with its plan; fast-check shows it as the list of its nodes. */
export interface RandomNet {
  readonly plan: NetPlan;
  readonly model: OnnxModel;
}

/** Random nets; they shrink to small ones. */
export const nets: fc.Arbitrary<RandomNet> = netPlans.map(plan => {
  const model = randomNet(plan);
  return { plan, model, [fc.toStringMethod]: () => `${JSON.stringify(plan)}\n${listing(model)}\n` };
});

/** Where the random nets begin, and which of their shrunk forms is meant. */
interface Start {
  readonly seed: number;
  readonly path: string;
}

/**
 * Hold a property against `count` random nets, or against as many as a soak asks for.
 * @throws Error with the shrunk net and how to see it again: S2H_SEED and S2H_PATH
 */
export async function holds(
  count: number,
  property: (net: RandomNet) => Promise<void>,
  { seed, path }: Start = start,
): Promise<void> {
  await fc.assert(fc.asyncProperty(nets, property), {
    numRuns: S2H_SOAK ? Number(S2H_SOAK) : count,
    seed,
    path,
    includeErrorInReport: true,
    reporter(details) {
      if (!details.failed) return;
      const again = `Again: S2H_SEED=${details.seed} S2H_PATH=${details.counterexamplePath}`;
      throw new Error(`${fc.defaultReportMessage(details)}\n${again}`);
    },
  });
}

/** The nodes of a model, one a line, with what it knows of its constants. */
export function listing({ graph }: OnnxModel): string {
  const constants = graph.initializers.map(({ name, dims }) => `${name} [${dims}]`);
  const nodes = graph.nodes.map(({ output, opType, input, attribute }) => {
    const attributes = attribute.map(({ name, i, ints, f }) => `${name}=${ints.length ? ints : i || f}`);
    return `${output} = ${opType}(${[...input, ...attributes].join(', ')})`;
  });
  return [...constants, ...nodes].join('\n');
}
