import { basename } from 'node:path';
import { z } from 'zod';
import type { Graph } from '../graph/graph.ts';
import { type AskedBudget, lowestShare } from '../prune/budget.ts';
import { costOf, type Resource } from '../prune/cost.ts';
import { type UnknownCost, unknownCosts, type Wall, wallsOf } from '../prune/walls.ts';
import { renderPicture } from '../report/graph-page.ts';
import { renderInspection } from '../report/inspect-report.ts';
import { writeAtomic } from '../util/atomic.ts';
import { UserError } from '../util/errors.ts';
import { defineCommand } from './command.ts';
import { pictureOf } from './inspect-picture.ts';
import { computedNote } from './model-file.ts';
import { checkOutputs, externalFilesOf } from './outputs.ts';
import { type Choice, choose, openSource, type Source, selectedBudget, selectionOptions } from './selection.ts';

/** A group of coupled channels. */
export interface InspectedGroup {
  readonly name: string;
  readonly size: number;
  /** Axes that the channels lie on. */
  readonly members: readonly {
    readonly value: string;
    readonly axis: number;
    readonly multiplicity: number;
    readonly weight: 'out' | 'in' | null;
  }[];
  /** Share of the MACs (of those that are known) and of the parameters that depend on the group; null: there are none. */
  readonly macs: number | null;
  readonly params: number | null;
  /** `--keep`, `--only`, `--round` or `--min-keep` leave it whole. */
  readonly whole: boolean;
  /** With a budget that can be met: channels that would stay. */
  readonly kept?: number;
}

/** A cost, and how little of it can be left. */
export interface InspectedCost {
  readonly full: number;
  /** Smallest share that can be kept under the options. */
  readonly lowest: number;
  /** Nodes that are not counted: the cost is then at least `full`. */
  readonly unknown: readonly UnknownCost[];
}

export interface Inspection {
  readonly file: string;
  /** Where the page with the graph is; null: none was asked for. */
  readonly html: string | null;
  readonly nodes: number;
  readonly groups: readonly InspectedGroup[];
  readonly walls: readonly Wall[];
  readonly costs: Readonly<Record<Resource, InspectedCost>>;
  /** Inputs with axes of unknown length besides the batch, as `--shape` takes them. */
  readonly dynamic: readonly string[];
  readonly budget:
    | null
    | (AskedBudget & {
        readonly reachable: boolean;
        /** Why it is not reachable. */
        readonly why?: string;
        /** Share of the cost that the widths below would have. */
        readonly reached?: number;
        readonly criterion: string;
        readonly scope: string;
      });
  /** What was done to the file before it was looked at. */
  readonly notes: readonly string[];
  readonly seconds: { readonly coupling: number };
  readonly exitCode: 0 | 1;
}

export const command = defineCommand({
  name: 'inspect',
  summary: 'say what can be pruned, what cannot and why, and which budgets can be met',
  description:
    'Lists the groups of coupled channels, every wall with the node that caused it, and the reachable range of each budget. With a budget: the widths that `cut` would choose; exit status 1 when it cannot be met.',
  arguments: [{ name: 'model', description: 'an ONNX file', required: true }],
  options: z.object({
    ...selectionOptions,
    html: z.string().min(1).optional().meta({ value: 'FILE', description: 'draw the graph with its groups as a page' }),
  }),
  examples: [
    'inspect mynet.onnx',
    'inspect mynet.onnx --flops 0.5',
    'inspect mynet.onnx --html groups.html',
    'inspect detector.onnx --shape images=1,3,640,640 --params 0.5 --round 8 --keep *head*',
  ],
  async run({ model: file }, options): Promise<Inspection> {
    const asked = selectedBudget(options);
    const source = await openSource(file, options);
    checkOutputs({ read: [file, ...externalFilesOf(source.model)], others: [options.html] });
    const { coupling, admissible } = source;
    const outcome = asked && attempt(() => choose(source, asked, options));
    const choice = outcome && !(outcome instanceof UserError) ? outcome : null;
    const shares = sharesOf(source);
    const walls = wallsOf(coupling);
    if (options.html !== undefined) {
      const figures = coupling.groups.map((_, g) => ({
        macs: shares.macs[g],
        params: shares.params[g],
        ...(choice ? { kept: choice.counts[g] } : {}),
      }));
      writeAtomic(options.html, renderPicture(pictureOf(coupling, walls, figures, basename(file))));
    }
    return {
      file,
      html: options.html ?? null,
      nodes: coupling.graph.nodes.length,
      groups: coupling.groups.map(({ name, size, members }, g) => ({
        name,
        size,
        members,
        macs: shares.macs[g],
        params: shares.params[g],
        whole: admissible[g].length === 1,
        ...(choice ? { kept: choice.counts[g] } : {}),
      })),
      walls,
      costs: { macs: costIn(source, 'macs'), params: costIn(source, 'params'), size: costIn(source, 'size') },
      dynamic: dynamicInputs(source.priced.graph),
      budget: asked && {
        ...asked,
        reachable: choice !== null,
        ...(choice ? { reached: reachedBy(choice) } : { why: (outcome as UserError).message }),
        criterion: options.criterion,
        scope: options.scope,
      },
      notes: computedNote(source.computed),
      seconds: { coupling: source.couplingSeconds },
      exitCode: outcome instanceof UserError ? 1 : 0,
    };
  },
  render: result => renderInspection(result),
});

/** Answers that are part of the result: the budget cannot be met. */
const refusals = new Set(['E_BUDGET_UNREACHABLE', 'E_COST_UNKNOWN', 'E_NOTHING_TO_PRUNE']);

function attempt(run: () => Choice): Choice | UserError {
  try {
    return run();
  } catch (error) {
    if (error instanceof UserError && refusals.has(error.code)) return error;
    throw error;
  }
}

const reachedBy = ({ budget: { cost }, counts }: Choice): number => cost.at(counts) / cost.full;

/** For every group the share of a cost that would be gone without any of its channels. */
function sharesOf({ priced }: Source): { macs: (number | null)[]; params: (number | null)[] } {
  const sizes = priced.groups.map(group => group.size);
  const shares = (resource: Resource) => {
    const { change, full } = costOf(priced, resource);
    return sizes.map((_, g) => (full > 0 ? -change(sizes, g, 0) / full : null));
  };
  return { macs: shares('macs'), params: shares('params') };
}

function costIn({ priced, admissible }: Source, resource: Resource): InspectedCost {
  const cost = costOf(priced, resource);
  const { full, unknown } = cost;
  return { full, lowest: lowestShare(cost, admissible), unknown: unknownCosts(priced.graph, unknown) };
}

/** `images=1,3,H,W` for every input with an axis of unknown length that is not the batch. */
function dynamicInputs({ inputs, types, batch }: Graph): string[] {
  return inputs.flatMap(name => {
    const shape = types.get(name)?.shape ?? [];
    if (!shape.some(dim => typeof dim === 'string' && dim !== batch)) return [];
    const example = shape.map((dim, axis) => {
      if (typeof dim === 'number') return dim;
      return dim === batch ? 1 : ('NCHWD'[axis] ?? '?');
    });
    return [`${name}=${example.join(',')}`];
  });
}
