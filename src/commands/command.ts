import type { z } from 'zod';
import { UserError } from '../util/errors.ts';
import { didYouMean } from '../util/nearest.ts';

/** A positional argument. A variadic one stands last and collects the rest. */
export interface Argument {
  readonly name: string;
  readonly description: string;
  readonly required: boolean;
  readonly variadic?: boolean;
}

/** Something that happened during a run: one JSON line. `type` says which other fields there are. */
export interface CommandEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** What a command gets from whoever runs it: the command line, a test or a program that uses the library. */
export interface Context {
  /** Aborted when the user wants to stop; a run then saves, and its result says how to go on. */
  readonly signal: AbortSignal;
  /**
   * Told of every step, evaluation and the like. An event of type `progress` has the fields of {@link Progress}: it is
   * drawn for people and left out of `--json`.
   */
  onEvent(event: CommandEvent): void;
  /** A sentence for people: what is being done and why. Never part of the result. */
  say(message: string): void;
  /** Whether missing parts (libtorch, data sets) may be fetched and built. */
  readonly setup: boolean;
}

/** How far a long piece of work is, as a command tells the screen. */
export interface Progress {
  /** What is being done: `training`. */
  readonly label: string;
  readonly done: number;
  /** null: not known. */
  readonly total: number | null;
  /** What is counted; `bytes` are shown as MB. */
  readonly unit?: string;
  /** Shown after the numbers: `loss 1.234  soft 61.2 %`. */
  readonly detail?: string;
}

/** What a command hands back: plain data that can be written as JSON. `exitCode` 1: it ran, and its answer is "no". */
export type Result = object & { readonly exitCode?: number };

type ArgumentValue<A extends Argument> = A extends { variadic: true }
  ? string[]
  : A extends { required: true }
    ? string
    : string | undefined;

/** The values of positional arguments by name. */
export type Arguments<A extends readonly Argument[]> = { [P in A[number] as P['name']]: ArgumentValue<P> };

/**
 * One verb. Its option schema is the only place where an option is described: help, validation, types, the keys of the
 * config file and of the library's functions all come from it. Keys are camelCase, flags are the same in kebab-case.
 *
 * An option's text is `.describe(…)`; what its value is called in the help is `.meta({ value: 'DIR' })`. Arrays are
 * comma lists; with `.meta({ repeat: true })` the flag is given once per element and commas are kept.
 */
export interface CommandDefinition<A extends readonly Argument[], S extends z.ZodObject, R extends Result> {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  readonly description?: string;
  readonly arguments: A;
  readonly options: S;
  /** Command lines without the program's name: `prune resnet8 --data mnist --flops 0.35`. */
  readonly examples: readonly string[];
  /** A long run: `--json` prints its events as they come, one JSON document a line, the result last. */
  readonly streams?: boolean;
  run(args: Arguments<A>, options: z.output<S>, context: Context): R | Promise<R>;
  /** The result for people. */
  render(result: R): string;
  /**
   * What an event of another type than `progress` is on the screen: a state of the progress line, or a line of its own;
   * undefined: not shown.
   */
  progress?(event: CommandEvent): Progress | string | undefined;
}

/** A command whose types were forgotten, as the table of commands holds it. */
export interface Command extends CommandDefinition<readonly Argument[], z.ZodObject, Result> {
  run(
    args: Readonly<Record<string, string | string[] | undefined>>,
    options: Readonly<Record<string, unknown>>,
    context: Context,
  ): Result | Promise<Result>;
}

/** Checks a command's types and hands it back. */
export const defineCommand = <const A extends readonly Argument[], S extends z.ZodObject, R extends Result>(
  command: CommandDefinition<A, S, R>,
): CommandDefinition<A, S, R> => command;

/** `--min-kept` for `minKept`; `--no-per-member` for `perMember` that is false. */
export const flagOf = (key: string, value?: unknown): string =>
  `--${value === false ? 'no-' : ''}${key.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`;

/**
 * Options by the command's schema, defaults filled in.
 * @param nameOf how a key is called where the values come from: its flag, its place in a file
 * @throws UserError E_OPTION (usage) naming the option that is unknown or has a bad value
 */
