import type { GraphNode } from '../graph/graph.ts';
import type { AxisRef, Grouped, Relations } from '../graph/operator.ts';
import type { SliceRange, Slices } from './slices.ts';

/** What a node states, as unions and walls of slices. */
export function relationsOf(
  slices: Slices,
  node: GraphNode,
  grouped: Grouped,
  sums: (input: number, axis: number) => void,
): Relations {
  const both = (a: AxisRef, b: AxisRef): [SliceRange, SliceRange] | null => {
    const [x, y] = [slices.range(a), slices.range(b)];
    if (x && y) return [x, y];
    for (const known of [x, y]) {
      if (known) wallRange(slices, known, `${node.opType} '${node.name}' ties it to an axis of unknown length`);
    }
    return null;
  };
  return {
    grouped,
    sums,
    same(a, b) {
      const pair = both(a, b);
      if (!pair) return;
      const [x, y] = pair;
      if (x.length !== y.length) {
        for (const range of pair)
          wallRange(slices, range, `${node.opType} '${node.name}' ties axes of different lengths`);
        return;
      }
      for (let i = 0; i < x.length; i++) slices.union(x.base + i, y.base + i);
    },
    map(a, b, f) {
      const pair = both(a, b);
      if (!pair) return;
      const [x, y] = pair;
      for (let i = 0; i < x.length; i++) {
        const to = f(i);
        if (to >= 0) slices.union(x.base + i, y.base + to);
      }
    },
    tie(a, classOf) {
      const range = slices.range(a);
      if (!range) return;
      const first = new Map<number, number>();
      for (let i = 0; i < range.length; i++) {
        const key = classOf(i);
        const other = first.get(key);
        if (other === undefined) first.set(key, i);
        else slices.union(range.base + i, range.base + other);
      }
    },
    wall(a, reason) {
      const range = slices.range(a);
      if (range) wallRange(slices, range, reason);
    },
    walled(a) {
      const range = slices.range(a);
      if (!range) return true;
      for (let i = 0; i < range.length; i++) if (slices.wallOf(range.base + i)) return true;
      return false;
    },
  };
}

/** Wall every index of an axis. */
export function wallRange(slices: Slices, range: SliceRange, reason: string): void {
  for (let i = 0; i < range.length; i++) slices.wall(range.base + i, reason);
}
