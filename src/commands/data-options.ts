import { z } from 'zod';
import { type Dataset, isNamedDataset, type OpenOptions, openDataset, type Preprocessing } from '../data/index.ts';
import {
  fromMetadata,
  looksLikeNhwc,
  type PreprocessingOrigin,
  preprocessingSchema,
  readLabelOrder,
  readPreprocessing,
  resolvePreprocessing,
} from '../data/preprocess.ts';
import { UserError } from '../util/errors.ts';
import type { Context } from './command.ts';

const data = z
  .string()
  .meta({ value: 'D', description: 'data set: a name (`s2h data` lists them) or a folder of images' });

/** Options that say where images come from; spread them into a command's schema. `data` is required here. */
export const dataOptions = {
  data,
  dataDir: z
    .string()
    .optional()
    .meta({ value: 'DIR', description: 'folder to look in first for a named data set; else $S2H_DATA and the cache' }),
  valFraction: z.number().gt(0).lt(1).optional().meta({
    value: 'F',
    description: 'folders without val/ or test/: share of the images that is the test split (0.2)',
  }),
};

/** The same for a command that also works without images. */
export const optionalDataOptions = { ...dataOptions, data: data.optional() };

const { size, scale, mean, std, color, layout } = preprocessingSchema.shape;

/** Options that say what the network expects of an image; spread them into a command's schema. */
export const preprocessingOptions = {
  size: size.meta({ value: 'HxW', description: 'image size that the network takes: 224, or 224x192 (height first)' }),
  scale: scale.meta({ value: 'X', description: 'pixels 0..255 are multiplied by it first: 1/255 (default), or 1' }),
  mean: mean.meta({ value: 'X,X,X', description: 'subtracted after scaling, one number or one per channel' }),
  std: std.meta({ value: 'X,X,X', description: 'divided by after that, one number or one per channel' }),
  color: color.meta({ description: 'order of the colour channels; gray has one' }),
  layout: layout.meta({ description: 'order of the axes of the input' }),
  labelOrder: z
    .string()
    .optional()
    .meta({ value: 'FILE', description: 'class names in the order of the outputs: one a line, or a JSON array' }),
  preprocessing: z
    .string()
    .optional()
    .meta({ value: 'FILE', description: 'JSON file with any of these fields; single flags go first' }),
};

type DataValues = z.output<z.ZodObject<typeof dataOptions>>;
type PreprocessingValues = z.output<z.ZodObject<typeof preprocessingOptions>>;

/** What is known of the network that the images are for. */
export interface DataRequest {
  /** Of the model file: `imageNetworkOf` reads all three. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Of the input, null where it is open; left out for a network that is built to fit the data. */
  readonly inputShape?: readonly (number | null)[];
  /** Classes that the network tells apart; left out where they are not known. */
  readonly outputs?: number;
  /** false: only the images are used, and the network's classes need not be the data set's. */
  readonly labels?: boolean;
  /** Share of the training set that is held out; 0.1. */
  readonly validationFraction?: number;
}

/** How images are fed to one network. */
export interface Feeding {
  readonly preprocessing: Preprocessing;
  /** Where each field of the preprocessing came from. */
  readonly origin: Readonly<Record<keyof Preprocessing, PreprocessingOrigin>>;
  /** Sentences for the user about what is not obvious. */
  readonly notes: readonly string[];
}

export interface OpenedData extends Feeding {
  readonly dataset: Dataset;
}

/**
 * Open the data set that the options name and settle how its images are fed to the network.
 * @throws UserError E_OPTION (usage) for a split of a data set that has its own and a place of one without a name, those
 *   of `openDataset` and `resolvePreprocessing`
 */
export async function openData(
  options: DataValues & PreprocessingValues,
  context: Pick<Context, 'signal' | 'say' | 'onEvent' | 'setup'>,
  request: DataRequest = {},
): Promise<OpenedData> {
  if (options.valFraction !== undefined && isNamedDataset(options.data)) {
    throw new UserError('E_OPTION', '--val-fraction does nothing here: it belongs to a folder of images.', {
      fix: `Leave it out: ${options.data} has its own test split.`,
      usage: true,
    });
  }
  if (options.dataDir !== undefined && !isNamedDataset(options.data)) {
    throw new UserError('E_OPTION', '--data-dir does nothing here: it belongs to a data set with a name.', {
      fix: 'Leave it out: --data is the folder of images.',
      usage: true,
    });
  }
  const dataset = await openDataset(options.data, {
    dataDir: options.dataDir,
    valFraction: options.valFraction,
    validationFraction: request.validationFraction,
    size: decodedSize(options, request),
    download: context.setup,
    signal: context.signal,
    say: context.say,
    onProgress: progress => context.onEvent({ type: 'progress', ...progress }),
  });
  return { dataset, ...feedingOf(dataset, options, request) };
}

/** How images of an opened data set are fed to (another) network. @throws UserError those of `resolvePreprocessing` */
export function feedingOf(dataset: Dataset, options: PreprocessingValues, request: DataRequest = {}): Feeding {
  const { labelOrder, preprocessing: file, ...stated } = statedIn(options);
  const { labels = true } = request;
  const order = labels ? labelOrder && readLabelOrder(labelOrder) : null;
  return resolvePreprocessing({
    options: order === undefined ? stated : { ...stated, labelOrder: order },
    file,
    metadata: request.metadata,
    dataset,
    inputShape: request.inputShape,
    outputs: labels ? request.outputs : undefined,
  });
}

/**
 * The size to which folders of images are decoded: what is stated, or what the network takes, null where that is open.
 * It comes to what `resolvePreprocessing` settles, which is what a resumed run states.
 */
function decodedSize(options: PreprocessingValues, request: DataRequest): OpenOptions['size'] {
  const file = options.preprocessing === undefined ? {} : readPreprocessing(options.preprocessing);
  const metadata = fromMetadata(request.metadata ?? {}) ?? {};
  const stated = options.size ?? file.size ?? metadata.size;
  if (stated) return stated;
  const shape = request.inputShape;
  if (shape?.length !== 4) return undefined;
  const layout = options.layout ?? file.layout ?? metadata.layout ?? (looksLikeNhwc(shape) ? 'nhwc' : 'nchw');
  return layout === 'nchw' ? [shape[2], shape[3]] : [shape[1], shape[2]];
}

function statedIn(options: PreprocessingValues): PreprocessingValues {
  const keys = Object.keys(preprocessingOptions) as (keyof PreprocessingValues)[];
  return Object.fromEntries(
    keys.filter(key => options[key] !== undefined).map(key => [key, options[key]]),
  ) as PreprocessingValues;
}

const splits = ['test', 'validation', 'train'] as const;

/** Which part of a data set. */
export const splitOption = z.enum(splits).default('test').meta({ description: 'part of the data set' });

/** A part of a data set that has images. @throws UserError E_NO_IMAGES */
export function splitOf(dataset: Dataset, name: (typeof splits)[number]): Dataset['test'] {
  const split = dataset[name];
  if (split.size > 0) return split;
  throw new UserError('E_NO_IMAGES', `The ${name} split of ${dataset.name} has no images.`, {
    fix: `Choose another part: --split ${splits.filter(other => dataset[other].size > 0).join(' or --split ')}.`,
    usage: true,
  });
}

/** `labelOrder` as the names of the network's outputs, for reports. */
export const outputNames = (dataset: Dataset, { labelOrder }: Preprocessing): readonly string[] =>
  labelOrder ?? dataset.classes;
