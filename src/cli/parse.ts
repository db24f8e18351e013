import { readFileSync } from 'node:fs';
import { Command as Commander, CommanderError, Option } from 'commander';
import { type Command, checkArguments, flagOf, parseOptions } from '../commands/command.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { optionsOf } from './options.ts';

/** Commands by name, each loaded when it is asked for. */
export type CommandTable = Readonly<Record<string, () => Promise<{ readonly command: Command }>>>;

/** A command line, read and validated. */
export interface Invocation {
  readonly command: Command;
  readonly args: Readonly<Record<string, string | string[] | undefined>>;
  readonly options: Readonly<Record<string, unknown>>;
  readonly json: boolean;
  readonly debug: boolean;
  readonly setup: boolean;
}

/** What the program calls itself. */
export interface Identity {
  /** As typed: `s2h`, `./s2h`. */
  readonly name: string;
  readonly version: string;
  /** Commands that the launcher of a checkout adds, for the help. */
  readonly extra?: readonly { readonly usage: string; readonly summary: string }[];
}

/**
 * Reads a command line.
 * @returns what to run, or a text to print (help, version)
 * @throws UserError (usage) for anything that is unknown, missing or out of range
 */
export async function parseCommandLine(
  argv: readonly string[],
  table: CommandTable,
  identity: Identity,
): Promise<Invocation | string> {
  const loaded = await load(table, wanted(argv, table));
  let text = '';
  let chosen: Omit<Invocation, 'debug' | 'setup'> | undefined;
  const program = new Commander(identity.name)
    .description('Prunes trained ONNX networks and proves that the small one is right.')
    .version(identity.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .option('--no-setup', 'install and download nothing; say what is missing instead')
    .option('--debug', 'print stack traces of errors')
    .exitOverride()
    .configureOutput({ writeOut: part => (text += part), writeErr: () => {} })
    .configureHelp({
      helpWidth: 100,
      showGlobalOptions: true,
      subcommandTerm: sub => `${sub.name()} ${sub.usage()}`.trim(),
    });
  for (const name of Object.keys(table)) {
    const command = loaded.get(name);
    const sub = program.command(name);
    if (command) declare(sub, command, identity.name, selection => (chosen = selection));
  }
  const extra = identity.extra ?? [];
  if (extra.length > 0) {
    program.addHelpText(
      'after',
      `\nIn a checkout:\n${extra.map(({ usage, summary }) => `  ${usage}  ${summary}`).join('\n')}`,
    );
  }
  try {
    await program.parseAsync(argv.length > 0 ? [...argv] : ['--help'], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode !== 0) throw usageError(error, argv, table, identity.name);
  }
  if (!chosen) return text;
  const { debug = false, setup } = program.opts<{ debug?: boolean; setup: boolean }>();
  return { ...chosen, debug, setup };
}

/** The commands whose texts are needed: the one that is named, or all of them for the general help. */
function wanted(argv: readonly string[], table: CommandTable): readonly string[] {
  const words = argv.filter(arg => !arg.startsWith('-'));
  const name = words[0] === 'help' ? words[1] : words[0];
  if (name !== undefined) return Object.hasOwn(table, name) ? [name] : [];
  return argv.some(arg => arg === '-V' || arg === '--version') ? [] : Object.keys(table);
}

async function load(table: CommandTable, names: readonly string[]): Promise<ReadonlyMap<string, Command>> {
  const modules = await Promise.all(names.map(name => table[name]()));
  return new Map(names.map((name, i) => [name, modules[i].command]));
}

function declare(
  sub: Commander,
  command: Command,
  program: string,
  choose: (selection: Omit<Invocation, 'debug' | 'setup'>) => void,
): void {
  const term = (name: string, required: boolean, variadic = false) =>
    required ? `<${name}${variadic ? '...' : ''}>` : `[${name}${variadic ? '...' : ''}]`;
  sub.summary(command.summary).description([command.summary, command.description].filter(Boolean).join('\n\n'));
  sub.usage([...command.arguments.map(a => term(a.name, a.required, a.variadic)), '[options]'].join(' '));
  // Optional for the parser: a required argument may come from the config file, and its absence is our own error.
  for (const { name, description, variadic } of command.arguments)
    sub.argument(term(name, false, variadic), description);
  for (const option of optionsOf(command.options)) sub.addOption(option);
  const what = command.streams
    ? 'print events and the result as JSON, one document a line'
    : 'print the result as JSON';
  const hasOptions = Object.keys(command.options.shape).length > 0;
  if (hasOptions) sub.addOption(new Option('--config <FILE>', 'read options from a JSON file; flags go first'));
  sub.addOption(new Option('--json', what));
  if (command.examples.length > 0) {
    sub.addHelpText('after', `\nExamples:\n${command.examples.map(example => `  ${program} ${example}`).join('\n')}`);
  }
  sub.action(() => {
    const { config, json = false } = sub.opts<{ config?: string; json?: boolean }>();
    const given = Object.keys(command.options.shape).filter(key => sub.getOptionValueSource(key) === 'cli');
    const flags = Object.fromEntries(given.map(key => [key, sub.getOptionValue(key)]));
    choose({ command, json, ...merge(command, sub.processedArgs, flags, config) });
  });
}

/** Arguments and options from the command line and, below them, from the config file. */
function merge(
  command: Command,
  positional: readonly unknown[],
  flags: Readonly<Record<string, unknown>>,
  config: string | undefined,
): Pick<Invocation, 'args' | 'options'> {
  const file: Record<string, unknown> = config === undefined ? {} : readConfig(config);
  const args: Record<string, string | string[] | undefined> = {};
  command.arguments.forEach(({ name, variadic }, i) => {
    const typed = positional[i] as string | string[] | undefined;
    const absent = typed === undefined || (variadic && typed.length === 0);
    args[name] =
      (absent ? (file[name] as string | string[] | undefined) : undefined) ?? typed ?? (variadic ? [] : undefined);
    delete file[name];
  });
  checkArguments(command.arguments, args);
  const nameOf = (key: string) => (key in file && !(key in flags) ? `"${key}" in ${config}` : flagOf(key));
  return { args, options: parseOptions(command.options, { ...file, ...flags }, nameOf) };
}

function readConfig(path: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UserError('E_CONFIG', `The config file cannot be read: ${messageOf(error)}.`, {
      where: path,
      usage: true,
      cause: error,
    });
  }
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) return { ...content };
  throw new UserError('E_CONFIG', 'The config file is not a JSON object.', {
    where: path,
    usage: true,
    fix: 'Its keys are the options in camel case: {"flops": 0.35, "seed": 1}.',
  });
}

/** commander's sentence with a code, and where to read more. */
function usageError(error: CommanderError, argv: readonly string[], table: CommandTable, program: string): UserError {
  const [first, ...rest] = error.message.replace(/^error: /, '').split('\n');
  const what = `${first.charAt(0).toUpperCase()}${first.slice(1).replace(/\.$/, '')}.`;
  const named = argv.find(arg => Object.hasOwn(table, arg));
  const help = `See: ${program} ${named ? `${named} ` : ''}--help`;
  const code = codes[error.code] ?? 'E_USAGE';
  const guess = rest.join(' ').replace(/^\((.*)\)$/, '$1');
  return new UserError(code, what, { usage: true, fix: [guess, help].filter(Boolean).join(' ') });
}

const codes: Readonly<Record<string, string>> = {
  'commander.unknownCommand': 'E_UNKNOWN_COMMAND',
  'commander.unknownOption': 'E_UNKNOWN_OPTION',
  'commander.optionMissingArgument': 'E_OPTION',
  'commander.excessArguments': 'E_ARGUMENT',
};
