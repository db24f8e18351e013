import { z } from 'zod';
import { writeAtomic } from '../util/atomic.ts';
import { renderResult } from '../report/prune-report.ts';
import { UserError } from '../util/errors.ts';
import { type CommandEvent, defineCommand, type Progress } from './command.ts';
import { optionalDataOptions, preprocessingOptions } from './data-options.ts';
import { finishPruning } from './finish.ts';
import type { PruneResult } from './outcome.ts';
import { budgetOptions, methodOptions, trainingOptions } from './run-options.ts';
import { budgetAsked } from './run-settings.ts';
import { beginRun, type GivenOptions, resumeRun, type StartedRun } from './run-start.ts';
import { prepareTraining } from './training-run.ts';

/** A run that was stopped before its end. */
export interface Stopped {
  readonly stopped: true;
  readonly step: number;
  readonly steps: number;
  readonly directory: string;
  readonly resume: string;
}

export const command = defineCommand({
  name: 'prune',
  summary: 'train a soft and a hard network together and hand back a smaller ONNX file',
  description:
    'MODEL is an ONNX file, whose weights are the start, or a named architecture (`s2h models`). The run leaves pruned.onnx, trained.onnx, plan.json, result.json and report.md in its folder.',
  arguments: [{ name: 'model', description: 'an ONNX file or a named architecture; not needed with --resume', required: false }],
  options: z.object({ ...optionalDataOptions, ...budgetOptions, ...trainingOptions, ...methodOptions, ...preprocessingOptions }),
  examples: [
    'prune resnet8 --data mnist --flops 0.35',
    'prune resnet20 --data cifar100 --flops 0.35',
    'prune mynet.onnx --data ./photos --flops 0.35 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225',
    'prune mynet.onnx --data cifar100 --labels none --flops 0.5',
    'prune --resume runs/resnet20-cifar100-1',
  ],
  streams: true,

  async run({ model }, options, context): Promise<PruneResult | Stopped> {
    const { resume } = options;
    const started =
      resume !== undefined
        ? await resumeRun('prune', { ...options, model, resume } as Partial<GivenOptions> & { resume: string }, context)
        : await beginRun(
            {
              verb: 'prune',
              method: options.method ?? 's2h',
              model: needed(model, 'the model', 's2h prune resnet20 --data cifar100 --flops 0.35'),
              given: { ...options, data: needed(options.data, '--data', '--data cifar100, or a folder of images') },
              budget: budgetAsked(options),
            },
            context,
          );
    const { directory, finished } = started;
    try {
      if (finished) return finished as PruneResult;
      const run = await prepareTraining(started.plan, context);
      announce(started, context);
      const progress = await run.go(directory);
      if (progress.step < started.plan.settings.steps) return stoppedAt('prune', progress.step, started);
      const result = await finishPruning(started.plan, started.config, run, directory, progress, started.notes, context);
      writeAtomic(directory.file('report.md'), renderResult(result, 'markdown'));
      return result;
    } finally {
      directory.release();
    }
  },

  render: result =>
    'stopped' in result
      ? `Stopped after step ${result.step} of ${result.steps}; everything is saved. Go on with:\n  ${result.resume}`
      : renderResult(result, 'text'),
  progress: trainingProgress,
});

/** @throws UserError E_OPTION (usage) for what only a resumed run may leave out */
export function needed<T>(value: T | undefined, what: string, example: string): T {
  if (value !== undefined) return value;
  throw new UserError('E_OPTION', `${what} is missing.`, { fix: `For example: ${example}.`, usage: true });
}

/** Say where the run's files are and what is worth knowing before it takes its time. */
export function announce({ directory, notes, plan }: StartedRun, context: { say(message: string): void }): void {
  context.say(`Run ${directory.path}: ${plan.settings.steps} steps of ${plan.settings.batch} images.`);
  for (const note of notes) context.say(note);
}

export const stoppedAt = (verb: string, step: number, { plan, directory }: StartedRun): Stopped => ({
  stopped: true,
  step,
  steps: plan.settings.steps,
  directory: directory.path,
  resume: `s2h ${verb} --resume ${directory.path}`,
});

/** A training run's events on the screen. */
export function trainingProgress(event: CommandEvent): Progress | string | undefined {
  const share = (value: unknown) => `${(100 * Number(value)).toFixed(1)} %`;
  if (event.type === 'step') {
    const losses = (['L', 'G'] as const).filter(name => event[name] !== undefined).map(name => `${name} ${Number(event[name]).toFixed(3)}`);
    const ratio = event.ratio === undefined ? [] : [`cost ${share(event.ratio)}`];
    const speed = `${Math.round(Number(event.imagesPerSecond))} images/s`;
    return { label: String(event.phase), done: Number(event.step), total: Number(event.steps), detail: [...losses, ...ratio, speed].join('  ') };
  }
  if (event.type === 'evaluation') {
    const views = (['dense', 'soft', 'hard'] as const).filter(view => event[view] !== undefined).map(view => `${view} ${share(event[view])}`);
    return `step ${event.step}: ${views.join(', ')} on ${event.split} images`;
  }
  return undefined;
}
