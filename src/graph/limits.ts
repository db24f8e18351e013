import type { TensorData } from '../onnx/index.ts';
import { numericPart } from './dims.ts';
import type { Graph } from './graph.ts';
import type { AxisRef, Dim } from './operator.ts';

/** The length of an axis that is too long to do something for every index. */
export interface TooLong {
  readonly length: number;
}

/** Axes up to this length may have channels whatever the file holds. */
const ordinaryLength = 2 ** 16;
/** Indices that a graph may have, and more of them for each node. */
const ordinaryIndices = 2 ** 20;
const indicesPerNode = 1024;

/** Axes up to this length are not counted. */
const shortLength = ordinaryLength / 64;

/**
 * Lengths of axes for whoever does something for every index: `TooLong` where that is out of proportion to the file,
 * undefined where it is not known. A tiny file can claim an axis of a billion indices, or a thousand of a million; axes
 * of a constant, whose elements are really there, are as long as they are. Every call counts as another axis.
 */
export function boundedDims(graph: Graph): (ref: AxisRef) => Dim | TooLong | undefined {
  const stored = [...graph.tensors.values()].filter(({ data }) => data.storage !== 'external' || hasFile(data));
  const longest = stored.reduce((most, { dims }) => Math.max(most, ...dims), ordinaryLength);
  const backed = stored.reduce((sum, { dims }) => sum + dims.reduce((a, b) => a + b, 0), 0);
  let left = ordinaryIndices + indicesPerNode * graph.nodes.length + 4 * backed;
  return ({ value, axis }) => {
    const dim = graph.types.get(value)?.shape?.[axis];
    if (dim === undefined) return undefined;
    const length = numericPart(dim);
    if (length <= shortLength) return dim;
    if (length > longest || length > left) return { length };
    left -= length;
    return dim;
  };
}

/** Whether the file with a tensor's elements was there when the model was read. */
const hasFile = (data: Extract<TensorData, { storage: 'external' }>): boolean =>
  data.bytes !== null || Boolean(data.files?.stamps.get(data.entries.get('location') ?? ''));
