import type { AxisRef, Dim, NodeView, Relations, Shape } from '../../graph/operator.ts';

interface Block {
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/**
 * Match the axes of two shapes of equal element count block by block: the shortest runs of axes with equal products.
 * @returns null when the lengths do not match that way
 */
export function matchBlocks(from: Shape, to: Shape): Block[] | null {
  const blocks: Block[] = [];
  let i = 0;
  let o = 0;
  while (i < from.length || o < to.length) {
    const first = { i, o };
    const left = new Product();
    const right = new Product();
    if (i < from.length) left.take(from[i++]);
    if (o < to.length) right.take(to[o++]);
    while (!left.equals(right)) {
      if (i < from.length && (left.atMost(right) || o === to.length)) left.take(from[i++]);
      else if (o < to.length) right.take(to[o++]);
      else return null;
    }
    blocks.push({ inputs: range(first.i, i), outputs: range(first.o, o) });
  }
  return blocks;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, k) => from + k);

/** A product of numbers and symbols. */
class Product {
  #number = 1;
  #symbols: string[] = [];

  take(dim: Dim): void {
    if (typeof dim === 'number') this.#number *= dim;
    else this.#symbols = [...this.#symbols, dim].sort();
  }
  equals(other: Product): boolean {
    return this.#number === other.#number && this.#symbols.join() === other.#symbols.join();
  }
  /** Which side to extend next: symbols first, then the smaller number. */
  atMost(other: Product): boolean {
    return this.#symbols.length !== other.#symbols.length
      ? this.#symbols.length < other.#symbols.length
      : this.#number <= other.#number;
  }
}

/** The input or the output of a node. */
interface Side {
  readonly shape: Shape;
  ref(axis: number): AxisRef;
}

/**
 * Couple the axes of a Reshape or Flatten. Where a block of axes is split or merged, one axis of the block carries the
 * channels and the others keep their lengths; it is called after the walls of all other operators are known, so one
 * that is free carries, of several the largest, of equals the first.
 */
export function coupleRegrouped(n: NodeView, r: Relations): void {
  const from: Side = { shape: n.shape(0), ref: axis => n.axis(0, axis) };
  const to: Side = { shape: n.outputShape(0), ref: axis => n.outputAxis(0, axis) };
  const everything: Block = { inputs: [...from.shape.keys()], outputs: [...to.shape.keys()] };
  const wall = (ref: AxisRef, why: string) => r.wall(ref, `${n.opType} '${n.name}' ${why}`);
  const blocks = matchBlocks(from.shape, to.shape);
  for (const { inputs, outputs } of blocks ?? [everything]) {
    const ins = inputs.filter(axis => from.shape[axis] !== 1);
    const outs = outputs.filter(axis => to.shape[axis] !== 1);
    if (blocks && ins.length <= 1 && outs.length <= 1) {
      const [a, b] = [ins[0] ?? inputs[0], outs[0] ?? outputs[0]];
      if (a !== undefined && b !== undefined) r.same(from.ref(a), to.ref(b));
    } else if (blocks && outs.length === 1 && isNumeric(ins, from)) {
      carry(ins, from, to.ref(outs[0]), r, ref => wall(ref, 'merges it with another axis'));
    } else if (blocks && ins.length === 1 && isNumeric(outs, to)) {
      carry(outs, to, from.ref(ins[0]), r, ref => wall(ref, 'splits it off another axis'));
    } else {
      for (const axis of inputs) wall(from.ref(axis), 'regroups it with other axes');
      for (const axis of outputs) wall(to.ref(axis), 'regroups it with other axes');
    }
  }
}

const isNumeric = (axes: readonly number[], { shape }: Side): boolean =>
  axes.every(axis => typeof shape[axis] === 'number');

/** Let one of several axes that are one axis of the other side carry its channels. */
function carry(
  axes: readonly number[],
  { shape, ref }: Side,
  whole: AxisRef,
  r: Relations,
  wall: (ref: AxisRef) => void,
) {
  const length = (axis: number) => shape[axis] as number;
  const free = axes.filter(axis => !r.walled(ref(axis)));
  if (free.length === 0) {
    for (const axis of [...axes.map(ref), whole]) wall(axis);
    return;
  }
  const carrier = free.reduce((best, axis) => (length(axis) > length(best) ? axis : best));
  for (const axis of axes) if (axis !== carrier) wall(ref(axis));
  // Its digit in the flat index over all of them, the first axis slowest.
  const faster = axes.slice(axes.indexOf(carrier) + 1).reduce((size, axis) => size * length(axis), 1);
  r.map(whole, ref(carrier), flat => Math.floor(flat / faster) % length(carrier));
}
