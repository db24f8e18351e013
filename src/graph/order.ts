import type { GraphProto, NodeProto } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import { printable } from '../util/printable.ts';

const none: readonly string[] = [];

/** Values that a node's sub-graphs read but do not make themselves. */
export function captured(node: NodeProto): readonly string[] {
  if (!node.attribute.some(({ g, graphs }) => g || graphs.length > 0)) return none;
  const graphs = node.attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));
  return [...new Set(graphs.flatMap(readOutside))];
}

function readOutside(graph: GraphProto): string[] {
  const own = new Set([
    ...graph.input.map(value => value.name),
    ...graph.initializer.map(tensor => tensor.name),
    ...graph.sparseInitializer.map(sparse => sparse.values?.name ?? ''),
    ...graph.node.flatMap(node => node.output),
  ]);
  const read = [
    ...graph.node.flatMap(node => [...node.input, ...captured(node)]),
    ...graph.output.map(output => output.name),
  ];
  return read.filter(name => name && !own.has(name));
}

/** Kahn's algorithm, keeping the file's order where it is one already. */
export function ordered(nodes: readonly NodeProto[], available: Set<string>): readonly NodeProto[] {
  const made = new Set(nodes.flatMap(node => node.output).filter(Boolean));
  const isMissing = (name: string) => made.has(name) && !available.has(name);
  const waits = (node: NodeProto) => [...node.input.filter(isMissing), ...captured(node).filter(isMissing)];
  const result: NodeProto[] = [];
  const waiting = new Map<string, number[]>();
  const missing = new Int32Array(nodes.length);
  const ready: number[] = [];
  const finish = (index: number) => {
    result.push(nodes[index]);
    for (const output of nodes[index].output) {
      available.add(output);
      for (const next of waiting.get(output) ?? []) if (--missing[next] === 0) ready.push(next);
      waiting.delete(output);
    }
  };
  nodes.forEach((node, index) => {
    const names = new Set(waits(node));
    missing[index] = names.size;
    if (names.size === 0) finish(index);
    for (const name of names) {
      const others = waiting.get(name);
      if (others) others.push(index);
      else waiting.set(name, [index]);
    }
    while (ready.length) finish(ready.shift()!);
  });
  if (result.length < nodes.length) {
    const stuck = nodes.find((_, index) => missing[index] > 0)!;
    throw new UserError('E_GRAPH', `The nodes form a cycle at '${printable(stuck.name || stuck.opType)}'.`, {
      fix: 'The file is not a valid ONNX graph; export it again.',
    });
  }
  return result;
}
