import { existsSync } from 'node:fs';
import { UserError } from '../util/errors.ts';
import { sha256Files } from '../util/hash.ts';
import { flagOf } from './command.ts';
import type { MethodOptions, TrainingOptions } from './run-options.ts';

type Complete<T> = { [K in keyof T]-?: NonNullable<T[K]> };

/** A run's settings with every default filled in: what `config.json` holds and `--resume` compares with. */
export type RunSettings = Complete<Omit<TrainingOptions, 'out' | 'resume' | 'width' | 'shortcut' | 'steps'>> & {
  readonly steps: number;
  /** `plain`: `s2h train`, to which no other setting of a method applies. */
  readonly method: NonNullable<MethodOptions['method']> | 'plain';
} & Complete<Omit<MethodOptions, 'method'>>;

/** What the defaults depend on. */
export interface Circumstances {
  /** `train` prunes nothing and has no teacher. */
  readonly verb: 'prune' | 'train';
  /** The start is a trained file. */
  readonly trained: boolean;
  /** It has BatchNormalization, or gets one while it is trained. */
  readonly normalised: boolean;
  readonly dataName: string;
  readonly trainImages: number;
}

/** Epochs when the user says nothing: MNIST needs no more than one. */
const defaultEpochs = (dataName: string): number => (dataName === 'mnist' ? 1 : 10);

/** The settings that the paper publishes (docs/method.md, Fusion and 11). */
const paper: Partial<RunSettings> = {
  count: 'mean',
  resource: 'soft',
  fusion: 'paper',
  lossCoefficient: 0.5,
  gapCoefficient: 5,
  perMember: false,
  searchFrom: 0,
  searchUntil: 1,
  finishFrom: 1,
  teacher: 'none',
  maskLr: 1.5,
  maskEvery: 1,
  maskSchedule: 'constant',
  maskStart: 1,
  lr: 0.05,
  warmup: 0,
  weightDecay: 3e-4,
  batch: 64,
};

const besideTeacher = '--teacher original or soft';

/** Options that say something only beside others: what has to hold, in the user's words, and whether it does. */
const bound: readonly {
  readonly keys: readonly (keyof (TrainingOptions & MethodOptions))[];
  readonly beside: string;
  holds(given: TrainingOptions & MethodOptions): boolean;
}[] = [
  { keys: ['momentum'], beside: '--optimizer sgd', holds: ({ optimizer = 'sgd' }) => optimizer === 'sgd' },
  {
    keys: ['routes', 'gapCoefficient', 'lossCoefficient', 'maskGapWeight'],
    beside: '--method s2h',
    holds: ({ method = 's2h' }) => method === 's2h',
  },
  {
    keys: [
      ...(['searchFrom', 'searchUntil', 'finishFrom', 'maskEvery', 'maskLr', 'count', 'resource', 'fusion'] as const),
      ...(['perMember', 'temperature', 'kappa', 'relax', 'maskSchedule', 'maskStart'] as const),
    ],
    beside: '--method s2h or dmp',
    holds: given => searches(given),
  },
  {
    keys: ['labelWeight', 'teacherTemperature'],
    beside: besideTeacher,
    holds: ({ teacher }) => teacher !== 'none',
  },
  {
    keys: ['labelWeight', 'teacherTemperature', 'teacher'],
    beside: '--labels data',
    holds: ({ labels = 'data', teacher }) => labels === 'data' || teacher === 'none',
  },
  {
    keys: ['kappa', 'relax'],
    beside: '--fusion gnorm',
    holds: given => fusionOf(given) === 'gnorm',
  },
  {
    keys: ['maskGapWeight'],
    beside: '--fusion gnorm or sum',
    holds: given => fusionOf(given) !== 'paper',
  },
  { keys: ['recipe'], beside: '--method s2h or dmp', holds: given => given.recipe !== 'short' || searches(given) },
  { keys: ['keepFolded'], beside: 'a trained file', holds: ({ untrained }) => !untrained },
];

/** Whether the method looks for widths. */
export const searches = ({ method = 's2h' }: { readonly method?: RunSettings['method'] }): boolean =>
  method === 's2h' || method === 'dmp';

const fusionOf = ({ fusion, recipe }: MethodOptions): RunSettings['fusion'] =>
  fusion ?? (recipe === 'paper' ? 'paper' : 'gnorm');

/** @throws UserError E_OPTION (usage) for options that contradict each other or do nothing, whatever model and data are */
export function checkGiven(given: TrainingOptions & MethodOptions): void {
  if (given.steps !== undefined && given.epochs !== undefined) {
    throw new UserError('E_OPTION', '--steps and --epochs are both given.', {
      fix: 'Leave one of them out.',
      usage: true,
    });
  }
  for (const { keys, beside, holds } of bound) if (!holds(given)) refuseIdle(given, keys, beside);
}

