import { type AttributeInput, float } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import type { Net } from './nets.ts';

/** One choice while a net grows: which operator, on which values, with which numbers; all taken modulo what there is. */
export interface Step {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly p: number;
  readonly q: number;
}

/**
 * A value [N, channels, ...space], or [N, ...space, channels], whose elements are multiples of 2^-bits that are at most
 * `bound`.
 */
export interface Value {
  readonly name: string;
  readonly channels: number;
  readonly space: readonly number[];
  /** Channels last. */
  readonly last: boolean;
  readonly bound: number;
  readonly bits: number;
}

/** A weight that a later layer may use again: [to, from, ...kernel]. */
export interface Layer {
  readonly weight: string;
  readonly dims: readonly number[];
}

export const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** What a step has to work with, and the operators whose form depends on the operator set. */
export class Growth {
  readonly g: Net;
  readonly opset: number;
  /** The first axis has no fixed length. */
  readonly dynamic: boolean;
  readonly values: readonly Value[];
  readonly layers: Layer[];
  readonly step: Step;

  constructor(
    g: Net,
    form: { readonly opset: number; readonly dynamic: boolean },
    values: readonly Value[],
    layers: Layer[],
    step: Step,
  ) {
    this.g = g;
    this.opset = form.opset;
    this.dynamic = form.dynamic;
    this.values = values;
    this.layers = layers;
    this.step = step;
  }

  get p(): number {
    return this.step.p;
  }

  get q(): number {
    return this.step.q;
  }

  /** The later values more often than the first ones. */
  get first(): Value {
    return this.values[this.values.length - 1 - (this.step.a % Math.min(3, this.values.length))];
  }

  /** Another value that is like the first one in some way, or the first one itself. */
  partner(alike: (value: Value) => boolean): Value {
    const found = this.values.filter(value => value.last === this.first.last && alike(value));
    return found[this.step.b % found.length] ?? this.first;
  }

  /** A value of the same shape. */
  get twin(): Value {
    const { first } = this;
    return this.partner(({ channels, space }) => channels === first.channels && space.join() === first.space.join());
  }

  op(type: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeInput>> = {}): string {
    return this.g.op(type, inputs, attributes);
  }

  weight(...dims: number[]): string {
    return this.g.weight(this.g.unique('w'), dims);
  }

  ints(...values: number[]): string {
    return this.g.ints(this.g.unique('ints'), ...values);
  }

  scalar(value: number): string {
    return this.g.initializer(this.g.unique('c'), Float32Array.of(value), []);
  }

  reshape(x: string, ...to: number[]): string {
    return this.op('Reshape', [x, this.ints(...to)]);
  }

  transpose(x: string, ...perm: number[]): string {
    return this.op('Transpose', [x], { perm });
  }

  reduce(type: string, x: string, axes: readonly number[], keepdims: 0 | 1): string {
    if (this.opset < (type === 'ReduceSum' ? 13 : 18)) return this.op(type, [x], { axes: [...axes], keepdims });
    return this.op(type, [x, this.ints(...axes)], { keepdims });
  }

  /** Squeeze or Unsqueeze. */
  squeeze(type: 'Squeeze' | 'Unsqueeze', x: string, ...axes: number[]): string {
    return this.opset < 13 ? this.op(type, [x], { axes }) : this.op(type, [x, this.ints(...axes)]);
  }

  slice(x: string, axis: number, start: number, end: number, step = 1): string {
    return this.slices(x, [axis], [start], [end], [step]);
  }

  slices(x: string, axes: number[], starts: number[], ends: number[], steps: number[]): string {
    if (this.opset < 10) return this.op('Slice', [x], { starts, ends, axes });
    const inputs = [x, ...[starts, ends, axes].map(list => this.ints(...list))];
    return this.op('Slice', steps.every(step => step === 1) ? inputs : [...inputs, this.ints(...steps)]);
  }

  split(x: string, axis: number, parts: readonly number[]): string[] {
    const outputs = parts.map(() => this.g.unique('part'));
    if (this.opset < 13) return this.g.node('Split', [x], { axis, split: [...parts] }, { outputs });
    return this.g.node('Split', [x, this.ints(...parts)], { axis }, { outputs });
  }

  pad(x: string, begin: readonly number[], end: readonly number[], value = 0): string {
    const pads = [...begin, ...end];
    if (this.opset < 11) return this.op('Pad', [x], { pads, value: float(value) });
    return this.op('Pad', [x, this.ints(...pads), ...(value ? [this.scalar(value)] : [])]);
  }

  clip(x: string, min: number, max: number): string {
    if (this.opset < 11) return this.op('Clip', [x], { min: float(min), max: float(max) });
    return this.op('Clip', [x, this.scalar(min), this.scalar(max)]);
  }

  /** The fully connected layer between tokens or rows of numbers that a net of steps uses inside larger blocks. */
  linear(x: string, from: number, to: number): string {
    return this.op('Add', [this.op('MatMul', [x, this.weight(from, to)]), this.weight(to)]);
  }
}

/** What a step makes of its first value. */
export function grown(
  from: Value,
  name: string,
  change: {
    readonly channels?: number;
    readonly space?: readonly number[];
    readonly last?: boolean;
    /** By how much the bound grows. */
    readonly by?: number;
    /** Binary places that come to the elements. */
    readonly bits?: number;
  } = {},
): Value {
  const { channels = from.channels, space = from.space, last = from.last, by = 1, bits = 0 } = change;
  return { name, channels, space, last, bound: from.bound * by + 1, bits: from.bits + bits };
}

/** The wider range of two values. */
export const both = (a: Value, b: Value): Value => ({
  ...a,
  bound: Math.max(a.bound, b.bound),
  bits: Math.max(a.bits, b.bits),
});

/** The axis of the channels. */
export const channelAxis = ({ last, space }: Value): number => (last ? 1 + space.length : 1);

/** The first axis of space. */
export const spaceAxis = ({ last }: Value): number => (last ? 1 : 2);

/** Lengths behind the batch. */
export const lengths = ({ channels, space, last }: Value): number[] =>
  last ? [...space, channels] : [channels, ...space];

/** Steps by name; null: it does not fit the value. */
export type Steps = Readonly<Record<string, (growth: Growth) => Value | null>>;

/** Whether the product knows an operator: what it does not know would only be a wall. */
export const isKnown = (type: string, domain = ''): boolean => operators.has(`${domain}::${type}`);
