import { z } from 'zod';
import { renderFrontier } from '../report/frontier-report.ts';
import { renderResult } from '../report/prune-report.ts';
import { writeJson } from '../train/run-directory.ts';
import { writeAtomic } from '../util/atomic.ts';
import { budgetAsked, budgetOptions } from './budget-options.ts';
import { callable, defineCommand } from './command.ts';
import { optionalDataOptions, preprocessingOptions } from './data-options.ts';
import { finishPruning, refuseUnproven, writeCut } from './finish.ts';
import { beginFrontier, type FrontierResult, frontierIn, type Runs, resumeFrontier } from './frontier.ts';
import type { PruneResult } from './outcome.ts';
import { completeRun, type Stopped } from './run-course.ts';
import { methodOptions, trainingOptions } from './run-options.ts';
import { resumeRun } from './run-resume.ts';
import { beginRun, type GivenOptions } from './run-start.ts';
import { command as trainCommand } from './train.ts';
import { needed, trainingProgress } from './training-progress.ts';

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
    flops: z
      .union([budgetOptions.flops.unwrap(), z.array(budgetOptions.flops.unwrap()).min(1)])
      .optional()
      .meta({
        value: 'X',
        description: `${budgetOptions.flops.description}; several, 0.15,0.35,0.55, make a frontier: one dense start, one run each, a table and a chart`,
      }),
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

  async run({ model }, { flops, ...rest }, context): Promise<PruneResult | FrontierResult | Stopped> {
    const { resume } = rest;
    const frontier = resume === undefined ? null : frontierIn(resume);
    if (frontier) return resumeFrontier(resume!, frontier, { ...rest, model, flops }, runs, context);
    if (Array.isArray(flops)) {
      const request = {
        model: needed(model, 'the model', 's2h prune resnet20 --data cifar100 --flops 0.15,0.35'),
        budgets: flops,
        options: { ...rest, data: needed(rest.data, '--data', '--data cifar100, or a folder of images') },
      };
      return beginFrontier(request, runs, context);
    }
    const options = { ...rest, flops };
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
    if ('ended' in started) {
      const result = started.ended as PruneResult;
      refuseUnproven(result);
      return result;
    }
    const { directory, plan, config, notes } = started;
    return completeRun(
      started,
      context,
      async (run, progress) => {
        const result = await finishPruning(plan, config, run, directory, progress, notes, context);
        writeAtomic(directory.file('report.md'), renderResult(result, 'markdown'));
        writeJson(directory.file('result.json'), result);
        refuseUnproven(result);
        return result;
      },
      run => writeCut(plan, config, run, directory),
    );
  },

  render: result =>
    'stopped' in result
      ? `Stopped${result.run === undefined ? '' : ` in its run '${result.run}'`} after step ${result.step} of ${result.steps}; everything is saved. Go on with:\n  ${result.resume}`
      : result.format === 's2h-frontier/1'
        ? renderFrontier(result, 'text')
        : renderResult(result, 'text'),
  progress: trainingProgress,
});

/** What a frontier runs; a run of it is never a frontier itself. */
const runs: Runs = {
  prune: (input, context) => callable(command)(input as never, context) as ReturnType<Runs['prune']>,
  train: (input, context) => callable(trainCommand)(input as never, context),
};
