import { numericPart } from '../graph/dims.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import type { AxisRef, Const } from '../graph/operator.ts';
import { isInteger } from '../onnx/index.ts';

/** An axis that keeps its length, and why. */
export interface MeasuredAxis extends AxisRef {
  readonly reason: string;
}

/**
 * Axes whose lengths are read in a way that a cut could not make up for (`freezeLengths`): an output of the graph says
 * them, or something computes with them where they stand beside lengths that are known at run time only.
 */
export function measuredAxes(graph: Graph): MeasuredAxis[] {
  const isLength = (value: string): boolean => graph.constants.has(value) && !graph.fixed.has(value);
  const found: MeasuredAxis[] = [];
  /** What a length is read off; `places` are the elements of it that matter, null: all. */
  const behind = (length: string, places: readonly number[] | null, reason: string, seen: Set<string>): void => {
    const node = graph.producers.get(length);
    const key = `${length} ${places}`;
    if (!node || seen.has(key)) return;
    seen.add(key);
    const [first, ...rest] = node.inputs;
    for (const value of new Set(node.inputs)) {
      if (!value || graph.fixed.has(value)) continue;
      const own = value === first && !rest.includes(value) ? placesIn(graph, node, places) : null;
      if (isLength(value)) behind(value, own, reason, seen);
      else for (const axis of own ?? (graph.types.get(value)?.shape ?? []).keys()) found.push({ value, axis, reason });
    }
  };
  for (const value of graph.outputs) {
    if (!isLength(value)) continue;
    const { values } = graph.constants.get(value)!;
    const places = [...values.keys()].filter(place => isCuttable(values[place]));
    if (places.length > 0) behind(value, places, `graph output '${value}' says its length`, new Set());
  }
  for (const node of graph.nodes) {
    if (node.outputs.every(value => !value || graph.constants.has(value))) continue;
    const reason = `${node.opType} '${node.name}' computes with its length and with one that is not known`;
    for (const value of [...node.inputs, ...node.captures]) {
      if (value && isLength(value) && !isRestorable(graph.constants.get(value)!))
        behind(value, null, reason, new Set());
    }
  }
  return found;
}

/** The elements (for Shape: the axes) of a node's first input that those of its output are; null: any. */
function placesIn(graph: Graph, node: GraphNode, places: readonly number[] | null): readonly number[] | null {
  const known = graph.constants.get(node.inputs[0]);
  const length = node.opType === 'Shape' ? graph.types.get(node.inputs[0])?.shape?.length : known?.dims[0];
  if (length === undefined || (known && known.dims.length !== 1)) return null;
  const numbers = (input: number): number[] | null => {
    const value = graph.fixed.has(node.inputs[input]) ? graph.constants.get(node.inputs[input]) : undefined;
    return value?.values.every(element => typeof element === 'number') ? (value.values as number[]) : null;
  };
  const all = [...Array(length).keys()];
  const taken = (): number[] | null => {
    if (node.opType === 'Shape') {
      return all.slice(Number(node.attribute('start') ?? 0), Number(node.attribute('end') ?? length));
    }
    if (node.opType === 'Gather') return numbers(1)?.map(index => (index < 0 ? index + length : index)) ?? null;
    const [starts, ends] = node.opType === 'Slice' && node.inputs.length < 5 ? [numbers(1), numbers(2)] : [];
    return starts && ends ? all.slice(starts[0], ends[0]) : null;
  };
  const own = taken();
  return own && places ? places.map(place => own[place]) : own;
}

/** Whether a length may have a number in it, which a cut may change. */
const isCuttable = (length: Const['values'][number]): boolean => numericPart(length) !== 1;

/** Whether what a vector of lengths was can be computed from what it is. */
const isRestorable = ({ dims, values, elemType }: Const): boolean =>
  values.every(value => typeof value === 'number') ||
  (dims.length <= 1 && (isInteger(elemType) || !values.some(value => typeof value === 'string' && isCuttable(value))));
