import type { GraphNode } from '../graph/graph.ts';
import type { Attention, AxisRef, Grouped, Relations } from '../graph/operator.ts';
import { blocksOf, type Regrouped } from './regroup.ts';
import { mark, type SliceRange, type Slices } from './slices.ts';

/** What nodes lose where there is a choice. */
export interface CouplingChoice {
  readonly grouped: Grouped;
  readonly attention: Attention;
}

/** Relations of whatever node is set, as unions, walls and marks of slices. */
export interface NodeRelations extends Relations {
  /** The node that states what comes next. */
  of(node: GraphNode): Relations;
}

/**
 * @param summed what is told of axes that a node sums over
 * @param regrouped what is told of blocks of axes that a node splits or merges
 */
export function relationsIn(
  slices: Slices,
  choice: CouplingChoice,
  summed: (node: GraphNode, input: number, axis: number) => void,
  regrouped: (block: Regrouped) => void,
): NodeRelations {
  let node: GraphNode;
  const says = (why: string): string => `${node.opType} '${node.name}' ${why}`;
  const wall = (ranges: readonly (SliceRange | null)[], why: string): void => {
    for (const range of ranges) if (range) slices.wallRange(range, says(why));
  };
  /** Two axes with a slice for every index. */
  const plain = (a: AxisRef, b: AxisRef): [SliceRange, SliceRange] | null => {
    const pair = [slices.range(a), slices.range(b)] as const;
    const [x, y] = pair;
    if (x && y && x.layout === null && y.layout === null) return [x, y];
    wall(pair, 'ties it to an axis of unknown length');
    return null;
  };
  const same = (a: AxisRef, b: AxisRef): void => {
    const pair = slices.shared(a, b);
    if (!pair) wall([slices.range(a), slices.range(b)], 'ties it to an axis of unknown length');
    else if (pair[0].length !== pair[1].length) wall(pair, 'ties axes of different lengths');
    else if (pair[0].layout !== pair[1].layout) wall(pair, 'ties axes that are laid out differently');
    else unite(...pair);
  };
  const unite = (x: SliceRange, y: SliceRange): void => {
    if (x.base !== y.base) for (let i = 0; i < x.length; i++) slices.union(x.base + i, y.base + i);
  };
  const relations: NodeRelations = {
    ...choice,
    of(next) {
      node = next;
      return relations;
    },
    same,
    sums(input, axis) {
      const range = slices.range({ value: node.inputs[input], axis });
      if (range && range.layout !== null) wall([range], 'sums over it and over an axis of unknown length');
      else summed(node, input, axis);
    },
    map(a, b, f) {
      const pair = plain(a, b);
      if (!pair) return;
      const [x, y] = pair;
      for (let i = 0; i < x.length; i++) {
        const to = f(i);
        if (to < y.length && Number.isInteger(to)) {
          if (to >= 0) slices.union(x.base + i, y.base + to);
        } else wall(pair, 'picks an index that is not there');
      }
    },
    tie(a, classOf) {
      const range = slices.range(a);
      if (!range) return;
      if (range.layout !== null) return wall([range], 'ties indices of it');
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
      if (range) slices.wallRange(range, reason);
    },
    walled(a) {
      const range = slices.range(a);
      return range === null || slices.hasWall(range);
    },
    attends(a, part) {
      const range = slices.range(a);
      if (range) slices.markRange(range, mark[part]);
    },
    regroup(inputs, outputs) {
      const blocks = blocksOf(slices, inputs, outputs);
      if (!blocks)
        return wall(
          [...inputs, ...outputs].map(ref => slices.range(ref)),
          'regroups it with other axes',
        );
      for (const block of blocks) {
        const [[a], [b]] = [block.inputs, block.outputs];
        if (block.inputs.length > 1 || block.outputs.length > 1) {
          regrouped({ node, ...block });
          continue;
        }
        // Symbols may stand apart on one side: the numbers are in the same order all the same.
        const pair = slices.shared(a, b);
        if (pair) unite(...pair);
        else wall([slices.range(a), slices.range(b)], 'ties it to an axis of unknown length');
      }
    },
  };
  return relations;
}
