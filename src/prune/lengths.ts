import { numericPart, symbolsOf } from '../graph/dims.ts';
import { buildGraph, type Graph, type GraphNode } from '../graph/graph.ts';
import type { Const, Dim } from '../graph/operator.ts';
import { changeNode, isInteger, makeNode, type NodeProto, type OnnxModel } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import { withCaptured } from './captures.ts';
import type { ConstantStore } from './constant-store.ts';

/** Nodes that take a node's place; those that are not in it stay as they are. */
export type Changed = Map<NodeProto, readonly NodeProto[]>;

/**
 * Lengths that the graph reads off a shortened value and computes with (1/sqrt of a width, say) have to stay what they
 * were: what reads them, by an input or in a sub-graph, gets constants; where a vector of them also has lengths that are
 * known at run time only, those are read off it.
 * @param rewritten inputs that the cut has written anew already, by node; of a node that it has replaced, all
 * @param changed gets the nodes that read something else now
 * @returns whether there were any
 * @throws UserError E_CUT where a value cannot stay what it was
 */
export function freezeLengths(
  graph: Graph,
  cut: OnnxModel,
  rewritten: ReadonlyMap<GraphNode, ReadonlySet<number>>,
  store: ConstantStore,
  changed: Changed,
): boolean {
  // Known values that depend on an input are lengths.
  if (![...graph.constants.keys()].some(value => !graph.fixed.has(value))) return false;
  const shapes = Object.fromEntries(
    graph.inputs.flatMap(name => {
      const shape = graph.types.get(name)?.shape;
      return shape ? [[name, shape] as const] : [];
    }),
  );
  // Nodes that need the lengths that they had make no sense in it yet.
  const after = buildGraph(cut, graph.operators, { shapes, unfinished: true });
  const differs = (value: string): Const | null => {
    const old = graph.constants.get(value);
    if (!old || graph.fixed.has(value)) return null;
    return after.constants.get(value)?.values.join() === old.values.join() ? null : old;
  };
  for (const value of graph.outputs) if (differs(value)) throw refusal(`The output '${value}'`);

  const known = new Map<Const, string>();
  let isAny = false;
  for (const node of graph.nodes) {
    // A node that only computes with known values is seen at those who use its outputs; one that fed them may be gone.
    if (node.outputs.every(value => !value || graph.constants.has(value) || !after.producers.has(value))) continue;
    const added: NodeProto[] = [];
    const frozen = (name: string, value: Const): string => {
      isAny = true;
      if (value.values.some(element => typeof element === 'string')) {
        const made = restored(name, value, after.constants.get(name), store);
        if (!made) throw refusal(`${node.opType} '${node.name}'`);
        added.push(...made.nodes);
        return made.name;
      }
      let constant = known.get(value);
      if (!constant) known.set(value, (constant = store.addConst(`${name}_before`, value)));
      return constant;
    };
    const inputs = node.inputs.map((name, input) => {
      const value = name && !rewritten.get(node)?.has(input) ? differs(name) : null;
      return value ? frozen(name, value) : null;
    });
    const captures = new Map(
      node.captures.flatMap(name => {
        const value = differs(name);
        return value ? [[name, frozen(name, value)] as const] : [];
      }),
    );
    if (captures.size === 0 && inputs.every(input => input === null)) continue;
    const nodes = changed.get(node.proto) ?? [node.proto];
    const last = nodes[nodes.length - 1];
    const input = last.input.map((name, i) => inputs[i] ?? name);
    const next = changeNode(withCaptured(last, captures), { input });
    changed.set(node.proto, [...added, ...nodes.slice(0, -1), next]);
  }
  return isAny;
}

/**
 * Nodes that compute what a vector of lengths was before a cut out of what it is then.
 * @returns null where its elements do not tell
 */
function restored(
  name: string,
  before: Const,
  now: Const | undefined,
  store: ConstantStore,
): { name: string; nodes: NodeProto[] } | null {
  if (!now || now.dims.join() !== before.dims.join() || before.dims.length > 1) return null;
  const nodes: NodeProto[] = [];
  const add = (type: string, inputs: readonly string[], attributes = {}): string => {
    const output = store.fresh(`${name}_${type.toLowerCase()}`);
    nodes.push(makeNode(type, inputs, [output], attributes, { name: output }));
    return output;
  };
  const constant = (value: number): string =>
    store.addConst(`${name}_before`, { elemType: before.elemType, dims: before.dims.map(() => 1), values: [value] });
  const elements = before.values.map((value, place): string | null => {
    if (typeof value === 'number') return constant(value);
    const ratio = ratioOf(value, now.values[place]);
    if (!ratio || (ratio.join() !== '1,1' && !isInteger(before.elemType))) return null;
    const own = before.dims.length === 0 ? name : add('Gather', [name, store.addInts(`${name}_place`, [place])]);
    const [times, over] = ratio;
    const unit = over === 1 ? own : add('Div', [own, constant(over)]);
    return times === 1 ? unit : add('Mul', [unit, constant(times)]);
  });
  if (!elements.every(element => element !== null)) return null;
  return { name: before.dims.length === 0 ? elements[0] : add('Concat', elements, { axis: 0 }), nodes };
}

/** What a length is multiplied with and divided by, evenly, to be another one; null where their symbols differ. */
function ratioOf(before: Dim, now: Dim): [number, number] | null {
  if (symbolsOf(before).join() !== symbolsOf(now).join()) return null;
  const [a, b] = [numericPart(before), numericPart(now)];
  if (a === b) return [1, 1];
  return b > 0 ? [a, b] : null;
}

const refusal = (what: string): UserError =>
  new UserError('E_CUT', `${what} depends on a length that this cut changes.`, {
    fix: 'Keep those channels whole, or export the model with static shapes.',
  });
