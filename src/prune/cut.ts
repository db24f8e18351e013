import { isUnknown } from '../graph/check.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Follow } from '../graph/operator.ts';
import {
  changeNode,
  gatherAxes,
  makeNode,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  shapeOf,
  type ValueInfoProto,
  valueInfo,
  withAttributes,
  withShape,
} from '../onnx/index.ts';
import { reshared } from '../rewrite/unshare.ts';
import { UserError } from '../util/errors.ts';
import { type ConstantStore, constantStore } from './constant-store.ts';
import { unusedNow, withoutDead } from './dead.ts';
import type { Coupling } from './groups.ts';
import { type Changed, freezeLengths } from './lengths.ts';
import { type KeptChannels, keptIndices } from './plan.ts';
import type { Shuffle } from './shuffles.ts';

type Indices = ReturnType<typeof keptIndices>;

/**
 * Remove the channels that a plan does not keep. The new model shares every untouched tensor and node with the old one;
 * with nothing to remove it is the old one. Constants that got a copy for every user and stay whole are shared again.
 * @param gather how to shorten a constant (the training engine needs shapes only, and a constant for every user)
 * @throws UserError E_CUT where a node cannot follow
 */
export function cutModel(coupling: Coupling, kept: KeptChannels, gather: typeof gatherAxes = gatherAxes): OnnxModel {
  const { graph } = coupling;
  const indices = keptIndices(coupling, kept);
  const shorten = (tensor: OnnxTensor): OnnxTensor => {
    const left = tensor.dims.flatMap((_, axis) => {
      const own = indices({ value: tensor.name, axis });
      return own ? [[axis, own] as const] : [];
    });
    return left.length > 0 ? gather(tensor, new Map(left)) : tensor;
  };

  const store = constantStore(graph, shorten);
  const changed: Changed = new Map();
  const rewritten = new Map<GraphNode, ReadonlySet<number>>();
  for (const shuffle of new Set(coupling.shuffles.values())) {
    const gathered = gatheredShuffle(shuffle, indices, store);
    if (!gathered) continue;
    for (const { proto } of shuffle.nodes) changed.set(proto, []);
    changed.set(shuffle.nodes.at(-1)!.proto, [gathered]);
    for (const node of shuffle.nodes) rewritten.set(node, new Set(node.inputs.keys()));
  }
  for (const node of graph.nodes) {
    if (rewritten.has(node)) continue;
    const follow = isTouched(graph, node, indices) ? followOf(node, indices) : null;
    const next = (follow && cutNode(node, follow, store)) ?? cutConstantNode(graph, node, shorten);
    if (next) changed.set(node.proto, next);
    if (follow) rewritten.set(node, rewrittenInputs(node, follow));
  }
  if (changed.size === 0 && !store.changed()) return graph.model;
  const cut = assembled(graph, store, changed, indices);
  const left = freezeLengths(graph, cut, rewritten, store, changed) ? assembled(graph, store, changed, indices) : cut;
  return gather === gatherAxes ? reshared(left) : left;
}

/** Whether a cut shortens anything that the node reads or makes. */
const isTouched = (graph: Graph, { inputs, outputs }: GraphNode, indices: Indices): boolean =>
  [...inputs, ...outputs].some(value => graph.types.get(value)?.shape?.some((_, axis) => indices({ value, axis })));

function followOf(node: GraphNode, indices: Indices): Follow | null {
  try {
    return node.operator?.cut?.(node, indices) ?? null;
  } catch (error) {
    if (!isUnknown(error)) throw error;
    throw new UserError('E_CUT', `${node.opType} '${node.name}' cannot follow this cut.`, {
      fix: 'Keep its channels whole, or export the model with static shapes.',
    });
  }
}

/**
 * The Gather that a shuffle becomes where something of it goes, from the permuted axis or, since what lies in between has
 * no channels, from another one; null where nothing does.
 */
function gatheredShuffle({ nodes, input, output, axis, from }: Shuffle, indices: Indices, store: ConstantStore) {
  const isCut = [...nodes[0].shape(0).keys()].some(at => indices({ value: input, axis: at }));
  if (!isCut) return null;
  const whole = [...from.keys()];
  const before = indices({ value: input, axis }) ?? whole;
  const after = indices({ value: output, axis }) ?? whole;
  const place = new Map(before.map((index, at) => [index, at]));
  const last = nodes.at(-1)!;
  const picked = store.addInts(
    `${last.name}_indices`,
    after.map(index => place.get(from[index])!),
  );
  return makeNode('Gather', [input, picked], [output], { axis }, { name: last.proto.name });
}

