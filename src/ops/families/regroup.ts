import type { Dim, NodeView, Relations, Shape } from '../../graph/operator.ts';

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
    do {
      if (i < from.length && (i === first.i || left.atMost(right))) left.take(from[i++]);
      else if (o < to.length) right.take(to[o++]);
      else if (i < from.length) left.take(from[i++]);
      else return null;
    } while (!left.equals(right));
    // Axes of length 1 that nothing else would claim belong to the last block.
    if (i === from.length) while (o < to.length && to[o] === 1) o++;
    if (o === to.length) while (i < from.length && from[i] === 1) i++;
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

/**
 * Couple the axes of a Reshape or Flatten. Where a block of axes is split or merged, one axis of the block carries the
 * channels and the others keep their lengths; it is called after the walls of all other operators are known, so one
 * that is free carries, of several the largest, of equals the first.
 */
export function coupleRegrouped(n: NodeView, r: Relations): void {
  const from = n.shape(0);
  const to = n.outputShape(0);
  const wallAll = (reason: string) => {
    for (const axis of from.keys()) r.wall(n.axis(0, axis), reason);
    for (const axis of to.keys()) r.wall(n.outputAxis(0, axis), reason);
  };
  const blocks = matchBlocks(from, to);
  if (!blocks) return wallAll(`${n.opType} '${n.name}' mixes axes`);
  for (const { inputs, outputs } of blocks) {
    const ins = inputs.filter(axis => from[axis] !== 1);
    const outs = outputs.filter(axis => to[axis] !== 1);
    if (ins.length <= 1 && outs.length <= 1) {
      if (ins.length && outs.length) r.same(n.axis(0, ins[0]), n.outputAxis(0, outs[0]));
      else if (inputs.length && outputs.length) r.same(n.axis(0, inputs[0]), n.outputAxis(0, outputs[0]));
    } else if (outs.length === 1 && ins.every(axis => typeof from[axis] === 'number')) {
      const carrier = carrierOf(ins, from, axis => r.walled(n.axis(0, axis)));
      const digit = digitOf(ins, from, carrier);
      for (const axis of ins)
        if (axis !== carrier) r.wall(n.axis(0, axis), `${n.opType} '${n.name}' merges it with another axis`);
      if (carrier === null)
        r.wall(n.outputAxis(0, outs[0]), `${n.opType} '${n.name}' merges axes of which none is free`);
      else r.map(n.outputAxis(0, outs[0]), n.axis(0, carrier), digit);
    } else if (ins.length === 1 && outs.every(axis => typeof to[axis] === 'number')) {
      const carrier = carrierOf(outs, to, axis => r.walled(n.outputAxis(0, axis)));
      const digit = digitOf(outs, to, carrier);
      for (const axis of outs)
        if (axis !== carrier) r.wall(n.outputAxis(0, axis), `${n.opType} '${n.name}' splits it off another axis`);
      if (carrier === null)
        r.wall(n.axis(0, ins[0]), `${n.opType} '${n.name}' splits it into axes of which none is free`);
      else r.map(n.axis(0, ins[0]), n.outputAxis(0, carrier), digit);
    } else {
      for (const axis of inputs) r.wall(n.axis(0, axis), `${n.opType} '${n.name}' regroups it with other axes`);
      for (const axis of outputs) r.wall(n.outputAxis(0, axis), `${n.opType} '${n.name}' regroups it with other axes`);
    }
  }
}

function carrierOf(axes: readonly number[], shape: Shape, walled: (axis: number) => boolean): number | null {
  const free = axes.filter(axis => !walled(axis));
  return free.length
    ? free.reduce((best, axis) => ((shape[axis] as number) > (shape[best] as number) ? axis : best))
    : null;
}

/** The digit that belongs to one axis in the flat index over several, the first axis slowest. */
function digitOf(axes: readonly number[], shape: Shape, carrier: number | null): (flat: number) => number {
  if (carrier === null) return () => -1;
  const faster = axes.slice(axes.indexOf(carrier) + 1).reduce((size, axis) => size * (shape[axis] as number), 1);
  return flat => Math.floor(flat / faster) % (shape[carrier] as number);
}
