import { isUnknown } from '../graph/check.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Dim, Shape } from '../graph/operator.ts';

/**
 * Nodes that do nothing but move elements and together permute the indices of one axis: a channel shuffle, written as
 * Reshape, Transpose, Reshape. What lies in between has no channels of its own.
 */
export interface Shuffle {
  readonly nodes: readonly GraphNode[];
  readonly input: string;
  readonly output: string;
  readonly axis: number;
  /** For every index of the output's axis the one of the input's. */
  readonly from: Int32Array;
}

/** Shuffles of a graph, by every node that belongs to one. */
export function shufflesOf(graph: Graph): Map<GraphNode, Shuffle> {
  const found = new Map<GraphNode, Shuffle>();
  const seen = new Set<GraphNode>();
  let captured: Set<string> | null = null;
  const next = (node: GraphNode): GraphNode | null => {
    const [value] = node.outputs;
    const uses = graph.consumers.get(value);
    if (uses?.length !== 1 || uses[0].input !== 0 || !uses[0].node.operator?.moves) return null;
    captured ??= new Set([...graph.outputs, ...graph.nodes.flatMap(({ captures }) => captures)]);
    return captured.has(value) ? null : uses[0].node;
  };
  for (const node of graph.nodes) {
    if (!node.operator?.moves || seen.has(node) || graph.fixed.has(node.outputs[0])) continue;
    const chain: GraphNode[] = [];
    for (let at: GraphNode | null = node; at && !seen.has(at); at = next(at)) {
      chain.push(at);
      seen.add(at);
    }
    for (let start = 0; start + 2 < chain.length; start++) {
      const shuffle = shuffleFrom(graph, chain.slice(start));
      if (!shuffle) continue;
      for (const part of shuffle.nodes) found.set(part, shuffle);
      start += shuffle.nodes.length - 1;
    }
  }
  return found;
}

/** The shortest shuffle that a chain of nodes begins with. */
function shuffleFrom(graph: Graph, chain: readonly GraphNode[]): Shuffle | null {
  const [input] = chain[0].inputs;
  const before = graph.types.get(input)?.shape;
  if (!before || chain[0].operator!.moves!(chain[0])) return null;
  let axes: Axes | null = before.map((dim, axis) => [{ axis, stride: 1, length: dim }]);
  for (const [at, node] of chain.entries()) {
    axes = moved(axes, node);
    if (!axes) return null;
    const permuted: { axis: number; from: Int32Array } | null = at >= 2 ? permutationOf(axes, before) : null;
    if (permuted) return { nodes: chain.slice(0, at + 1), input, output: node.outputs[0], ...permuted };
  }
  return null;
}

/** A part of an index of an input axis. */
interface Digit {
  readonly axis: number;
  readonly stride: number;
  readonly length: Dim;
}

/** The parts that every axis is made of, from slow to fast. */
type Axes = readonly (readonly Digit[])[];

function moved(axes: Axes, node: GraphNode): Axes | null {
  try {
    const permutation = node.operator!.moves!(node);
    return permutation ? permutation.map(axis => axes[axis]) : regrouped(axes.flat(), node.outputShape(0));
  } catch (error) {
    if (isUnknown(error)) return null;
    throw error;
  }
}

/** The same digits as axes of a shape; null where they do not come out even. */
function regrouped(digits: readonly Digit[], shape: Shape): Axes | null {
  const left = digits.filter(({ length }) => length !== 1);
  const axes: Digit[][] = [];
  for (const dim of shape) {
    const own: Digit[] = [];
    if (typeof dim === 'string') {
      if (left[0]?.length !== dim) return null;
      own.push(left.shift()!);
    } else {
      for (let rest = dim; rest > 1; ) {
        const [digit] = left;
        if (typeof digit?.length !== 'number') return null;
        const { length } = digit;
        if (rest % length === 0) {
          own.push(left.shift()!);
          rest /= length;
        } else if (length % rest === 0) {
          const faster = length / rest;
          own.push({ ...digit, length: rest, stride: digit.stride * faster });
          left[0] = { ...digit, length: faster };
          rest = 1;
        } else return null;
      }
    }
    axes.push(own);
  }
  return left.length === 0 ? axes : null;
}

/** The axis whose indices come in another order, where every axis is made of the input axis in its place. */
function permutationOf(axes: Axes, before: Shape): { axis: number; from: Int32Array } | null {
  if (axes.length !== before.length) return null;
  let permuted = -1;
  for (const [axis, digits] of axes.entries()) {
    if (digits.some(digit => digit.axis !== axis)) return null;
    const isOrdered = digits.every((digit, i) => i === 0 || digit.stride < digits[i - 1].stride);
    const isWhole =
      before[axis] === 1 || digits.reduce<Dim>((product, { length }) => times(product, length), 1) === before[axis];
    if (!isWhole) return null;
    if (isOrdered) continue;
    if (permuted >= 0) return null;
    permuted = axis;
  }
  return permuted < 0 ? null : { axis: permuted, from: indicesOf(axes[permuted]) };
}

const times = (a: Dim, b: Dim): Dim => (typeof a === 'number' && typeof b === 'number' ? a * b : a === 1 ? b : a);

function indicesOf(digits: readonly Digit[]): Int32Array {
  let indices = [0];
  for (const { length, stride } of digits) {
    indices = indices.flatMap(index => Array.from({ length: Number(length) }, (_, i) => index + i * stride));
  }
  return Int32Array.from(indices);
}
