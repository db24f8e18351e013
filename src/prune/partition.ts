import type { AxisRef } from '../graph/operator.ts';
import type { Group, WalledGroup } from './groups.ts';
import type { SliceRange, Slices } from './slices.ts';

/** Groups of channels, and the channel of every index of an axis. */
export interface Partition {
  readonly groups: readonly Group[];
  readonly walled: readonly WalledGroup[];
  readonly channels: number;
  readonly offsets: readonly number[];
  channelsOf(ref: AxisRef): Int32Array | null;
}

/** Which axes are a weight's, and the place of a value's first use among the nodes. */
export interface WeightAxes {
  kindOf(ref: AxisRef): 'out' | 'in' | null;
  firstUse(value: string): number;
}

/** Axes that share their slices, so that whatever lies on one lies on all of them. */
interface Bundle {
  readonly ranges: SliceRange[];
  readonly base: number;
  readonly length: number;
}

/** Classes of slices that lie on the same axes, each equally often, one of them the output axis of a weight. */
interface Block {
  /** Bundles of axes, with the number of slices on each axis. */
  readonly members: Map<Bundle, number>;
  /** The number of classes. */
  size: number;
  wall: string | null;
}

interface RootedBlock extends Block {
  readonly id: number;
  /** The weight axis that the block is named after, and where the block starts on it. */
  readonly root: SliceRange;
  readonly start: number;
}

/** Classes of slices to groups of channels: classes that touch the same multiset of axes belong together. */
export function partition(slices: Slices, weights: WeightAxes): Partition {
  const bundles = bundlesOf(slices);
  const { blocks: all, blockOf } = blocksOf(bundles, slices, weights);
  const starts = new Map<SliceRange, Map<number, number>>();
  const startOn = (range: SliceRange, id: number): number => {
    let known = starts.get(range);
    if (!known) {
      starts.set(range, (known = new Map()));
      for (let i = 0; i < range.length; i++) {
        const found = blockOf[slices.find(range.base + i)];
        if (!known.has(found)) known.set(found, i);
      }
    }
    return known.get(id)!;
  };
  const blocks = [...all]
    .map(([id, block]): RootedBlock => {
      const root = rootOf(block, weights);
      return { ...block, id, root, start: startOn(root, id) };
    })
    .sort((a, b) => weights.firstUse(a.root.value) - weights.firstUse(b.root.value) || a.start - b.start);
  const seen = new Map<string, number>();
  const groups: Group[] = [];
  const walled: WalledGroup[] = [];
  const offsets: number[] = [];
  const channelOf = new Int32Array(slices.count).fill(-1);
  let channels = 0;
  for (const block of blocks) {
    const { value, base, length } = block.root;
    seen.set(value, (seen.get(value) ?? 0) + 1);
    const group = groupOf(block, seen.get(value)!, weights);
    const reason = block.wall ?? (group.size === 1 ? 'it is a single channel' : null);
    if (reason) {
      walled.push({ ...group, reason });
      continue;
    }
    offsets.push(channels);
    groups.push(group);
    for (let i = 0; i < length; i++) {
      const root = slices.find(base + i);
      if (blockOf[root] === block.id && channelOf[root] < 0) channelOf[root] = channels++;
    }
  }
  return { groups, walled, channels, offsets, channelsOf: lookup(slices, channelOf) };
}

function bundlesOf({ ranges }: Slices): Bundle[] {
  const byBase = new Map<number, Bundle>();
  for (const range of ranges) {
    const { base, length } = range;
    const bundle = byBase.get(base);
    // Axes of length 0 have no slices, and the base of what comes next.
    if (bundle && bundle.length === length) bundle.ranges.push(range);
    else if (length > 0) byBase.set(base, { base, length, ranges: [range] });
  }
  return [...byBase.values()];
}

/**
 * Partition refinement: a class's block is the sequence of (axis, multiplicity) that it was met on. Only classes that
 * lie on the output axis of a weight are looked at.
 * @returns blocks by number, and by a class's root the number of its block; 0: none
 */
function blocksOf(
  bundles: readonly Bundle[],
  slices: Slices,
  weights: WeightAxes,
): { blocks: Map<number, Block>; blockOf: Int32Array } {
  const blockOf = new Int32Array(slices.count);
  for (const { ranges, base, length } of bundles) {
    if (!ranges.some(range => weights.kindOf(range) === 'out')) continue;
    for (let i = 0; i < length; i++) blockOf[slices.find(base + i)] = 1;
  }
  let count = 2;
  const met = new Int32Array(slices.count);
  for (const { base, length } of bundles) {
    const roots: number[] = [];
    for (let i = 0; i < length; i++) {
      const root = slices.find(base + i);
      if (blockOf[root] && met[root]++ === 0) roots.push(root);
    }
    const next = new Map<number, number>();
    for (const root of roots) {
      const key = blockOf[root] * (length + 1) + met[root];
      let block = next.get(key);
      if (block === undefined) next.set(key, (block = count++));
      blockOf[root] = block;
      met[root] = 0;
    }
  }
  const blocks = new Map<number, Block>();
  for (const bundle of bundles) {
    for (let i = 0; i < bundle.length; i++) {
      const root = slices.find(bundle.base + i);
      const id = blockOf[root];
      if (!id) continue;
      let block = blocks.get(id);
      if (!block) blocks.set(id, (block = { members: new Map(), size: 0, wall: null }));
      block.members.set(bundle, (block.members.get(bundle) ?? 0) + 1);
      if (met[root]) continue;
      met[root] = 1;
      block.size++;
      block.wall ??= slices.wallOf(root);
    }
  }
  return { blocks, blockOf };
}

/** The first weight whose output channels a block has. */
function rootOf(block: Block, weights: WeightAxes): SliceRange {
  const out = [...block.members.keys()].flatMap(({ ranges }) =>
    ranges.filter(range => weights.kindOf(range) === 'out'),
  );
  return out.reduce((a, b) => (weights.firstUse(b.value) < weights.firstUse(a.value) ? b : a));
}

/** @param occurrence how many blocks of this root there were so far: parts of one axis are told apart by a number */
function groupOf({ members, size, root }: RootedBlock, occurrence: number, weights: WeightAxes): Group {
  return {
    name: occurrence > 1 ? `${root.value}#${occurrence}` : root.value,
    size,
    root: { value: root.value, axis: root.axis },
    members: [...members].flatMap(([{ ranges }, count]) =>
      ranges.map(({ value, axis }) => ({
        value,
        axis,
        multiplicity: count / size,
        weight: weights.kindOf({ value, axis }),
      })),
    ),
  };
}

function lookup(slices: Slices, channelOf: Int32Array): Partition['channelsOf'] {
  const known = new Map<number, Int32Array | null>();
  return ref => {
    const range = slices.touched(ref);
    if (!range || range.length === 0) return null;
    const { base, length } = range;
    let channels = known.get(base);
    if (channels === undefined) {
      const found = Int32Array.from({ length }, (_, i) => channelOf[slices.find(base + i)]);
      known.set(base, (channels = found.some(channel => channel >= 0) ? found : null));
    }
    return channels;
  };
}
