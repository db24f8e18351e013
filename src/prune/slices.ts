import type { AxisRef } from '../graph/operator.ts';

/** The slices of one axis: consecutive numbers from `base` on. */
export interface SliceRange extends AxisRef {
  readonly length: number;
  readonly base: number;
}

/**
 * Union-find over slices (value, axis, index). Ranges of numbers are made when an axis is first touched; walls are kept
 * per class, with the first reason that was given.
 */
export class Slices {
  readonly ranges: SliceRange[] = [];
  readonly #lengthOf: (ref: AxisRef) => number | null;
  readonly #byValue = new Map<string, (SliceRange | null | undefined)[]>();
  readonly #reasons: string[] = [''];
  #parent = new Int32Array(1024);
  /** Index into the reasons, at a class's root; 0: no wall. */
  #wall = new Int32Array(1024);
  #count = 0;

  /** @param lengthOf length of an axis; null where it is symbolic or unknown: such an axis has no slices */
  constructor(lengthOf: (ref: AxisRef) => number | null) {
    this.#lengthOf = lengthOf;
  }

  /** Number of slices. */
  get count(): number {
    return this.#count;
  }

  /** The slices of an axis, made when they are first asked for; null for an axis of unknown length. */
  range(ref: AxisRef): SliceRange | null {
    let axes = this.#byValue.get(ref.value);
    if (!axes) this.#byValue.set(ref.value, (axes = []));
    const known = axes[ref.axis];
    if (known !== undefined) return known;
    const length = this.#lengthOf(ref);
    if (length === null) return (axes[ref.axis] = null);
    const range = { ...ref, length, base: this.#count };
    this.#grow(length);
    this.ranges.push(range);
    return (axes[ref.axis] = range);
  }

  /** The slices of an axis if anything touched it. */
  touched(ref: AxisRef): SliceRange | null {
    return this.#byValue.get(ref.value)?.[ref.axis] ?? null;
  }

  find(slice: number): number {
    const parent = this.#parent;
    while (parent[slice] !== slice) {
      parent[slice] = parent[parent[slice]];
      slice = parent[slice];
    }
    return slice;
  }

  union(a: number, b: number): void {
    const low = this.find(Math.min(a, b));
    const high = this.find(Math.max(a, b));
    if (low === high) return;
    const [root, other] = low < high ? [low, high] : [high, low];
    this.#parent[other] = root;
    this.#wall[root] ||= this.#wall[other];
  }

  wall(slice: number, reason: string): void {
    const root = this.find(slice);
    if (this.#wall[root]) return;
    if (this.#reasons[this.#reasons.length - 1] !== reason) this.#reasons.push(reason);
    this.#wall[root] = this.#reasons.length - 1;
  }

  /** Why a slice's class keeps its length; null when it is free. */
  wallOf(slice: number): string | null {
    return this.#reasons[this.#wall[this.find(slice)]] || null;
  }

  #grow(by: number): void {
    const from = this.#count;
    this.#count += by;
    if (this.#count > this.#parent.length) {
      const size = Math.max(this.#count, 2 * this.#parent.length);
      const parent = new Int32Array(size);
      parent.set(this.#parent);
      this.#parent = parent;
      const wall = new Int32Array(size);
      wall.set(this.#wall);
      this.#wall = wall;
    }
    for (let slice = from; slice < this.#count; slice++) this.#parent[slice] = slice;
  }
}
