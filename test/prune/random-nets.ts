import fc from 'fast-check';
import { float, type OnnxModel } from '../../src/onnx/index.ts';
import { type Net, type NetOptions, netOf } from './nets.ts';

/** One choice while a net grows: which operator, on which values, with which numbers; all taken modulo what there is. */
interface Step {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly p: number;
  readonly q: number;
}

export interface NetPlan {
  readonly steps: readonly Step[];
  readonly head: number;
  readonly opset: number;
  readonly weightsInNodes: boolean;
  readonly seed: number;
}

const small = fc.nat(999);

/** What a random net is made from; it shrinks to few steps. */
export const netPlans: fc.Arbitrary<NetPlan> = fc.record({
  steps: fc.array(fc.record({ kind: small, a: small, b: small, p: small, q: small }), { minLength: 2, maxLength: 14 }),
  head: small,
  opset: fc.constantFrom(9, 12, 17, 18),
  weightsInNodes: fc.boolean(),
  seed: fc.nat(9999),
});

/** An image [N, channels, size, size] of multiples of 2^-bits that are at most `bound`. */
interface Image {
  readonly name: string;
  readonly channels: number;
  readonly size: number;
  readonly bound: number;
  readonly bits: number;
}

/** The net of a plan. Opset 9 comes as IR version 3, with every initializer listed as an input. */
export function randomNet({ steps, head, opset, weightsInNodes, seed }: NetPlan): OnnxModel {
  const options: NetOptions = { opset, weightsInNodes, seed, irVersion: opset === 9 ? 3 : 8 };
  return netOf(
    (g, x) => {
      const images: Image[] = [{ name: x, channels: 3, size: 8, bound: 1, bits: 0 }];
      for (const step of steps) {
        const next = grow(new Growth(g, opset, images, step));
        // Float32 is exact as long as no sum needs more than 24 bits.
        if (next && next.bound * 2 ** next.bits < 2 ** 20) images.push(next);
      }
      return finish(g, images[images.length - 1], head);
    },
    { ...options, shape: ['N', 3, 8, 8] },
  );
}

class Growth {
  readonly g: Net;
  readonly opset: number;
  readonly images: readonly Image[];
  readonly step: Step;

  constructor(g: Net, opset: number, images: readonly Image[], step: Step) {
    this.g = g;
    this.opset = opset;
    this.images = images;
    this.step = step;
  }

  /** The later values more often than the first ones. */
  get first(): Image {
    return this.images[this.images.length - 1 - (this.step.a % Math.min(3, this.images.length))];
  }

  /** Another value that is like the first one in some way, or the first one itself. */
  partner(alike: (image: Image) => boolean): Image {
    const found = this.images.filter(alike);
    return found[this.step.b % found.length] ?? this.first;
  }

  ints(...values: number[]): string {
    return this.g.ints(this.g.unique('ints'), ...values);
  }
}

