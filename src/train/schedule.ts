/** The learning rate over a run of `steps` steps: linear warm-up, then cosine to 0. */
export const learningRate =
  (peak: number, steps: number, warmup: number) =>
  (step: number): number =>
    peak * Math.min(1, (step + 1) / Math.max(1, warmup * steps)) * 0.5 * (1 + Math.cos((Math.PI * step) / steps));
