import { changeNode, type GraphProto, type NodeProto } from '../onnx/index.ts';
import { changeMessage } from '../onnx/visit.ts';

type Names = ReadonlyMap<string, string>;

/** A node whose sub-graphs read other values of the graph around them. */
export function withCaptured(node: NodeProto, names: Names): NodeProto {
  const hasBody = node.attribute.some(({ g, graphs }) => g || graphs.length > 0);
  if (!hasBody) return node;
  const attribute = node.attribute.map(a => {
    if (a.g) return changeMessage(a, { g: renamed(a.g, names) });
    return a.graphs.length > 0 ? changeMessage(a, { graphs: a.graphs.map(graph => renamed(graph, names)) }) : a;
  });
  return changeNode(node, { attribute });
}

function renamed(graph: GraphProto, outer: Names): GraphProto {
  const own = [
    ...graph.input.map(({ name }) => name),
    ...graph.initializer.map(({ name }) => name),
    ...graph.sparseInitializer.map(({ values }) => values?.name ?? ''),
    ...graph.node.flatMap(({ output }) => output),
  ];
  const names = new Map(outer);
  for (const name of own) names.delete(name);
  if (names.size === 0) return graph;
  const nameOf = (name: string): string => names.get(name) ?? name;
  return changeMessage(graph, {
    node: graph.node.map(node => changeNode(withCaptured(node, names), { input: node.input.map(nameOf) })),
    output: graph.output.map(info => (names.has(info.name) ? changeMessage(info, { name: nameOf(info.name) }) : info)),
  });
}
