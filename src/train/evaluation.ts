import type { Batch } from '../data/dataset.ts';
import type { LoopOptions } from './loop.ts';
import { onDevice } from './loop.ts';
import type { Objective } from './objective.ts';

export type View = 'dense' | 'soft' | 'hard';

export interface ViewScore {
  readonly images: number;
  /** Right answers (or, when an original is imitated, answers like its own). */
  readonly correct: number;
  readonly accuracy: number;
  /** [images] the answers. */
  readonly predictions: Int32Array;
}

/** How far apart two views' softmax outputs are, mean over images (docs/method.md, Routes). */
export interface Gap {
  /** Jensen-Shannon divergence in nats: 0 to ln 2. */
  readonly js: number;
  /** L2 norm of the difference: 0 to sqrt 2. */
  readonly l2: number;
}

/** Evaluate views on the same images, in evaluation mode. The gap is between the first two, when there are two. */
export async function evaluateViews(
  context: Pick<LoopOptions, 'trainee' | 'teacher' | 'labels' | 'signal'>,
  objective: Objective,
  views: readonly View[],
  batches: AsyncIterable<Batch>,
): Promise<{ scores: Partial<Record<View, ViewScore>>; gap: Gap | null }> {
  const { torch, network } = context.trainee;
  const predictions = views.map((): number[] => []);
  const correct = views.map(() => 0);
  let images = 0;
  let js = 0;
  let l2 = 0;
  for await (const batch of batches) {
    context.signal.throwIfAborted();
    torch.noGrad(() =>
      torch.scope(() => {
        const { x, target } = onDevice(context, batch);
        const outputs = views.map(view => network[view](x, false));
        outputs.forEach((output, v) => {
          correct[v] += objective.score(output, target);
          predictions[v].push(...torch.ints(torch.op('argmax')(output[0], -1)));
        });
        if (views.length < 2 || outputs[0][0].shape.length !== 2) return;
        const [p, q] = outputs.map(output => torch.values(torch.op('softmax.int')(output[0], 1)));
        const distance = distances(p, q, batch.labels.length);
        js += distance.js;
        l2 += distance.l2;
      }),
    );
    images += batch.labels.length;
    await new Promise(resolve => setImmediate(resolve));
  }
  const scores = Object.fromEntries(
    views.map((view, v) => [
      view,
      { images, correct: correct[v], accuracy: correct[v] / images, predictions: Int32Array.from(predictions[v]) },
    ]),
  );
  return { scores, gap: views.length < 2 ? null : { js: js / images, l2: l2 / images } };
}

/** Sums over `n` rows of JS and L2 between two lists of distributions. */
function distances(p: Float32Array, q: Float32Array, n: number): { js: number; l2: number } {
  const classes = p.length / n;
  let js = 0;
  let l2 = 0;
  for (let row = 0; row < n; row++) {
    let square = 0;
    for (let c = 0; c < classes; c++) {
      const a = p[row * classes + c];
      const b = q[row * classes + c];
      const middle = (a + b) / 2;
      if (a > 0) js += (a * Math.log(a / middle)) / 2;
      if (b > 0) js += (b * Math.log(b / middle)) / 2;
      square += (a - b) ** 2;
    }
    l2 += Math.sqrt(square);
  }
  return { js, l2 };
}
