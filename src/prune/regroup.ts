import type { GraphNode } from '../graph/graph.ts';
import type { Attention, AxisRef } from '../graph/operator.ts';
import { mark, type SliceRange, type Slices } from './slices.ts';

/** A part of an index that an input and an output axis have in common; `stride`: what it counts by on either. */
interface Digit {
  readonly length: number;
  readonly input: Place;
  readonly output: Place;
}

interface Place {
  /** Which of the block's axes. */
  readonly axis: number;
  readonly stride: number;
}

/** Axes of the input that are together as long as axes of the output, none of which could be matched with fewer. */
export interface Block {
  readonly inputs: readonly AxisRef[];
  readonly outputs: readonly AxisRef[];
  /** From slow to fast; null: the axes' lengths have no common factors that fit. */
  readonly digits: readonly Digit[] | null;
}

/** A block of a node that splits or merges axes, which waits for the walls of everything else. */
export interface Regrouped extends Block {
  readonly node: GraphNode;
}

interface Axis {
  readonly ref: AxisRef;
  readonly length: number;
}

/**
 * Match axes whose flat indices are the same, the first axis slowest. Axes of length 1 and symbols are left out; a
 * single pair of them still goes together.
 * @returns null where the products of the lengths differ
 */
export function blocksOf(slices: Slices, inputs: readonly AxisRef[], outputs: readonly AxisRef[]): Block[] | null {
  const long = (refs: readonly AxisRef[]): Axis[] =>
    refs.flatMap(ref => {
      const length = slices.lengthOf(ref);
      return length === 1 ? [] : [{ ref, length }];
    });
  const ins = long(inputs);
  const outs = long(outputs);
  if (ins.some(({ length }) => length === 0) || outs.some(({ length }) => length === 0)) return null;
  const single = (refs: readonly AxisRef[]) => refs.filter(ref => slices.range(ref)?.length === 1);
  const [[a], [b]] = [single(inputs), single(outputs)];
  const alone = ins.length === 0 && outs.length === 0 && a && b ? [{ inputs: [a], outputs: [b], digits: null }] : [];
  const blocks: Block[] = [];
  let i = 0;
  let o = 0;
  while (i < ins.length || o < outs.length) {
    const [firstIn, firstOut] = [i, o];
    let left = 1;
    let right = 1;
    do {
      if (i < ins.length && (left <= right || o === outs.length)) left *= ins[i++].length;
      else if (o < outs.length) right *= outs[o++].length;
      else return null;
    } while (left !== right);
    blocks.push(blockOf(ins.slice(firstIn, i), outs.slice(firstOut, o)));
  }
  return [...alone, ...blocks];
}

function blockOf(ins: readonly Axis[], outs: readonly Axis[]): Block {
  return { inputs: ins.map(({ ref }) => ref), outputs: outs.map(({ ref }) => ref), digits: digitsOf(ins, outs) };
}

/** The coarsest digits that every axis is made of whole; null where there are none. */
function digitsOf(ins: readonly Axis[], outs: readonly Axis[]): Digit[] | null {
  const digits: Digit[] = [];
  let i = ins.length - 1;
  let o = outs.length - 1;
  let [left, right] = [ins[i].length, outs[o].length];
  let [inStride, outStride] = [1, 1];
  for (;;) {
    const length = Math.min(left, right);
    if (left % length !== 0 || right % length !== 0) return null;
    digits.unshift({ length, input: { axis: i, stride: inStride }, output: { axis: o, stride: outStride } });
    [left, right] = [left / length, right / length];
    [inStride, outStride] = [inStride * length, outStride * length];
    if (left === 1 && --i >= 0) [left, inStride] = [ins[i].length, 1];
    if (right === 1 && --o >= 0) [right, outStride] = [outs[o].length, 1];
    if (i < 0 || o < 0) return digits;
  }
}

/** How often blocks are gone through for those that leave no choice, before the others are decided. */
const rounds = 4;

/**
 * Decide for every block which digit carries the channels, in the order of the graph; all axes of the block without it
 * keep their lengths. Those with one free digit at most go first, since they leave no choice and settle others.
 */
