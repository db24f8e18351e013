import { type Graph, type GraphNode, rolesOf } from '../graph/graph.ts';
import { DataType } from '../onnx/index.ts';

/**
 * Largest allowed error relative to an output's scale, by the coarsest numbers that a file computes with. The same sums
 * are taken in another order and over fewer terms, so results differ by roundings: a few units of the last place per
 * layer, and tens of layers.
 */
export const certificateLimits = {
  /** A rounding is 1e-16. */
  float64: 1e-10,
  /** A rounding is 6e-8. */
  float32: 1e-4,
  /** Where a sum lies between two 16-bit steps a last bit decides, and a step is 1/32767 of the largest value or more. */
  quantised16: 1e-3,
  /** A rounding is 5e-4; runtimes also round sums that they computed in float32 after every operator. */
  float16: 1e-2,
  /** As with 16-bit steps; a step is 1/127 of the largest value or more. */
  quantised: 2e-2,
  /** A rounding is 4e-3. */
  bfloat16: 8e-2,
  /** Floats of 8 bits and codes of 4: a step is 1/8 of the largest value or more. */
  coarse: 8e-2,
} as const;

export type Precision = keyof typeof certificateLimits;

/**
 * The coarsest numbers that a graph computes with. Constants that it only looks up, and weights that are decoded to real
 * numbers before anything runs, do not count.
 * @param codes whether the codes of quantised networks count; without them, it is what is computed between codes
 */
export function precisionOf(graph: Graph, codes = true): Precision {
  const found = new Set<Precision>();
  for (const node of graph.nodes) {
    if (node.outputs.every(value => !value || graph.fixed.has(value))) continue;
    if (node.domain === '' || node.domain === 'com.microsoft') {
      const quantised = quantisation(node, graph);
      if (quantised) {
        if (codes) found.add(quantised);
        continue;
      }
    }
    for (const value of computedWith(node)) {
      const precision = realPrecisions[graph.types.get(value)?.elemType ?? 0];
      // A cast to more digits computes nothing.
      const widens = node.opType.startsWith('Cast') && (precision === 'float32' || precision === 'float64');
      if (precision && !widens) found.add(precision);
    }
  }
  for (const precision of coarsestFirst) if (found.has(precision)) return precision;
  return 'float32';
}

const coarsestFirst: readonly Precision[] = [
  'coarse',
  'bfloat16',
  'quantised',
  'float16',
  'quantised16',
  'float32',
  'float64',
];

const realPrecisions: Readonly<Record<number, Precision>> = {
  [DataType.DOUBLE]: 'float64',
  [DataType.FLOAT]: 'float32',
  [DataType.FLOAT16]: 'float16',
  [DataType.BFLOAT16]: 'bfloat16',
  [DataType.FLOAT8E4M3FN]: 'coarse',
  [DataType.FLOAT8E4M3FNUZ]: 'coarse',
  [DataType.FLOAT8E5M2]: 'coarse',
  [DataType.FLOAT8E5M2FNUZ]: 'coarse',
  [DataType.FLOAT4E2M1]: 'coarse',
};

/** What a node gives, and the weights that it multiplies with. */
const computedWith = (node: GraphNode): string[] => [
  ...node.outputs,
  ...Object.entries(rolesOf(node)).flatMap(([input, role]) =>
    role.kind === 'weight' ? [node.inputs[Number(input)]] : [],
  ),
];

const bySteps: Readonly<Record<number, Precision>> = {
  ...realPrecisions,
  [DataType.INT16]: 'quantised16',
  [DataType.UINT16]: 'quantised16',
  [DataType.INT4]: 'coarse',
  [DataType.UINT4]: 'coarse',
  [DataType.INT2]: 'coarse',
  [DataType.UINT2]: 'coarse',
};

/** Of a node that rounds real numbers to codes, or computes with such codes; null: it does not. */
function quantisation(node: GraphNode, { types }: Graph): Precision | null {
  // Bits that the weights are packed into say nothing of the sums, unless these are asked for in 8 bits.
  if (node.opType === 'MatMulNBits') return node.int('accuracy_level', 0) === 4 ? 'quantised' : null;
  if (/^(QuantizeLinear|DynamicQuantizeLinear)$/.test(node.opType))
    return bySteps[types.get(node.outputs[0])?.elemType ?? 0] ?? 'quantised';
  return /^(QLinear|QGemm|QAttention|QEmbed|QOrdered|DynamicQuantize)|Integer/.test(node.opType) ? 'quantised' : null;
}