const kinds: Record<string, (growth: Growth) => Image | null> = {
  conv({ g, first, step: { p, q } }) {
    const [kernel, stride] = [p % 2 ? 3 : 1, first.size > 2 && q % 4 === 0 ? 2 : 1];
    const to = 3 + (q % 8);
    const pad = kernel >> 1;
    const attributes = { strides: [stride, stride], pads: [pad, pad, pad, pad] };
    const name = g.conv(first.name, first.channels, to, { kernel, bias: p % 3 > 0, attributes });
    return grown(first, name, { channels: to, size: Math.ceil(first.size / stride), by: kernel ** 2 * first.channels });
  },
  grouped({ g, first, step: { p, q } }) {
    const groups = [2, 3, 4, first.channels].filter(count => count > 1 && first.channels % count === 0);
    if (groups.length === 0) return null;
    const group = groups[p % groups.length];
    const to = group * (1 + (q % 2));
    const name = g.conv(first.name, first.channels, to, { group, bias: q % 3 > 0 });
    return grown(first, name, { channels: to, by: (9 * first.channels) / group });
  },
  norm: ({ g, first }) => grown(first, g.norm(first.name, first.channels), { by: 2 }),
  relu: ({ g, first }) => grown(first, g.op('Relu', [first.name])),
  leaky: ({ g, first }) => grown(first, g.op('LeakyRelu', [first.name], { alpha: 0.5 }), { bits: 1 }),
  shifted: ({ g, first, step: { p } }) =>
    grown(first, g.op(p % 2 ? 'Add' : 'Mul', [first.name, g.weight(g.unique('c'), [first.channels, 1, 1])])),
  add(growth) {
    const { g, first } = growth;
    const other = growth.partner(({ channels, size }) => channels === first.channels && size === first.size);
    return grown(join(first, other), g.op('Add', [first.name, other.name]), { by: 2 });
  },
  max(growth) {
    const { g, first } = growth;
    const other = growth.partner(({ channels, size }) => channels === first.channels && size === first.size);
    return grown(join(first, other), g.op('Max', [first.name, other.name]));
  },
  concat(growth) {
    const { g, first } = growth;
    const other = growth.partner(({ size }) => size === first.size);
    const channels = first.channels + other.channels;
    if (channels > 16) return null;
    return grown(join(first, other), g.op('Concat', [first.name, other.name], { axis: 1 }), { channels });
  },
  pool({ g, first, step: { p } }) {
    if (first.size < 2) return null;
    const attributes = { kernel_shape: [2, 2], strides: [2, 2] };
    const [type, bits] = p % 2 ? ['MaxPool', 0] : ['AveragePool', 2];
    const size = Math.floor(first.size / 2);
    return grown(first, g.op(type as string, [first.name], attributes), { size, bits: bits as number });
  },
  slice(growth) {
    const { first, step } = growth;
    const stride = [1, 2, 2, -1, -2][step.q % 5];
    const skipped = step.p % Math.max(1, first.channels >> 1);
    const start = stride > 0 ? skipped : first.channels - 1 - skipped;
    const all = Array.from({ length: first.channels }, (_, i) => start + i * stride);
    const channels = all.filter(i => i >= 0 && i < first.channels).length;
    if (channels < 2 || (growth.opset < 10 && stride !== 1)) return null;
    // Now and then the first column is left out too.
    const narrower = step.b % 3 === 0 && first.size > 2;
    const ends = [stride > 0 ? Number.MAX_SAFE_INTEGER : Number.MIN_SAFE_INTEGER, 100];
    const [axes, starts, steps] = [
      [1, -1],
      [start, 1],
      [stride, 1],
    ].map(list => (narrower ? list : list.slice(0, 1)));
    const name = sliced(growth, starts, narrower ? ends : ends.slice(0, 1), axes, steps);
    if (!narrower) return grown(first, name, { channels });
    // Make it square again.
    const padded = pad(growth, name, [0, 0, 0, 0], [0, 0, 0, 1]);
    return grown(first, padded, { channels });
  },
  split(growth) {
    const { g, first, opset, step } = growth;
    if (first.channels < 4) return null;
    const parts = [1 + (step.p % (first.channels - 2)), 0];
    parts[1] = first.channels - parts[0];
    const inputs = opset < 13 ? [first.name] : [first.name, growth.ints(...parts)];
    const attributes = opset < 13 ? { axis: 1, split: parts } : { axis: 1 };
    const outputs = g.node('Split', inputs, attributes, { outputs: parts.map(() => g.unique('part')) });
    return grown(first, outputs[step.q % 2], { channels: parts[step.q % 2] });
  },
  pad(growth) {
    const { first, step } = growth;
    const [begin, end] = [step.p % 3, step.q % 3];
    const name = pad(growth, first.name, [0, begin, 0, 0], [0, end, 0, 0]);
    return grown(first, name, { channels: first.channels + begin + end });
  },
  gather(growth) {
    const { g, first, step } = growth;
    const indices = Array.from({ length: 2 + (step.p % 6) }, (_, i) => (step.q * (i + 1) + i * i) % first.channels);
    return grown(first, g.op('Gather', [first.name, growth.ints(...indices)], { axis: 1 }), {
      channels: indices.length,
    });
  },
  transposed({ g, first }) {
    const last = g.op('Transpose', [first.name], { perm: [0, 2, 3, 1] });
    const scaled = g.op('Add', [last, g.weight(g.unique('c'), [first.channels])]);
    return grown(first, g.op('Transpose', [scaled], { perm: [0, 3, 1, 2] }), { by: 2 });
  },
  gate(growth) {
    const { g, first, opset } = growth;
    const total =
      opset < 13
        ? g.op('ReduceSum', [first.name], { axes: [1] })
        : g.op('ReduceSum', [first.name, growth.ints(1)], { keepdims: 1 });
    const clipped = g.op('Relu', [g.op('Neg', [total])]);
    return grown(first, g.op('Add', [first.name, clipped]), { by: 1 + first.channels });
  },
};