/** @throws UserError E_OPTION (usage) when one of the keys is given */
function refuseIdle(
  given: TrainingOptions & MethodOptions,
  keys: readonly (keyof (TrainingOptions & MethodOptions))[],
  beside: string,
): void {
  const idle = keys.find(key => given[key] !== undefined);
  if (idle === undefined) return;
  throw new UserError('E_OPTION', `${flagOf(idle, given[idle])} does nothing here: it belongs to ${beside}.`, {
    fix: 'Leave it out.',
    usage: true,
  });
}

/**
 * Fill in what the user left open.
 * @throws UserError E_OPTION (usage) for what contradicts the start, or does nothing with it
 */
export function settle(given: TrainingOptions & MethodOptions, at: Circumstances): RunSettings {
  const recipe = given.recipe ?? 'default';
  const preset: Partial<RunSettings> = recipe === 'paper' ? { ...paper, order: at.trained ? 'l1' : 'natural' } : {};
  const pick = <K extends keyof RunSettings>(key: K, otherwise: RunSettings[K]): RunSettings[K] =>
    ((given as Partial<RunSettings>)[key] ?? preset[key] ?? otherwise) as RunSettings[K];
  const batch = pick('batch', 128);
  const stepsPerEpoch = Math.max(1, Math.floor(at.trainImages / Math.min(batch, at.trainImages)));
  const epochs = given.epochs ?? (given.steps === undefined ? defaultEpochs(at.dataName) : given.steps / stepsPerEpoch);
  const steps = given.steps ?? Math.max(1, Math.round(epochs * stepsPerEpoch));
  const isShort = recipe === 'short' || (at.trained && given.method !== 'dmp');
  const phases = phasesOf(pick, isShort && (at.trained ? 0 : 0.02));
  const { searchFrom, searchUntil } = phases;
  const isPlain = at.verb === 'train';
  const order = pick('order', isPlain ? 'natural' : at.trained ? 'fisher' : 'l1');
  if (order === 'fisher' && !at.trained) {
    const what = '--order fisher looks at the outputs of a trained network, and the run starts from none.';
    throw new UserError('E_OPTION', what, { usage: true });
  }
  const teacher = isPlain ? 'none' : teacherOf(given, preset, phases.finishFrom, at.trained);
  if (teacher === 'none') refuseIdle(given, ['labelWeight', 'teacherTemperature'], besideTeacher);
  const maskSteps = Math.max(1, Math.round((searchUntil - searchFrom) * steps));
  return {
    epochs,
    steps,
    batch,
    seed: pick('seed', 0),
    lr: pick('lr', at.normalised ? (at.trained ? 0.05 : 0.1) : at.trained ? 0.01 : 0.02),
    warmup: pick('warmup', 0.05),
    optimizer: pick('optimizer', 'sgd'),
    momentum: pick('momentum', 0.9),
    weightDecay: pick('weightDecay', 5e-4),
    clip: pick('clip', at.normalised ? (at.trained ? 10 : 0) : 1),
    labels: pick('labels', 'data'),
    untrained: pick('untrained', false),
    keepFolded: pick('keepFolded', false),
    threads: given.threads ?? 0,
    device: pick('device', 'auto'),
    precision: pick('precision', 'float32'),
    method: isPlain ? 'plain' : pick('method', 's2h'),
    recipe,
    routes: pick('routes', 't1'),
    count: pick('count', 'ceil'),
    resource: pick('resource', 'hard'),
    fusion: pick('fusion', 'gnorm'),
    lossCoefficient: pick('lossCoefficient', 1),
    gapCoefficient: pick('gapCoefficient', 1),
    maskGapWeight: pick('maskGapWeight', at.trained ? 0.3 : 1),
    maskLr: pick('maskLr', Math.min(0.5, 60 / maskSteps)),
    maskSchedule: pick('maskSchedule', 'constant'),
    maskStart: pick('maskStart', 1),
    kappa: pick('kappa', 2),
    relax: pick('relax', 0.01),
    perMember: pick('perMember', true),
    order,
    round: pick('round', 1),
    grouped: pick('grouped', 'equal'),
    attention: pick('attention', 'heads'),
    temperature: pick('temperature', 1),
    ...phases,
    maskEvery: pick('maskEvery', given.method === 'dmp' ? 1 : Math.max(1, Math.min(4, Math.floor(maskSteps / 100)))),
    teacher,
    labelWeight: pick('labelWeight', 0.3),
    teacherTemperature: pick('teacherTemperature', 4),
  };
}

