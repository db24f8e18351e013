import type { Batch } from '../data/dataset.ts';
import type { OnnxModel } from '../onnx/index.ts';
import type { Torch } from '../torch/index.ts';
import { createNetwork } from './network.ts';
import { ownedEngine } from './owned.ts';

/** What convolutions and products of a training step are computed in; parameters stay float32. */
export type Precision = 'float32' | 'bfloat16';
export const precisions = ['float32', 'bfloat16', 'auto'] as const;

/** What `auto` chose for a run, and why: milliseconds of a forward and backward pass in each. */
export interface PrecisionProbe {
  readonly precision: Precision;
  readonly milliseconds: Readonly<Record<Precision, number>>;
}

const rounds = 3;
/** How much less time bfloat16 has to take to be worth its rounding. */
const worthIt = 0.9;

/**
 * Time a training pass over a batch in either precision, alternating, the fastest of three; nothing is left behind.
 * Processors without bfloat16 arithmetic take many times as long for it as for float32.
 */
export function probePrecision(torch: Torch, model: OnnxModel, { images, shape }: Batch): PrecisionProbe {
  const owned = ownedEngine(torch);
  try {
    const networks = (['float32', 'bfloat16'] as const).map(precision => ({
      precision,
      network: owned.torch.scope(() => createNetwork(owned.torch, model, { precision })),
    }));
    const best: Record<Precision, number> = { float32: Number.POSITIVE_INFINITY, bfloat16: Number.POSITIVE_INFINITY };
    // The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const { precision, network } of networks) {
        const began = performance.now();
        torch.scope(() => {
          const outputs = network.dense(torch.tensor(images, shape), true);
          torch.grad(torch.op('sum')(outputs[0]), network.parameters);
        });
        if (round > 0) best[precision] = Math.min(best[precision], performance.now() - began);
      }
    }
    const precision = best.bfloat16 < worthIt * best.float32 ? 'bfloat16' : 'float32';
    return { precision, milliseconds: best };
  } finally {
    owned.free();
  }
}

/** For people: what was chosen and why. */
export function describeProbe({ precision, milliseconds: { float32, bfloat16 } }: PrecisionProbe): string {
  return `Training steps are computed in ${precision}: a pass takes ${bfloat16.toFixed(0)} ms in bfloat16 and ${float32.toFixed(0)} ms in float32 on this machine.`;
}
