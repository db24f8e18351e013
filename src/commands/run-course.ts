import { hasCheckpoint } from '../train/checkpoint.ts';
import { isAbort, type Progress } from '../train/loop.ts';
import { UserError } from '../util/errors.ts';
import { amount } from '../util/format.ts';
import type { Context } from './command.ts';
import type { StartedRun } from './run-start.ts';
import { prepareTraining, type TrainingRun } from './training-run.ts';

/** A run that was stopped before its end. */
export interface Stopped {
  readonly stopped: true;
  readonly step: number;
  readonly steps: number;
  readonly directory: string;
  readonly resume: string;
  /** Of a frontier: which of its runs, `dense` or a budget. */
  readonly run?: string;
}

/**
 * Train and finish a run. Whatever happens, its memory and its folder are let go of; one that fails before its first
 * checkpoint leaves nothing behind that would be in the way of the next try.
 * @param finish what comes after the last step
 * @param onCut what comes before the first step of a hard network that is trained alone
 */
export async function completeRun<R>(
  started: StartedRun,
  context: Context,
  finish: (run: TrainingRun, progress: Progress) => Promise<R>,
  onCut?: (run: TrainingRun) => void,
): Promise<R | Stopped> {
  const { directory, plan, config, notes } = started;
  const { steps, batch } = plan.settings;
  const stoppedAt = (step: number): Stopped => {
    return {
      stopped: true,
      step,
      steps,
      directory: directory.path,
      resume: `s2h ${config.verb} --resume ${directory.path}`,
    };
  };
  let run: TrainingRun | undefined;
  try {
    run = await prepareTraining(plan, directory, context);
    context.say(`Run ${directory.path}: ${amount(steps, 'step')} of ${amount(batch, 'image')}.`);
    for (const note of [...notes, ...run.notes]) context.say(note);
    const current = run;
    const progress = await current.go(directory, { onCut: onCut && (() => onCut(current)) });
    return progress.stopped ? stoppedAt(progress.step) : await finish(current, progress);
  } catch (error) {
    const saved = hasCheckpoint(directory.path);
    if (saved && isAbort(error, context.signal)) return stoppedAt(steps);
    if (saved) throw error;
    directory.discard();
    throw ofModel(error, directory.path, config.model);
  } finally {
    run?.free();
    directory.release();
  }
}

/** An error about a copy in a folder that is gone is about the model that the user named. */
function ofModel(error: unknown, folder: string, model: string): unknown {
  if (!(error instanceof UserError) || !error.where?.startsWith(`${folder}/`)) return error;
  const { code, what, fix, exitCode, cause } = error;
  return new UserError(code, what, { where: model, fix, usage: exitCode === 2, cause });
}
