import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import type { OnnxModel } from '../onnx/model.ts';
import { writeModel } from '../onnx/write.ts';
import { messageOf, UserError } from '../util/errors.ts';

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
}

/** `none` runs the graph as it is written: the optimiser of some versions is wrong on some graphs. */
export type Optimize = 'all' | 'none';

export interface SessionOptions {
  /** Threads inside an operator; 1 by default. Operators run one after the other. */
  readonly threads?: number;
  /** `all` by default. */
  readonly optimize?: Optimize;
}

/** One file, loaded in ONNX Runtime on the CPU. */
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
  /** Free the session's memory; it cannot run afterwards. */
  dispose(): Promise<void>;
}

type Runtime = typeof import('onnxruntime-node');

/** Only `fatal`: errors are thrown with their reason, and warnings are not for the user. */
const silent = 4;
/** The version that the project is tested with. */
const pinned = '1.30.0';

/**
 * Load a file in ONNX Runtime. From its path, since a buffer would double the memory.
 * @throws UserError E_NO_RUNTIME when onnxruntime-node is not installed, E_RUNTIME when the file does not load
 */
export async function openSession(path: string, options: SessionOptions = {}): Promise<Session> {
  return open(path, path, options);
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
    return await open(path, name ?? model.graph.name, options);
  } finally {
    remove();
  }
}

/** The installed version of ONNX Runtime. @throws UserError E_NO_RUNTIME */
export async function runtimeVersion(): Promise<string> {
  const { env } = await loadRuntime();
  return env.versions.node ?? env.versions.common;
}

async function open(path: string, name: string, options: SessionOptions): Promise<Session> {
  const { threads = 1, optimize = 'all' } = options;
  if (!Number.isInteger(threads) || threads < 1) throw new RangeError(`${threads} threads`);
  const { InferenceSession, Tensor } = await loadRuntime();
  const session = await InferenceSession.create(path, {
    executionProviders: ['cpu'],
    // With explicit counts the runtime does not pin its threads, which fails where only some CPUs are allowed.
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: optimize === 'all' ? 'all' : 'disabled',
    logSeverityLevel: silent,
    // Threads that spin between operators steal the CPU from everything else in the process.
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
  }).catch(error => {
    throw runtimeError(name, 'ONNX Runtime could not load', path, error);
  });
  const allOutputs = session.outputNames;

  return {
    name,
    threads,
    optimize,
    inputs: session.inputMetadata.map(describe),
    outputs: session.outputMetadata.map(describe),
    async run(feeds, outputs = allOutputs) {
      try {
        const given = Object.entries(feeds).map(([key, { type, data, shape }]) => [
          key,
          new Tensor(type, data as Float32Array, shape),
        ]);
        const results = await session.run(Object.fromEntries(given), outputs, { logSeverityLevel: silent });
        return Object.fromEntries(outputs.map(output => [output, fetched(results[output])]));
      } catch (error) {
        throw runtimeError(name, 'ONNX Runtime could not run', path, error);
      }
    },
    dispose: () => session.release(),
  };
}

const describe = (value: InferenceSession.ValueMetadata): RuntimeValue =>
  value.isTensor
    ? { name: value.name, type: value.type, shape: value.shape }
    : { name: value.name, type: null, shape: [] };

function fetched(tensor: InferenceSession.ReturnType[string]): RuntimeTensor {
  // Newer Node versions have a Float16Array; its bits are wanted.
  const data =
    tensor.type === 'float16' && !(tensor.data instanceof Uint16Array)
      ? bitsOf(tensor.data as unknown as ArrayBufferView)
      : tensor.data;
  return { type: tensor.type, shape: tensor.dims, data } as RuntimeTensor;
}

const bitsOf = (view: ArrayBufferView): Uint16Array =>
  new Uint16Array(view.buffer, view.byteOffset, view.byteLength / 2);

let runtime: Promise<Runtime> | undefined;

function loadRuntime(): Promise<Runtime> {
  // It would keep a device id and a database in the user's cache, and report.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  runtime ??= import('onnxruntime-node').then(
    // Types come from the package, its members from the CommonJS default export where Node does not name them.
    module => {
      const loaded = 'InferenceSession' in module ? module : (module as { default: Runtime }).default;
      loaded.env.logLevel = 'fatal';
      return loaded;
    },
    error => {
      runtime = undefined;
      throw missingRuntime(error);
    },
  );
  return runtime;
}

function missingRuntime(error: unknown): UserError {
  const absent = (error as { code?: unknown })?.code === 'ERR_MODULE_NOT_FOUND';
  // On Linux the package's install script would fetch CUDA libraries and fail without network.
  const skip = process.platform === 'linux' ? 'ONNXRUNTIME_NODE_INSTALL=skip ' : '';
  return new UserError(
    'E_NO_RUNTIME',
    absent
      ? 'ONNX Runtime (the npm package onnxruntime-node) is not installed.'
      : `ONNX Runtime does not load here (${process.platform} ${process.arch}): ${firstLine(error)}.`,
    { fix: `Install it: ${skip}npm install onnxruntime-node@${pinned}`, cause: error },
  );
}

function runtimeError(name: string, what: string, path: string, error: unknown): UserError {
  const reason = firstLine(error).replaceAll(path, name);
  return new UserError('E_RUNTIME', `${what} ${name}: ${reason}`, { where: name, cause: error });
}

const firstLine = (error: unknown): string => messageOf(error).trim().split('\n')[0];
