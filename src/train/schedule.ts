/** How long the masks' steps are over a search: all alike, or falling to 0 as half a cosine does. */
export const maskSchedules = ['constant', 'cosine'] as const;
export type MaskSchedule = (typeof maskSchedules)[number];

/** The share of the masks' step length that a step of a search from `start` to `end` has. */
export const maskShare = (schedule: MaskSchedule, step: number, start: number, end: number): number =>
  schedule === 'cosine' ? 0.5 * (1 + Math.cos((Math.PI * (step - start)) / Math.max(1, end - start))) : 1;

/** The learning rate over a run of `steps` steps: linear warm-up, then cosine to 0. */
export const learningRate =
  (peak: number, steps: number, warmup: number) =>
  (step: number): number =>
    peak * Math.min(1, (step + 1) / Math.max(1, warmup * steps)) * 0.5 * (1 + Math.cos((Math.PI * step) / steps));
