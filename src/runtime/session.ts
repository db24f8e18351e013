import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { checkExternal } from '../onnx/external-check.ts';
import type { OnnxModel } from '../onnx/model.ts';
import { readModel } from '../onnx/read.ts';
import { writeModel } from '../onnx/write.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { type Answers, ChildEnded, type Order, type RuntimeChild, startChild } from './child.ts';
import { indexBounds } from './index-bounds.ts';

/** What ONNX Runtime can feed and fetch; bfloat16 and 8-bit floats are not among them. */
export interface RuntimeData {
  float32: Float32Array;
  float64: Float64Array;
  /** The 16 bits of each number. */
  float16: Uint16Array;
  int8: Int8Array;
  uint8: Uint8Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int64: BigInt64Array;
  uint64: BigUint64Array;
  /** 0 or 1 each. */
  bool: Uint8Array;
  string: string[];
  /** Two to a byte. */
  uint4: Uint8Array;
  int4: Int8Array;
}

export type RuntimeType = keyof RuntimeData;

export interface RuntimeTensor<T extends RuntimeType = RuntimeType> {
  readonly type: T;
  readonly shape: readonly number[];
  readonly data: RuntimeData[T];
}

/** A declared input or output. */
export interface RuntimeValue {
  readonly name: string;
  /** null: a sequence, map or optional. */
  readonly type: RuntimeType | null;
  /** Axes of unknown length by their symbol, which may be ''. Also empty when the file does not say the rank. */
  readonly shape: readonly (number | string)[];
  /** Of integers that look something up: how many there are to look up. */
  readonly below?: number;
}

/** `none` runs the graph as it is written: the optimiser of some versions is wrong on some graphs. */
export type Optimize = 'all' | 'none';

export interface SessionOptions {
  /** Threads inside an operator; 1 by default. Operators run one after the other. */
  readonly threads?: number;
  /** `all` by default. */
  readonly optimize?: Optimize;
  /**
   * How long loading and a run may take before the file counts as one that hangs the runtime; by default two minutes,
   * for a run 15 s more for every entry of the first axis. The environment variable S2H_RUNTIME_SECONDS goes first.
   */
  readonly seconds?: number;
}

/** Runs on inputs that stay where the file is loaded. */
export interface BoundRun {
  /** Run once. @returns milliseconds, without the way there and back. @throws UserError E_RUNTIME */
  time(): Promise<number>;
  dispose(): Promise<void>;
}

/** One file, loaded in ONNX Runtime on the CPU, in a process of its own (child.ts). */
export interface Session {
  /** The file, or what was given as its name. */
  readonly name: string;
  readonly threads: number;
  readonly optimize: Optimize;
  /** What has to be fed: initializers that the file lists as inputs too are not among them. */
  readonly inputs: readonly RuntimeValue[];
  readonly outputs: readonly RuntimeValue[];
  /**
   * Compute `outputs`, all by default.
   * @throws UserError E_RUNTIME when a feed does not fit or an operator fails
   */
  run(
    feeds: Readonly<Record<string, RuntimeTensor>>,
    outputs?: readonly string[],
  ): Promise<Record<string, RuntimeTensor>>;
  /**
   * Keep inputs where the file runs, to time runs on them.
   * @throws UserError E_RUNTIME when the feeds do not fit
   */
  bind(feeds: Readonly<Record<string, RuntimeTensor>>): Promise<BoundRun>;
  /** Free the session's memory; it cannot run afterwards. */
  dispose(): Promise<void>;
}

/**
 * Load a file in ONNX Runtime. From its path, since a buffer would double the memory.
 * @throws UserError E_NO_RUNTIME when onnxruntime-node is not installed; E_RUNTIME when the file does not load, or ends
 *   or hangs the process that it is loaded in; before that those of `readModel` and `checkExternal`
 */
export async function openSession(path: string, options: SessionOptions = {}): Promise<Session> {
  // The runtime opens whatever the file names.
  const model = readModel(path);
  checkExternal(model);
  return open(path, path, model, options);
}

