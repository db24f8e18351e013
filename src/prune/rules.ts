import { UserError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import type { Coupling, Group } from './groups.ts';

/** What a user allows a cut to do. */
export interface Rules {
  /** Globs of groups, nodes and weights whose output channels all stay. */
  readonly keep: readonly string[];
  /** Globs likewise; with any, everything else stays. */
  readonly only: readonly string[];
  /** Kept widths are multiples of it, or the full one; a head counts as its dimensions. */
  readonly round: number;
  /** Share of every group that stays at least. */
  readonly minKeep: number;
}

/**
 * The channel counts that rules leave to every group, in ascending order; the last is the group's size, and a group that
 * has to stay whole has no other.
 * @throws UserError E_GLOB (usage) for a glob that nothing in the file is called like
 */
export function admissibleWidths(coupling: Coupling, rules: Rules): number[][] {
  const names = coupling.groups.map(group => namesOf(group, coupling));
  const known = new Set([...names.flatMap(own => [...own]), ...everyName(coupling)]);
  const matching = (globs: readonly string[], option: string): boolean[] => {
    for (const glob of globs) {
      if ([...known].some(name => matchesGlob(glob, name))) continue;
      const near = nearest(glob, [...known]);
      throw new UserError('E_GLOB', `${option} ${glob}: no group, node or weight is called like this.`, {
        where: coupling.graph.model.path,
        fix: near === undefined ? 'The command inspect lists the groups.' : `Did you mean '${near}'?`,
        usage: true,
      });
    }
    return names.map(own => globs.some(glob => [...own].some(name => matchesGlob(glob, name))));
  };
  const kept = matching(rules.keep, '--keep');
  const chosen = matching(rules.only, '--only');
  return coupling.groups.map((group, g) =>
    kept[g] || (rules.only.length > 0 && !chosen[g]) ? [group.size] : widthsOf(group, rules),
  );
}

function widthsOf({ size, root, members }: Group, { round, minKeep }: Rules): number[] {
  const floor = Math.max(1, Math.ceil(minKeep * size - 1e-9));
  // How many rows of its weight a channel is: of a head its dimensions, of a grouped convolution one of every group.
  const rows = members.find(({ value, axis }) => value === root.value && axis === root.axis)!.multiplicity;
  const step = round / greatestCommonDivisor(round, Math.round(rows));
  const counts: number[] = [];
  for (let count = Math.ceil(floor / step) * step; count < size; count += step) counts.push(count);
  return [...counts, size];
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));

/** What a group is called by: itself, the weights and vectors whose channels it has, the nodes that make or use these. */
function namesOf({ name, members }: Group, { graph }: Coupling): Set<string> {
  const names = new Set([name]);
  for (const { value, weight } of members) {
    if (weight === 'in') continue;
    names.add(value);
    const producer = graph.producers.get(value);
    if (producer) names.add(producer.name);
    if (weight === 'out') for (const { node } of graph.consumers.get(value) ?? []) names.add(node.name);
  }
  return names;
}

/** Names that a glob may mean although no channel there can go. */
const everyName = ({ graph, walled }: Coupling): string[] => [
  ...walled.map(group => group.name),
  ...graph.nodes.map(node => node.name),
  ...graph.tensors.keys(),
];

/** Whether a name is what a glob describes: `*` stands for any characters, slashes too, and `?` for one. */
export function matchesGlob(glob: string, name: string): boolean {
  let [g, n] = [0, 0];
  // Where to go on when a star has to take one more character.
  let [star, taken] = [-1, 0];
  while (n < name.length) {
    if (glob[g] === '*') [star, taken] = [g++, n];
    else if (g < glob.length && (glob[g] === '?' || glob[g] === name[n])) [g, n] = [g + 1, n + 1];
    else if (star >= 0) [g, n] = [star + 1, ++taken];
    else return false;
  }
  while (glob[g] === '*') g++;
  return g === glob.length;
}
