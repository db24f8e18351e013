import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Const } from '../graph/operator.ts';
import { DataType, type OnnxTensor, tensorOf, withInts } from '../onnx/index.ts';

/** The initializers of a model that is being cut, old and new. */
export interface ConstantStore {
  all(): OnnxTensor[];
  /** Whether anything differs from the model's own. */
  changed(): boolean;
  isNew(name: string): boolean;
  /** A name that nothing has yet. */
  fresh(base: string): string;
  addInts(base: string, values: readonly number[]): string;
  addConst(base: string, value: Const): string;
  /**
   * Give an input of a node other values: in place where nothing else reads the constant.
   * @returns the name that the node has to read
   */
  replace(node: GraphNode, input: number, values: readonly number[]): string;
}

/** @param shorten what a cut leaves of an initializer */
export function constantStore(graph: Graph, shorten: (tensor: OnnxTensor) => OnnxTensor): ConstantStore {
  const own = graph.model.graph.initializers;
  const current = new Map(own.map(tensor => [tensor.name, shorten(tensor)]));
  const added = new Set<string>();
  const names = new Set([...current.keys(), ...graph.types.keys(), ...graph.producers.keys()]);
  const captured = new Set(graph.nodes.flatMap(node => node.captures));

  const fresh = (base: string): string => {
    let name = base;
    for (let i = 2; names.has(name); i++) name = `${base}_${i}`;
    names.add(name);
    return name;
  };
  const add = (base: string, values: readonly number[], dims: readonly number[], elemType: number): string => {
    const name = fresh(base);
    current.set(name, tensorOf(name, values, dims, elemType));
    added.add(name);
    return name;
  };
  const isOnlyReader = (name: string) =>
    graph.tensors.has(name) &&
    graph.consumers.get(name)?.length === 1 &&
    !captured.has(name) &&
    !graph.outputs.includes(name);

  return {
    all: () => [...current.values()],
    changed: () => added.size > 0 || own.some(tensor => current.get(tensor.name) !== tensor),
    isNew: name => added.has(name),
    fresh,
    addInts: (base, values) => add(base, values, [values.length], DataType.INT64),
    addConst: (base, { values, dims, elemType }) => add(base, values as readonly number[], dims, elemType),
    replace(node, input, values) {
      const name = node.inputs[input];
      const tensor = current.get(name);
      if (tensor && isOnlyReader(name)) {
        current.set(name, withInts(tensor, [values.length], values));
        return name;
      }
      return add(`${name || node.name}_cut`, values, [values.length], node.type(input).elemType || DataType.INT64);
    },
  };
}
