import { toHalf } from '../onnx/half.ts';
import { UserError } from '../util/errors.ts';
import { type Random, stream } from '../util/random.ts';
import type { RuntimeTensor, RuntimeType, RuntimeValue } from './session.ts';

export interface ShapeOptions {
  /** Length of a symbolic first axis; 1 by default. */
  readonly batch?: number;
  /** Whole shapes by input, for inputs whose other axes are symbolic. A symbolic first axis takes `batch` if that is given. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
}

export interface InputOptions extends ShapeOptions {
  readonly seed?: number;
  /** Floats: standard normal (default), or -1, 0 and 1, with which float32 sums are exact. */
  readonly values?: 'normal' | 'small-integers';
}

/** Integers below it are valid indices almost everywhere. */
const mostIndices = 4;

/** A gibibyte of float32. */
const mostNumbers = 2 ** 28;

/**
 * Random finite inputs: floats as `values` says, integers 0 to 3, fewer where they look up less, booleans 0 and 1.
 * The same seed gives the same inputs, whatever else the file declares.
 * @throws UserError E_SHAPE when an axis is unknown, a given shape does not fit or one is far too large, E_INPUT for inputs that are no numbers
 */
export function finiteInputs(
  inputs: readonly RuntimeValue[],
  options: InputOptions = {},
): Record<string, RuntimeTensor> {
  const shapes = inputShapes(inputs, options);
  return Object.fromEntries(
    inputs.map(input => {
      const shape = shapes[input.name];
      const size = shape.reduce((product, length) => product * length, 1);
      if (size > mostNumbers)
        throw new UserError('E_SHAPE', `The input ${describe(input)} takes ${size} numbers at [${shape.join(', ')}].`, {
          fix: `Not more than ${mostNumbers} are made at once: give smaller lengths where the file leaves them open.`,
        });
      const random = stream(options.seed ?? 0, 'inputs', input.name);
      return [input.name, { type: input.type, shape, data: fill(input, size, random, options) } as RuntimeTensor];
    }),
  );
}

/**
 * Shapes to feed. A symbol that is known from one axis is known on all: the first axis of an input from `batch`, the
 * others from `shapes`.
 * @throws UserError E_SHAPE as {@link finiteInputs}
 */
export function inputShapes(
  inputs: readonly RuntimeValue[],
  options: ShapeOptions = {},
): Record<string, readonly number[]> {
  const { batch } = options;
  const shapes = new Map(Object.entries(options.shapes ?? {}));
  const stranger = [...shapes.keys()].find(name => !inputs.some(input => input.name === name));
  if (stranger !== undefined)
    throw new UserError('E_SHAPE', `The file has no input '${stranger}'.`, {
      fix: `Its inputs are ${inputs.map(describe).join(', ')}.`,
      usage: true,
    });

  const first = inputs.map(({ shape }) => shape[0]).filter(symbol => typeof symbol === 'string' && symbol !== '');
  const batchSymbols = new Set(batch === undefined ? [] : first);
  const known = new Map(batch === undefined ? [] : first.map(symbol => [symbol as string, batch]));
  for (const input of inputs) {
    const given = shapes.get(input.name);
    if (given) learn(input, given, known, batchSymbols);
  }
  return Object.fromEntries(
    inputs.map(input => {
      const given = shapes.get(input.name);
      const declared = input.shape.length === 0 && given ? given : input.shape;
      return [input.name, declared.map((length, axis) => resolve(input, length, axis, batch ?? null, given, known))];
    }),
  );
}

