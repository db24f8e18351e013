import { create } from '@bufbuild/protobuf';
import type { OnnxModel } from '../onnx/index.ts';
import { ValueInfoProtoSchema } from '../onnx/onnx_pb.ts';
import { UserError } from '../util/errors.ts';
import { type Agreement, agreementOf, selectFrom } from './agreement.ts';
import type { ComparedValue } from './compared.ts';
import { type ImageBatch, imageFeeder } from './images.ts';
import { finiteInputs } from './inputs.ts';
import { openModel, type RuntimeTensor, type RuntimeType, type Session } from './session.ts';

/** What is fed: random inputs, then images. */
export interface ComparisonInputs {
  /** Real images, compared besides the random inputs; for files that take nothing else. */
  readonly images?: Iterable<ImageBatch> | AsyncIterable<ImageBatch>;
  /** Lengths of symbolic axes besides the first, by input. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** Random inputs (entries of the first axis) in all, 16 by default; at least one run. */
  readonly random?: number;
  /** Length of a symbolic first axis for random inputs; 8 by default. */
  readonly batch?: number;
  /** Of random floats: standard normal by default. */
  readonly values?: 'normal' | 'small-integers';
  readonly seed?: number;
  readonly signal?: AbortSignal;
  /** Called after every run with the number of inputs compared so far. */
  readonly onProgress?: (inputs: number) => void;
}

/** Two models that should compute the same, and what of them is compared. */
export interface Pair {
  readonly full: OnnxModel;
  readonly small: OnnxModel;
  readonly values: readonly ComparedValue[];
}

/** What was measured, value by value and run by run. */
export interface Comparison {
  readonly inputs: number;
  readonly agreements: readonly {
    readonly value: ComparedValue;
    readonly type: RuntimeType;
    readonly runs: Agreement[];
    /**
     * By how much of its scale the full model's own answer changes when the runtime's optimiser has it computed in another
     * order, on the inputs with the largest error. Measured where an error is above the limit, else 0.
     */
    readonly rounding: number;
  }[];
  /** What the runtime says where the small model does not run. */
  readonly failure?: string;
  readonly notes: readonly string[];
}

/**
 * Run two models on the same inputs, on one thread and with the graph as it is written. Whether the runtime's optimiser
 * changes what either answers is checked on the first inputs.
 * @throws UserError those of `openModel`, `finiteInputs` and `imageFeeder` about the full model
 */
export async function compareModels(pair: Pair, limit: number, request: ComparisonInputs): Promise<Comparison> {
  const agreements = pair.values.map(value => ({
    value,
    type: 'float32' as RuntimeType,
    runs: [] as Agreement[],
    rounding: 0,
  }));
  let first: Probe | undefined;
  let worst: { error: number; feeds: Feeds; before: Results } | undefined;
  let inputs = 0;
  const full = await openModel(withOutputs(pair.full, pair.values), { optimize: 'none' });
  try {
    const small = await attempt(() => openModel(withOutputs(pair.small, pair.values), { optimize: 'none' }));
    if (typeof small === 'string')
      return { inputs, agreements, failure: `The small file does not load: ${small}`, notes: [] };
    try {
      for await (const { feeds, count } of feedsOf(full, request)) {
        request.signal?.throwIfAborted();
        const names = pair.values.map(value => value.name);
        const before = await full.run(feeds, names);
        const after = await attempt(() => small.run(feeds, names));
        if (typeof after === 'string')
          return { inputs, agreements, failure: `The small file does not run: ${after}`, notes: [] };
        for (const entry of agreements) {
          const { name, indices } = entry.value;
          entry.type = before[name].type;
          const run = agreementOf(selectFrom(before[name], indices), after[name]);
          entry.runs.push(run);
          if (run.maxRelError > Math.max(limit, worst?.error ?? 0)) worst = { error: run.maxRelError, feeds, before };
        }
        first ??= { feeds, before, after };
        inputs += count;
        request.onProgress?.(inputs);
      }
    } finally {
      await small.dispose();
    }
  } finally {
    await full.dispose();
  }
  if (worst) {
    const { feeds, before } = worst;
    const other = await attempt(() => runOptimised(withOutputs(pair.full, pair.values), feeds));
    if (typeof other !== 'string')
      for (const entry of agreements) {
        const { name } = entry.value;
        entry.rounding = agreementOf(before[name], other[name]).maxRelError;
      }
  }
  return { inputs, agreements, notes: first ? await contradictions(pair, first, limit) : [] };
}

type Feeds = Readonly<Record<string, RuntimeTensor>>;
type Results = Feeds;

/** Random inputs, then the images; `count` of them go in at once. */
async function* feedsOf(session: Session, request: ComparisonInputs): AsyncGenerator<{ feeds: Feeds; count: number }> {
  const { random = 16, batch = 8, shapes, values, seed = 0, images } = request;
  for (let run = 0, inputs = 0; run === 0 || inputs < random; run++) {
    const feeds = finiteInputs(session.inputs, { batch, shapes, values, seed: seed + run });
    const count = Object.values(feeds)[0]?.shape[0] || 1;
    inputs += count;
    yield { feeds, count };
  }
  if (!images) return;
  const slices = imageFeeder(session.inputs, session.name);
  for await (const part of images) for (const { feeds, images: count } of slices(part)) yield { feeds, count };
}

interface Probe {
  readonly feeds: Feeds;
  readonly before: Results;
  readonly after: Results;
}

/** What the runtime answers with its optimiser on, where that is not what it answers with it off. */
async function contradictions(pair: Pair, { feeds, before, after }: Probe, limit: number): Promise<string[]> {
  const notes: string[] = [];
  for (const [which, model, plain] of [
    ['full', pair.full, before],
    ['small', pair.small, after],
  ] as const) {
    const found = await attempt(() => runOptimised(withOutputs(model, pair.values), feeds));
    const what = typeof found === 'string' ? `fails (${found})` : changeOf(plain, found, limit);
    if (!what) continue;
    notes.push(
      `The runtime contradicts itself on this file: its graph optimiser ${what} in the ${which} one. Both are judged without it.`,
    );
  }
  return notes;
}

function changeOf(plain: Results, optimised: Results, limit: number): string | undefined {
  for (const [name, tensor] of Object.entries(plain)) {
    const { maxRelError } = agreementOf(tensor, optimised[name]);
    if (maxRelError > limit) return `changes '${name}' by ${maxRelError.toPrecision(3)} of its scale`;
  }
  return undefined;
}

async function runOptimised(model: OnnxModel, feeds: Feeds): Promise<Results> {
  const session = await openModel(model, { optimize: 'all' });
  try {
    return await session.run(feeds);
  } finally {
    await session.dispose();
  }
}

/** What went wrong in the runtime, as a sentence, instead of an error. */
async function attempt<T extends object>(run: () => Promise<T>): Promise<T | string> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof UserError && error.code === 'E_RUNTIME') return error.what;
    throw error;
  }
}

/** The model with all compared values as outputs. */
function withOutputs(model: OnnxModel, values: readonly ComparedValue[]): OnnxModel {
  const declared = new Set(model.graph.outputs.map(output => output.name));
  const added = values
    .filter(({ name }) => !declared.has(name))
    .map(({ name }) => create(ValueInfoProtoSchema, { name }));
  if (added.length === 0) return model;
  return { ...model, graph: { ...model.graph, outputs: [...model.graph.outputs, ...added] } };
}
