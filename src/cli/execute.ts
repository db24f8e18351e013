import pc from 'picocolors';
import type { CommandEvent, Progress } from '../commands/command.ts';
import { printableLines } from '../util/printable.ts';
import { failureOf } from './failure.ts';
import { type CommandTable, type Identity, type Invocation, parseCommandLine } from './parse.ts';
import { createScreen, type Screen } from './screen.ts';

/** Everything that the command line touches outside itself, so that tests can stand in for a terminal. */
export interface Surroundings {
  /** Standard output. */
  out(text: string): void;
  /** Standard error. */
  err(text: string): void;
  /** Of standard error. */
  readonly isTerminal: boolean;
  readonly columns: number;
  readonly color: boolean;
  now(): number;
  /** Calls back at Ctrl-C, a polite kill, or when nobody reads standard output any more. */
  onInterrupt(handler: (cause: Interruption) => void): void;
  /** Ends the process at once. */
  exit(code: number): void;
}

export type Interruption = 'SIGINT' | 'SIGTERM' | 'closed';

/** As shells report them: 128 + the signal's number; a pipe that nobody reads is SIGPIPE to other programs. */
const interruptCodes: Readonly<Record<Interruption, number>> = { SIGINT: 130, SIGTERM: 143, closed: 141 };

/** Reads a command line, runs it, prints what came of it. Returns the exit status and never throws. */
export async function runCommandLine(
  argv: readonly string[],
  table: CommandTable,
  identity: Identity,
  io: Surroundings,
): Promise<number> {
  const screen = createScreen({ write: io.err, isTerminal: io.isTerminal, columns: io.columns, now: io.now });
  const debug = argv.includes('--debug');
  const fail = (error: unknown) => {
    const { text, exitCode } = failureOf(error, debug);
    screen.line(pc.createColors(io.color).red(printableLines(text)));
    return exitCode;
  };
  try {
    const invocation = await parseCommandLine(argv, table, identity);
    if (typeof invocation !== 'string') return await run(invocation, io, screen, fail);
    io.out(invocation);
    return 0;
  } catch (error) {
    return fail(error);
  }
}

async function run(
  { command, args, options, json, setup }: Invocation,
  io: Surroundings,
  screen: Screen,
  fail: (error: unknown) => number,
): Promise<number> {
  const controller = new AbortController();
  let interrupted: number | undefined;
  io.onInterrupt(cause => {
    const code = interruptCodes[cause];
    // Such a command prints when its work is done.
    if (cause === 'closed' && !command.streams) return;
    if (!command.streams || interrupted !== undefined) return io.exit(code);
    interrupted = code;
    if (cause !== 'closed')
      screen.line('Stopping after this step and saving; once more stops at once, without saving.');
    controller.abort();
  });
  const onEvent = (event: CommandEvent) => {
    const isProgress = event.type === 'progress';
    if (json && command.streams && !isProgress) io.out(`${toJson(event)}\n`);
    if (!json || io.isTerminal)
      show(isProgress ? (event as CommandEvent & Progress) : command.progress?.(event), screen);
  };
  try {
    const result = await command.run(args, options, {
      signal: controller.signal,
      onEvent,
      say: text => screen.line(printableLines(text)),
      setup,
    });
    screen.clear();
    const { exitCode, ...answer } = result;
    if (json) io.out(`${command.streams ? toJson({ type: 'result', ...answer }) : toJson(answer, 2)}\n`);
    else io.out(withNewline(printableLines(command.render(result))));
    return exitCode ?? interrupted ?? 0;
  } catch (error) {
    const stopped = interrupted !== undefined && error instanceof Error && error.name === 'AbortError';
    return stopped ? interrupted! : fail(error);
  }
}

function show(what: Progress | string | undefined, screen: Screen): void {
  if (typeof what === 'string') screen.line(printableLines(what));
  else if (what) screen.progress(what);
}

/**
 * JSON has no bigint, and no typed arrays that read as arrays. Inside its texts what `printableLines` writes is an escape
 * of JSON's, so that nothing out of a file reaches a terminal as it is.
 */
const toJson = (value: unknown, indent?: number): string =>
  printableLines(
    JSON.stringify(
      value,
      (_, part) =>
        typeof part === 'bigint' ? Number(part) : ArrayBuffer.isView(part) ? Array.from(part as Uint8Array) : part,
      indent,
    ),
  );

const withNewline = (text: string): string => (text === '' || text.endsWith('\n') ? text : `${text}\n`);
