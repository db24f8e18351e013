import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Const } from '../graph/operator.ts';
import { DataType, isInteger } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';
import { type Coupling, coupleGraph, type Group, rolesOf } from './groups.ts';

/** Which channels of every group are kept, in ascending order. */
export type KeptChannels = readonly (readonly number[])[];

const planSchema = z.object({
  format: z.literal('s2h-plan/1'),
  graph: z.string(),
  /** How the groups were found. */
  grouped: z.enum(['equal', 'whole']).default('equal'),
  attention: z.enum(['heads', 'dims']).default('heads'),
  groups: z.array(z.object({ name: z.string(), size: z.int().positive(), kept: z.array(z.int()) })),
});

/** What is read of a `plan.json`. */
export type Plan = z.output<typeof planSchema>;

/** One constant that a cut shortens. */
export interface PlanCut {
  readonly initializer: string;
  readonly axis: number;
  readonly kept: readonly number[];
  readonly role: 'producer' | 'consumer' | 'follower';
}

/** A plan with what follows from it, for readers: `cuts` are not read again. */
export interface WrittenPlan extends Plan {
  readonly cuts: readonly PlanCut[];
}

/**
 * A hash of the structure and the shapes of a graph, not of its weights nor of its batch: a plan fits a retrained copy,
 * also one that was exported with another batch. Nodes that only compute lengths and indices are left out, since an open
 * batch needs more of them; indices that are constants count.
 */
export function graphHash(graph: Graph): string {
  const hash = createHash('sha256');
  const add = (value: unknown) => hash.update(`${JSON.stringify(value)}\n`);
  const makesIntegers = ({ outputs }: GraphNode) =>
    outputs.every(value => !value || isInteger(graph.types.get(value)?.elemType ?? 0));
  for (const node of graph.nodes) {
    if (makesIntegers(node)) continue;
    add([node.domain, node.opType, operandsOf(node, graph), node.outputs]);
    add(
      [...node.proto.attribute]
        .map(({ name, i, f, s, ints, floats }) => [
          name,
          String(i),
          f,
          Buffer.from(s).toString('hex'),
          ints.map(String),
          floats,
        ])
        .sort(),
    );
  }
  for (const [name, { dataType, dims }] of graph.tensors) if (!isIndex(dataType)) add([name, dataType, dims]);
  const batch = graph.types.get(graph.inputs[0])?.shape?.[0];
  for (const name of graph.inputs) {
    const type = graph.types.get(name);
    add([name, type?.elemType, type?.shape?.map((dim, axis) => (axis === 0 && dim === batch ? null : openAs(dim)))]);
  }
  add(graph.outputs);
  return hash.digest('hex').slice(0, 32);
}

const isIndex = (dataType: number): boolean => dataType === DataType.INT64 || dataType === DataType.INT32;

/** Axes of unknown length are called anything. */
const openAs = (dim: number | string): number | '?' => (typeof dim === 'number' ? dim : '?');

/** The inputs of a node: names, values of indices, and of the lengths of its output all but the first. */
function operandsOf(node: GraphNode, { constants, types }: Graph): unknown[] {
  const roles = rolesOf(node);
  const shape = types.get(node.outputs[0])?.shape ?? [];
  const isLengths = (values: Const['values']) =>
    values.length === shape.length &&
    values.every((value, axis) => value === -1 || value === 0 || value === shape[axis]);
  return node.inputs.map((value, input) => {
    const role = roles[input]?.kind;
    if (!value || (role && role !== 'shape') || !isIndex(types.get(value)?.elemType ?? 0)) return value;
    const values = constants.get(value)?.values;
    if (!values) return role ? null : value;
    return (isLengths(values) ? values.slice(1) : values).map(openAs);
  });
}

/** A plan as it is written to a file. */
export function planOf(coupling: Coupling, kept: KeptChannels): WrittenPlan {
  return {
    format: 's2h-plan/1',
    graph: graphHash(coupling.graph),
    ...coupling.options,
    groups: coupling.groups.map((group, i) => ({ name: group.name, size: group.size, kept: [...kept[i]] })),
    cuts: cutsOf(coupling, kept),
  };
}