/**
 * Load a model that is not in a file, through a temporary one.
 * @param name for errors
 * @throws as {@link openSession}
 */
export async function openModel(model: OnnxModel, options: SessionOptions = {}, name = model.path): Promise<Session> {
  const folder = mkdtempSync(join(tmpdir(), 's2hpruner-'));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 2 });
  try {
    const path = join(folder, 'model.onnx');
    writeModel(model, path);
    return await open(path, name ?? model.graph.name, model, options);
  } finally {
    remove();
  }
}

/** The installed version of ONNX Runtime. @throws UserError E_NO_RUNTIME */
export async function runtimeVersion(): Promise<string> {
  return asked(currentChild(), { op: 'version' }, limitOf({}, 0), 'ONNX Runtime', '', 'could not start');
}

let child: RuntimeChild | undefined;

/** All sessions share one child; after a file has ended it, the next session gets a new one. */
function currentChild(): RuntimeChild {
  if (!child || child.ended) child = startChild();
  return child;
}

async function open(path: string, name: string, model: OnnxModel, options: SessionOptions): Promise<Session> {
  const { threads = 1, optimize = 'all' } = options;
  if (!Number.isInteger(threads) || threads < 1) throw new RangeError(`${threads} threads`);
  const child = currentChild();
  const ask = <O extends Order>(order: O, seconds: number, what: string) =>
    asked(child, order, seconds, name, path, what);
  const loading = { op: 'open', path: resolve(path), threads, optimize } as const;
  const { session, inputs, outputs } = await ask(loading, limitOf(options, 0), 'could not load');
  const bounds = indexBounds(model);
  return {
    name,
    threads,
    optimize,
    inputs: inputs.map(input => ({ ...input, below: bounds.get(input.name) })),
    outputs,
    async run(feeds, wanted) {
      const order = { op: 'run', session, feeds: Object.entries(feeds), outputs: wanted } as const;
      const results = await ask(order, limitOf(options, entriesOf(feeds)), 'could not run');
      return record(results);
    },
    async bind(feeds) {
      const seconds = limitOf(options, entriesOf(feeds));
      const bound = await ask({ op: 'bind', session, feeds: Object.entries(feeds) }, seconds, 'could not run');
      return {
        time: () => ask({ op: 'time', bound }, seconds, 'could not run'),
        dispose: () => ask({ op: 'unbind', bound }, seconds, 'could not free'),
      };
    },
    async dispose() {
      if (!child.ended) await ask({ op: 'close', session }, limitOf(options, 0), 'could not free').catch(() => {});
    },
  };
}

/** Values by name, whatever the names are. */
const record = (results: readonly (readonly [string, RuntimeTensor])[]): Record<string, RuntimeTensor> =>
  Object.fromEntries(results);

/** Entries of the first axis that go in at once. */
const entriesOf = (feeds: Readonly<Record<string, RuntimeTensor>>): number =>
  Math.max(0, ...Object.values(feeds).map(({ shape }) => shape[0] ?? 1));

/** Seconds after which an order counts as stuck. */
function limitOf({ seconds }: SessionOptions, entries: number): number {
  const set = Number(process.env.S2H_RUNTIME_SECONDS);
  return set > 0 ? set : (seconds ?? 120 + 15 * entries);
}

async function asked<O extends Order>(
  child: RuntimeChild,
  order: O,
  seconds: number,
  name: string,
  path: string,
  what: string,
): Promise<Answers[O['op']]> {
  try {
    return await child.ask(order, seconds);
  } catch (error) {
    if (error instanceof UserError) throw error;
    const reason = messageOf(error).trim().split('\n')[0];
    const shown = path ? reason.replaceAll(resolve(path), name).replaceAll(path, name) : reason;
    throw new UserError('E_RUNTIME', `ONNX Runtime ${what} ${name}: ${shown}`, {
      where: name,
      fix: error instanceof ChildEnded ? error.fix : undefined,
      cause: error,
    });
  }
}
