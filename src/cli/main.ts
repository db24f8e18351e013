import { commands } from '../commands/index.ts';
import { version } from '../util/version.ts';
import { type Interruption, runCommandLine, type Surroundings } from './execute.ts';
import { failureOf } from './failure.ts';
import type { Identity } from './parse.ts';

/**
 * The command line on this process: prints, sets the exit status, ends the process.
 * @param argv without the program's own two entries
 */
export async function main(
  argv: readonly string[],
  identity: Omit<Identity, 'version'> = { name: 's2h' },
): Promise<void> {
  const exitCode = await runCommandLine(argv, commands, { ...identity, version }, surroundings(argv));
  // Native threads (libtorch, ONNX Runtime) would keep the process alive; what is written to a pipe goes out first.
  await Promise.all([process.stdout, process.stderr].map(stream => new Promise(done => stream.write('', done))));
  process.exit(exitCode);
}

function surroundings(argv: readonly string[]): Surroundings {
  const handlers: ((cause: Interruption) => void)[] = [];
  const interrupt = (cause: Interruption) => {
    if (handlers.length === 0) process.exit(cause === 'SIGINT' ? 130 : cause === 'SIGTERM' ? 143 : 0);
    for (const handler of handlers) handler(cause);
  };
  let closed = false;
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (closed) return;
    if (error.code !== 'EPIPE') throw error;
    closed = true;
    interrupt('closed');
  });
  process.stderr.on('error', () => {
    // Nobody reads progress any more; the work goes on.
  });
  process.on('uncaughtException', error => {
    const { text, exitCode } = failureOf(error, argv.includes('--debug'));
    process.stderr.write(`${text}\n`);
    process.exit(exitCode);
  });
  return {
    out: text => {
      if (!closed) process.stdout.write(text);
    },
    err: text => {
      process.stderr.write(text);
    },
    isTerminal: process.stderr.isTTY === true,
    columns: process.stderr.columns ?? 80,
    color: process.stderr.isTTY === true && !process.env.NO_COLOR,
    now: Date.now,
    onInterrupt: handler => handlers.push(handler),
    exit: code => process.exit(code),
  };
}