export function settleRegrouped(slices: Slices, blocks: readonly Regrouped[], attention: Attention): void {
  let open = blocks;
  for (let round = 0; round < rounds && open.length > 0; round++) {
    const left = (round % 2 ? open.toReversed() : open).filter(block => {
      const free = freeDigits(slices, block);
      if (free.length > 1) return true;
      settle(slices, block, free[0] ?? null);
      return false;
    });
    if (left.length === open.length) break;
    open = round % 2 ? left.toReversed() : left;
  }
  for (const block of open) {
    const free = freeDigits(slices, block);
    settle(slices, block, free.length > 1 ? carrierOf(slices, block, free, attention) : (free[0] ?? null));
  }
}

/**
 * Digits whose axes may lose something: an axis that is the digit has no wall, one with others is not all wall. One that
 * is too long for slices keeps its length.
 */
function freeDigits(slices: Slices, block: Regrouped): Digit[] {
  if (!block.digits) return [];
  const isOpen = (ref: AxisRef, { length }: Digit): boolean => {
    const range = slices.range(ref);
    if (!range) return false;
    return range.length === length ? !slices.hasWall(range) : !slices.isWall(range);
  };
  return block.digits.filter(
    digit => isOpen(block.inputs[digit.input.axis], digit) && isOpen(block.outputs[digit.output.axis], digit),
  );
}

/** Of heads and their dims what was chosen for the others already, else what is asked for; of other axes what constants lie on, of several the largest, then the first. */
function carrierOf(slices: Slices, block: Regrouped, free: readonly Digit[], attention: Attention): Digit {
  const has = (digit: Digit, bit: number): boolean =>
    [block.inputs[digit.input.axis], block.outputs[digit.output.axis]].some(ref => {
      const range = slices.range(ref)!;
      return range.length === digit.length && slices.isMarked(range, bit);
    });
  const [wanted, other] = attention === 'heads' ? [mark.heads, mark.dims] : [mark.dims, mark.heads];
  // Where a norm over the dims left q and k nothing but whole heads, v loses them too.
  const attending = free.filter(digit => has(digit, mark.heads | mark.dims));
  const chosen = attending.find(digit => has(digit, mark.carried)) ?? free.find(digit => has(digit, wanted));
  if (chosen) return chosen;
  const rest = free.filter(digit => !has(digit, other));
  const candidates = rest.length > 0 ? rest : free;
  const carried = candidates.filter(digit => has(digit, mark.constant));
  return (carried.length > 0 ? carried : candidates).reduce((a, b) => (b.length > a.length ? b : a));
}

function settle(slices: Slices, block: Regrouped, carrier: Digit | null): void {
  const { node, inputs, outputs } = block;
  const doing =
    outputs.length === 1
      ? 'merges it with another axis'
      : inputs.length === 1
        ? 'splits it off another axis'
        : 'regroups it with other axes';
  const reason = (carrier ? null : causeOf(slices, block)) ?? `${node.opType} '${node.name}' ${doing}`;
  const keep = (refs: readonly AxisRef[], at: number | undefined) =>
    refs.forEach((ref, i) => {
      const range = i === at ? null : slices.range(ref);
      if (range) slices.wallRange(range, reason);
    });
  keep(inputs, carrier?.input.axis);
  keep(outputs, carrier?.output.axis);
  if (!carrier) return;
  const { length, input, output } = carrier;
  for (const ref of [inputs[input.axis], outputs[output.axis]]) slices.markRange(slices.range(ref)!, mark.carried);
  const first = tied(slices, slices.range(inputs[input.axis])!, input.stride, length);
  const second = tied(slices, slices.range(outputs[output.axis])!, output.stride, length);
  for (let value = 0; value < length; value++) slices.union(first(value), second(value));
}

/** Tie the indices of an axis that share a digit. @returns a slice for every value of the digit */
function tied(slices: Slices, { base, length: whole }: SliceRange, stride: number, length: number) {
  if (whole !== length) {
    for (let i = 0; i < whole; i++) slices.union(base + i, base + (Math.floor(i / stride) % length) * stride);
  }
  return (value: number): number => base + value * stride;
}

/** The wall that leaves no part of a split or merged axis free: that of the whole, else of the longest part. */
function causeOf(slices: Slices, { inputs, outputs }: Regrouped): string | null {
  if (inputs.length > 1 && outputs.length > 1) return null;
  const ranges = [...inputs, ...outputs].flatMap(ref => slices.range(ref) ?? []).sort((a, b) => b.length - a.length);
  for (const { base, length } of ranges) {
    for (let i = 0; i < length; i++) {
      const reason = slices.wallOf(base + i);
      if (reason) return reason;
    }
  }
  return null;
}
