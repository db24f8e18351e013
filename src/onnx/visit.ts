import type { AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto } from './onnx_pb.ts';

type Change = (tensor: TensorProto) => TensorProto;

/** A copy of a message with other values for some fields; unknown fields and presence of the others stay. */
export function changeMessage<T extends object>(message: T, changes: Partial<T>): T {
  return Object.assign(Object.create(Object.getPrototypeOf(message)), message, changes);
}

/** The list with every element changed; the same list when none did. */
function mapList<T>(list: T[], change: (item: T) => T): T[] {
  const changed = list.map(change);
  return changed.some((item, i) => item !== list[i]) ? changed : list;
}

/** The fields that changed, or null. */
function differences<T extends object>(message: T, fields: Partial<T>): Partial<T> | null {
  const changed = Object.entries(fields).filter(([key, value]) => value !== message[key as keyof T]);
  return changed.length ? (Object.fromEntries(changed) as Partial<T>) : null;
}

function update<T extends object>(message: T, fields: Partial<T>): T {
  const changes = differences(message, fields);
  return changes ? changeMessage(message, changes) : message;
}

/** An attribute with every tensor in it and in its sub-graphs changed; the same object when none did. */
export function mapAttributeTensors(a: AttributeProto, change: Change): AttributeProto {
  if (!a.t && !a.g && !a.sparseTensor && !a.tensors.length && !a.graphs.length && !a.sparseTensors.length) return a;
  return update(a, {
    t: a.t && change(a.t),
    g: a.g && mapGraphTensors(a.g, change),
    sparseTensor: a.sparseTensor && mapSparse(a.sparseTensor, change),
    tensors: mapList(a.tensors, change),
    graphs: mapList(a.graphs, graph => mapGraphTensors(graph, change)),
    sparseTensors: mapList(a.sparseTensors, sparse => mapSparse(sparse, change)),
  });
}

/** The same for a node. */
export const mapNodeTensors = (node: NodeProto, change: Change): NodeProto =>
  update(node, { attribute: mapList(node.attribute, a => mapAttributeTensors(a, change)) });

/** The same for a graph message. */
export function mapGraphTensors(graph: GraphProto, change: Change): GraphProto {
  return update(graph, {
    node: mapList(graph.node, node => mapNodeTensors(node, change)),
    initializer: mapList(graph.initializer, change),
    sparseInitializer: mapList(graph.sparseInitializer, sparse => mapSparse(sparse, change)),
  });
}

/** The same for a sparse tensor. */
export function mapSparse(sparse: SparseTensorProto, change: Change): SparseTensorProto {
  return update(sparse, {
    values: sparse.values && change(sparse.values),
    indices: sparse.indices && change(sparse.indices),
  });
}