export function parseOptions<S extends z.ZodObject>(
  schema: S,
  values: Readonly<Record<string, unknown>>,
  nameOf: (key: string) => string = key => key,
): z.output<S> {
  const known = Object.keys(schema.shape);
  for (const key of Object.keys(values)) {
    if (known.includes(key)) continue;
    throw new UserError('E_OPTION', `There is no option ${nameOf(key)}.`, {
      usage: true,
      fix: didYouMean(key, known),
    });
  }
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const sentences = parsed.error.issues.map(issue => {
    const [key, ...rest] = issue.path.map(String);
    const place = rest.length > 0 ? ` (element ${rest.join('.')})` : '';
    return `${key === undefined ? 'Options' : nameOf(key)}${place}: ${reasonOf(issue, key === undefined ? values : values[key])}.`;
  });
  throw new UserError('E_OPTION', sentences.join(' '), { usage: true });
}

function reasonOf(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === 'invalid_type' && value === undefined)
    return `is required (${kindNames[issue.expected] ?? issue.expected})`;
  const got = value === undefined || typeof value === 'object' ? '' : `, got ${JSON.stringify(value)}`;
  return `${expectation(issue)}${got}`;
}

function expectation(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_union') {
    const kinds = issue.errors.map(([first]) => expectation(first).replace(/^expected /, ''));
    return `expected ${[...new Set(kinds)].join(' or ')}`;
  }
  const items = 'origin' in issue ? (lengths[issue.origin] ?? '') : '';
  if (issue.code === 'too_big') return `must be ${issue.inclusive ? 'at most' : 'less than'} ${issue.maximum}${items}`;
  if (issue.code === 'too_small')
    return `must be ${issue.inclusive ? 'at least' : 'more than'} ${issue.minimum}${items}`;
  if (issue.code === 'invalid_type') return `expected ${kindNames[issue.expected] ?? issue.expected}`;
  if (issue.code === 'invalid_value') return `expected ${issue.values.map(String).join(' or ')}`;
  return issue.message;
}

const lengths: Readonly<Record<string, string>> = { array: ' elements long', string: ' characters long' };
const kindNames: Readonly<Record<string, string>> = {
  number: 'a number',
  int: 'a whole number',
  string: 'a text',
  boolean: 'true or false',
  array: 'a list',
};

type Input<A extends readonly Argument[], S extends z.ZodObject> = {
  [P in A[number] as P extends { required: true } ? P['name'] : never]: ArgumentValue<P>;
} & { [P in A[number] as P extends { required: true } ? never : P['name']]?: ArgumentValue<P> } & z.input<S>;

/** What the library function of a command takes: its positional arguments and options. */
export type InputOf<C> = C extends CommandDefinition<infer A, infer S, infer _R> ? Input<A, S> : never;

/**
 * The command as a library function: positional arguments and options in one object, validated as on the command line.
 *
 *     const prune = callable(command);
 *     const result = await prune({ model: 'resnet8', data: 'mnist', flops: 0.35 }, { onEvent: console.log });
 */
export function callable<const A extends readonly Argument[], S extends z.ZodObject, R extends Result>(
  command: CommandDefinition<A, S, R>,
): (input: Input<A, S>, context?: Partial<Context>) => Promise<R> {
  return async (input, context = {}) => {
    const options: Record<string, unknown> = { ...input };
    const args: Record<string, unknown> = {};
    for (const { name, variadic } of command.arguments) {
      args[name] = options[name] ?? (variadic ? [] : undefined);
      delete options[name];
    }
    checkArguments(command.arguments, args);
    // What is left undefined takes no default's place.
    const stated = Object.fromEntries(Object.entries(context).filter(([, value]) => value !== undefined));
    return command.run(args as Arguments<A>, parseOptions(command.options, options), {
      signal: new AbortController().signal,
      onEvent: () => {},
      say: () => {},
      setup: true,
      ...stated,
    });
  };
}

/** @throws UserError E_ARGUMENT (usage) naming a required argument that is missing, or one that is no string */
export function checkArguments(specs: readonly Argument[], args: Readonly<Record<string, unknown>>): void {
  for (const { name, description, required, variadic } of specs) {
    const value = args[name];
    const valid = variadic
      ? Array.isArray(value) && value.every(x => typeof x === 'string')
      : typeof value === 'string';
    if (value === undefined || (variadic && Array.isArray(value) && value.length === 0)) {
      if (!required) continue;
      throw new UserError('E_ARGUMENT', `The argument <${name}> is missing: ${description}.`, { usage: true });
    }
    if (!valid)
      throw new UserError('E_ARGUMENT', `The argument <${name}> is not a string: ${description}.`, { usage: true });
  }
}
