import { messageOf, UserError } from '../util/errors.ts';

/** How a failure is told: one paragraph for standard error, and the exit status (2: wrong usage, 1: anything else). */
export interface Failure {
  readonly text: string;
  readonly exitCode: number;
}

/** Anything that was thrown, in words. A stack trace is shown only with `--debug`. */
export function failureOf(error: unknown, debug: boolean): Failure {
  const known = error instanceof UserError ? error : systemError(error);
  const trace = debug ? `\n${traceOf(error)}` : '';
  if (known) return { text: `error[${known.code}]: ${known.message}${trace}`, exitCode: known.exitCode };
  const hint = debug ? trace : ' This is a bug in s2hpruner; run again with --debug for a stack trace.';
  return { text: `internal error: ${messageOf(error)}${hint}`, exitCode: 1 };
}

/** Conditions of the machine that reach us as errors of Node, libtorch or ONNX Runtime. */
function systemError(error: unknown): UserError | undefined {
  const message = messageOf(error);
  const { code, path } = (error ?? {}) as { code?: string; path?: string };
  const of = path ? { where: path } : {};
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new UserError('E_NO_SPACE', `The disk is full: ${message}.`, { ...of, fix: 'Free space, then run again.' });
  }
  if (code === 'ENOMEM' || outOfMemory.test(message)) {
    return new UserError('E_OUT_OF_MEMORY', `There is not enough memory: ${message.split('\n')[0]}.`, {
      fix: 'Use a smaller --batch, or a machine with more memory.',
    });
  }
  const reason = code === undefined ? undefined : fileProblems[code];
  if (!reason || !path) return undefined;
  return new UserError('E_FILE', `${path} ${reason}.`, { fix: 'Check the path and its permissions.' });
}

const outOfMemory =
  /Array buffer allocation failed|Invalid typed array length|not enough memory|can't allocate memory|out of memory|bad_alloc|Failed to allocate memory/i;

const fileProblems: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EACCES: 'may not be accessed',
  EPERM: 'may not be changed',
  EISDIR: 'is a folder, where a file is needed',
  ENOTDIR: 'is a file, where a folder is needed',
  EROFS: 'is on a read-only file system',
  EMFILE: 'could not be opened: too many open files',
};

function traceOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\ncaused by: ${traceOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}
