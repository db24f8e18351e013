import type { GraphNode } from '../graph/graph.ts';
import { type Coupling, rolesOf } from './groups.ts';

/** Where the soft network's masks multiply: on one axis of one value. */
export interface MaskPoint {
  readonly node: GraphNode;
  readonly value: string;
  readonly axis: number;
  /** For every index of the axis its channel, -1 where nothing is masked. */
  readonly channels: Int32Array;
  /** Inputs of the node that carry the factor instead of its output (scale and shift, weight rows and bias); null: a product. */
  readonly fold: readonly { readonly input: number; readonly axis: number }[] | null;
}

/**
 * Place the masks (docs/architecture.md): on every path from a producer to a consumer that sums over the channel,
 * directly after the last operator that does not keep zeros; where all keep them, at the producer's rows. With a mask
 * there, a factor of 0 is the cut, in training mode too.
 */
export function maskPoints(coupling: Coupling): MaskPoint[] {
  const { graph } = coupling;
  const points = new Map<string, MaskPoint>();
  const visited = new Set<string>();

  const visit = (value: string, axis: number): void => {
    const key = `${value}\n${axis}`;
    if (visited.has(key)) return;
    visited.add(key);
    const channels = coupling.channelsOf({ value, axis });
    const node = graph.producers.get(value);
    if (!channels || !node) return;
    const sources = passedOn(node, channels);
    const zero = node.operator?.zero(node) ?? 'constant';
    if (sources.length === 0 || zero === 'constant' || zero === 'mixes') {
      points.set(key, { node, value, axis, channels, fold: foldOf(node, channels) });
    } else if (zero === 'absorbs' && sources.length > 1) {
      // A second masked factor would give w squared: the one that is masked already, else the one where it costs nothing.
      const masked = sources.find(source => visited.has(`${source.value}\n${source.axis}`));
      const free = sources.find(source => folds(source.value, source.axis));
      const { value: next, axis: at } = masked ?? free ?? sources[0];
      visit(next, at);
    } else {
      for (const source of sources) visit(source.value, source.axis);
    }
  };

  /** Inputs of a node that the channels of its output come through, summed inputs apart. */
  const passedOn = (node: GraphNode, channels: Int32Array) => {
    const own = new Set(channels);
    own.delete(-1);
    return node.inputs.flatMap((value, input) => {
      if (!value || graph.fixed.has(value)) return [];
      const rank = graph.types.get(value)?.shape?.length ?? 0;
      return Array.from({ length: rank }, (_, axis) => axis)
        .filter(axis => !coupling.sums.some(sum => sum.node === node && sum.input === input && sum.axis === axis))
        .filter(axis => coupling.channelsOf({ value, axis })?.some(channel => own.has(channel)))
        .map(axis => ({ value, axis }));
    });
  };

  const foldOf = (node: GraphNode, channels: Int32Array): MaskPoint['fold'] => {
    const roles = rolesOf(node);
    const inputs = (node.operator?.foldable ?? []).filter(input => node.has(input) && roles[input]);
    const fold = inputs.map(input => {
      const role = roles[input];
      const rank = graph.types.get(node.inputs[input])?.shape?.length ?? 0;
      return { input, axis: role.kind === 'weight' ? role.out : rank - 1 };
    });
    const carries = fold.every(({ input, axis }) => {
      const own = coupling.channelsOf({ value: node.inputs[input], axis });
      return own?.length === channels.length && own.every((channel, i) => channel === channels[i]);
    });
    return fold.length && carries ? fold : null;
  };

  /** Whether the mask of a value would be folded everywhere. */
  const folds = (value: string, axis: number): boolean => {
    const channels = coupling.channelsOf({ value, axis });
    const node = graph.producers.get(value);
    if (!channels || !node) return false;
    const sources = passedOn(node, channels);
    const zero = node.operator?.zero(node) ?? 'constant';
    if (sources.length === 0 || zero === 'constant' || zero === 'mixes') return foldOf(node, channels) !== null;
    return sources.every(source => folds(source.value, source.axis));
  };

  for (const { node, input, axis } of coupling.sums) {
    const value = node.inputs[input];
    if (!graph.fixed.has(value)) visit(value, axis);
  }
  return [...points.values()];
}
