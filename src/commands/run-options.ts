import { z } from 'zod';
import { pruningMethods, routesPattern } from '../methods/index.ts';
import { teachers } from '../train/method.ts';
import { precisions } from '../train/precision.ts';
import { maskSchedules } from '../train/schedule.ts';
import { channelOrders } from '../train/search.ts';
import { couplingOptions } from './coupling-options.ts';

/** How a network is trained; every default is stated, none is filled in here: a resumed run must tell what was given. */
export const trainingOptions = {
  out: z
    .string()
    .optional()
    .meta({ description: 'folder of the run (default: runs/<model>-<data>-<n>)', value: 'DIR' }),
  resume: z.string().optional().meta({ description: 'go on with the run in DIR; needs nothing else', value: 'DIR' }),
  steps: z.int().positive().optional().describe('number of training steps'),
  epochs: z
    .number()
    .positive()
    .optional()
    .describe('the same in passes over the training images (default: 1 for mnist, else 10)'),
  batch: z.int().positive().optional().describe('images a step (default: 128)'),
  seed: z.int().nonnegative().optional().describe('the number that all randomness comes from (default: 0)'),
  lr: z
    .number()
    .positive()
    .optional()
    .describe('peak learning rate (default: 0.1, from a file 0.05; without any normalisation 0.02 and 0.01)'),
  warmup: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('share of the steps over which the learning rate rises (default: 0.05)'),
  optimizer: z.enum(['sgd', 'adamw']).optional().describe('how parameters are updated (default: sgd)'),
  momentum: z.number().min(0).lt(1).optional().describe('momentum of sgd (default: 0.9)'),
  weightDecay: z.number().min(0).optional().describe('weight decay of all parameters (default: 0.0005)'),
  clip: z
    .number()
    .min(0)
    .optional()
    .describe(
      'largest norm of the gradient of all parameters, 0: any (default: 0; from a trained file 10; without any normalisation 1)',
    ),
  labels: z
    .enum(['data', 'none'])
    .optional()
    .describe("none: imitate the original file's outputs instead of the labels (default: data)"),
  untrained: z
    .boolean()
    .optional()
    .describe('the file holds no trained weights: do not compare its accuracy with chance'),
  keepFolded: z
    .boolean()
    .optional()
    .describe(
      'train a trained file without any normalisation as it is, instead of putting a BatchNormalization behind its convolutions',
    ),
  width: z
    .int()
    .positive()
    .optional()
    .describe('channels of the first stage of a named architecture (default: as published)'),
  shortcut: z.enum(['A', 'B']).optional().describe('shortcut of a named CIFAR ResNet (default: B)'),
  threads: z.int().positive().optional().describe('CPU threads (default: all that are allowed)'),
  precision: z
    .enum(precisions)
    .optional()
    .describe(
      'what convolutions and products of a step are computed in; auto: bfloat16 where a probe at the start finds it faster (default: float32)',
    ),
  device: z.enum(['auto', 'cpu', 'cuda']).optional().describe('where to train (default: auto)'),
};

/** The method and its settings (docs/method.md). */
export const methodOptions = {
  method: z
    .enum(Object.keys(pruningMethods) as [keyof typeof pruningMethods])
    .optional()
    .describe(
      'soft-to-hard distillation, masks alone, or widths given at the start: by L1, in equal ratio, at random (default: s2h)',
    ),
  recipe: z
    .enum(['default', 'short', 'paper'])
    .optional()
    .describe(
      'short: a search on the first tenth, then the cut network alone, as by default from a trained file; paper: the published settings (default: default)',
    ),
  routes: z
    .string()
    .regex(routesPattern, 'expected t1 to t6, one-way, bidirectional, or numbers of routes such as 1,2,3,5,7')
    .optional()
    .meta({
      value: 'R',
      description: 'where gradients go: t1 to t6, one-way, bidirectional, or the open routes, 1,2,3,5,7 (default: t1)',
    }),
  count: z
    .enum(['mean', 'ceil'])
    .optional()
    .describe('how many channels a mask keeps: at least its mean, or the expectation rounded up (default: ceil)'),
  resource: z
    .enum(['soft', 'hard'])
    .optional()
    .describe('counts that the resource loss looks at: expected or kept (default: hard)'),
  fusion: z
    .enum(['paper', 'gnorm', 'sum'])
    .optional()
    .describe('how the three mask gradients become one (default: gnorm)'),
  lossCoefficient: z.number().min(0).optional().describe('weight of the task loss for the parameters (default: 1)'),
  gapCoefficient: z.number().min(0).optional().describe('weight of the gap for the parameters (default: 1)'),
  maskGapWeight: z
    .number()
    .min(0)
    .optional()
    .describe('gnorm, sum: weight of the gap beside the loss for the masks (default: 1; from a trained file 0.3)'),
  maskLr: z.number().positive().optional().describe('step length of the masks (default: 60 / mask steps, at most 0.5)'),
  maskSchedule: z
    .enum(maskSchedules)
    .optional()
    .describe('how that length changes over the search: not at all, or down to 0 (default: constant)'),
  maskStart: z
    .number()
    .positive()
    .max(1)
    .optional()
    .describe("share of every group's channels that the masks start from (default: 1)"),
  kappa: z.number().positive().optional().describe('gnorm: weight of the resource loss for the masks (default: 2)'),
  relax: z
    .number()
    .positive()
    .optional()
    .describe('gnorm: distance from the budget at which that weight fades (default: 0.01)'),
  perMember: z
    .boolean()
    .optional()
    .describe("divide a group's mask gradients by its number of member weights (default; --no-per-member does not)"),
  order: z
    .enum(channelOrders)
    .optional()
    .describe(
      'which channels of a group go last: those that the outputs depend on most, those with the largest filters, the first, any (default: l1; from a trained file fisher; fixed when the masks begin to move)',
    ),
  round: z
    .int()
    .positive()
    .optional()
    .describe('channel counts are multiples of it, at least one step below all, or all (default: 1)'),
  ...couplingOptions,
  temperature: z.number().positive().optional().describe('softmax temperature of the masks (default: 1)'),
  searchFrom: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('share of the steps after which the masks move (default: 0.1; s2h from a trained file 0)'),
  searchUntil: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe('share of the steps after which they are frozen (default: 0.7; s2h from a trained file 0.1)'),
  finishFrom: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe(
      'share of the steps after which the cut network is trained alone (default: 1, never; s2h from a trained file as soon as the masks are frozen)',
    ),
  maskEvery: z
    .int()
    .positive()
    .optional()
    .describe(
      'the masks move at every N-th step only, by N step lengths (default: 4, less where that leaves fewer than a hundred moves; dmp 1)',
    ),
  teacher: z
    .enum(teachers)
    .optional()
    .describe(
      'whose answers the cut network learns beside the labels: those of the file it came from, or of the soft network at the cut (default: none; from a trained file original where the cut network is trained alone)',
    ),
  labelWeight: z
    .number()
    .min(0)
    .max(1)
    .optional()
    .describe("weight of the labels beside the teacher's answers (default: 0.3)"),
  teacherTemperature: z.number().positive().optional().describe("temperature of the teacher's answers (default: 4)"),
};

const optional = <S extends z.ZodRawShape>(shape: S) => z.object(shape);
export type TrainingOptions = z.output<ReturnType<typeof optional<typeof trainingOptions>>>;
export type MethodOptions = z.output<ReturnType<typeof optional<typeof methodOptions>>>;
