import type { Dim, NodeView, Operator, ValueType } from '../graph/operator.ts';
import { type AttributeValue, elemTypeOf, type GraphProto, shapeOf } from '../onnx/index.ts';
import { opaque, undeclared } from './families/whole.ts';

/**
 * Operators with sub-graphs. What they are given, give or read by name keeps its length: nothing inside is followed.
 * The shapes of what they give are those that the sub-graphs declare.
 */

const isGraph = (value: AttributeValue | undefined): value is GraphProto =>
  typeof value === 'object' && 'node' in value && 'output' in value;

/** Declared types of a sub-graph's outputs; a length that it does not name has the name of the node's own output. */
function declared(n: NodeView, attribute: string, output: (place: number) => string): ValueType[] {
  const graph = n.attribute(attribute);
  if (!isGraph(graph)) return [];
  return graph.output.map((info, place) => ({
    elemType: elemTypeOf(info),
    shape: shapeOf(info)?.map((dim, axis) => (typeof dim === 'number' ? dim : `${output(place)}_${axis}`)) ?? null,
  }));
}

/** What two branches agree on. */
function common(a: ValueType, b: ValueType | undefined, name: string): ValueType {
  if (!b?.shape || a.shape?.length !== b.shape.length) return { elemType: a.elemType, shape: null };
  return {
    elemType: a.elemType,
    shape: a.shape.map((dim, axis): Dim => (dim === b.shape![axis] ? dim : `${name}_${axis}`)),
  };
}

const flow = (type: string, shape: Operator['shape']): Operator =>
  opaque(type, shape, { why: 'hands it to or from a sub-graph', random: true });

/** https://onnx.ai/onnx/operators/onnx__If.html, Loop (1, 11, 13, 16, 19, 21, 23, 24), Scan (8, 9, 11, 16, 19, 21, 23, 24) */
export const controlFlow: readonly Operator[] = [
  flow('If', n => {
    const name = (place: number) => n.outputs[place];
    const [yes, no] = [declared(n, 'then_branch', name), declared(n, 'else_branch', name)];
    return yes.map((type, place) => common(type, no[place], name(place)));
  }),
  flow('Loop', n => {
    // The body gives the condition, the carried values and then one element of each scanned output.
    const carried = n.inputs.length - 2;
    return declared(n, 'body', place => n.outputs[place - 1])
      .slice(1)
      .map((type, place) => (place < carried ? type : stacked(type, `${n.outputs[place]}_steps`)));
  }),
  // Where its outputs are stacked depends on the version and attributes: what the file declares stands.
  flow('Scan', undeclared),
  opaque('SequenceMap', undeclared, {
    why: 'hands it to or from a sub-graph',
    random: true,
  }),
];

const stacked = ({ elemType, shape }: ValueType, length: Dim): ValueType => ({
  elemType,
  shape: shape && [length, ...shape],
});
