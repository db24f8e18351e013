import type { Command } from './command.ts';

/**
 * Every command by name, in the order of the help. Each is loaded only when it is asked for, so that starting one
 * never loads what another needs.
 */
export const commands: Readonly<Record<string, () => Promise<{ readonly command: Command }>>> = {
  inspect: () => import('./inspect.ts'),
  cut: () => import('./cut.ts'),
  prune: () => import('./prune.ts'),
  train: () => import('./train.ts'),
  verify: () => import('./verify.ts'),
  eval: () => import('./eval.ts'),
  bench: () => import('./bench.ts'),
  models: () => import('./models.ts'),
  data: () => import('./data.ts'),
  doctor: () => import('./doctor.ts'),
};
