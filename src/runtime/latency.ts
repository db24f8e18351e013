import { UserError } from '../util/errors.ts';
import { median, quantile } from '../util/stats.ts';
import { allowedThreads } from '../util/threads.ts';
import { finiteInputs } from './inputs.ts';
import { type BoundRun, type Optimize, openSession, type Session } from './session.ts';

export interface LatencyOptions {
  /** 1 and 32 by default. */
  readonly batches?: readonly number[];
  /** 1 and `all` by default; `all` are those that affinity and quota allow. */
  readonly threads?: readonly (number | 'all')[];
  /** Measuring time per file and setting; 2 by default. */
  readonly seconds?: number;
  /** Exactly so many runs per file and setting, instead of a time. */
  readonly runs?: number;
  /** Shapes of inputs with symbolic axes besides the first, by input; for all files that have the input. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  readonly optimize?: Optimize;
  /** Of the random inputs. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  /** Called before each setting. */
  readonly onProgress?: (setting: { threads: number; batch: number; step: number; steps: number }) => void;
}

/** One file under one setting. */
export interface LatencyRow {
  readonly path: string;
  readonly batch: number;
  readonly threads: number;
  /** Why this file did not run in this setting; the numbers are missing then. */
  readonly notRun?: string;
  readonly runs?: number;
  readonly medianMs?: number;
  readonly p10Ms?: number;
  readonly p90Ms?: number;
  /** Times faster than the first file: the median over rounds of its time in the round divided by this file's. */
  readonly speedup?: number;
}

export interface Latency {
  readonly rows: readonly LatencyRow[];
  /** The number of threads that `all` stands for, and why. */
  readonly allowedThreads: { readonly threads: number; readonly why: string };
  readonly optimize: Optimize;
}

const warmUps = 3;
const fewestRuns = 5;

/**
 * Latency of files side by side in ONNX Runtime. Within a setting the files take turns, in changing order, so that
 * whatever else the machine does hits all of them; their ratio is taken round by round. Inputs are random and finite.
 * A setting that a file cannot run (a batch that it fixes otherwise) is reported as not run.
 * @throws UserError E_SHAPE when an axis has no length, E_RUNTIME when a file does not load, E_NO_RUNTIME
 */
export async function measureLatency(paths: readonly string[], options: LatencyOptions = {}): Promise<Latency> {
  const { batches = [1, 32], optimize = 'all' } = options;
  const allowed = allowedThreads();
  const counts = (options.threads ?? [1, 'all']).map(count => (count === 'all' ? allowed.threads : count));
  const settings = [...new Set(counts)].map(threads => ({ threads, batches: [...new Set(batches)] }));
  const steps = settings.reduce((sum, setting) => sum + setting.batches.length, 0);
  const rows: LatencyRow[] = [];
  let step = 0;
  for (const { threads, batches } of settings) {
    const sessions: Session[] = [];
    try {
      for (const path of paths) sessions.push(await openSession(path, { threads, optimize }));
      if (step === 0) checkShapeNames(sessions, options);
      for (const batch of batches) {
        options.onProgress?.({ threads, batch, step: step++, steps });
        rows.push(...(await sideBySide(sessions, batch, options)));
      }
    } finally {
      for (const session of sessions) await session.dispose();
    }
  }
  return { rows, allowedThreads: allowed, optimize };
}

interface Candidate {
  readonly run: BoundRun;
  readonly timesMs: number[];
}

async function sideBySide(sessions: readonly Session[], batch: number, options: LatencyOptions): Promise<LatencyRow[]> {
  const prepared = await Promise.all(sessions.map(session => prepare(session, batch, options)));
  const running = prepared.filter(candidate => typeof candidate !== 'string');
  await takeTurns(running, options);
  for (const { run } of running) await run.dispose();
  const [first] = prepared;
  return sessions.map((session, i) => {
    const setting = { path: session.name, batch, threads: session.threads };
    const candidate = prepared[i];
    if (typeof candidate === 'string') return { ...setting, notRun: candidate };
    const { timesMs } = candidate;
    return {
      ...setting,
      runs: timesMs.length,
      medianMs: median(timesMs),
      p10Ms: quantile(timesMs, 0.1),
      p90Ms: quantile(timesMs, 0.9),
      ...(typeof first === 'string' ? {} : { speedup: median(timesMs.map((time, k) => first.timesMs[k] / time)) }),
    };
  });
}

/** Inputs for this batch, and the runs that are not timed; or why the file cannot run it. */
async function prepare(session: Session, batch: number, options: LatencyOptions): Promise<Candidate | string> {
  const fixed = fixedBatch(session);
  if (fixed !== undefined && fixed !== batch) return `the file's batch is fixed at ${fixed}`;
  const own = Object.entries(options.shapes ?? {}).filter(([name]) => session.inputs.some(i => i.name === name));
  const feeds = finiteInputs(session.inputs, { batch, shapes: Object.fromEntries(own), seed: options.seed });
  try {
    const run = await session.bind(feeds);
    for (let i = 0; i < warmUps; i++) {
      options.signal?.throwIfAborted();
      await run.time();
    }
    return { run, timesMs: [] };
  } catch (error) {
    // A file that cannot run at all is an error; one that only holds another batch somewhere inside is not.
    if (batch === 1 || !(error instanceof UserError)) throw error;
    return error.what;
  }
}

/** The length of the first axis when no input leaves it open. */
function fixedBatch(session: Session): number | undefined {
  const first = session.inputs.map(input => input.shape[0]).filter(length => length !== undefined);
  return first.length > 0 && first.every(length => typeof length === 'number') ? first[0] : undefined;
}

async function takeTurns(candidates: readonly Candidate[], options: LatencyOptions): Promise<void> {
  if (candidates.length === 0) return;
  const { runs, seconds = 2 } = options;
  const end = performance.now() + seconds * 1000 * candidates.length;
  for (let round = 0; runs === undefined ? round < fewestRuns || performance.now() < end : round < runs; round++) {
    for (let turn = 0; turn < candidates.length; turn++) {
      options.signal?.throwIfAborted();
      const { run, timesMs } = candidates[(round + turn) % candidates.length];
      timesMs.push(await run.time());
    }
  }
}

function checkShapeNames(sessions: readonly Session[], { shapes = {} }: LatencyOptions): void {
  const names = new Set(sessions.flatMap(session => session.inputs.map(input => input.name)));
  const stranger = Object.keys(shapes).find(name => !names.has(name));
  if (stranger !== undefined)
    throw new UserError('E_SHAPE', `No file has an input '${stranger}'.`, {
      fix: `The inputs are ${[...names].join(', ')}.`,
      usage: true,
    });
}
