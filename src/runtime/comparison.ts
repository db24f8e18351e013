import type { OnnxModel } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import { type Agreement, agreementOf, scaleOf, selectFrom } from './agreement.ts';
import type { Behind, ComparedValue, ComparedValues } from './compared.ts';
import { type ImageBatch, imageFeeder } from './images.ts';
import { finiteInputs } from './inputs.ts';
import { openModel, type RuntimeTensor, type RuntimeType, type Session } from './session.ts';
import { partOf, withOutputs } from './split.ts';

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
export interface Pair extends Pick<ComparedValues, 'values' | 'behind'> {
  readonly full: OnnxModel;
  readonly small: OnnxModel;
}

/** What was measured, value by value and run by run. */
export interface Comparison {
  readonly inputs: number;
  readonly agreements: readonly Measured[];
  /** What the runtime says where the small model does not run. */
  readonly failure?: string;
  /** Why nothing behind the choices was compared. */
  readonly unsplit?: string;
  readonly notes: readonly string[];
}

export interface Measured {
  readonly value: ComparedValue;
  readonly type: RuntimeType;
  readonly runs: readonly Agreement[];
  /**
   * By how much of its scale the full model's own answer changes when the runtime's optimiser has it computed in another
   * order, on the inputs with the largest error. Measured where an error is above the limit, else 0.
   */
  readonly rounding: number;
}

/**
 * Run two models on the same inputs, on one thread and with the graph as it is written; then what is behind their choices,
 * both with the full model's. Whether the runtime's optimiser changes what either answers is checked on the first inputs.
 * @throws UserError those of `openModel`, `finiteInputs` and `imageFeeder` about the full model
 */
export async function compareModels(pair: Pair, limit: number, request: ComparisonInputs): Promise<Comparison> {
  const { behind } = pair;
  const whole = stageOf(pair, pair.values);
  const stages = [whole];
  let unsplit: string | undefined;
  let first: Probe | undefined;
  let inputs = 0;
  const result = (failure?: string): Comparison => {
    const agreements = stages.flatMap(stage => stage.entries);
    return { inputs, agreements, failure, unsplit, notes: [] };
  };
  const given = behind?.given.map(value => value.name) ?? [];
  const full = await openModel(withOutputs(whole.full, [...whole.names, ...given]), { optimize: 'none' });
  const opened = [full];
  try {
    const small = await attempt(() => openModel(withOutputs(pair.small, whole.names), { optimize: 'none' }));
    if (typeof small === 'string') return result(`The small file does not load: ${small}`);
    opened.push(small);
    let second: { stage: Stage; full: Session; small: Session } | undefined;
    if (behind) {
      const stage = stageBehind(pair, behind, full);
      const part = stage ? await attempt(() => openModel(stage.full, { optimize: 'none' })) : 'they are no tensors';
      if (!stage || typeof part === 'string') unsplit = String(part);
      else {
        opened.push(part);
        const other = await attempt(() => openModel(stage.small, { optimize: 'none' }));
        if (typeof other === 'string')
          return result(`What is behind choices does not load in the small file: ${other}`);
        opened.push(other);
        second = { stage, full: part, small: other };
        stages.push(stage);
      }
    }
    for await (const { feeds, count } of feedsOf(full, request)) {
      request.signal?.throwIfAborted();
      const before = await answersOf(full, feeds, whole.names);
      const after = await attempt(() => answersOf(small, feeds, whole.names));
      if (typeof after === 'string') return result(`The small file does not run: ${after}`);
      measure(whole, feeds, before, after, limit);
      first ??= { feeds, before, after };
      if (second) {
        const failure = await runBehind(second.stage, second, full, feeds, behind!, limit);
        if (failure?.of === 'small')
          return result(`What is behind choices does not run in the small file: ${failure.why}`);
        if (failure) {
          unsplit = failure.why;
          stages.pop();
          second = undefined;
        }
      }
      inputs += count;
      request.onProgress?.(inputs);
    }
  } finally {
    for (const session of opened) await session.dispose();
  }
  for (const stage of stages) await measureRounding(stage);
  return { ...result(), notes: first ? await contradictions(pair, first, limit) : [] };
}

/** Two models that run on the same feeds, and what was measured of them. */
interface Stage {
  readonly full: OnnxModel;
  readonly small: OnnxModel;
  readonly names: readonly string[];
  readonly entries: Entry[];
}

interface Entry extends Measured {
  type: RuntimeType;
  readonly runs: Agreement[];
  rounding: number;
  /** The largest error above the limit, what was fed, and what the full model answered. */
  worst?: { readonly error: number; readonly feeds: Feeds; readonly answer: RuntimeTensor };
}