/** Every constant that a plan shortens, with the indices that stay. */
export function cutsOf(coupling: Coupling, kept: KeptChannels): PlanCut[] {
  const indices = keptIndices(coupling, kept);
  const cuts: PlanCut[] = [];
  const roles = new Map<string, 'out' | 'in' | null>();
  for (const group of [...coupling.groups, ...coupling.walled]) {
    for (const member of group.members) roles.set(`${member.value}\n${member.axis}`, member.weight);
  }
  for (const [initializer, tensor] of coupling.graph.tensors) {
    tensor.dims.forEach((_, axis) => {
      const left = indices({ value: initializer, axis });
      if (!left) return;
      const weight = roles.get(`${initializer}\n${axis}`);
      cuts.push({
        initializer,
        axis,
        kept: left,
        role: weight === 'out' ? 'producer' : weight === 'in' ? 'consumer' : 'follower',
      });
    });
  }
  return cuts;
}

/** For an axis the indices that stay, in order; null: all of them. */
export function keptIndices(
  coupling: Coupling,
  kept: KeptChannels,
): (ref: { value: string; axis: number }) => readonly number[] | null {
  const alive = new Uint8Array(coupling.channels);
  kept.forEach((channels, group) => {
    for (const channel of channels) alive[coupling.offsets[group] + channel] = 1;
  });
  const cache = new Map<Int32Array, readonly number[] | null>();
  return ref => {
    const channels = coupling.channelsOf(ref);
    if (!channels) return null;
    let left = cache.get(channels);
    if (left === undefined) {
      const indices = Array.from(channels.keys()).filter(i => channels[i] < 0 || alive[channels[i]]);
      cache.set(channels, (left = indices.length === channels.length ? null : indices));
    }
    return left;
  };
}

/** A plan and the groups that it speaks of. */
export interface PlannedCut {
  readonly coupling: Coupling;
  readonly kept: KeptChannels;
}

/** Find the groups of a graph as a plan did, and read what it keeps of them. @throws UserError those of {@link readPlan} */
export function plannedCut(json: unknown, graph: Graph, where?: string): PlannedCut {
  const { grouped, attention } = parsePlan(json, refusing(where));
  const coupling = coupleGraph(graph, { grouped, attention });
  return { coupling, kept: readPlan(json, coupling, where) };
}

type Refuse = (what: string, fix?: string) => never;

const refusing =
  (where?: string): Refuse =>
  (what, fix) => {
    throw new UserError('E_PLAN', what, { where, fix });
  };

function parsePlan(json: unknown, refuse: Refuse): Plan {
  const parsed = planSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  return refuse(`This is not a plan of the format s2h-plan/1: ${z.prettifyError(parsed.error)}`);
}

/**
 * Read a plan for a graph whose groups are known.
 * @param json the parsed file
 * @throws UserError E_PLAN where it is malformed, belongs to another graph, or keeps channels that are not there
 */
export function readPlan(json: unknown, coupling: Coupling, where?: string): KeptChannels {
  const refuse: Refuse = refusing(where);
  const plan = parsePlan(json, refuse);
  const hash = graphHash(coupling.graph);
  if (plan.graph !== hash) {
    refuse(
      `The plan was made for another graph (${plan.graph}, this file has ${hash}).`,
      'Use the file that it was made for, or a retrained copy of it; the plan of a run is for the trained.onnx beside it.',
    );
  }
  const byName = new Map(plan.groups.map(group => [group.name, group]));
  const known = new Set(coupling.groups.map(group => group.name));
  plan.groups.forEach((group, at) => {
    if (!known.has(group.name)) refuse(`The plan has a group '${group.name}' that this graph lacks.`);
    if (plan.groups.indexOf(byName.get(group.name)!) !== at) refuse(`The plan has the group '${group.name}' twice.`);
  });
  return coupling.groups.map(group => {
    const planned = byName.get(group.name) ?? refuse(`The plan lacks the group '${group.name}'.`);
    checkGroup(group, planned, refuse);
    return planned.kept;
  });
}

/** Channel numbers have to be of the group, in ascending order, and at least one. */
function checkGroup({ name, size }: Group, planned: Plan['groups'][number], refuse: Refuse): void {
  if (planned.size !== size) refuse(`Group '${name}' has ${size} channels, in the plan ${planned.size}.`);
  if (planned.kept.length === 0) refuse(`Group '${name}' keeps no channel.`, 'At least one has to stay.');
  planned.kept.forEach((channel, at) => {
    if (channel < 0 || channel >= size) {
      refuse(`Group '${name}' keeps channel ${channel} at position ${at}, but has channels 0 to ${size - 1}.`);
    }
    if (at > 0 && channel <= planned.kept[at - 1]) {
      const order = 'List channels in ascending order, each once.';
      refuse(`Group '${name}' lists channel ${channel} at position ${at} after ${planned.kept[at - 1]}.`, order);
    }
  });
}
