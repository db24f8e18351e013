import { readFileSync } from 'node:fs';
import { type OnnxModel, withFloats } from '../../src/onnx/index.ts';
import { type Budget, budgetFor } from '../../src/prune/budget.ts';
import type { Coupling } from '../../src/prune/groups.ts';
import type { Torch } from '../../src/torch/index.ts';
import { createNetwork, type Network } from '../../src/train/network.ts';
import { createSearch, type Search, type SearchSettings } from '../../src/train/search.ts';
import { readSafetensors } from '../../src/util/safetensors.ts';
import { buildNetwork } from '../../src/zoo/index.ts';

/** A route's norm over all tensors, and [norm, first, second value] of each; only the norm where it is 0. */
interface Route {
  readonly norm: number;
  readonly each?: Readonly<Record<string, readonly number[]>>;
}

export const routeNames = ['gT_L', 'gT_Ghard', 'gT_Gsoft', 'gT', 'gU_L', 'gU_G', 'gU_R'] as const;
export type RouteName = (typeof routeNames)[number];

/** Losses and gradients of one variant of the reference. */
export interface Variant extends Readonly<Record<RouteName, Route>> {
  readonly L: number;
  readonly G: number;
  readonly KL_hs: number;
  readonly R: number;
  readonly rho: number;
  readonly fuse_sum: number | number[][];
  readonly fuse_gnorm: number | number[][];
  readonly fuse_paper: number | number[][];
}

/** One network of the reference, with what it computed (test/data/golden/make.py). */
export interface Case {
  readonly depth: number;
  readonly width: number;
  readonly div?: number;
  readonly target: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly counts_mean: Readonly<Record<string, number>>;
  readonly n: Readonly<Record<string, number>>;
  readonly R_soft: number;
  readonly rho_soft: number;
  readonly flops_full: number;
  readonly flops_hard: number;
  readonly groups: Readonly<Record<string, number>>;
  readonly variants: Readonly<Record<string, Variant>>;
  readonly trajectory_t1?: readonly (readonly number[])[];
}

const at = (name: string) => new URL(`../data/golden/${name}`, import.meta.url);
export const cases = JSON.parse(readFileSync(at('golden.json'), 'utf8')) as Readonly<Record<string, Case>>;
const { tensors } = readSafetensors(at('golden.safetensors').pathname);

/** An array of the golden file, or undefined where it is not kept. */
export const array = (key: string): Float32Array | BigInt64Array | undefined =>
  tensors[key]?.data as Float32Array | BigInt64Array | undefined;

/** An array that has to be there. */
export function floatArray(key: string): Float32Array {
  const data = array(key);
  if (!(data instanceof Float32Array)) throw new Error(`the golden file has no float array ${key}`);
  return data;
}

/** The reference's name of a tensor as an initializer of our file: `s1b0sc.g` is `layer2.0.downsample.1.weight`. */
export function initializerOf(name: string): string {
  const [unit, kind] = name.split('.');
  const part = { w: 'weight', g: 'weight', b: 'bias' }[kind];
  if (unit === 'fc') return `fc.${part}`;
  const conv = kind === 'w';
  if (unit === 'stem') return `${conv ? 'conv1' : 'bn1'}.${part}`;
  const [, stage, block, member] = /^s(\d)b(\d)(c1|c2|sc)$/.exec(unit)!;
  const module = member === 'sc' ? `downsample.${conv ? 0 : 1}` : `${conv ? 'conv' : 'bn'}${member[1]}`;
  return `layer${Number(stage) + 1}.${block}.${module}.${part}`;
}

/** Names of the reference's weights, in its order. */
export const weightNames = (name: string): string[] =>
  Object.keys(tensors).flatMap(key => (key.startsWith(`${name}/p/`) ? [key.slice(name.length + 3)] : []));

/** Our number of each group of the reference: the one that some convolution of it writes. */
export function groupNumbers(coupling: Coupling, groups: readonly string[]): Map<string, number> {
  const writer = (group: string) => (group === 's0' ? 'stem' : group.includes('b') ? `${group}c1` : `${group}b0c2`);
  return new Map(
    groups.map(group => {
      const weight = initializerOf(`${writer(group)}.w`);
      return [group, coupling.groups.findIndex(g => g.members.some(m => m.value === weight && m.weight === 'out'))];
    }),
  );
}

/** The network of a case as a file, with the case's weights. */
export function goldenModel(name: string): OnnxModel {
  const { depth, width } = cases[name];
  const model = buildNetwork(`resnet${depth}`, {
    classes: 10,
    channels: 3,
    size: [32, 32],
    seed: 1,
    width,
    shortcut: 'B',
  });
  const weights = new Map(weightNames(name).map(weight => [initializerOf(weight), floatArray(`${name}/p/${weight}`)]));
  const initializers = model.graph.initializers.map(tensor => {
    const values = weights.get(tensor.name);
    return values ? withFloats(tensor, tensor.dims, values) : tensor;
  });
  return { ...model, graph: { ...model.graph, initializers } };
}

/** A case under the engine. */
export interface Loaded {
  readonly name: string;
  readonly golden: Case;
  readonly network: Network;
  readonly budget: Budget;
  /** Our group number by the reference's name. */
  readonly groups: ReadonlyMap<string, number>;
  /** A search at the case's u and ranks. */
  search(settings?: Partial<SearchSettings>): Search;
}

/** The rules that the reference's `--golden` uses: counts `ceil`, R at the kept counts, kappa 1, nothing per member. */
export const goldenSettings = {
  count: 'ceil',
  resource: 'hard',
  fusion: 'gnorm',
  kappa: 1,
  relax: 0.01,
  maskGapWeight: 1,
  perMember: false,
  temperature: 1,
  maskStart: 1,
  order: 'l1',
  seed: 0,
} as const;

export function load(torch: Torch, name: string): Loaded {
  const golden = cases[name];
  const network = createNetwork(torch, goldenModel(name));
  const groups = groupNumbers(network.coupling, Object.keys(golden.groups));
  const granularity = golden.div ?? 1;
  const budget = budgetFor(network.coupling, { resource: 'macs', value: golden.target }, granularity);
  const byGroup = <T>(make: (group: string) => T): T[] =>
    [...groups].sort(([, a], [, b]) => a - b).map(([group]) => make(group));
  return {
    name,
    golden,
    network,
    budget,
    groups,
    search(settings = {}) {
      const search = createSearch(network.coupling, budget, { ...goldenSettings, granularity, ...settings });
      search.load({
        u: byGroup(group => Float64Array.from(floatArray(`${name}/u/${group}`))),
        ranks: byGroup(group => Int32Array.from(array(`${name}/rank/${group}`) as BigInt64Array, Number)),
        counts: null,
      });
      return search;
    },
  };
}
