import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Coupling, Group, Member } from '../prune/groups.ts';
import type { Wall } from '../prune/walls.ts';
import type { Picture, PictureNode } from '../report/graph-page.ts';

/** What is known about a group besides its axes. */
interface Figures {
  readonly kept?: number;
  readonly macs: number | null;
  readonly params: number | null;
}

/** A group that lies on an axis of a value. */
interface Lying {
  readonly group: number;
  readonly member: Member;
}

/** The graph with its groups, without what only computes constants and lengths. */
export function pictureOf(
  coupling: Coupling,
  walls: readonly Wall[],
  figures: readonly Figures[],
  title: string,
): Picture {
  const { graph, groups, walled } = coupling;
  const numbers = new Map(graph.nodes.filter(node => isShown(node, graph)).map((node, i) => [node, i]));
  const onValue = byValue(groups);
  const wallOfReason = new Map(walls.map(({ reason }, i) => [reason, i]));
  const stays = byValue(walled);
  const wallsOfNode = new Map<string, number[]>();
  walls.forEach(({ node }, i) => {
    if (node) wallsOfNode.set(node.name, [...(wallsOfNode.get(node.name) ?? []), i]);
  });
  const edges = [...numbers].flatMap(([node, to]) =>
    node.inputs.flatMap((value): Picture['edges'][number][] => {
      const from = numbers.get(graph.producers.get(value)!);
      return from === undefined ? [] : [[from, to, onValue.get(value)?.[0].group ?? -1]];
    }),
  );
  const describe = (node: GraphNode): PictureNode => {
    const made = node.outputs.flatMap(value => onValue.get(value) ?? []);
    const kept = node.outputs.flatMap(value => stays.get(value) ?? []);
    const summed = node.inputs.flatMap(value =>
      (onValue.get(value) ?? []).filter(({ member }) => member.weight === 'in'),
    );
    const causes = wallsOfNode.get(node.name) ?? [];
    return {
      name: node.name,
      opType: node.opType,
      shapes: node.outputs.filter(Boolean).map(value => `${value}: ${shapeText(value, graph)}`),
      groups: distinct(made.map(({ group }) => group)),
      walled: distinct(kept.map(({ group }) => wallOfReason.get(walled[group].reason)!)),
      sums: distinct(summed.map(({ group }) => group)),
      causes,
      lines: [
        ...made.map(({ group, member }) => `axis ${member.axis}: ${groups[group].name}${times(member)}`),
        ...distinct(summed.map(({ group }) => group)).map(group => `sums over ${groups[group].name}`),
        ...kept.map(({ group, member }) => `axis ${member.axis} stays: ${walled[group].reason}`),
        ...causes.map(i => `reason for: ${walls[i].groups.map(({ name }) => name).join(', ')}`),
      ],
    };
  };
  return {
    title,
    nodes: [...numbers.keys()].map(describe),
    edges,
    groups: groups.map(({ name, size, members }, i) => ({
      name,
      size,
      ...figures[i],
      members: members.map(
        member =>
          `${member.value} axis ${member.axis}${times(member)}${member.weight === null ? '' : ` (${member.weight})`}`,
      ),
    })),
    walls: walls.map(({ reason, unlock, groups: own }) => ({
      reason,
      unlock,
      groups: own.map(({ name, size }) => `${name} (${size})`),
    })),
  };
}

const isShown = ({ outputs }: GraphNode, { fixed, constants }: Graph): boolean =>
  !outputs.every(value => !value || fixed.has(value) || constants.has(value));

/** Groups by the values that they lie on. */
function byValue(groups: readonly Group[]): Map<string, Lying[]> {
  const found = new Map<string, Lying[]>();
  groups.forEach(({ members }, group) => {
    for (const member of members) {
      const own = found.get(member.value);
      if (own) own.push({ group, member });
      else found.set(member.value, [{ group, member }]);
    }
  });
  return found;
}

const distinct = (numbers: readonly number[]): number[] => [...new Set(numbers)];

const times = ({ multiplicity }: Member): string => (multiplicity > 1 ? ` x${multiplicity}` : '');

const shapeText = (value: string, { types }: Graph): string => {
  const shape = types.get(value)?.shape;
  return shape ? `[${shape.join(', ')}]` : 'of unknown shape';
};
