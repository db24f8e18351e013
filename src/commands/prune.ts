import { z } from 'zod';
import { renderResult } from '../report/prune-report.ts';
import { writeJson } from '../train/run-directory.ts';
import { writeAtomic } from '../util/atomic.ts';
import { UserError } from '../util/errors.ts';
import { budgetAsked, budgetOptions } from './budget-options.ts';
import { type CommandEvent, defineCommand, type Progress } from './command.ts';
import { optionalDataOptions, preprocessingOptions } from './data-options.ts';
import { finishPruning, refuseUnproven } from './finish.ts';
import type { PruneResult } from './outcome.ts';
import { completeRun, type Stopped } from './run-course.ts';
import { methodOptions, trainingOptions } from './run-options.ts';
import { beginRun, type GivenOptions, resumeRun } from './run-start.ts';

export type { Stopped } from './run-course.ts';

export const command = defineCommand({
  name: 'prune',
  summary: 'train a soft and a hard network together and hand back a smaller ONNX file',
  description:
    'MODEL is an ONNX file, whose weights are the start, or a named architecture (`s2h models`). The run leaves pruned.onnx, trained.onnx, plan.json, result.json and report.md in its folder.',
  arguments: [
    { name: 'model', description: 'an ONNX file or a named architecture; not needed with --resume', required: false },
  ],
  options: z.object({
    ...optionalDataOptions,
    ...budgetOptions,
    ...trainingOptions,
    ...methodOptions,
    ...preprocessingOptions,
  }),
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
    const { directory, finished, plan, config, notes } = started;
    if (finished) {
      directory.release();
      const result = finished as PruneResult;
      refuseUnproven(result);
      return result;
    }
    return completeRun(started, context, async (run, progress) => {
      const result = await finishPruning(plan, config, run, directory, progress, notes, context);
      writeAtomic(directory.file('report.md'), renderResult(result, 'markdown'));
      writeJson(directory.file('result.json'), result);
      refuseUnproven(result);
      return result;
    });
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

/** A training run's events on the screen. */
export function trainingProgress(event: CommandEvent): Progress | string | undefined {
  const share = (value: unknown) => `${(100 * Number(value)).toFixed(1)} %`;
  if (event.type === 'step') {
    const losses = (['L', 'G'] as const)
      .filter(name => event[name] !== undefined)
      .map(name => `${name} ${Number(event[name]).toFixed(3)}`);
    const ratio = event.ratio === undefined ? [] : [`cost ${share(event.ratio)}`];
    const speed = `${Math.round(Number(event.imagesPerSecond))} images/s`;
    return {
      label: String(event.phase),
      done: Number(event.step),
      total: Number(event.steps),
      detail: [...losses, ...ratio, speed].join('  '),
    };
  }
  if (event.type === 'evaluation') {
    const views = (['dense', 'soft', 'hard'] as const)
      .filter(view => event[view] !== undefined)
      .map(view => `${view} ${share(event[view])}`);
    return `step ${event.step}: ${views.join(', ')} on ${event.split} images`;
  }
  return undefined;
}
