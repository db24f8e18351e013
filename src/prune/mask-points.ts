import type { GraphNode } from '../graph/graph.ts';
import { constantsBehind } from './criteria/members.ts';
import { type Coupling, rolesOf, sumsByNode } from './groups.ts';

/** Where the soft network's masks multiply: on one axis of one value. */
export interface MaskPoint {
  readonly node: GraphNode;
  readonly value: string;
  readonly axis: number;
  /** For every index of the axis its channel, -1 where nothing is masked. */
  readonly channels: Int32Array;
  /**
   * Inputs of the node that carry the factor instead of its output (scale and shift, weight rows and bias, the constant
   * of a sum whose other operand is masked); null: a product.
   */
  readonly fold: readonly { readonly input: number; readonly axis: number }[] | null;
}

/** An axis that channels come through. */
interface Source {
  readonly value: string;
  readonly axis: number;
}

/**
 * Place the masks (docs/architecture.md): on every path from a producer to a consumer that sums over the channel,
 * directly after the last operator that does not keep zeros; where all keep them, at the producer's rows. With a mask
 * there, a factor of 0 is the cut, in training mode too.
 */
export function maskPoints(coupling: Coupling): MaskPoint[] {
  const { graph, shuffles } = coupling;
  const sums = sumsByNode(coupling);
  const points = new Map<string, MaskPoint>();
  const visited = new Set<string>();
  const keyOf = ({ value, axis }: Source) => `${value}\n${axis}`;
  const rankOf = (value: string) => graph.types.get(value)?.shape?.length ?? 0;

  const visit = (start: Source): void => {
    const waiting = [start];
    for (let at = waiting.pop(); at; at = waiting.pop()) {
      const key = keyOf(at);
      if (visited.has(key)) continue;
      visited.add(key);
      const channels = coupling.channelsOf(at);
      const node = graph.producers.get(at.value);
      if (!channels || !node) continue;
      const place = (fold: MaskPoint['fold']) => points.set(key, { node, ...at, channels, fold });
      const sources = passedOn(node, at, channels);
      const zero = zeroOf(node);
      if (sources.length === 0 || !keepsZero(zero)) {
        const shared = sharedFold(node, channels, sources);
        place(shared?.fold ?? foldOf(node, channels));
        if (shared) waiting.push(shared.source);
      } else if (zero === 'absorbs') waiting.push(...oneOf(at, sources));
      else waiting.push(...sources);
    }
  };

  const zeroOf = (node: GraphNode) => (shuffles.has(node) ? 'zero' : (node.operator?.zero(node) ?? 'constant'));

  /** Of a product's operands one: a second masked factor would give w squared. The one that is masked already, else the one where it costs nothing. */
  const oneOf = ({ value, axis }: Source, sources: readonly Source[]): readonly Source[] => {
    const fromEnd = rankOf(value) - axis;
    const factors = sources.filter(source => rankOf(source.value) - source.axis === fromEnd);
    if (factors.length < 2) return sources;
    return [preferred(factors)];
  };
  const preferred = (sources: readonly Source[]): Source =>
    sources.find(source => visited.has(keyOf(source))) ?? sources.reduce((a, b) => (effort(b) < effort(a) ? b : a));

  /** Inputs of a node that the channels of its output come through, summed inputs apart. */
  const passedOn = (node: GraphNode, { axis }: Source, channels: Int32Array): Source[] => {
    const shuffle = shuffles.get(node);
    if (shuffle) return [{ value: shuffle.input, axis }];
    const own = new Set(channels);
    own.delete(-1);
    const summed = sums.get(node) ?? [];
    const isInput = (value: string) =>
      graph.fixed.has(node.outputs[0]) ? !graph.tensors.has(value) : !graph.fixed.has(value);
    return node.inputs.flatMap((value, input) => {
      if (!value || !isInput(value)) return [];
      return Array.from({ length: rankOf(value) }, (_, axis) => axis)
        .filter(axis => !summed.some(sum => sum.input === input && sum.axis === axis))
        .filter(axis => coupling.channelsOf({ value, axis })?.some(channel => own.has(channel)))
        .map(axis => ({ value, axis }));
    });
  };

  const foldOf = (node: GraphNode, channels: Int32Array): MaskPoint['fold'] => {
    const roles = rolesOf(node);
    const inputs = (node.operator?.foldable ?? []).filter(input => node.has(input) && roles[input]);
    const fold = inputs.map(input => {
      const role = roles[input];
      return { input, axis: role.kind === 'weight' ? role.out : rankOf(node.inputs[input]) - 1 };
    });
    return fold.length && fold.every(({ input, axis }) => carries(node, input, axis, channels)) ? fold : null;
  };
  const carries = (node: GraphNode, input: number, axis: number, channels: Int32Array): boolean => {
    const own = coupling.channelsOf({ value: node.inputs[input], axis });
    return own?.length === channels.length && own.every((channel, i) => channel === channels[i]);
  };

  /** A sum of a constant and of what only this node reads: the constant is masked here, the rest where it folds. */
  const sharedFold = (node: GraphNode, channels: Int32Array, sources: readonly Source[]) => {
    const [source] = sources;
    const constant = node.inputs.findIndex(value => graph.tensors.has(value));
    if (!node.operator?.additive || sources.length !== 1 || node.inputs.length !== 2 || constant < 0) return null;
    const axis = rankOf(node.inputs[constant]) - (rankOf(source.value) - source.axis);
    const isOnlyReader = graph.consumers.get(source.value)?.length === 1 && !graph.outputs.includes(source.value);
    if (axis < 0 || !isOnlyReader || !carries(node, constant, axis, channels) || effort(source) > 0) return null;
    return { source, fold: [{ input: constant, axis }] };
  };

  /** What the mask of a value costs at most: nothing where it folds, 1 as a product, 2 on an axis that is merged with the batch. */
  const efforts = new Map<string, number>();
  const effort = (at: Source): number => {
    const key = keyOf(at);
    const known = efforts.get(key);
    if (known !== undefined) return known;
    efforts.set(key, 1);
    const channels = coupling.channelsOf(at);
    const node = graph.producers.get(at.value);
    if (!channels || !node) return 1;
    const sources = passedOn(node, at, channels);
    let found: number;
    if (sources.length === 0 || !keepsZero(zeroOf(node))) {
      const isFolded = foldOf(node, channels) !== null || sharedFold(node, channels, sources) !== null;
      const product = typeof graph.types.get(at.value)!.shape![at.axis] === 'number' ? 1 : 2;
      found = isFolded ? 0 : product;
    } else {
      const each = sources.map(effort);
      found = zeroOf(node) === 'absorbs' && oneOf(at, sources).length === 1 ? Math.min(...each) : Math.max(...each);
    }
    efforts.set(key, found);
    return found;
  };

  for (const [node, own] of sums) {
    const operands = own.map(({ input, axis }) => ({ value: node.inputs[input], axis }));
    const computed = operands.filter(({ value }) => !graph.fixed.has(value));
    // Among constants it is what is computed of them that is masked, not the weights.
    const candidates = computed.length > 0 ? computed : operands.filter(({ value }) => isActivation(value));
    const groups = new Map<string, Source[]>();
    for (const operand of candidates) {
      const channels = coupling.channelsOf(operand);
      if (channels) groups.set(channels.join(), [...(groups.get(channels.join()) ?? []), operand]);
    }
    for (const factors of groups.values()) visit(factors.length > 1 ? preferred(factors) : factors[0]);
  }
  return [...points.values()];

  /** A constant that some linear operator makes. */
  function isActivation(value: string): boolean {
    return [...constantsBehind(graph, [value])].some(at => {
      const producer = graph.tensors.has(at) ? undefined : graph.producers.get(at);
      return producer && Object.values(rolesOf(producer)).some(({ kind }) => kind === 'weight');
    });
  }
}

const keepsZero = (zero: string): boolean => zero === 'zero' || zero === 'absorbs';
