import type { Batch } from '../data/dataset.ts';
import type { OnnxModel } from '../onnx/index.ts';
import { bestMs, type Torch } from '../torch/index.ts';
import { inputOf } from './images.ts';
import { createNetwork } from './network.ts';
import { withOwned } from './owned.ts';

/** What convolutions and products of a training step are computed in; parameters stay float32. */
export type Precision = 'float32' | 'bfloat16';
export const precisions = ['float32', 'bfloat16', 'auto'] as const;

/** What `auto` chose for a run, and why: milliseconds of a forward and backward pass in each. */
export interface PrecisionProbe {
  readonly precision: Precision;
  readonly milliseconds: Readonly<Record<Precision, number>>;
}

/** How much less time bfloat16 has to take to be worth its rounding. */
const worthIt = 0.9;

/**
 * Time a training pass over a batch in either precision; nothing is left behind. Processors without bfloat16 arithmetic
 * take many times as long for it as for float32.
 */
export function probePrecision(torch: Torch, model: OnnxModel, batch: Batch): PrecisionProbe {
  return withOwned(torch, own => {
    const pass = (precision: Precision) => {
      const network = createNetwork(own, model, { precision });
      return () => {
        const outputs = network.dense(inputOf(own, network.coupling.graph, batch), true);
        own.grad(own.op('sum')(outputs[0]), network.parameters);
      };
    };
    const [float32, bfloat16] = bestMs(own, [pass('float32'), pass('bfloat16')], 1000);
    return {
      precision: bfloat16 < worthIt * float32 ? 'bfloat16' : 'float32',
      milliseconds: { float32, bfloat16 },
    };
  });
}

/** For people: what was chosen and why. */
export function describeProbe({ precision, milliseconds: { float32, bfloat16 } }: PrecisionProbe): string {
  return `Training steps are computed in ${precision}: a pass takes ${bfloat16.toFixed(0)} ms in bfloat16 and ${float32.toFixed(0)} ms in float32 on this machine.`;
}
