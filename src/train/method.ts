import type { Tensor } from '../graph/engine.ts';
import type { KeptChannels } from '../prune/plan.ts';
import type { Torch } from '../torch/index.ts';
import type { Network } from './network.ts';
import type { Objective, Target } from './objective.ts';
import type { MaskSchedule } from './schedule.ts';
import type { Search } from './search.ts';

/** A part of a run. A step belongs to the last phase that starts at or before it. */
export interface Phase {
  readonly name: string;
  /** First step. */
  readonly start: number;
  /** The network is cut when it begins: from then on the compact hard network is trained alone. */
  readonly alone?: boolean;
}

/** Who teaches the compact network while it is trained alone; `soft`: the soft network as it was at the cut. */
export const teachers = ['none', 'original', 'soft'] as const;
export type Teacher = (typeof teachers)[number];

/** What a method works with. */
export interface MethodContext {
  readonly torch: Torch;
  readonly network: Network;
  readonly objective: Objective;
  /** u and the budget; null for methods without masks. */
  readonly search: Search | null;
  readonly settings: MethodSettings;
  /** Total number of steps. */
  readonly steps: number;
  /** Update the parameters: theta <- O(theta, gradients). A null gradient leaves its parameter alone. */
  optimize(gradients: readonly (Tensor | null)[], learningRate: number): void;
}

/** A direction of a Kullback-Leibler divergence between the soft and the hard outputs; null: no gradient on that route. */
export type Direction = 'soft-hard' | 'hard-soft' | null;

/** Where gradients go (docs/method.md, Routes): independent switches. */
export interface Routes {
  /** Route 1: L to the weights through the soft network. */
  readonly lossToWeights: boolean;
  /** Route 2: L to the masks through the soft network. */
  readonly lossToMasks: boolean;
  /** Route 3: to the weights through the hard network. */
  readonly weightsThroughHard: Direction;
  /** Route 4: to the weights through the soft network. */
  readonly weightsThroughSoft: Direction;
  /** Route 5: to the masks through the soft network. */
  readonly masksThroughSoft: Direction;
  /** Route 7: R to the masks. */
  readonly resourceToMasks: boolean;
  readonly coefficient: number;
}

export interface MethodSettings {
  readonly routes: Routes;
  /** Coefficients of L and G for the weights. */
  readonly lossCoefficient: number;
  readonly gapCoefficient: number;
  /** Shares of the steps at which the masks begin to move and are frozen, and from which the hard network is alone (1: never). */
  readonly searchFrom: number;
  readonly searchUntil: number;
  readonly finishFrom: number;
  /** Step length of u. */
  readonly maskLearningRate: number;
  /** u moves at every N-th step, by N step lengths. */
  readonly maskEvery: number;
  /** How the step length changes over the search. */
  readonly maskSchedule: MaskSchedule;
  readonly teacher: Teacher;
  /** alpha and T of a step with a teacher: alpha L + (1 - alpha) T^2 G_T. */
  readonly labelWeight: number;
  readonly teacherTemperature: number;
  /** Of what a method draws at random. */
  readonly seed: number;
}

export interface StepReport {
  readonly L: number;
  readonly G?: number;
  readonly R?: number;
  /** rho: the share of the cost that the masks stand for. */
  readonly ratio?: number;
}

/** One way to make a network smaller. */
export interface Method {
  readonly phases: readonly Phase[];
  /** One training step on a batch. */
  step(images: Tensor, target: Target, step: number, learningRate: number): StepReport;
  /** The channels of the hard network; null for a method that cuts nothing. Freezes what still moves. */
  result(): KeptChannels | null;
  /** Views that a step trains, for evaluation. */
  views(step: number): readonly ('dense' | 'soft' | 'hard')[];
}

export type MethodFactory = (context: MethodContext) => Method;

/** The phases of a search and what comes after it. */
export function searchPhases(
  { searchFrom, searchUntil, finishFrom }: Pick<MethodSettings, 'searchFrom' | 'searchUntil' | 'finishFrom'>,
  steps: number,
): Phase[] {
  const at = (share: number) => Math.round(share * steps);
  return [
    { name: 'warm-up', start: 0 },
    { name: 'search', start: at(searchFrom) },
    { name: 'freeze', start: at(searchUntil) },
    { name: 'finish', start: finishFrom < 1 ? at(finishFrom) : steps, alone: true },
  ];
}

/** How many steps move the masks: every N-th of the search. */
export function movesOf(
  settings: Pick<MethodSettings, 'searchFrom' | 'searchUntil' | 'finishFrom' | 'maskEvery'>,
  steps: number,
): number {
  const [, searching, freezing] = searchPhases(settings, steps);
  const until = (step: number) => Math.ceil(Math.min(step, steps) / settings.maskEvery);
  return Math.max(0, until(freezing.start) - until(searching.start));
}

/** The phases that have a step. */
export const lasting = (phases: readonly Phase[], steps: number): Phase[] =>
  phases.filter(({ start }, i) => start < (phases[i + 1]?.start ?? steps));

/** The phase of a step. */
export const phaseAt = (phases: readonly Phase[], step: number): Phase =>
  phases.reduce((current, phase) => (phase.start <= step ? phase : current));

/** x a + y b for two lists of gradients, null meaning zero. */
export function weighted(
  torch: Torch,
  x: number,
  a: readonly (Tensor | null)[],
  y: number,
  b: readonly (Tensor | null)[],
): (Tensor | null)[] {
  const multiply = torch.op('mul.Scalar');
  const add = torch.op('add.Tensor');
  return a.map((g, i) => {
    const other = b[i];
    if (!g) return other && (y === 1 ? other : multiply(other, y));
    const scaled = x === 1 ? g : multiply(g, x);
    return other ? add(scaled, other, y) : scaled;
  });
}
