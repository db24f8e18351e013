import { readModel } from '../onnx/index.ts';
import { openRunDirectory, type RunDirectory } from '../train/run-directory.ts';
import { UserError } from '../util/errors.ts';
import type { Context } from './command.ts';
import { openData } from './data-options.ts';
import { rooted } from './rooted.ts';
import { finishedResult, type RunConfig, readConfig } from './run-config.ts';
import { checkResumed, hashOfModel, searches } from './run-settings.ts';
import type { GivenOptions, StartedRun } from './run-start.ts';
import { threadsToGoOn } from './run-threads.ts';
import type { TrainingPlan } from './training-run.ts';

/** A run that has ended already. */
export interface EndedRun {
  /** Its `result.json`. */
  readonly ended: unknown;
}

/**
 * Go on with a run; what is given besides the folder is honoured or refused by name. The result of a run that has ended
 * is handed back, and its data is looked at only where it is said to have moved.
 */
export async function resumeRun(
  verb: RunConfig['verb'],
  asked: Partial<GivenOptions> & { model?: string; resume: string },
  context: Context,
): Promise<StartedRun | EndedRun> {
  const given = rooted(asked);
  const directory = openRunDirectory(given.resume);
  try {
    const config = readConfig(directory, verb);
    const ended = finishedResult(directory);
    const own = {
      ...config.settings,
      threads: config.threads.threads,
      ...config.given,
      model: config.model,
      data: config.data,
    };
    const honoured = checkResumed({ ...given, setup: undefined }, own, {
      directory: directory.path,
      finished: ended !== null,
      from: directory.file(ended !== null && trainedWhole(config) ? 'trained.onnx' : 'start.onnx'),
    });
    if (hashOfModel(directory.file('start.onnx')) !== config.start) {
      throw new UserError('E_RUN_CHANGED', 'start.onnx is not the file that this run began with.', {
        where: directory.file('start.onnx'),
      });
    }
    if (ended !== null && honoured.length === 0) return handedBack(directory, ended);
    const { threads, notes } = threadsToGoOn(given.threads, config);
    const { labelOrder, ...fed } = config.preprocessing;
    const options = {
      ...config.given,
      ...fed,
      ...placeOfData(given, config),
      preprocessing: undefined,
    } as GivenOptions;
    const { dataset } = await openData(options, context, { labels: false }); // classes are compared by name next
    refuseOtherData(dataset, config, options.data);
    if (ended !== null) return handedBack(directory, ended);
    const plan: TrainingPlan = {
      start: readModel(directory.file('start.onnx')),
      trainedStart: config.trainedStart,
      dataset,
      preprocessing: config.preprocessing,
      settings: config.settings,
      threads,
      method: verb === 'train' ? 'plain' : config.settings.method,
      budget: config.budget,
    };
    return { plan, config, directory, notes: [...honoured, ...notes, ...config.notes] };
  } catch (error) {
    directory.release();
    throw error;
  }
}

/** Whether all of the network was trained to the end, also what was cut. */
const trainedWhole = ({ verb, settings }: RunConfig): boolean =>
  verb === 'train' || (searches(settings) && settings.finishFrom === 1);

function handedBack(directory: RunDirectory, ended: unknown): EndedRun {
  directory.release();
  return { ended };
}

/** Images may have moved: whether they are the same is seen by their fingerprint. */
const placeOfData = (given: Partial<GivenOptions>, config: RunConfig): Pick<GivenOptions, 'data' | 'dataDir'> => ({
  data: given.data ?? config.data,
  dataDir: given.dataDir ?? (config.given.dataDir as string | undefined),
});

/** @throws UserError E_DATA_CHANGED naming what differs */
function refuseOtherData(dataset: TrainingPlan['dataset'], config: RunConfig, place: string): void {
  if (dataset.fingerprint === config.dataFingerprint) return;
  const added = dataset.classes.filter(name => !config.classes.includes(name));
  const gone = config.classes.filter(name => !dataset.classes.includes(name));
  const difference = [
    added.length ? `new classes ${added.join(', ')}` : '',
    gone.length ? `missing classes ${gone.join(', ')}` : '',
  ].filter(Boolean);
  throw new UserError(
    'E_DATA_CHANGED',
    `The data is not what this run began with: ${difference.join('; ') || 'images were added, removed or changed'}.`,
    {
      where: place,
      fix: 'Put the old data back, or start a new run.',
    },
  );
}
