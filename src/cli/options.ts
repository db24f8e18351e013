import { Option } from 'commander';
import type { z } from 'zod';
import { flagOf } from '../commands/command.ts';
import { UserError } from '../util/errors.ts';

type Kind = 'string' | 'number' | 'boolean' | 'array' | 'mixed';

/** What the command line has to know about one option of a schema. */
interface Described {
  readonly kind: Kind;
  readonly choices?: readonly string[];
  readonly element?: Described;
  readonly fallback?: unknown;
  readonly text: string;
  /** What the value is called in the help. */
  readonly value: string;
  /** One element per use of the flag instead of a comma list. */
  readonly repeat: boolean;
  /** One letter that stands for the flag. */
  readonly short?: string;
}

interface Meta {
  description?: string;
  value?: string;
  repeat?: boolean;
  short?: string;
}

/** Reads kind, choices, default and texts off a zod schema, through optional, default, transform and refinement. */
function describe(schema: z.core.$ZodType): Described {
  let type = schema as z.ZodType;
  let meta: Meta = {};
  let fallback: unknown;
  for (;;) {
    meta = { ...(type.meta() as Meta | undefined), ...meta };
    const def = type._zod.def as z.core.$ZodTypeDef & { innerType?: z.ZodType; in?: z.ZodType; out?: z.ZodType };
    if (def.type === 'default' || def.type === 'prefault') fallback = (def as { defaultValue?: unknown }).defaultValue;
    const inner = def.type === 'pipe' ? (def.in?._zod.def.type === 'transform' ? def.out : def.in) : def.innerType;
    if (!inner) break;
    type = inner;
  }
  const shape = shapeOf(type);
  const value =
    meta.value ??
    (shape.choices
      ? shape.choices.join('|')
      : (shape.element?.choices?.join(',') ?? placeholder(shape.kind, shape.element?.kind)));
  return { ...shape, value, fallback, text: meta.description ?? '', repeat: meta.repeat ?? false, short: meta.short };
}

function shapeOf(type: z.ZodType): Pick<Described, 'kind' | 'choices' | 'element'> {
  const def = type._zod.def as {
    type: string;
    entries?: Record<string, string>;
    values?: unknown[];
    options?: z.ZodType[];
    element?: z.ZodType;
  };
  if (def.type === 'number' || def.type === 'int') return { kind: 'number' };
  if (def.type === 'boolean') return { kind: 'boolean' };
  if (def.type === 'enum') return { kind: 'string', choices: Object.values(def.entries ?? {}) };
  if (def.type === 'literal') return { kind: 'mixed', choices: (def.values ?? []).map(String) };
  if (def.type === 'array' && def.element) return { kind: 'array', element: describe(def.element) };
  if (def.type === 'tuple') return { kind: 'array', element: { kind: 'mixed', text: '', value: 'X', repeat: false } };
  if (def.type === 'union') {
    const members = (def.options ?? []).map(shapeOf);
    const open = members.some(member => !member.choices);
    const element = members.find(member => member.kind === 'array')?.element;
    return { kind: 'mixed', element, choices: open ? undefined : members.flatMap(member => member.choices ?? []) };
  }
  return { kind: 'string' };
}

const placeholder = (kind: Kind, element?: Kind): string =>
  kind === 'number' ? 'N' : kind === 'array' ? (element === 'number' ? 'N,N,…' : 'X,X,…') : 'X';

/** The flags of a schema as commander's options: texts with choices and defaults; values are converted, not yet validated. */
export function optionsOf(schema: z.ZodObject): Option[] {
  const flags = new Set(Object.keys(schema.shape).map(key => flagOf(key)));
  return Object.entries(schema.shape).flatMap(([key, field]) => {
    const described = describe(field);
    if (described.kind === 'boolean') return booleanOptions(key, described);
    const required = (field as z.ZodType).safeParse(undefined).success ? '' : ' (required)';
    const option = new Option(
      `${described.short ? `-${described.short}, ` : ''}${flagOf(key)} <${described.value}>`,
      described.text + defaultText(described) + required,
    );
    option.argParser((raw: string, before: unknown) => {
      if (!flags.has(raw)) return convert(key, described, raw, before);
      throw new UserError('E_OPTION', `${flagOf(key)} needs a value; the option ${raw} follows.`, { usage: true });
    });
    return [option];
  });
}

/** `--flag` and `--no-flag`; the help shows the one that changes something. */
function booleanOptions(key: string, described: Described): Option[] {
  const negated = `--no-${flagOf(key).slice(2)}`;
  const on = described.fallback === true;
  return [
    new Option(flagOf(key), described.text).hideHelp(on),
    new Option(negated, on ? `turn off: ${described.text}` : described.text).hideHelp(!on),
  ];
}

function defaultText({ fallback }: Described): string {
  if (fallback === undefined || fallback === null) return '';
  if (Array.isArray(fallback)) return fallback.length > 0 ? ` (default: ${fallback.join(',')})` : '';
  return ` (default: ${fallback})`;
}

function convert(key: string, described: Described, raw: string, before: unknown): unknown {
  if (described.kind !== 'array') return scalar(key, described, raw);
  const element = described.element as Described;
  const parts = described.repeat ? [raw] : raw.split(',').map(part => part.trim());
  return [...(Array.isArray(before) ? before : []), ...parts.filter(Boolean).map(part => scalar(key, element, part))];
}

/** A value that may be of several kinds is a number when it reads as one, a list when it has commas and may be one. */
function scalar(key: string, described: Described, raw: string): unknown {
  const { kind, choices, element } = described;
  const number = raw.trim() === '' ? Number.NaN : Number(raw);
  if (kind === 'number') {
    if (Number.isFinite(number)) return number;
    throw new UserError('E_OPTION', `${flagOf(key)}: expected a number, got ${JSON.stringify(raw)}.`, { usage: true });
  }
  if (kind !== 'mixed' || choices?.includes(raw)) return raw;
  if (element && raw.includes(',')) return raw.split(',').map(part => scalar(key, element, part.trim()));
  return Number.isFinite(number) ? number : raw;
}
