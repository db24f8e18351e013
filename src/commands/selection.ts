import { z } from 'zod';
import { buildGraph, type Graph } from '../graph/graph.ts';
import { floats, type OnnxModel, readModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import { type Admissible, allocate, bestChannels, budgetWithin, scopes } from '../prune/allocate.ts';
import type { Budget } from '../prune/budget.ts';
import type { Resource } from '../prune/cost.ts';
import { type Coupling, coupleGraph } from '../prune/groups.ts';
import { comparableScores, importanceNames } from '../prune/importance.ts';
import type { KeptChannels } from '../prune/plan.ts';
import { admissibleWidths } from '../prune/rules.ts';
import { unshare } from '../rewrite/unshare.ts';
import { UserError } from '../util/errors.ts';
import { parseShapes, shapeOption } from './model-file.ts';

const fraction = 'the fraction kept up to 1, above it';

/** What may go, and by what it is chosen: the options that `inspect` and `cut` share. */
export const selectionOptions = {
  flops: z.number().positive().optional().describe(`budget of MACs (papers: "FLOPs"): ${fraction} MACs of one image`),
  params: z.number().positive().optional().describe(`budget of parameters: ${fraction} their number`),
  size: z.number().positive().optional().describe(`budget of the size of all constants: ${fraction} bytes`),
  criterion: z.enum(importanceNames).default('l1').describe('by what channels are ranked'),
  scope: z
    .enum(scopes)
    .default('global')
    .describe('global: the lowest channels of all groups go; local: the same share of every group'),
  keep: z.array(z.string().min(1)).default([]).meta({
    value: 'GLOB',
    repeat: true,
    description: 'group, node or weight whose output channels all stay (* any characters, ? one); may be repeated',
  }),
  only: z.array(z.string().min(1)).default([]).meta({
    value: 'GLOB',
    repeat: true,
    description: 'prune nothing but these groups, nodes or weights; may be repeated',
  }),
  round: z.int().positive().default(1).describe('kept channel counts are multiples of it'),
  minKeep: z.number().min(0).max(1).default(0.1).describe('share of every group that stays at least'),
  seed: z.int().nonnegative().default(0).describe('of the random criterion and of random inputs'),
  shape: shapeOption,
};

const schema = z.object(selectionOptions);
type Selection = z.output<typeof schema>;

/** A file whose channels may go. */
export interface Source {
  /** Its constants given to one user each, as plans and certificates take it. */
  readonly model: OnnxModel;
  /** Found without `--shape`: axes that are dynamic stay so in a cut. */
  readonly coupling: Coupling;
  /** The same with the lengths of `--shape`, for costs. */
  readonly priced: Coupling;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly admissible: Admissible;
  /** Time that it took to find the coupled channels of the file that was read. */
  readonly couplingSeconds: number;
}

/** Read a file, find its coupled channels and what may go of them. @throws UserError also E_SHAPE, E_GLOB (usage) */
export function openSource(
  path: string,
  selection: Pick<Selection, 'shape' | 'keep' | 'only' | 'round' | 'minKeep'>,
): Source {
  const shapes = parseShapes(selection.shape);
  const read = readModel(path);
  const start = performance.now();
  const model = unshare(read, operators);
  const graph = buildGraph(model, operators);
  const coupling = coupleGraph(graph);
  const couplingSeconds = (performance.now() - start) / 1000;
  checkShapes(graph, shapes);
  const priced = Object.keys(shapes).length
    ? { ...coupling, graph: buildGraph(model, operators, { shapes }) }
    : coupling;
  return { model, coupling, priced, shapes, admissible: admissibleWidths(coupling, selection), couplingSeconds };
}

/** @throws UserError E_SHAPE (usage) for a shape of an input that is not there, or that does not fit it */
function checkShapes({ inputs, types }: Graph, shapes: Source['shapes']): void {
  for (const [name, lengths] of Object.entries(shapes)) {
    const declared = types.get(name)?.shape;
    const refuse = (what: string, fix: string) => new UserError('E_SHAPE', what, { fix, usage: true });
    if (!inputs.includes(name))
      throw refuse(
        `The file has no input '${name}'.`,
        `Its inputs are ${inputs.map(input => `'${input}'`).join(', ')}.`,
      );
    const isFitting =
      !declared ||
      (declared.length === lengths.length && declared.every((dim, i) => typeof dim === 'string' || dim === lengths[i]));
    if (!isFitting)
      throw refuse(
        `The shape ${lengths.join(',')} does not fit the input '${name}' [${declared.join(', ')}].`,
        'Give one length for each axis; axes that the file fixes keep theirs.',
      );
  }
}

/** A budget as it was asked for. */
export interface AskedBudget {
  readonly resource: Resource;
  readonly value: number;
}

/** The budget among the options, null without one. @throws UserError E_BUDGET (usage) for several */
export function askedBudget({ flops, params, size }: Pick<Selection, 'flops' | 'params' | 'size'>): AskedBudget | null {
  const asked = Object.entries({ macs: flops, params, size }).flatMap(([resource, value]) =>
    value === undefined ? [] : [{ resource: resource as Resource, value }],
  );
  if (asked.length > 1) {
    throw new UserError('E_BUDGET', 'More than one budget is given.', {
      fix: 'Leave one of --flops, --params and --size.',
      usage: true,
    });
  }
  return asked[0] ?? null;
}

/** What a budget leaves. */
export interface Choice {
  readonly budget: Budget;
  /** Kept channels by group. */
  readonly counts: readonly number[];
  readonly kept: KeptChannels;
}

/**
 * Choose the channels that stay.
 * @throws UserError E_BUDGET_UNREACHABLE (usage), E_COST_UNKNOWN, E_NOTHING_TO_PRUNE, E_CRITERION
 */
export function choose(
  source: Source,
  asked: AskedBudget,
  selection: Pick<Selection, 'criterion' | 'scope' | 'seed'>,
): Choice {
  const { coupling, priced, admissible } = source;
  const budget = budgetWithin(priced, asked.resource, asked.value, admissible);
  const context = {
    coupling,
    values: (name: string) => floats(coupling.graph.tensors.get(name)!),
    seed: selection.seed,
  };
  const scores = comparableScores(selection.criterion, context, group => admissible[group].length > 1);
  const counts = allocate(scores, budget, admissible, selection.scope);
  return { budget, counts, kept: bestChannels(scores, counts) };
}
