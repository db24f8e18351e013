import { z } from 'zod';
import { type Interruption, runCommandLine } from '../../src/cli/execute.ts';
import type { CommandTable } from '../../src/cli/parse.ts';
import { type Command, type CommandEvent, type Context, defineCommand } from '../../src/commands/command.ts';

/** A command with one option of every kind, which hands back what it got. */
export const paint = defineCommand({
  name: 'paint',
  summary: 'paint a wall',
  description: 'Paints one wall in the colours asked for.',
  arguments: [
    { name: 'wall', description: 'which wall', required: true },
    { name: 'brushes', description: 'brushes to use', required: false, variadic: true },
  ],
  options: z.object({
    color: z.enum(['red', 'green']).default('red').describe('colour of the paint'),
    share: z.number().gt(0).lte(1).describe('share of the wall to paint'),
    layers: z.int().min(1).default(2).describe('layers of paint'),
    dry: z.boolean().default(true).describe('let it dry'),
    glossy: z.boolean().default(false).describe('shine'),
    sizes: z.array(z.number()).default([1, 2]).describe('brush sizes in cm'),
    mix: z.array(z.string()).optional().describe('a mixture').meta({ value: 'NAME=PARTS', repeat: true }),
    minWidth: z
      .union([z.literal('auto'), z.number()])
      .default('auto')
      .describe('least width of a stroke'),
    out: z.string().optional().meta({ description: 'where the picture goes', value: 'DIR' }),
  }),
  examples: ['paint north --share 0.5'],
  run: (args, options) => ({ args, options }),
  render: ({ args, options }) => `painted ${args.wall} ${options.color}`,
});

/** A long run whose steps are played by the test. */
export const long = (body: (context: Context) => Promise<object> | object) =>
  defineCommand({
    name: 'long',
    summary: 'take a long time',
    arguments: [],
    options: z.object({}),
    examples: [],
    streams: true,
    run: (_args, _options, context) => body(context),
    render: result => JSON.stringify(result),
    progress: (event: CommandEvent) =>
      event.type === 'step'
        ? { label: 'training', done: event.step as number, total: 10, detail: 'loss 1.5' }
        : event.type === 'note'
          ? String(event.text)
          : undefined,
  });

export const tableOf = (...commands: Command[]): CommandTable =>
  Object.fromEntries(commands.map(command => [command.name, async () => ({ command })]));

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line against a made-up terminal. `interrupt` is handed the function that plays Ctrl-C. */
export async function cli(
  argv: readonly string[],
  table: CommandTable = tableOf(paint),
  options: { isTerminal?: boolean; interrupt?: (send: (cause: Interruption) => void) => void; now?: () => number } = {},
): Promise<Outcome> {
  let out = '';
  let err = '';
  let exit: (status: number) => void = () => {};
  const exited = new Promise<number>(resolve => (exit = resolve));
  const code = await Promise.race([
    exited,
    runCommandLine(
      argv,
      table,
      { name: 's2h', version: '1.2.3' },
      {
        out: text => (out += text),
        err: text => (err += text),
        isTerminal: options.isTerminal ?? false,
        columns: 60,
        color: false,
        now: options.now ?? (() => 0),
        onInterrupt: handler => options.interrupt?.(handler),
        exit: status => exit(status),
      },
    ),
  ]);
  return { code, out, err };
}
