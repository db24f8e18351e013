import { isReal } from '../../graph/constants.ts';
import { type Graph, type GraphNode, rolesOf } from '../../graph/graph.ts';
import type { AxisRef, Codes } from '../../graph/operator.ts';
import { floats, ints, type Scratch } from '../../onnx/index.ts';
import type { Coupling, Group } from '../groups.ts';
import type { ImportanceContext } from './criterion.ts';

/**
 * The weights whose output channels a group has, as tensors of the file. Where a weight goes through a Transpose or a
 * Cast first, the tensor that it comes from stands for it.
 */
export function outWeights({ members }: Group, { graph }: Coupling): readonly AxisRef[] {
  const out = members.filter(member => member.weight === 'out');
  const direct = out.filter(member => graph.tensors.has(member.value));
  if (direct.length > 0) return direct;
  const sources = new Set<string>();
  for (const value of constantsBehind(
    graph,
    out.map(member => member.value),
  )) {
    const tensor = graph.tensors.get(value);
    if (tensor && tensor.dims.length > 1 && (isReal(tensor.dataType) || codesOf(graph, value))) sources.add(value);
  }
  return members.filter(member => sources.has(member.value));
}

/** Values and, of those that are computed of nothing but constants, all that they are computed of, each once. */
export function constantsBehind({ tensors, fixed, producers }: Graph, values: readonly string[]): ReadonlySet<string> {
  const found = new Set(values);
  // A set goes through what is added on the way too.
  for (const value of found) {
    if (tensors.has(value) || !fixed.has(value)) continue;
    for (const input of producers.get(value)?.inputs ?? []) if (input) found.add(input);
  }
  return found;
}

/** The scales of a group's batch normalisations: scales of nodes that have a running variance too. */
export function normScales({ members }: Group, { graph }: Coupling): readonly AxisRef[] {
  const isNormScale = (value: string) =>
    (graph.consumers.get(value) ?? []).some(({ node, input }) => {
      const roles = rolesOf(node);
      return roles[input]?.kind === 'scale' && Object.values(roles).some(role => role.kind === 'variance');
    });
  return members.filter(member => graph.tensors.has(member.value) && isNormScale(member.value));
}

interface ReadCodes {
  readonly node: GraphNode;
  readonly codes: Codes;
  /** They come to the node in another order. */
  readonly moved: boolean;
}

/** What the integers of a quantised constant mean to the node that reads them; null: they are no codes. */
function codesOf({ consumers, fixed }: Graph, name: string): ReadCodes | null {
  const values = new Set([name]);
  // A set goes through what is added on the way too.
  for (const value of values) {
    for (const { node, input } of consumers.get(value) ?? []) {
      const role = rolesOf(node)[input];
      if (role?.kind === 'codes' || (role?.kind === 'weight' && role.codes))
        return { node, codes: role.codes!, moved: value !== name };
      const [output] = node.outputs;
      const isMove = input === 0 && (node.operator?.moves || node.opType === 'Identity');
      if (isMove && fixed.has(output)) values.add(output);
    }
  }
  return null;
}

/**
 * The elements of a constant as real numbers; integer codes with the scales and zero points that the node knows that
 * reads them. An unknown scale counts as 1; of codes that are moved on their way the first scale and zero point count.
 * @param reused as of `floats`
 */
export function valuesOf(graph: Graph, name: string, reused?: Scratch): Float32Array {
  const tensor = graph.tensors.get(name)!;
  const found = isReal(tensor.dataType) ? null : codesOf(graph, name);
  if (!found) return floats(tensor, reused);
  const { node, codes, moved } = found;
  const read = (input: number | null) => (input === null ? undefined : graph.tensors.get(node.inputs[input]));
  const [scale, zero] = [read(codes.scale), read(codes.zeroPoint)];
  const [scales, zeros] = [scale ? floats(scale) : [1], zero ? ints(zero) : [0]];
  const step = tensor.dims.slice(codes.axis + 1).reduce((a, b) => a * b, 1);
  const at = (list: ArrayLike<number>, i: number) =>
    list[list.length === 1 || moved ? 0 : Math.floor(i / step) % tensor.dims[codes.axis]];
  return Float32Array.from(ints(tensor), (code, i) => (code - at(zeros, i)) * at(scales, i));
}

/** A number for every index of an axis of a tensor. */
export type Statistic = (values: Float32Array, dims: readonly number[], axis: number) => Float64Array;

/**
 * Mean over tensors of a statistic, by channel: a channel with several indices on an axis has their sum.
 * @param finish applied to the sum that a channel has in one tensor
 */
export function meanOver(
  refs: readonly AxisRef[],
  group: Group,
  { coupling, values }: ImportanceContext,
  statistic: Statistic,
  finish?: (sum: number) => number,
): Float64Array {
  const scores = new Float64Array(group.size);
  for (const { value, axis } of refs) {
    const byIndex = statistic(values(value), coupling.graph.tensors.get(value)!.dims, axis);
    const sums = finish ? new Float64Array(group.size) : scores;
    addByChannel(sums, group, coupling, { value, axis }, byIndex);
    if (finish) sums.forEach((sum, channel) => void (scores[channel] += finish(sum)));
  }
  return scores.map(score => score / Math.max(1, refs.length));
}

function addByChannel(sums: Float64Array, group: Group, coupling: Coupling, ref: AxisRef, byIndex: Float64Array): void {
  const offset = coupling.offsets[coupling.groups.indexOf(group)];
  coupling.channelsOf(ref)?.forEach((channel, index) => {
    if (channel >= offset && channel < offset + group.size) sums[channel - offset] += byIndex[index];
  });
}

/**
 * Sum over all elements with one index of an axis, for every index.
 * @param sum of elements that lie one after the other
 * @param add to each sum its element of a row, where the axis is the last one
 */
const summing =
  (
    sum: (values: Float32Array, from: number, to: number) => number,
    add: (sums: Float64Array, values: Float32Array, from: number) => void,
  ): Statistic =>
  (values, dims, axis) => {
    const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    const sums = new Float64Array(dims[axis]);
    if (inner === 1) {
      for (let at = 0; at < values.length; at += sums.length) add(sums, values, at);
      return sums;
    }
    for (let at = 0, index = 0; at < values.length; at += inner) {
      sums[index] += sum(values, at, at + inner);
      if (++index === sums.length) index = 0;
    }
    return sums;
  };

// A function of the element would be called for each of them, which takes three times as long; four sums at a time do not
// wait for each other.
/** Sum of the absolute values of all elements with one index of an axis, for every index. */
export const absoluteSums = summing(
  (values, from, to) => {
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    let i = from;
    for (const last = to - 3; i < last; i += 4) {
      a += Math.abs(values[i]);
      b += Math.abs(values[i + 1]);
      c += Math.abs(values[i + 2]);
      d += Math.abs(values[i + 3]);
    }
    for (; i < to; i++) a += Math.abs(values[i]);
    return a + b + c + d;
  },
  (sums, values, from) => {
    for (let i = 0; i < sums.length; i++) sums[i] += Math.abs(values[from + i]);
  },
);

/** Sum of the squares, likewise. */
export const squareSums = summing(
  (values, from, to) => {
    let sum = 0;
    for (let i = from; i < to; i++) sum += values[i] * values[i];
    return sum;
  },
  (sums, values, from) => {
    for (let i = 0; i < sums.length; i++) sums[i] += values[from + i] * values[from + i];
  },
);
