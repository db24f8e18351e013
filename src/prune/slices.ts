import { numericPart } from '../graph/dims.ts';
import type { TooLong } from '../graph/limits.ts';
import type { AxisRef, Dim } from '../graph/operator.ts';

/** The slices of one axis: consecutive numbers from `base` on. Axes that surely go together share their numbers. */
export interface SliceRange extends AxisRef {
  readonly length: number;
  readonly base: number;
  /**
   * An axis that is a product of symbols and numbers (`batch·4`, docs/architecture.md) has slices for the numbers only:
   * the length as it is written. null: an ordinary axis, with a slice for every index.
   */
  readonly layout: string | null;
}

/** What is known of a class of slices, as bits. */
export const mark = {
  /** A product of two activations runs over it as one of its heads. */
  heads: 1,
  /** A product of two activations runs over it within a head. */
  dims: 2,
  /** Some constant of the file lies on it. */
  constant: 4,
  /** It was chosen to carry the channels of a split or merged axis. */
  carried: 8,
} as const;

/** What the graph says of axes. */
export interface AxisFacts {
  /** Length of an axis, which has no slices where it is too long; undefined where it is not known. */
  dimOf(ref: AxisRef): Dim | TooLong | undefined;
  /** Number of axes of a value; 0 where it is not known. */
  rankOf(value: string): number;
  /** Whether a value is a constant of the file. */
  isConstant(value: string): boolean;
}

/**
 * Union-find over slices (value, axis, index). Ranges of numbers are made when an axis is first touched; walls and marks
 * are kept per class, of walls the first reason that was given.
 */
export class Slices {
  readonly ranges: SliceRange[] = [];
  readonly #facts: AxisFacts;
  readonly #byValue = new Map<string, (SliceRange | null | undefined)[]>();
  readonly #reasons: string[] = [''];
  readonly #walledBases = new Set<number>();
  #parent = new Int32Array(1024);
  /** Index into the reasons, at a class's root; 0: no wall. */
  #wall = new Int32Array(1024);
  #marks = new Uint8Array(1024);
  #count = 0;

  constructor(facts: AxisFacts) {
    this.#facts = facts;
  }

  /** Number of slices. */
  get count(): number {
    return this.#count;
  }

  /** The slices of an axis, made when they are first asked for; null for one of unknown length, or too long for them. */
  range(ref: AxisRef): SliceRange | null {
    const known = this.#known(ref);
    if (known !== undefined) return known;
    const dim = this.#facts.dimOf(ref);
    if (dim === undefined || typeof dim === 'object') return this.#remember(ref, null);
    const length = numericPart(dim);
    // A symbol alone has no slices.
    if (typeof dim === 'string' && length === 1) return this.#remember(ref, null);
    const range = this.#add(ref, length, this.#count, typeof dim === 'string' ? dim : null);
    this.#grow(length);
    this.#markConstant(range);
    return range;
  }

  /** The product of the numbers in an axis's length, slices or not; 1 where it is not known. */
  lengthOf(ref: AxisRef): number {
    const range = this.range(ref);
    if (range) return range.length;
    const dim = this.#facts.dimOf(ref);
    return typeof dim === 'object' ? dim.length : 1;
  }

  /** The slices of an axis if anything touched it. */
  touched(ref: AxisRef): SliceRange | null {
    return this.#known(ref) ?? null;
  }

  /**
   * The slices of two axes of which one may take over the other's numbers, because nothing touched it yet.
   * @returns null where one has no slices
   */
  shared(a: AxisRef, b: AxisRef): [SliceRange, SliceRange] | null {
    const first = this.#known(a);
    const x = first === undefined ? this.#taken(a, this.#known(b)) : first;
    const y = this.#known(b) === undefined ? this.#taken(b, x) : this.range(b);
    return x && y ? [x, y] : null;
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
    const x = this.find(a);
    const y = this.find(b);
    if (x === y) return;
    const [root, other] = x < y ? [x, y] : [y, x];
    this.#parent[other] = root;
    this.#wall[root] ||= this.#wall[other];
    this.#marks[root] |= this.#marks[other];
  }

