/// <reference types="node" preserve="true" />
/// <reference lib="esnext.disposable" preserve="true" />
/**
 * s2hpruner as a library: the commands as functions (positional arguments and options in one object, validated as on
 * the command line; events and an AbortSignal in the second), and the parts that they are made of.
 *
 *     import { prune } from 's2hpruner';
 *     const result = await prune({ model: 'resnet8', data: 'mnist', flops: 0.35 }, { onEvent: console.log });
 */
import { command as bench_ } from './commands/bench.ts';
import { type Context, callable, type InputOf } from './commands/command.ts';
import { command as cut_ } from './commands/cut.ts';
import { command as evaluate_ } from './commands/eval.ts';
import type { FrontierResult } from './commands/frontier.ts';
import { command as inspect_ } from './commands/inspect.ts';
import type { PruneResult } from './commands/outcome.ts';
import { command as prune_, type Stopped } from './commands/prune.ts';
import { command as train_ } from './commands/train.ts';
import { command as verify_ } from './commands/verify.ts';

/** What `inspect` takes. */
export type InspectOptions = InputOf<typeof inspect_>;
/** What `cut` takes. */
export type CutOptions = InputOf<typeof cut_>;
/** What `prune` takes. */
export type PruneOptions = InputOf<typeof prune_>;
/** What `train` takes. */
export type TrainOptions = InputOf<typeof train_>;
/** What `evaluate` takes. */
export type EvaluateOptions = InputOf<typeof evaluate_>;
/** What `verify` takes. */
export type VerifyOptions = InputOf<typeof verify_>;
/** What `bench` takes. */
export type BenchOptions = InputOf<typeof bench_>;

/** `prune` by its options: one budget makes one run, several make a frontier, and a folder may hold either. */
export interface Prune {
  (
    options: PruneOptions & { readonly flops?: number; readonly resume?: undefined },
    context?: Partial<Context>,
  ): Promise<PruneResult | Stopped>;
  (options: PruneOptions, context?: Partial<Context>): Promise<PruneResult | FrontierResult | Stopped>;
}

/** What can be pruned, what cannot and why, and which budgets can be met. */
export const inspect = callable(inspect_);
/** Remove channels at once, without training, and prove the small file right. */
export const cut = callable(cut_);
/** Train a soft and a hard network together and hand back a smaller ONNX file. */
export const prune = callable(prune_) as Prune;
/** Train a network plainly by the same loop. */
export const train = callable(train_);
/** Accuracy of a file, computed by ONNX Runtime alone. */
export const evaluate = callable(evaluate_);
/** Certificate that a cut file computes what the full one does without the removed channels. */
export const verify = callable(verify_);
/** Latency of files side by side in ONNX Runtime. */
export const bench = callable(bench_);

export type { CommandEvent, Context } from './commands/command.ts';
export type { CutResult } from './commands/cut.ts';
export type { FrontierResult } from './commands/frontier.ts';
export type { Inspection } from './commands/inspect.ts';
export type { PruneResult } from './commands/outcome.ts';
export type { Stopped } from './commands/prune.ts';
export type { TrainResult } from './commands/train.ts';
export { UserError } from './util/errors.ts';
