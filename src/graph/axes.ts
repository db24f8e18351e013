import type { Dim, NodeView, Shape } from './operator.ts';
import { UnknownShape, WrongNode } from './operator.ts';

/** A possibly negative axis as an index; `rank` axes. @throws WrongNode when there is no such axis */
export function normalAxis(axis: number, rank: number): number {
  const index = axis < 0 ? axis + rank : axis;
  if (!(Number.isInteger(index) && index >= 0 && index < rank))
    throw new WrongNode(`names the axis ${axis} of a value with ${rank} axes`);
  return index;
}

/** Numpy's broadcast of several shapes; a symbol wins over 1, a number over a symbol, the first of several symbols. */
export function broadcastShapes(...shapes: readonly Shape[]): Shape {
  const rank = Math.max(...shapes.map(s => s.length));
  return Array.from({ length: rank }, (_, axis) => {
    let result: Dim = 1;
    for (const shape of shapes) {
      const dim = shape[axis - rank + shape.length] ?? 1;
      if (dim === 1 || dim === result) continue;
      if (result === 1 || (typeof result === 'string' && typeof dim === 'number')) result = dim;
    }
    return result;
  });
}

/** The product of lengths. @throws UnknownShape when one is symbolic */
export function product(shape: Shape): number {
  return shape.reduce<number>((sum, dim) => sum * known(dim), 1);
}

/** A length as a number. @throws UnknownShape when it is symbolic */
export function known(dim: Dim | undefined): number {
  if (typeof dim !== 'number') throw new UnknownShape();
  return dim;
}

/** The axes that an operator takes as an attribute (older operator sets) or as an input (newer ones); null: not given. */
export function axesOf(n: NodeView, input: number): readonly number[] | null {
  return n.ints('axes') ?? (n.has(input) ? (n.constantInts(input) ?? unknown()) : null);
}

export function unknown(): never {
  throw new UnknownShape();
}

/** Geometry of a sliding window: convolution and pooling. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Before and after each spatial axis. */
  readonly padsBegin: readonly number[];
  readonly padsEnd: readonly number[];
  /** Lengths of the output's spatial axes. */
  readonly size: readonly Dim[];
}

/**
 * The window attributes with the specification's defaults, `auto_pad` resolved.
 * @param spatial lengths of the input's spatial axes
 */
export function windowOf(n: NodeView, spatial: Shape, kernel: readonly number[], ceil = false): Window {
  const rank = spatial.length;
  checkWindow(n, kernel, rank);
  const strides = n.ints('strides') ?? Array<number>(rank).fill(1);
  const dilations = n.ints('dilations') ?? Array<number>(rank).fill(1);
  const pads = n.ints('pads') ?? Array<number>(2 * rank).fill(0);
  const autoPad = n.string('auto_pad', 'NOTSET');
  const begin: number[] = [];
  const end: number[] = [];
  const size: Dim[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const extent = (kernel[axis] - 1) * dilations[axis] + 1;
    const dim = spatial[axis];
    if (autoPad.startsWith('SAME')) {
      const length = known(dim);
      const out = Math.ceil(length / strides[axis]);
      const total = Math.max(0, (out - 1) * strides[axis] + extent - length);
      const small = total >> 1;
      begin.push(autoPad === 'SAME_UPPER' ? small : total - small);
      end.push(autoPad === 'SAME_UPPER' ? total - small : small);
      size.push(out);
      continue;
    }
    begin.push(autoPad === 'VALID' ? 0 : pads[axis]);
    end.push(autoPad === 'VALID' ? 0 : pads[axis + rank]);
    size.push(
      typeof dim === 'string'
        ? `${n.outputs[0]}_${axis + 2}`
        : outSize(dim, extent, strides[axis], begin[axis], end[axis], ceil),
    );
  }
  return { kernel, strides, dilations, padsBegin: begin, padsEnd: end, size };
}

/** @throws WrongNode for attributes that no window has */
function checkWindow(n: NodeView, kernel: readonly number[], rank: number): void {
  const lists = { kernel_shape: kernel, strides: n.ints('strides'), dilations: n.ints('dilations') };
  for (const [name, values] of Object.entries(lists)) {
    if (!values) continue;
    if (values.length !== rank) throw new WrongNode(`has ${values.length} ${name} for ${rank} spatial axes`);
    const wrong = values.find(value => !(Number.isSafeInteger(value) && value >= 1));
    if (wrong !== undefined) throw new WrongNode(`has the ${name} [${values.join(', ')}]`);
  }
  const pads = n.ints('pads');
  if (pads && (pads.length !== 2 * rank || pads.some(pad => pad < 0 || pad > 2 ** 31)))
    throw new WrongNode(`has the pads [${pads.slice(0, 16).join(', ')}] for ${rank} spatial axes`);
}

function outSize(length: number, extent: number, stride: number, begin: number, end: number, ceil: boolean): number {
  const steps = (length + begin + end - extent) / stride;
  if (!ceil) return Math.floor(steps) + 1;
  const size = Math.ceil(steps) + 1;
  // A window that would start in the padding after the input does not count (ONNX MaxPool, ceil_mode).
  return (size - 1) * stride >= length + begin ? size - 1 : size;
}
