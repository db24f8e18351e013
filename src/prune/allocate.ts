import { type Admissible, type AskedBudget, type Budget, budgetOf, fillBudget, fits, limitOf } from './budget.ts';
import type { Coupling } from './groups.ts';
import { ranksOf } from './importance.ts';
import type { KeptChannels } from './plan.ts';
import { topologyOf } from './topology.ts';

/**
 * How a budget is spread over the groups. `global`: channels of all groups are ranked together and the lowest go;
 * `local`: every group keeps the same share; `isomorphic`: channels are ranked together among groups of the same
 * topology, and all topologies keep the same share (Fang et al., Isomorphic Pruning for Vision Models, ECCV 2024).
 */
export const scopes = ['global', 'local', 'isomorphic'] as const;
export type Scope = (typeof scopes)[number];

/** A budget within a user's rules. @throws UserError those of {@link budgetOf} */
export const budgetWithin = (coupling: Coupling, asked: AskedBudget, admissible: Admissible): Budget =>
  budgetOf(
    coupling,
    asked,
    admissible,
    'Choose a budget in that range, or let more go: a smaller --min-keep or --round, fewer groups in --keep, more in --only. The command inspect lists the walls.',
  );

/** For every group the number of its ranking: channels are compared with those of groups that have the same one. */
export function rankingsOf(coupling: Coupling, scope: Scope): number[] {
  if (scope === 'global') return coupling.groups.map(() => 0);
  if (scope === 'local') return coupling.groups.map((_, g) => g);
  const known = new Map<string, number>();
  return coupling.groups.map(group => {
    const topology = topologyOf(group, coupling);
    if (!known.has(topology)) known.set(topology, known.size);
    return known.get(topology)!;
  });
}

/**
 * Counts that meet a budget from below, within half a point of it or of the nearest step that can be reached: of every
 * ranking the same share of channels goes, those with the lowest scores, then the best ones that still fit are put back.
 * @param scores of all channels, comparable across the groups of a ranking (`comparableScores`)
 * @param rankings of `rankingsOf`
 * @param budget one that the smallest counts meet
 */
export function allocate(
  scores: readonly Float64Array[],
  budget: Budget,
  admissible: Admissible,
  rankings: readonly number[],
): number[] {
  const order = removalOrder(scores, admissible, rankings);
  const countsAfter = (removed: number): number[] => {
    const left = scores.map(own => own.length);
    for (let i = 0; i < removed; i++) left[order[i]]--;
    return left.map((least, group) => admissible[group].find(count => count >= least)!);
  };
  let [low, high] = [0, order.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (fits(budget, countsAfter(middle))) high = middle;
    else low = middle + 1;
  }
  return fillBudget(putBack(countsAfter(high), order.slice(0, high), admissible, budget), admissible, budget);
}

/** The groups that lose a channel, one after the other; the smallest admissible count of each stays. */
function removalOrder(
  scores: readonly Float64Array[],
  admissible: Admissible,
  rankings: readonly number[],
): readonly number[] {
  const byRanking = new Map<number, { group: number; score: number; at: number }[]>();
  scores.forEach((own, group) => {
    // Groups that stay whole are in nobody's ranking.
    if (admissible[group].length === 1) return;
    const ranking = byRanking.get(rankings[group]) ?? [];
    byRanking.set(rankings[group], ranking);
    for (const score of Float64Array.from(own).sort()) ranking.push({ group, score, at: 0 });
  });
  const removable = [...byRanking.values()].flatMap(ranking => {
    // Sorts are stable: equal scores go by group.
    ranking.sort((a, b) => a.score - b.score);
    const left = admissible.map((counts, group) => scores[group].length - counts[0]);
    return ranking.flatMap((channel, at) =>
      left[channel.group]-- > 0 ? [{ ...channel, at: at / ranking.length }] : [],
    );
  });
  return removable.sort((a, b) => a.at - b.at).map(({ group }) => group);
}

/** Raise counts in the opposite order of removal, a group as long as its next step fits. */
function putBack(counts: number[], removed: readonly number[], admissible: Admissible, budget: Budget): number[] {
  const result = [...counts];
  let reached = budget.cost.at(result);
  const full = new Set<number>();
  for (const group of removed.toReversed()) {
    if (full.has(group)) continue;
    const next = admissible[group].find(count => count > result[group]);
    const then = next === undefined ? Infinity : reached + budget.cost.change(result, group, next);
    if (then > limitOf(budget)) full.add(group);
    else [result[group], reached] = [next!, then];
  }
  return result;
}

/** The best channels of every group: as many as `counts` says, in ascending order. */
export const bestChannels = (scores: readonly Float64Array[], counts: readonly number[]): KeptChannels =>
  scores.map((own, g) => {
    const ranks = ranksOf(own);
    return Array.from(ranks.keys()).filter(channel => ranks[channel] < counts[g]);
  });
