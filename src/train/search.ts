import { type Admissible, type Budget, fits } from '../prune/budget.ts';
import type { Coupling } from '../prune/groups.ts';
import { importance, memberWeights, ranksOf } from '../prune/importance.ts';
import type { KeptChannels } from '../prune/plan.ts';
import { type Fusion, fuse, perMember } from './fusion.ts';
import {
  type CountRule,
  initialLogits,
  type MaskGroup,
  type Masks,
  maskGroup,
  masksOf,
  pullback,
  recentred,
} from './mask.ts';
import { type ResourceRule, resourceLoss, snap } from './resource.ts';

/**
 * The order in which channels go: by how much the outputs of the network that the run starts from depend on them, by the
 * L1 norms of their filters, as they stand, or at random (docs/method.md, Masks).
 */
export const channelOrders = ['fisher', 'l1', 'natural', 'random'] as const;
export type ChannelOrder = (typeof channelOrders)[number];

export interface SearchSettings {
  readonly count: CountRule;
  readonly resource: ResourceRule;
  readonly fusion: Fusion;
  readonly kappa: number;
  readonly relax: number;
  /** Weight of G beside L in the direction of u. */
  readonly maskGapWeight: number;
  /** Divide each group's gradients by its number of member weights. */
  readonly perMember: boolean;
  readonly temperature: number;
  /** The share of every group's channels that the masks start from. */
  readonly maskStart: number;
  /** Counts are multiples of it. */
  readonly granularity: number;
  readonly order: ChannelOrder;
  /** For `fisher`: one number per channel (`sensitivity`). */
  readonly sensitivity?: Float64Array | null;
  readonly seed: number;
}

/** The masks of all groups at one moment. */
export interface SearchMasks {
  readonly groups: readonly Masks[];
  /** w by channel, over all groups. */
  readonly w: Float32Array;
  /** m: the channels that the hard network keeps. */
  readonly kept: KeptChannels;
}

export interface SearchState {
  readonly u: readonly Float64Array[];
  readonly ranks: readonly Int32Array[];
  /** Counts fixed by `freeze`; null while u moves. */
  readonly counts: readonly number[] | null;
}

/** u of every group, the order of its channels, and what follows from them. */
export interface Search {
  readonly budget: Budget;
  masks(): SearchMasks;
  /** dLoss/du of every group from dLoss/dw by channel. */
  toLogits(masks: SearchMasks, dw: ArrayLike<number>): Float64Array[];
  /** R, rho, and dR/du of every group. */
  resource(masks: SearchMasks): { value: number; ratio: number; gradient: Float64Array[] };
  /** u <- u - rate * fuse(gL, gG, gR), recentred. */
  move(
    gradients: { gL: readonly Float64Array[]; gG: readonly Float64Array[]; gR: readonly Float64Array[] },
    ratio: number,
    rate: number,
  ): void;
  /** Put the channels in order by the current weights. */
  sort(values: (name: string) => Float32Array): void;
  /** Land on the budget and move no more. */
  freeze(): void;
  /** Move no more where nothing is trained afterwards: the counts stay that were, unless they exceed the budget. */
  stop(): void;
  /** Counts that are given: nothing moves from now on. */
  fix(counts: readonly number[]): void;
  /** The counts that every group may have. */
  readonly admissible: Admissible;
  readonly frozen: boolean;
  state(): SearchState;
  load(state: SearchState): void;
}

export function createSearch(coupling: Coupling, budget: Budget, settings: SearchSettings): Search {
  const { count, temperature, maskStart } = settings;
  const groups: MaskGroup[] = coupling.groups.map(group => maskGroup(group.size, settings.granularity));
  const members = coupling.groups.map(group => memberWeights(group, coupling.graph));
  let u: readonly Float64Array[] = groups.map(group => initialLogits(group, temperature, maskStart));
  let ranks: readonly Int32Array[] = groups.map(group => Int32Array.from({ length: group.size }, (_, i) => i));
  let counts: readonly number[] | null = null;

  const freeze = () => {
    if (counts) return;
    const landed = snap(budget, groups, u, count, temperature);
    u = landed.u.map(recentred);
    counts = landed.counts;
  };

  return {
    budget,
    masks() {
      const masks = groups.map((group, g) => {
        const mask = masksOf(group, u[g], count, temperature);
        return counts ? { ...mask, count: counts[g] } : mask;
      });
      const w = new Float32Array(coupling.channels);
      const kept = masks.map((mask, g) => {
        const left: number[] = [];
        ranks[g].forEach((rank, channel) => {
          w[coupling.offsets[g] + channel] = mask.w[rank];
          if (rank < mask.count) left.push(channel);
        });
        return left;
      });
      return { groups: masks, w, kept };
    },
    toLogits: (masks, dw) =>
      groups.map((group, g) => {
        const byRank = new Float64Array(group.size);
        ranks[g].forEach((rank, channel) => {
          byRank[rank] = dw[coupling.offsets[g] + channel];
        });
        return pullback(group, masks.groups[g], byRank, 0, temperature);
      }),
    resource(masks) {
      const { value, ratio, dExpected } = resourceLoss(budget, masks.groups, settings.resource);
      return {
        value,
        ratio,
        gradient: groups.map((group, g) => pullback(group, masks.groups[g], null, dExpected[g], temperature)),
      };
    },
    move({ gL, gG, gR }, ratio, rate) {
      const scaled = (g: readonly Float64Array[]) => (settings.perMember ? perMember(g, members) : g);
      const distance = Math.abs(ratio - budget.fraction);
      const direction = fuse(
        { gL: scaled(gL), gG: scaled(gG), gR: scaled(gR), distance },
        { fusion: settings.fusion, kappa: settings.kappa, relax: settings.relax, gapWeight: settings.maskGapWeight },
      );
      u = u.map((logits, g) => recentred(logits.map((x, k) => x - rate * direction[g][k])));
    },
    sort(values) {
      const { order, seed } = settings;
      if (order === 'natural') return;
      const { offsets } = coupling;
      ranks = coupling.groups.map((group, g) =>
        ranksOf(
          order === 'fisher'
            ? settings.sensitivity!.slice(offsets[g], offsets[g] + group.size)
            : importance[order](group, { coupling, values, seed }),
        ),
      );
    },
    freeze,
    stop() {
      if (counts) return;
      const trained = groups.map((group, g) => masksOf(group, u[g], count, temperature).count);
      if (fits(budget, trained)) counts = trained;
      else freeze();
    },
    fix(given) {
      counts = given;
    },
    admissible: groups.map(group => [...group.counts]),
    get frozen() {
      return counts !== null;
    },
    state: () => ({ u, ranks, counts }),
    load(state) {
      u = state.u.map(logits => Float64Array.from(logits));
      ranks = state.ranks.map(rank => Int32Array.from(rank));
      counts = state.counts && [...state.counts];
    },
  };
}
