import { isReal } from '../graph/constants.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import { type OnnxModel, tensorOf, valueInfo } from '../onnx/index.ts';
import { unusedNow, withoutDead } from '../prune/dead.ts';
import { type Coupling, type CouplingOptions, coupleGraph } from '../prune/groups.ts';
import { isComputedOnce, wallsOf } from '../prune/walls.ts';
import { unsharedGraph } from '../rewrite/unshare.ts';
import { UserError } from '../util/errors.ts';
import { openModel, type RuntimeTensor } from './session.ts';
import { partOf } from './split.ts';

/** A graph whose weights are constants. */
export interface Computed {
  readonly graph: Graph;
  /** Values that were computed once. */
  readonly values: readonly string[];
  /** The graph's coupled channels, where they had to be found. */
  readonly coupling: Coupling | null;
}

/**
 * Weights that the file computes from constants whenever it runs, standardised for instance, in such a way that channels
 * could not go before (a normalisation over them): the runtime computes them once, and they become constants. Others, and
 * files that the runtime does not run, stay as they are.
 * @param options how channels are coupled
 */
export async function withComputedConstants(graph: Graph, options?: CouplingOptions): Promise<Computed> {
  const { model } = graph;
  if (!graph.nodes.some(node => holdsWeights(graph, node))) return { graph, values: [], coupling: null };
  const coupling = coupleGraph(graph, options);
  const left: Computed = { graph, values: [], coupling };
  const values = blockedWeights(coupling);
  if (values.length === 0) return left;
  const found = await computed(partOf(model, new Map(), values));
  if (!found) return left;
  const tensors = values.map(name =>
    tensorOf(name, found[name].data as Float32Array, found[name].shape, graph.types.get(name)!.elemType),
  );
  const isComputed = new Set(values);
  const kept = model.graph.nodes.filter(node => !node.output.some(value => isComputed.has(value)));
  const nodes = withoutDead(model.graph.nodes, kept, graph.outputs);
  const unused = unusedNow(model, nodes);
  // Up to IR version 3 every initializer is an input too.
  const listed = model.irVersion < 4 ? tensors.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims)) : [];
  const changed = {
    ...model,
    graph: {
      ...model.graph,
      nodes,
      initializers: [...model.graph.initializers.filter(({ name }) => !unused.has(name)), ...tensors],
      inputs: [...model.graph.inputs.filter(({ name }) => !unused.has(name)), ...listed],
    },
  };
  return { graph: unsharedGraph(changed, graph.operators), values, coupling: null };
}

/** Whether a node makes real numbers out of constants alone. */
const holdsWeights = (graph: Graph, node: GraphNode): boolean =>
  node.opType !== 'Constant' &&
  node.outputs[0] !== '' &&
  graph.fixed.has(node.outputs[0]) &&
  !graph.constants.has(node.outputs[0]) &&
  isReal(graph.types.get(node.outputs[0])?.elemType ?? 0);

/** Where constants end: values made of them alone, on the way from a wall to nodes that read something else too. */
function blockedWeights(coupling: Coupling): string[] {
  const { graph } = coupling;
  const byName = new Map(graph.nodes.map(node => [node.name, node]));
  const walls = wallsOf(coupling).flatMap(({ node }) => (node ? [byName.get(node.name)!] : []));
  const waiting = walls.filter(node => isComputedOnce(node, graph));
  const seen = new Set(waiting);
  const values = new Set<string>();
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    for (const value of node.outputs) {
      for (const { node: user } of graph.consumers.get(value) ?? []) {
        if (!isComputedOnce(user, graph)) {
          if (holdsWeights(graph, node) && !node.outputs.some(output => graph.outputs.includes(output)))
            values.add(value);
        } else if (!seen.has(user)) {
          seen.add(user);
          waiting.push(user);
        }
      }
    }
  }
  return graph.nodes.flatMap(node => node.outputs.filter(value => values.has(value)));
}

/** What the outputs of a model without inputs are; null where the runtime does not run it. */
async function computed(model: OnnxModel): Promise<Readonly<Record<string, RuntimeTensor>> | null> {
  try {
    const session = await openModel(model, { optimize: 'none' });
    try {
      return await session.run({});
    } finally {
      await session.dispose();
    }
  } catch (error) {
    if (error instanceof UserError && ['E_RUNTIME', 'E_NO_RUNTIME'].includes(error.code)) return null;
    throw error;
  }
}
