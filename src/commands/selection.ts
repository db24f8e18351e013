import { z } from 'zod';
import { buildGraph, type Graph } from '../graph/graph.ts';
import { newScratch, type OnnxModel, readModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import { allocate, bestChannels, budgetWithin, rankingsOf, scopes } from '../prune/allocate.ts';
import type { Admissible, AskedBudget, Budget } from '../prune/budget.ts';
import { countedOnce } from '../prune/copies.ts';
import { valuesOf } from '../prune/criteria/members.ts';
import { type Coupling, coupleGraph } from '../prune/groups.ts';
import { comparableScores, importanceNames } from '../prune/importance.ts';
import type { KeptChannels } from '../prune/plan.ts';
import { admissibleWidths } from '../prune/rules.ts';
import { sealDefaults } from '../rewrite/defaults.ts';
import { unsharedGraph } from '../rewrite/unshare.ts';
import { withComputedConstants } from '../runtime/computed-constants.ts';
import { withProbedShapes } from '../runtime/probe.ts';
import { UserError } from '../util/errors.ts';
import { budgetIfAsked, budgetOptions } from './budget-options.ts';
import { couplingOptions } from './coupling-options.ts';
import { parseShapes, shapeOption } from './model-file.ts';
import { readPlanFile } from './plan-file.ts';

/** `--seal-inputs`, for files of IR version 4 or later that list weights among their inputs. */
export const sealOption = z
  .boolean()
  .default(false)
  .describe('make constants of weights that the file lists as inputs, which callers can then no longer replace');

/** What may go, and by what it is chosen: the options that `inspect` and `cut` share. */
export const selectionOptions = {
  ...budgetOptions,
  size: z.number().positive().optional().describe('another name for --bytes'),
  criterion: z.enum(importanceNames).default('l1').describe('by what channels are ranked'),
  scope: z
    .enum(scopes)
    .default('global')
    .describe(
      'which channels are compared: global: all; local: those of one group, the same share of each goes; isomorphic: those of groups that are wired alike',
    ),
  ...couplingOptions,
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
  round: z.int().positive().default(1).describe('kept widths are multiples of it'),
  minKeep: z.number().min(0).max(1).default(0.1).describe('share of every group that stays at least'),
  seed: z.int().nonnegative().default(0).describe('of the random criterion and of random inputs'),
  shape: shapeOption,
  sealInputs: sealOption,
};

const schema = z.object(selectionOptions);
type Selection = z.output<typeof schema>;

/** A full-width file. @throws UserError E_OPTION (usage) where there is nothing to seal, and those of `readModel` */
export function readFull(path: string, { sealInputs }: Pick<Selection, 'sealInputs'>): OnnxModel {
  const read = readModel(path);
  const model = sealInputs ? sealDefaults(read) : read;
  if (!sealInputs || model !== read) return model;
  throw new UserError('E_OPTION', '--seal-inputs: no weight of this file is one that a caller may replace.', {
    where: path,
    fix: 'Leave it out.',
    usage: true,
  });
}

/** The budget among the options, null without one. @throws UserError E_BUDGET (usage) for several */
export function selectedBudget({ size, ...asked }: Pick<Selection, 'flops' | 'params' | 'bytes' | 'size'>) {
  const bytes = size !== undefined && asked.bytes === undefined ? size : asked.bytes;
  if (size !== undefined && bytes !== size) {
    throw new UserError('E_BUDGET', '--bytes and --size differ, and are one budget.', {
      fix: 'Leave one of them out.',
      usage: true,
    });
  }
  return budgetIfAsked({ ...asked, bytes });
}

/** A file whose channels may go. */
export interface Source {
  /** Its constants given to one user each and missing shapes declared, as plans and certificates take it. */
  readonly model: OnnxModel;
  /** Found without `--shape`: axes that are dynamic stay so in a cut. */
  readonly coupling: Coupling;
  /** The same with the lengths of `--shape`, for costs. */
  readonly priced: Coupling;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** Values whose shapes were found out by running the file. */
  readonly probed: readonly string[];
  /** Weights that the file computed from constants, and that are constants now. */
  readonly computed: readonly string[];
  /** What the plan keeps; null without one. */
  readonly planned: KeptChannels | null;
  readonly admissible: Admissible;
  /** Time that it took to find the coupled channels of the file that was read. */
  readonly couplingSeconds: number;
}

/**
 * Read a file, find its coupled channels and what may go of them.
 * @param plan a plan file, which says how channels are coupled and what stays
 * @throws UserError also E_PLAN, E_SHAPE, E_GLOB (usage)
 */
export async function openSource(
  path: string,
  selection: Pick<Selection, 'shape' | 'keep' | 'only' | 'round' | 'minKeep' | 'grouped' | 'attention' | 'sealInputs'>,
  plan?: string,
): Promise<Source> {
  const shapes = parseShapes(selection.shape);
  const read = readFull(path, selection);
  const building = performance.now();
  const unshared = unsharedGraph(read, operators);
  const { graph: written, values: computed, coupling: found } = await withComputedConstants(unshared, selection);
  const builtIn = performance.now() - building;
  checkShapes(written, shapes);
  const probed = await withProbedShapes(written, shapes);
  const start = performance.now();
  const graph = probed.values.length > 0 ? buildGraph(probed.model, operators) : written;
  const planned = plan === undefined ? null : readPlanFile(plan, graph);
  const coupling = planned?.coupling ?? (graph === found?.graph ? found : coupleGraph(graph, selection));
  const couplingSeconds = (builtIn + performance.now() - start) / 1000;
  const isGiven = Object.keys(shapes).length > 0;
  const open = isGiven ? { ...coupling, graph: buildGraph(probed.priced, operators, { shapes }) } : coupling;
  return {
    model: probed.model,
    coupling,
    priced: countedOnce(open),
    shapes,
    probed: probed.values,
    computed,
    planned: planned?.kept ?? null,
    admissible: admissibleWidths(coupling, selection),
    couplingSeconds,
  };
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
  source: Pick<Source, 'coupling' | 'priced' | 'admissible'>,
  asked: AskedBudget,
  selection: Pick<Selection, 'criterion' | 'scope' | 'seed'>,
): Choice {
  const { coupling, priced, admissible } = source;
  const budget = budgetWithin(priced, asked, admissible);
  const reused = newScratch();
  const context = {
    coupling,
    values: (name: string) => valuesOf(coupling.graph, name, reused),
    seed: selection.seed,
  };
  const scores = comparableScores(selection.criterion, context, group => admissible[group].length > 1);
  const counts = allocate(scores, budget, admissible, rankingsOf(coupling, selection.scope));
  return { budget, counts, kept: bestChannels(scores, counts) };
}
