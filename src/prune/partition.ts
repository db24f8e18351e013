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

/** Classes of slices that lie on the same axes, each equally often. */
interface Block {
  /** Number of slices by axis. */
  readonly members: Map<SliceRange, number>;
  /** The classes, by their root slice. */
  readonly classes: Set<number>;
  wall: string | null;
}

interface RootedBlock extends Block {
  /** The weight axis that the block is named after, and where the block starts on it. */
  readonly root: SliceRange;
  readonly start: number;
}

/** Classes of slices to groups of channels: classes that touch the same multiset of axes belong together. */
export function partition(slices: Slices, weights: WeightAxes): Partition {
  const blocks = blocksOf(slices)
    .flatMap(block => rooted(block, slices, weights))
    .sort((a, b) => weights.firstUse(a.root.value) - weights.firstUse(b.root.value) || a.start - b.start);
  const seen = new Map<string, number>();
  const groups: Group[] = [];
  const walled: WalledGroup[] = [];
  const offsets: number[] = [];
  const channelOf = new Int32Array(slices.count).fill(-1);
  let channels = 0;
  for (const block of blocks) {
    const { value } = block.root;
    seen.set(value, (seen.get(value) ?? 0) + 1);
    const group = groupOf(block, seen.get(value)!, weights);
    const reason = block.wall ?? (group.size === 1 ? 'it is a single channel' : null);
    if (reason) {
      walled.push({ ...group, reason });
      continue;
    }
    offsets.push(channels);
    groups.push(group);
    for (const root of classesAlong(block.root, slices)) {
      if (block.classes.has(root) && channelOf[root] < 0) channelOf[root] = channels++;
    }
  }
  return { groups, walled, channels, offsets, channelsOf: lookup(slices, channelOf) };
}

/** Partition refinement: a class's block is the sequence of (axis, multiplicity) that it was met on. */
function blocksOf(slices: Slices): Block[] {
  const blockOf = new Int32Array(slices.count);
  const next = new Map<string, number>();
  let count = 1;
  for (const [index, range] of slices.ranges.entries()) {
    const found = new Map<number, number>();
    for (const root of classesAlong(range, slices)) found.set(root, (found.get(root) ?? 0) + 1);
    for (const [root, multiplicity] of found) {
      const key = `${blockOf[root]}:${index}:${multiplicity}`;
      let block = next.get(key);
      if (block === undefined) next.set(key, (block = count++));
      blockOf[root] = block;
    }
  }
  const blocks = new Map<number, Block>();
  for (const range of slices.ranges) {
    for (const root of classesAlong(range, slices)) {
      let block = blocks.get(blockOf[root]);
      if (!block) blocks.set(blockOf[root], (block = { members: new Map(), classes: new Set(), wall: null }));
      block.members.set(range, (block.members.get(range) ?? 0) + 1);
      block.classes.add(root);
      block.wall ??= slices.wallOf(root);
    }
  }
  return [...blocks.values()];
}

/** The class of every index of an axis. */
function classesAlong({ base, length }: SliceRange, slices: Slices): number[] {
  return Array.from({ length }, (_, i) => slices.find(base + i));
}

/** A block with its root, the first weight whose output channels it has; none: nothing that could be pruned. */
function rooted(block: Block, slices: Slices, weights: WeightAxes): RootedBlock[] {
  const out = [...block.members.keys()].filter(range => weights.kindOf(range) === 'out');
  if (out.length === 0) return [];
  const root = out.reduce((a, b) => (weights.firstUse(b.value) < weights.firstUse(a.value) ? b : a));
  return [{ ...block, root, start: classesAlong(root, slices).findIndex(found => block.classes.has(found)) }];
}

/** @param occurrence how many blocks of this root there were so far: parts of one axis are told apart by a number */
function groupOf({ members, classes, root }: RootedBlock, occurrence: number, weights: WeightAxes): Group {
  const size = classes.size;
  return {
    name: occurrence > 1 ? `${root.value}#${occurrence}` : root.value,
    size,
    root: { value: root.value, axis: root.axis },
    members: [...members].map(([{ value, axis }, count]) => ({
      value,
      axis,
      multiplicity: count / size,
      weight: weights.kindOf({ value, axis }),
    })),
  };
}

function lookup(slices: Slices, channelOf: Int32Array): Partition['channelsOf'] {
  const known = new Map<SliceRange, Int32Array | null>();
  return ref => {
    const range = slices.touched(ref);
    if (!range) return null;
    let channels = known.get(range);
    if (channels === undefined) {
      const found = Int32Array.from(classesAlong(range, slices), root => channelOf[root]);
      known.set(range, (channels = found.some(channel => channel >= 0) ? found : null));
    }
    return channels;
  };
}
