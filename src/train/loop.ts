import type { Batch } from '../data/dataset.ts';
import type { TrainLoader } from '../data/loader.ts';
import type { Tensor } from '../graph/engine.ts';
import { UserError } from '../util/errors.ts';
import { stream } from '../util/random.ts';
import type { Trainee } from './checkpoint.ts';
import { inputOf } from './images.ts';
import { type Method, phaseAt, type StepReport } from './method.ts';
import type { Target } from './objective.ts';

export interface LoopOptions {
  readonly trainee: Trainee;
  readonly method: Method;
  readonly loader: Pick<TrainLoader, 'at' | 'stepsPerEpoch'>;
  readonly steps: number;
  readonly seed: number;
  learningRate(step: number): number;
  /** Outputs of the network that is imitated; null when nothing is. */
  readonly teacher: ((images: Tensor) => readonly Tensor[]) | null;
  readonly labels: boolean;
  /** What may help where a loss is not finite. */
  readonly remedies: readonly string[];
  readonly signal: AbortSignal;
  /** Where to go on: steps, seconds and images so far. */
  readonly from: Progress;
  /** Time between checkpoints; 30. */
  readonly saveEverySeconds?: number;
  onStep(report: StepEvent): void;
  save(progress: Progress): void;
  /**
   * Called after the last step of every epoch and of the run; once more where a run goes on from such a step. What it
   * changes is not saved: called again from the same checkpoint, it has to do the same.
   */
  onEpoch(step: number): Promise<void>;
  /** Called before the first step of a phase that trains the hard network alone; after a resume it may be called again. */
  onCut?(): Promise<void> | void;
}

export interface Progress {
  readonly step: number;
  readonly seconds: number;
  readonly images: number;
}

export interface StepEvent extends StepReport {
  readonly type: 'step';
  /** Steps that are done, this one included. */
  readonly step: number;
  readonly steps: number;
  readonly phase: string;
  readonly learningRate: number;
  readonly imagesPerSecond: number;
}

/** Where a run is, and whether it was stopped there. */
export interface Trained extends Progress {
  readonly stopped: boolean;
}

/**
 * Train: one batch a step, a turn of the event loop after each. Checkpoints after the first step, then every 30 s, when
 * it is aborted, and at the end.
 * @returns where it ended; stopped when it was aborted before the last step or in the last evaluation
 * @throws UserError E_NOT_FINITE when a loss is not; the last checkpoint is from before
 */
export async function train(options: LoopOptions): Promise<Trained> {
  const { trainee, method, loader, steps, signal, saveEverySeconds = 30 } = options;
  const { torch } = trainee;
  let { step, seconds, images } = options.from;
  let saved = performance.now();
  let savedStep = step;
  const save = () => {
    options.save({ step, seconds, images });
    saved = performance.now();
    savedStep = step;
  };
  /** @returns whether it was aborted */
  const endOfEpoch = async (): Promise<boolean> => {
    if (step === 0 || (step % loader.stepsPerEpoch !== 0 && step !== steps)) return signal.aborted;
    try {
      await options.onEpoch(step);
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
    return signal.aborted;
  };
  const stop = (): Trained => {
    if (savedStep !== step) save();
    return { step, seconds, images, stopped: true };
  };
  if (await endOfEpoch()) return stop();
  while (step < steps) {
    const phase = phaseAt(method.phases, step);
    if (phase.alone && phase.start === step) await options.onCut?.();
    const began = performance.now();
    const batch = await loader.at(step);
    const learningRate = options.learningRate(step);
    torch.seed(stream(options.seed, 'engine', step).uint32());
    const report = torch.scope(() => {
      const { x, target } = onDevice(options, batch);
      return method.step(x, target, step, learningRate);
    });
    refuseNotFinite(report, step, learningRate, options.remedies);
    step++;
    images += batch.labels.length;
    seconds += (performance.now() - began) / 1000;
    options.onStep({
      type: 'step',
      step,
      steps,
      phase: phase.name,
      learningRate,
      ...report,
      imagesPerSecond: images / seconds,
    });
    if (step === 1 || step === steps || performance.now() - saved > saveEverySeconds * 1000) save();
    if (await endOfEpoch()) return stop();
    await new Promise(resolve => setImmediate(resolve));
    if (signal.aborted) return stop();
  }
  return { step, seconds, images, stopped: false };
}

/** Whether an error only says that the work was stopped. */
export const isAbort = (error: unknown, signal: AbortSignal): boolean =>
  signal.aborted && (error === signal.reason || (error instanceof Error && error.name === 'AbortError'));

/** A batch as tensors; images as rows where the network takes two axes. */
export function onDevice(
  {
    trainee: { torch, network },
    teacher,
    labels,
  }: Pick<LoopOptions, 'teacher' | 'labels'> & { readonly trainee: Pick<Trainee, 'torch' | 'network'> },
  batch: Batch,
): { x: Tensor; target: Target } {
  const x = inputOf(torch, network.coupling.graph, batch);
  let answers: readonly Tensor[] | null = null;
  return {
    x,
    target: {
      labels: labels ? torch.tensor(BigInt64Array.from(batch.labels, BigInt), [batch.labels.length]) : null,
      get teacher() {
        if (teacher) answers ??= torch.noGrad(() => teacher(x));
        return answers;
      },
    },
  };
}

function refuseNotFinite(report: StepReport, step: number, learningRate: number, remedies: readonly string[]): void {
  const bad = (['L', 'G', 'R'] as const).filter(name => report[name] !== undefined && !Number.isFinite(report[name]));
  if (bad.length === 0) return;
  throw new UserError(
    'E_NOT_FINITE',
    `${bad.join(' and ')} ${bad.length > 1 ? 'are' : 'is'} not a number at step ${step + 1} (learning rate ${learningRate.toPrecision(3)}).`,
    {
      fix: `What may help: ${remedies.join('; ')}. What was saved before is intact.`,
    },
  );
}
