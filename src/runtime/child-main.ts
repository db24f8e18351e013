// The program of the child process that ONNX Runtime runs in; child.ts starts it and talks to it.
import { writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Answers, Failure, Feeds, Order, Results } from './child.ts';
import type { RuntimeValue } from './session.ts';

type Runtime = typeof import('onnxruntime-node');

/** Only `fatal`: errors are thrown with their reason, and warnings are not for the user. */
const silent = 4;

const [packageName, parent] = process.argv.slice(2);
/** Of the outputs of one run: more is no answer to anything that is asked for here. */
const mostBytes = 2 ** 30;
const sessions = new Map<number, InferenceSession>();
const bound = new Map<number, { readonly session: InferenceSession; readonly feeds: Record<string, Tensor> }>();
let runtime: Runtime;
let last = 0;

const answers: { [K in Order['op']]: (order: Extract<Order, { op: K }>) => Promise<Answers[K]> } = {
  async version() {
    const { env } = runtime;
    return env.versions.node ?? env.versions.common;
  },
  async open({ path, threads, optimize }) {
    const session = await runtime.InferenceSession.create(path, {
      executionProviders: ['cpu'],
      // With explicit counts the runtime does not pin its threads, which fails where only some CPUs are allowed.
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: optimize === 'all' ? 'all' : 'disabled',
      logSeverityLevel: silent,
      // Threads that spin between operators steal the CPU from everything else on the machine.
      extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
    });
    sessions.set(++last, session);
    return {
      session: last,
      inputs: session.inputMetadata.map(describe),
      outputs: session.outputMetadata.map(describe),
    };
  },
  async run({ session: id, feeds, outputs }) {
    const session = sessions.get(id)!;
    const names = outputs ?? session.outputNames;
    const results = await session.run(tensorsOf(feeds), names, { logSeverityLevel: silent });
    const bytes = names.reduce((sum, name) => sum + byteLengthOf(results[name]), 0);
    if (bytes > mostBytes) throw new Error(`its outputs take ${bytes} bytes, more than ${mostBytes}.`);
    return names.map(name => [name, fetched(results[name])] as const);
  },
  async bind({ session, feeds }) {
    bound.set(++last, { session: sessions.get(session)!, feeds: tensorsOf(feeds) });
    return last;
  },
  async time({ bound: id }) {
    const { session, feeds } = bound.get(id)!;
    const start = performance.now();
    await session.run(feeds, session.outputNames, { logSeverityLevel: silent });
    return performance.now() - start;
  },
  async unbind({ bound: id }) {
    bound.delete(id);
    return undefined;
  },
  async close({ session: id }) {
    await sessions.get(id)?.release();
    sessions.delete(id);
    return undefined;
  },
};

const describe = (value: InferenceSession.ValueMetadata): RuntimeValue =>
  value.isTensor
    ? { name: value.name, type: value.type, shape: value.shape }
    : { name: value.name, type: null, shape: [] };

// An object without a prototype: inputs may be called `__proto__`.
const tensorsOf = (feeds: Feeds): Record<string, Tensor> =>
  feeds.reduce<Record<string, Tensor>>((tensors, [name, { type, data, shape }]) => {
    tensors[name] = new runtime.Tensor(type, data as Float32Array, shape);
    return tensors;
  }, Object.create(null));

function fetched(tensor: InferenceSession.ReturnType[string]): Results[number][1] {
  // Newer Node versions have a Float16Array; its bits are wanted.
  const data =
    tensor.type === 'float16' && !(tensor.data instanceof Uint16Array)
      ? bitsOf(tensor.data as unknown as ArrayBufferView)
      : tensor.data;
  return { type: tensor.type, shape: tensor.dims, data } as Results[number][1];
}

const byteLengthOf = ({ data, size }: InferenceSession.ReturnType[string]): number =>
  ArrayBuffer.isView(data) ? data.byteLength : size;

const bitsOf = (view: ArrayBufferView): Uint16Array =>
  new Uint16Array(view.buffer, view.byteOffset, view.byteLength / 2);

async function load(): Promise<Runtime> {
  // Types come from the package, its members from the CommonJS default export where Node does not name them.
  const module = await import(packageName);
  const loaded: Runtime = 'InferenceSession' in module ? module : module.default;
  loaded.env.logLevel = 'fatal';
  return loaded;
}

async function answer(order: Order): Promise<Answers[Order['op']]> {
  runtime ??= await load().catch(error => {
    throw Object.assign(error, { absent: error?.code === 'ERR_MODULE_NOT_FOUND', load: true });
  });
  const respond = answers[order.op] as (order: Order) => Promise<Answers[Order['op']]>;
  return respond(order);
}

function failureOf(error: unknown): Failure {
  const { load = false, absent = false } = (error ?? {}) as { load?: boolean; absent?: boolean };
  return { message: error instanceof Error ? error.message : String(error), load, absent };
}

/** While the runtime computes, nothing here notices that the parent is gone: a thread does. */
function endWithParent(): void {
  const watch = `setInterval(() => process.ppid === ${Number(parent)} || process.kill(process.pid, 'SIGKILL'), 1000)`;
  new Worker(watch, { eval: true, stdout: true, stderr: true }).unref();
  process.on('disconnect', () => process.exit());
}

/** A file that asks for more memory than there is must cost this process, not another one. */
function dieFirst(): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', '1000');
  } catch {
    // Only Linux has it.
  }
}

dieFirst();
endWithParent();
// Ctrl-C reaches every process of a terminal; the parent says when to end.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
process.on('message', (order: Order) => {
  answer(order).then(
    value => process.send!({ value }),
    error => process.send!({ failure: failureOf(error) }),
  );
});
process.send!({});