/**
 * From a trained network a short search and then the compact network alone end best; from scratch both views to the
 * end do at equal steps, the short search at equal time (docs/method-notes.md). DMP, the control, is cut at the end.
 * @param shortFrom where a short search begins; false for a long one
 * @throws UserError E_OPTION (usage) for phases out of order
 */
function phasesOf(
  pick: <K extends keyof RunSettings>(key: K, otherwise: RunSettings[K]) => RunSettings[K],
  shortFrom: number | false,
): Pick<RunSettings, 'searchFrom' | 'searchUntil' | 'finishFrom'> {
  const searchFrom = pick('searchFrom', shortFrom === false ? 0.1 : shortFrom);
  const searchUntil = pick('searchUntil', shortFrom === false ? 0.7 : 0.1);
  const finishFrom = pick('finishFrom', shortFrom === false ? 1 : searchUntil);
  const order = [
    ['--search-from', searchFrom],
    ['--search-until', searchUntil],
    ['--finish-from', finishFrom],
  ] as const;
  order.slice(1).forEach(([name, share], i) => {
    const [before, earlier] = order[i];
    if (share >= earlier) return;
    throw new UserError('E_OPTION', `${name} ${share} lies before ${before} ${earlier}.`, { usage: true });
  });
  return { searchFrom, searchUntil, finishFrom };
}

/** @throws UserError E_OPTION (usage) for a teacher that there is not */
function teacherOf(
  given: TrainingOptions & MethodOptions,
  preset: Partial<RunSettings>,
  finishFrom: number,
  trained: boolean,
): RunSettings['teacher'] {
  const isAlone = finishFrom < 1 || !searches(given);
  const otherwise = isAlone && trained && given.labels !== 'none' ? 'original' : 'none';
  const teacher = given.teacher ?? preset.teacher ?? otherwise;
  const refuse = (why: string): never => {
    throw new UserError('E_OPTION', `--teacher ${teacher} does nothing here: ${why}.`, { usage: true });
  };
  if (teacher === 'original' && !trained) refuse('the run starts from no trained file');
  if (teacher === 'soft' && !searches(given)) refuse('it belongs to --method s2h or dmp');
  if (teacher !== 'none' && !isAlone) refuse('the cut network is never alone (--finish-from)');
  return teacher;
}

/** What may differ in a run that goes on: the last bits may, or images that have moved. */
const honouredKeys: Readonly<Record<string, (value: unknown, before: unknown) => string>> = {
  threads: (value, before) =>
    `--threads is ${value} now (the run began with ${before ?? 'all that were allowed'}): the result may differ in the last bits.`,
  data: (value, before) => `--data is ${value} now (the run began with ${before}); its images are the same.`,
  dataDir: (value, before) =>
    `--data-dir is ${value} now (the run began with ${before ?? 'none'}); the images are the same.`,
};

/** What of the options may differ in a run that goes on. */
export const honouredOf = (given: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(given).filter(([key, value]) => value !== undefined && Object.hasOwn(honouredKeys, key)),
  );

/**
 * What was given together with `--resume`: threads and the place of the data are honoured, anything that equals the
 * run's own setting changes nothing, and the rest is refused by name. The threads of a run that has ended are refused too.
 * @param own the run's settings, its model and data by the same keys
 * @param run `from`: what a new run would best start from
 * @returns sentences about what is honoured
 * @throws UserError E_RESUME_SETTING (usage)
 */
export function checkResumed(
  given: Readonly<Record<string, unknown>>,
  own: Readonly<Record<string, unknown>>,
  run: { readonly directory: string; readonly finished: boolean; readonly from: string },
): string[] {
  const changed = Object.entries(given).filter(
    ([key, value]) => value !== undefined && key !== 'resume' && JSON.stringify(value) !== JSON.stringify(own[key]),
  );
  const refused = changed.filter(([key]) => !Object.hasOwn(honouredKeys, key) || (run.finished && key === 'threads'));
  if (refused.length === 0) return changed.map(([key, value]) => honouredKeys[key](value, own[key]));
  const told = (value: unknown) => (value === undefined ? 'none' : JSON.stringify(value));
  const names = refused.map(
    ([key, value]) => `${key === 'model' ? 'the model' : flagOf(key)} ${told(value)} (the run has ${told(own[key])})`,
  );
  const why = run.finished
    ? 'This run has ended: nothing can be changed by'
    : 'A run that is resumed keeps its settings:';
  throw new UserError('E_RESUME_SETTING', `${why} ${names.join(', ')}.`, {
    where: run.directory,
    fix: `Leave them out, or start a new run from ${run.from} (its learning rate schedule begins anew).`,
    usage: true,
  });
}

/** SHA-256 of a model file, and of the file with its external data where it has one. */
export function hashOfModel(path: string): string {
  return sha256Files(path, ...[`${path}.data`].filter(existsSync));
}