function grow(growth: Growth): Image | null {
  // A third of all steps are convolutions, and slices come three times as often as the others.
  const all = [...Object.values(kinds), kinds.slice, kinds.slice];
  const kind = growth.step.kind % Math.round(1.5 * all.length);
  return (all[kind] ?? kinds.conv)(growth);
}

const join = (a: Image, b: Image): Image => ({
  ...a,
  bound: Math.max(a.bound, b.bound),
  bits: Math.max(a.bits, b.bits),
});

function grown(
  from: Image,
  name: string,
  change: { channels?: number; size?: number; by?: number; bits?: number } = {},
): Image {
  const { channels = from.channels, size = from.size, by = 1, bits = 0 } = change;
  return { name, channels, size, bound: from.bound * by + 1, bits: from.bits + bits };
}

function sliced(growth: Growth, starts: number[], ends: number[], axes: number[], steps: number[]): string {
  const { g, first, opset } = growth;
  if (opset < 10) return g.op('Slice', [first.name], { starts, ends, axes });
  const inputs = [first.name, growth.ints(...starts), growth.ints(...ends), growth.ints(...axes)];
  if (steps.some(step => step !== 1)) inputs.push(growth.ints(...steps));
  return g.op('Slice', inputs);
}

function pad(growth: Growth, x: string, begin: number[], end: number[]): string {
  const { g, opset } = growth;
  const pads = [...begin, ...end];
  return opset < 11 ? g.op('Pad', [x], { pads, value: float(0) }) : g.op('Pad', [x, growth.ints(...pads)]);
}

/** From an image to ten numbers, in the ways that exporters write. */
function finish(g: Net, image: Image, head: number): string {
  const { name, channels, size } = image;
  const columns = channels * size * size;
  const shape = (target: string) => g.op('Reshape', [name, target]);
  const ways: (() => string)[] = [
    () => g.op('Flatten', [name]),
    () => shape(g.ints('target', 0, columns)),
    () => shape(g.ints('target', -1, columns)),
    () => shape(g.ints('target', 0, -1)),
    () => {
      const batch = g.op('Gather', [g.op('Shape', [name]), g.ints('first', 0)]);
      return shape(g.op('Concat', [batch, g.ints('rest', columns)], { axis: 0 }));
    },
    () => {
      const batch = g.op('Gather', [g.op('Shape', [name]), g.ints('first', 0)]);
      const count = g.op('Gather', [g.op('Shape', [name]), g.ints('second', 1)]);
      const rows = shape(g.op('Concat', [batch, count, g.ints('rest', size * size)], { axis: 0 }));
      return g.op('Flatten', [rows]);
    },
  ];
  const flat = ways[head % ways.length]();
  const hidden = g.op('Relu', [g.linear(flat, columns, 6, 'hidden')]);
  if (head % 2) return g.linear(hidden, 6, 4, 'head');
  return g.op('Add', [g.op('MatMul', [hidden, g.weight('head.weight', [6, 4])]), g.weight('head.bias', [4])]);
}