  wall(slice: number, reason: string): void {
    const root = this.find(slice);
    if (!this.#wall[root]) this.#wall[root] = this.#reason(reason);
  }

  /** Wall every index of an axis. */
  wallRange({ base, length }: SliceRange, reason: string): void {
    if (this.#walledBases.has(base)) return;
    this.#walledBases.add(base);
    for (let i = 0; i < length; i++) this.wall(base + i, reason);
  }

  /** Why a slice's class keeps its length; null when it is free. */
  wallOf(slice: number): string | null {
    return this.#reasons[this.#wall[this.find(slice)]] || null;
  }

  /** Whether some index of an axis is behind a wall. */
  hasWall({ base, length }: SliceRange): boolean {
    if (this.#walledBases.has(base)) return length > 0;
    for (let i = 0; i < length; i++) if (this.#wall[this.find(base + i)]) return true;
    return false;
  }

  /** Whether every index of an axis is behind a wall. */
  isWall({ base, length }: SliceRange): boolean {
    if (this.#walledBases.has(base)) return true;
    for (let i = 0; i < length; i++) if (!this.#wall[this.find(base + i)]) return false;
    this.#walledBases.add(base);
    return true;
  }

  /** Set a bit of all classes of an axis. */
  markRange({ base, length }: SliceRange, bit: number): void {
    for (let i = 0; i < length; i++) this.#marks[this.find(base + i)] |= bit;
  }

  /** Whether a bit is set of the class of an axis's first index. */
  isMarked({ base }: SliceRange, bit: number): boolean {
    return (this.#marks[this.find(base)] & bit) !== 0;
  }

  #known({ value, axis }: AxisRef): SliceRange | null | undefined {
    return this.#byValue.get(value)?.[axis];
  }

  #remember({ value, axis }: AxisRef, range: SliceRange | null): SliceRange | null {
    const axes = this.#byValue.get(value);
    if (axes) axes[axis] = range;
    else {
      // As long as it will be, since lists that grow keep room for more.
      const first = new Array<SliceRange | null | undefined>(Math.max(this.#facts.rankOf(value), axis + 1));
      first[axis] = range;
      this.#byValue.set(value, first);
    }
    return range;
  }

  #add({ value, axis }: AxisRef, length: number, base: number, layout: string | null): SliceRange {
    const range = { value, axis, length, base, layout };
    this.ranges.push(range);
    this.#remember(range, range);
    return range;
  }

  /** An untouched axis with the numbers of another where both are as long. */
  #taken(ref: AxisRef, other: SliceRange | null | undefined): SliceRange | null {
    const dim = this.#facts.dimOf(ref);
    if (!other || dim === undefined || dim !== (other.layout ?? other.length)) return this.range(ref);
    const range = this.#add(ref, other.length, other.base, other.layout);
    this.#markConstant(range);
    return range;
  }

  #markConstant(range: SliceRange): void {
    if (this.#facts.isConstant(range.value)) this.markRange(range, mark.constant);
  }

  #reason(reason: string): number {
    if (this.#reasons[this.#reasons.length - 1] !== reason) this.#reasons.push(reason);
    return this.#reasons.length - 1;
  }

  #grow(by: number): void {
    const from = this.#count;
    this.#count += by;
    if (this.#count > this.#parent.length) {
      const size = Math.max(this.#count, 2 * this.#parent.length);
      const widened = <T extends Int32Array | Uint8Array>(array: T, wider: T): T => {
        wider.set(array);
        return wider;
      };
      this.#parent = widened(this.#parent, new Int32Array(size));
      this.#wall = widened(this.#wall, new Int32Array(size));
      this.#marks = widened(this.#marks, new Uint8Array(size));
    }
    for (let slice = from; slice < this.#count; slice++) this.#parent[slice] = slice;
  }
}
