import { isUnknown } from '../graph/check.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import type { AxisRef, Dim, Relations } from '../graph/operator.ts';
import { applyPattern } from './pattern.ts';

/** The batch of a file that was exported for a fixed one. */
export interface FixedBatch {
  readonly length: number;
  /** Whether its entries lie along an axis, alone or merged with others. */
  carries(ref: AxisRef): boolean;
}

/**
 * The batch on axis 0 of the first input, where that is of fixed length.
 * @returns null where it is open or a single entry, or no batch: the network sums over it, or a recurrence walks along it
 */
export function fixedBatch(graph: Graph): FixedBatch | null {
  const { inputs, types } = graph;
  const length = types.get(inputs[0])?.shape?.[0];
  if (typeof length !== 'number' || length < 2 || followed(graph, [inputs[0]], length).isMixed) return null;
  const all = inputs.filter(value => types.get(value)?.shape?.[0] === length);
  const { strides } = followed(graph, all, length);
  return { length, carries: ({ value, axis }) => strides.get(value)?.[axis] !== undefined };
}

/** How far apart the entries of axis 0 of some inputs lie along other axes, by value and axis. */
type Strides = ReadonlyMap<string, readonly (number | undefined)[]>;

/** @returns also whether a node sums over the entries or walks along them */
function followed(
  { nodes, types, fixed }: Graph,
  sources: readonly string[],
  length: number,
): { strides: Strides; isMixed: boolean } {
  const strides = new Map<string, (number | undefined)[]>();
  const strideOf = ({ value, axis }: AxisRef): number | undefined => strides.get(value)?.[axis];
  const carry = ({ value, axis }: AxisRef, stride: number): void => {
    const own = strides.get(value) ?? [];
    own[axis] ??= stride;
    strides.set(value, own);
  };
  for (const value of sources) carry({ value, axis: 0 }, 1);
  const lengthOf = ({ value, axis }: AxisRef) => types.get(value)?.shape?.[axis];
  let isMixed = false;
  const relationsOf = (node: GraphNode): Relations => {
    const pass = (from: AxisRef, to: AxisRef): void => {
      const stride = strideOf(from);
      const isResult = node.outputs.includes(to.value) && !fixed.has(to.value);
      if (stride !== undefined && isResult && lengthOf(from) === lengthOf(to)) carry(to, stride);
    };
    return {
      grouped: 'equal',
      attention: 'heads',
      same(a, b) {
        pass(a, b);
        pass(b, a);
      },
      regroup(from, to) {
        for (const [i, ref] of from.entries()) {
          const stride = strideOf(ref);
          const place =
            stride === undefined ? null : regrouped(from.map(lengthOf), i, stride, to.map(lengthOf), length);
          if (place) carry(to[place.axis], place.stride);
        }
      },
      sums(input, axis) {
        if (strideOf({ value: node.inputs[input], axis }) !== undefined) isMixed = true;
      },
      walled: () => true,
      map() {},
      tie() {},
      wall() {},
      attends() {},
    };
  };
  for (const node of nodes) {
    if (node.inputs.every(value => !strides.has(value))) continue;
    const relations = relationsOf(node);
    try {
      const pattern = node.operator?.couple?.(node, relations);
      if (pattern) applyPattern(pattern, node, relations);
    } catch (error) {
      if (!isUnknown(error)) throw error;
    }
    const time = node.int('layout', 0) === 1 ? 1 : 0;
    if (isRecurrent(node) && strideOf({ value: node.inputs[0], axis: time }) !== undefined) isMixed = true;
  }
  return { strides, isMixed };
}

const isRecurrent = ({ domain, opType }: GraphNode): boolean =>
  domain === '' && ['LSTM', 'GRU', 'RNN'].includes(opType);

/** Where entries lie that are `stride` apart along an axis, after a Reshape; null: no axis has all of them. */
function regrouped(
  before: readonly (Dim | undefined)[],
  axis: number,
  stride: number,
  after: readonly (Dim | undefined)[],
  length: number,
): { axis: number; stride: number } | null {
  let flat = stride;
  for (const dim of before.slice(axis + 1)) flat *= Number(dim);
  let inner = 1;
  for (let at = after.length - 1; at >= 0; at--) {
    const outer = inner * Number(after[at]);
    if (flat < outer) return flat % inner === 0 && flat * length <= outer ? { axis: at, stride: flat / inner } : null;
    inner = outer;
  }
  return null;
}