function cutNode(node: GraphNode, follow: Follow, store: ConstantStore): readonly NodeProto[] | null {
  const { attributes, constants, gather, lengths } = follow;
  if (lengths) return withLengths(node, lengths, store);
  let next = node.proto;
  if (attributes) next = withAttributes(next, attributes as Parameters<typeof withAttributes>[1]);
  if (constants) {
    const input = [...node.inputs];
    for (const [index, values] of Object.entries(constants)) {
      input[Number(index)] = store.replace(node, Number(index), values);
    }
    if (input.some((name, i) => name !== node.inputs[i])) next = changeNode(next, { input });
  }
  if (!gather) return next === node.proto ? null : [next];
  const picked = store.addInts(`${node.name}_indices`, gather.indices);
  const make = (output: string, name: string) =>
    makeNode('Gather', [node.inputs[0], picked], [output], { axis: gather.axis }, { name });
  if (!attributes && !constants) return [make(node.outputs[0], node.proto.name)];
  const gathered = store.fresh(`${node.name}_gathered`);
  return [make(gathered, gathered), changeNode(next, { input: [gathered, ...next.input.slice(1)] })];
}

/** The node with a vector of lengths that is put together of numbers and of what is known at run time. */
function withLengths(
  node: GraphNode,
  { input, values }: NonNullable<Follow['lengths']>,
  store: ConstantStore,
): readonly NodeProto[] {
  const added: NodeProto[] = [];
  const add = (type: string, inputs: readonly string[], attributes = {}): string => {
    const name = store.fresh(`${node.name}_${type.toLowerCase()}`);
    added.push(makeNode(type, [...inputs], [name], attributes, { name }));
    return name;
  };
  const ints = (...numbers: number[]): string => store.addInts(`${node.name}_lengths`, numbers);
  const element = (vector: string, place: number): string => add('Gather', [vector, ints(place)], { axis: 0 });
  const parts = values.map((value, place) => {
    if (value === null) return element(node.inputs[input], place);
    if (typeof value === 'number') return ints(value);
    const { axis, times, over } = value;
    const one = element(add('Shape', [node.inputs[0]]), axis);
    const unit = over === 1 ? one : add('Div', [one, ints(over)]);
    return times === 1 ? unit : add('Mul', [unit, ints(times)]);
  });
  const target = add('Concat', parts, { axis: 0 });
  return [...added, changeNode(node.proto, { input: [...node.inputs].with(input, target) })];
}

/** Inputs that the node has lost or that have new values. */
function rewrittenInputs(node: GraphNode, { attributes, constants, gather, lengths }: Follow): ReadonlySet<number> {
  const replaced = gather && !attributes && !constants;
  if (lengths) return new Set([lengths.input]);
  return new Set(replaced ? node.inputs.keys() : Object.keys(constants ?? {}).map(Number));
}

/** A weight that lives in a Constant node. */
function cutConstantNode(
  graph: Graph,
  node: GraphNode,
  shorten: (tensor: OnnxTensor) => OnnxTensor,
): readonly NodeProto[] | null {
  const own = node.attribute('value') as OnnxTensor | undefined;
  const tensor = graph.tensors.get(node.outputs[0]);
  if (!tensor || !own) return null;
  const shorter = shorten(tensor);
  return shorter === tensor ? null : [withAttributes(node.proto, { value: { ...shorter, name: own.name } })];
}

/** The model with its constants and nodes replaced and all declared shapes brought up to date. */
function assembled(graph: Graph, store: ConstantStore, changed: Changed, indices: Indices): OnnxModel {
  const { model } = graph;
  const shortened = (info: ValueInfoProto): ValueInfoProto => {
    const shape = shapeOf(info);
    const lengths = shape?.map((dim, axis) =>
      typeof dim === 'number' ? (indices({ value: info.name, axis })?.length ?? dim) : dim,
    );
    return shape && lengths!.some((dim, axis) => dim !== shape[axis]) ? withShape(info, lengths!) : info;
  };
  const nodes = withoutDead(
    model.graph.nodes,
    model.graph.nodes.flatMap(node => changed.get(node) ?? [node]),
    graph.outputs,
  );
  const unused = unusedNow(model, nodes);
  const initializers = store.all().filter(tensor => !unused.has(tensor.name));
  const byName = new Map(initializers.map(tensor => [tensor.name, tensor]));
  const inputs = model.graph.inputs.flatMap(info => {
    const tensor = byName.get(info.name);
    if (!tensor) return unused.has(info.name) ? [] : [shortened(info)];
    return [shapeOf(info)?.join() === tensor.dims.join() ? info : withShape(info, tensor.dims)];
  });
  // Up to IR version 3 every initializer is an input too.
  const listed = model.irVersion < 4 ? initializers.filter(({ name }) => store.isNew(name)) : [];
  return {
    ...model,
    graph: {
      ...model.graph,
      nodes,
      initializers,
      inputs: [...inputs, ...listed.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims))],
      outputs: model.graph.outputs.map(shortened),
      valueInfo: model.graph.valueInfo.map(shortened),
    },
  };
}
