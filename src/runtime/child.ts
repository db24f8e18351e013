import { type ChildProcess, fork } from 'node:child_process';
import { tmpdir } from 'node:os';
import { dirname, extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from '../util/errors.ts';
import type { Optimize, RuntimeTensor, RuntimeValue } from './session.ts';

/** Tensors by name: a list, since names of a file may be those of an object's own members. */
export type Feeds = readonly (readonly [string, RuntimeTensor])[];
export type Results = Feeds;

/** What the child is asked for. */
export type Order =
  | { readonly op: 'version' }
  | { readonly op: 'open'; readonly path: string; readonly threads: number; readonly optimize: Optimize }
  | { readonly op: 'run'; readonly session: number; readonly feeds: Feeds; readonly outputs?: readonly string[] }
  | { readonly op: 'bind'; readonly session: number; readonly feeds: Feeds }
  | { readonly op: 'time'; readonly bound: number }
  | { readonly op: 'unbind'; readonly bound: number }
  | { readonly op: 'close'; readonly session: number };

/** What it answers. */
export interface Answers {
  readonly version: string;
  readonly open: {
    readonly session: number;
    readonly inputs: readonly RuntimeValue[];
    readonly outputs: readonly RuntimeValue[];
  };
  readonly run: Results;
  /** Of the feeds that stay in the child. */
  readonly bind: number;
  /** Milliseconds of one run. */
  readonly time: number;
  readonly unbind: undefined;
  readonly close: undefined;
}

/** What went wrong in the child. */
export interface Failure {
  readonly message: string;
  /** The runtime itself does not load. */
  readonly load: boolean;
  /** It is not installed. */
  readonly absent: boolean;
}

/** The child process ended, or had to be ended, while it worked on an order. */
export class ChildEnded extends Error {
  readonly fix: string;

  constructor(why: string, fix: string) {
    super(why);
    this.fix = fix;
  }
}

/** A process of its own for ONNX Runtime: what a stranger's file does to it does not happen to us. */
export interface RuntimeChild {
  readonly ended: boolean;
  /**
   * One order after the other, however they are given.
   * @param seconds after which the child counts as stuck and is killed
   * @throws Error with the runtime's own message; ChildEnded; UserError E_NO_RUNTIME
   */
  ask<O extends Order>(order: O, seconds: number): Promise<Answers[O['op']]>;
  kill(): void;
}

/** A process that takes longer to start has not started. */
const startSeconds = 120;

/** The version that the project is tested with. */
const pinned = '1.30.0';
const self = fileURLToPath(import.meta.url);
const sources = extname(self) === '.ts';

/**
 * Start the child. It keeps this process alive only while it owes an answer, and ends with it.
 * @param packageName what to load
 */
export function startChild(packageName = 'onnxruntime-node'): RuntimeChild {
  const child = fork(new URL(`./child-main${extname(self)}`, import.meta.url), [packageName, String(process.pid)], {
    // Sources that are not compiled need their loader, which is found from here.
    execArgv: sources ? ['--import', 'tsx'] : [],
    cwd: sources ? dirname(self) : tmpdir(),
    // It would keep a device id and a database in the user's cache, and report.
    env: { ORT_DISABLE_TELEMETRY: '1', ...process.env },
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const said = lastWords(child);
  let ended: ChildEnded | null = null;
  let owed: { resolve: (message: Message) => void; reject: (error: Error) => void } | null = null;
  let last: Promise<unknown> = Promise.resolve();
  const end = (why: string, fix = 'The file is not one that ONNX Runtime can run here.') => {
    ended ??= new ChildEnded(why, fix);
    owed?.reject(ended);
    owed = null;
  };
  child.on('message', message => {
    owed?.resolve(message as Message);
    owed = null;
  });
  child.on('error', error => end(`its process failed (${error.message}).`));
  child.on('exit', (code, signal) => {
    const tell = () => end(`its process ended with ${signal ?? `status ${code}`}${said()}.`);
    // What it wrote last may be on its way still.
    if (owed) setTimeout(tell, 20);
    else tell();
  });
  keepAlive(child, false);

  const exchange = async (order: Order | null, seconds: number): Promise<Message> => {
    if (ended) throw ended;
    keepAlive(child, true);
    const timer = setTimeout(() => {
      end(`it gave no answer for ${seconds} s.`, 'If it only needs longer: S2H_RUNTIME_SECONDS=1000 allows that many.');
      child.kill('SIGKILL');
    }, seconds * 1000);
    try {
      return await new Promise<Message>((resolve, reject) => {
        owed = { resolve, reject };
        if (order) child.send(order, error => error && end(`its process cannot be reached (${error.message}).`));
      });
    } finally {
      clearTimeout(timer);
      keepAlive(child, false);
    }
  };
  // Its first message says that it has started; that is not part of anyone's time.
  last = exchange(null, startSeconds).catch(() => {});
  return {
    get ended() {
      return ended !== null;
    },
    async ask<O extends Order>(order: O, seconds: number): Promise<Answers[O['op']]> {
      const turn = last.then(() => exchange(order, seconds));
      last = turn.catch(() => {});
      const { value, failure } = await turn;
      if (failure?.load) throw missing(failure);
      if (failure) throw new Error(failure.message);
      return value as Answers[O['op']];
    },
    kill() {
      child.kill('SIGKILL');
    },
  };
}

interface Message {
  readonly value?: unknown;
  readonly failure?: Failure;
}

/** Whether waiting for the child is a reason for this process to go on. */
function keepAlive(child: ChildProcess, wanted: boolean): void {
  const handles = [child, child.channel, child.stderr] as readonly { ref?(): void; unref?(): void }[];
  for (const handle of handles) {
    if (wanted) handle?.ref?.();
    else handle?.unref?.();
  }
}

/** The last line that the child wrote before it ended: the reason of an abort stands there. */
function lastWords(child: ChildProcess): () => string {
  let tail = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-2000);
  });
  return () => {
    const line = tail.trim().split('\n').at(-1)?.trim();
    return line ? `: ${line}` : '';
  };
}

function missing({ absent, message }: Failure): UserError {
  // On Linux the package's install script would fetch CUDA libraries and fail without network.
  const skip = process.platform === 'linux' ? 'ONNXRUNTIME_NODE_INSTALL=skip ' : '';
  return new UserError(
    'E_NO_RUNTIME',
    absent
      ? 'ONNX Runtime (the npm package onnxruntime-node) is not installed.'
      : `ONNX Runtime does not load here (${process.platform} ${process.arch}): ${message.trim().split('\n')[0]}.`,
    { fix: `Install it: ${skip}npm install onnxruntime-node@${pinned}`, cause: new Error(message) },
  );
}