/** Check a given shape against the declared one and note what it says about symbols. */
function learn(
  input: RuntimeValue,
  given: readonly number[],
  known: Map<string, number>,
  batchSymbols: ReadonlySet<number | string>,
): void {
  const fits =
    input.shape.length === 0 ||
    (input.shape.length === given.length &&
      input.shape.every((length, axis) => typeof length === 'string' || length === given[axis]));
  if (!fits || !given.every(length => Number.isInteger(length) && length >= 0))
    throw new UserError('E_SHAPE', `The shape ${given.join(',')} does not fit the input ${describe(input)}.`, {
      fix: 'Give one length for each axis; axes that the file fixes keep theirs.',
      usage: true,
    });
  input.shape.forEach((symbol, axis) => {
    if (typeof symbol !== 'string' || symbol === '' || batchSymbols.has(symbol)) return;
    const before = known.get(symbol) ?? given[axis];
    if (before !== given[axis])
      throw new UserError('E_SHAPE', `'${symbol}' of input '${input.name}' is both ${before} and ${given[axis]}.`, {
        fix: 'Give every input the same length on axes of the same name.',
        usage: true,
      });
    known.set(symbol, before);
  });
}

function resolve(
  input: RuntimeValue,
  length: number | string,
  axis: number,
  batch: number | null,
  shape: readonly number[] | undefined,
  known: ReadonlyMap<string, number>,
): number {
  if (typeof length === 'number') return length;
  const given = shape?.[axis];
  const found = axis === 0 ? (batch ?? known.get(length) ?? given ?? 1) : (known.get(length) ?? given);
  if (found !== undefined) return found;
  const example = input.shape.map((l, i) => (typeof l === 'number' ? l : i === 0 ? 1 : symbolOf(l, i))).join(',');
  throw new UserError('E_SHAPE', `Axis ${axis} of the input ${describe(input)} has no fixed length.`, {
    fix: `Say which shape to use: --shape ${input.name}=${example}`,
    usage: true,
  });
}

const describe = (input: RuntimeValue): string => `'${input.name}' [${input.shape.map(symbolOf).join(', ')}]`;

/** Letters of the usual image layout stand in for axes without a name, and for names that exporters make up. */
const symbolOf = (length: number | string, axis: number): string =>
  /^\w{1,12}$/.test(String(length)) ? String(length) : 'NCHWD'[axis] || '?';

type Fill = (size: number, random: Random, smallIntegers: boolean, below: number) => RuntimeTensor['data'];

const number = (random: Random, smallIntegers: boolean) => (smallIntegers ? random.int(3) - 1 : random.normal());

const fills: Record<Exclude<RuntimeType, 'string' | 'uint4' | 'int4'>, Fill> = {
  float32: (size, random, small) => Float32Array.from({ length: size }, () => number(random, small)),
  float64: (size, random, small) => Float64Array.from({ length: size }, () => number(random, small)),
  float16: (size, random, small) => Uint16Array.from({ length: size }, () => toHalf(number(random, small))),
  int8: (size, random, _, below) => Int8Array.from({ length: size }, () => random.int(below)),
  uint8: (size, random, _, below) => Uint8Array.from({ length: size }, () => random.int(below)),
  int16: (size, random, _, below) => Int16Array.from({ length: size }, () => random.int(below)),
  uint16: (size, random, _, below) => Uint16Array.from({ length: size }, () => random.int(below)),
  int32: (size, random, _, below) => Int32Array.from({ length: size }, () => random.int(below)),
  uint32: (size, random, _, below) => Uint32Array.from({ length: size }, () => random.int(below)),
  int64: (size, random, _, below) => BigInt64Array.from({ length: size }, () => BigInt(random.int(below))),
  uint64: (size, random, _, below) => BigUint64Array.from({ length: size }, () => BigInt(random.int(below))),
  bool: (size, random) => Uint8Array.from({ length: size }, () => random.int(2)),
};

function fill(input: RuntimeValue, size: number, random: Random, options: InputOptions): RuntimeTensor['data'] {
  const make = input.type !== null && input.type in fills ? fills[input.type as keyof typeof fills] : undefined;
  if (!make)
    throw new UserError('E_INPUT', `The input '${input.name}' takes ${input.type ?? 'no tensor'}, not numbers.`, {
      fix: 'Such a file cannot be run on random inputs.',
    });
  return make(size, random, options.values === 'small-integers', Math.min(mostIndices, input.below ?? mostIndices));
}