const stageOf = ({ full, small }: Pick<Pair, 'full' | 'small'>, values: readonly ComparedValue[]): Stage => ({
  full: withOutputs(
    full,
    values.map(({ name }) => name),
  ),
  small: withOutputs(
    small,
    values.map(({ name }) => name),
  ),
  names: values.map(({ name }) => name),
  entries: values.map(value => ({ value, type: 'float32', runs: [], rounding: 0 })),
});

/** What is behind the choices, with their answers as inputs; null: the runtime cannot feed one of these. */
function stageBehind({ full, small }: Pair, { given, values }: Behind, session: Session): Stage | null {
  const found = new Map(session.outputs.map(({ name, type }) => [name, type]));
  const types = new Map<string, RuntimeType>();
  for (const { name } of given) {
    const type = found.get(name);
    if (!type) return null;
    types.set(name, type);
  }
  const names = values.map(({ name }) => name);
  return stageOf({ full: partOf(full, types, names), small: partOf(small, types, names) }, values);
}

async function runBehind(
  stage: Stage,
  sessions: { readonly full: Session; readonly small: Session },
  whole: Session,
  feeds: Feeds,
  { given }: Behind,
  limit: number,
): Promise<{ readonly of: 'full' | 'small'; readonly why: string } | null> {
  const names = given.map(({ name }) => name);
  const chosen = await attempt(() => whole.run(feeds, names));
  if (typeof chosen === 'string') return { of: 'full', why: chosen };
  const left = Object.fromEntries(given.map(({ name, indices }) => [name, selectFrom(chosen[name], indices)]));
  const fullFeeds = feedsFor(sessions.full, { ...feeds, ...chosen });
  const before = await attempt(() => sessions.full.run(fullFeeds, stage.names));
  if (typeof before === 'string') return { of: 'full', why: before };
  const after = await attempt(() => sessions.small.run(feedsFor(sessions.small, { ...feeds, ...left }), stage.names));
  if (typeof after === 'string') return { of: 'small', why: after };
  measure(stage, fullFeeds, before, after, limit);
  return null;
}

/** Where choices look at inputs, no value comes before them; the runtime takes no empty list. */
const answersOf = async (session: Session, feeds: Feeds, names: readonly string[]): Promise<Results> =>
  names.length > 0 ? session.run(feeds, names) : {};

const feedsFor = ({ inputs }: Session, feeds: Feeds): Feeds =>
  Object.fromEntries(inputs.map(({ name }) => [name, feeds[name]]));

/** A part of an output counts from this share of the output's scale on: below it there is what is left of its roundings. */
const leastShare = 1e-3;

function measure({ entries }: Stage, feeds: Feeds, before: Results, after: Results, limit: number): void {
  for (const entry of entries) {
    const { name, indices, within } = entry.value;
    const answer = before[name];
    const around = within === undefined ? undefined : before[within];
    entry.type = answer.type;
    const run = agreementOf(selectFrom(answer, indices), after[name], around ? leastShare * scaleOf(around) : 0);
    entry.runs.push(run);
    if (run.maxRelError > Math.max(limit, entry.worst?.error ?? 0))
      entry.worst = { error: run.maxRelError, feeds, answer };
  }
}

/** How much rounding each value shows that is off by more than the limit, on the inputs where it is off the most. */
async function measureRounding({ full, entries }: Stage): Promise<void> {
  const byFeeds = new Map<Feeds, Entry[]>();
  for (const entry of entries) {
    if (!entry.worst) continue;
    const { feeds } = entry.worst;
    byFeeds.set(feeds, [...(byFeeds.get(feeds) ?? []), entry]);
  }
  if (byFeeds.size === 0) return;
  await attempt(() =>
    optimised(full, async session => {
      for (const [feeds, worst] of byFeeds) {
        const other = await session.run(
          feeds,
          worst.map(({ value }) => value.name),
        );
        for (const entry of worst) {
          const { scale } = entry.runs.find(run => run.maxRelError === entry.worst!.error)!;
          entry.rounding = agreementOf(entry.worst!.answer, other[entry.value.name], scale).maxRelError;
        }
      }
      return {};
    }),
  );
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
  const names = pair.values.map(({ name }) => name);
  for (const [which, model, plain] of [
    ['full', pair.full, before],
    ['small', pair.small, after],
  ] as const) {
    const found = await attempt(() => runOptimised(withOutputs(model, names), feeds));
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

const runOptimised = (model: OnnxModel, feeds: Feeds): Promise<Results> =>
  optimised(model, session => session.run(feeds));

async function optimised<T>(model: OnnxModel, use: (session: Session) => Promise<T>): Promise<T> {
  const session = await openModel(model, { optimize: 'all' });
  try {
    return await use(session);
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
