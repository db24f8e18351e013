import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { messageOf, UserError } from '../util/errors.ts';
import type { Dataset, Preprocessing } from './dataset.ts';
import { labelMap } from './preprocessor.ts';

/** The key under which a model file's metadata holds its preprocessing, as JSON. */
export const preprocessingKey = 's2h.preprocessing';

const fraction = (text: string) => {
  const [above, below] = text.split('/');
  return below === undefined ? Number(above) : Number(above) / Number(below);
};
const number = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^[-+.\d]/)
      .transform(fraction),
  ])
  .pipe(z.number());
const numbers = z
  .union([z.array(number), z.number().transform(n => [n]), z.string().transform(text => text.split(',').map(fraction))])
  .pipe(z.array(z.number()).min(1));
const side = z.number().int().positive();
const size = z
  .union([
    z.null(),
    z.tuple([side, side]),
    side.transform(n => [n, n]),
    z
      .string()
      .regex(/^\d+(x\d+)?$/)
      .transform(text => text.split('x').map(Number))
      .transform(([h, w = h]) => [h, w]),
  ])
  .pipe(z.union([z.null(), z.tuple([side, side])]));

/**
 * What flags, a JSON file or metadata may say; every field may be left out. Text is understood too, as it comes from a
 * command line: size `224` or `224x192` (height first), scale `1/255`, mean `0.5` or `0.485,0.456,0.406`.
 */
export const preprocessingSchema = z.strictObject({
  size: size.optional(),
  scale: number.pipe(z.number().refine(n => n !== 0, 'must not be 0')).optional(),
  mean: numbers.optional(),
  std: numbers.pipe(z.array(z.number().positive())).optional(),
  color: z.enum(['rgb', 'bgr', 'gray']).optional(),
  layout: z.enum(['nchw', 'nhwc']).optional(),
  labelOrder: z.array(z.string()).min(1).nullable().optional(),
});
type Stated = z.output<typeof preprocessingSchema>;

/** @throws UserError E_PREPROCESSING that names the field; `where` is the file or 'options' */
function parse(value: unknown, where: string): Stated {
  const result = preprocessingSchema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(issue => `${issue.path.join('.') || 'preprocessing'}: ${issue.message}`);
  throw new UserError('E_PREPROCESSING', `The preprocessing is not understood: ${problems.join('; ')}.`, {
    where,
    fix: 'Fields: size, scale, mean, std, color (rgb, bgr, gray), layout (nchw, nhwc), labelOrder.',
    usage: true,
  });
}

/** Preprocessing out of a JSON file. @throws UserError E_READ, E_PREPROCESSING */
export function readPreprocessing(path: string): Stated {
  return parse(parseJson(readText(path), path), path);
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UserError('E_PREPROCESSING', `${where} is not JSON: ${messageOf(error)}.`, { where, cause: error });
  }
}

/** Class names in the order of the outputs, out of a file: one a line, or a JSON array. @throws UserError E_READ */
export function readLabelOrder(path: string): string[] {
  const text = readText(path).trim();
  if (text.startsWith('[')) return parse({ labelOrder: parseJson(text, path) }, path).labelOrder!;
  return text.split(/\r?\n/).map(line => line.trim());
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UserError('E_READ', `Could not read ${path}: ${messageOf(error)}.`, { where: path, cause: error });
  }
}

/**
 * Metadata entries that carry a preprocessing in a model file.
 * @param classes the data set's classes: they are the label order when none was given
 */
export const toMetadata = (p: Preprocessing, classes: readonly string[]): Record<string, string> => ({
  [preprocessingKey]: JSON.stringify({ ...p, labelOrder: p.labelOrder ?? classes }),
});

/** What a model file's metadata says; null when it says nothing. @throws UserError E_PREPROCESSING when it is damaged */
export function fromMetadata(metadata: Readonly<Record<string, string>>): Stated | null {
  const text = metadata[preprocessingKey];
  if (text === undefined) return null;
  const where = `metadata ${preprocessingKey}`;
  return parse(parseJson(text, where), where);
}

type Described = Pick<Dataset, 'name' | 'shape' | 'classes' | 'mean' | 'std'>;

/** What a network trained here on this data set gets: 0..1, normalised by the training set, NCHW, as stored. */
export const defaultPreprocessing = (dataset: Described): Preprocessing => {
  const color = dataset.shape[0] === 1 ? 'gray' : 'rgb';
  return {
    size: null,
    scale: 1 / 255,
    ...statistics(dataset, color),
    color,
    layout: 'nchw',
    labelOrder: null,
  };
};

/** Luma weights (ITU-R 601). */
const lumaWeights = [0.299, 0.587, 0.114];

/** The data set's mean and deviation as a network with these colours sees them. */
function statistics({ mean, std }: Described, color: Preprocessing['color']): Pick<Preprocessing, 'mean' | 'std'> {
  const per = (values: readonly number[]): number[] => {
    if (color === 'gray') {
      // Exact for the mean. The channels of photographs go together, so this is close for the deviation as well.
      return values.length === 1 ? [...values] : [values.reduce((sum, v, i) => sum + lumaWeights[i] * v, 0)];
    }
    const three = values.length === 1 ? [values[0], values[0], values[0]] : [...values];
    return color === 'bgr' ? three.reverse() : three;
  };
  return { mean: per(mean), std: per(std) };
}

export type PreprocessingOrigin = 'option' | 'file' | 'metadata' | 'network' | 'default';

export interface ResolvedPreprocessing {
  /** Complete; `size` is never null. */
  readonly preprocessing: Preprocessing;
  /** Where each field came from. */
  readonly origin: Readonly<Record<keyof Preprocessing, PreprocessingOrigin>>;
  /** Sentences for the user about what is not obvious (resizing, repeated channels). */
  readonly notes: readonly string[];
}

/**
 * Settle a network's preprocessing. Each field comes from the first that states it: options, JSON file, the model's
 * metadata, the network's input shape, the data set. Somebody who states a scale without mean or deviation describes a
 * network of their own: those are then 0 and 1, not the data set's.
 * @param inputShape of the network, null where symbolic: [N, C, H, W] or [N, H, W, C]
 * @param outputs number of classes that the network tells apart
 * @throws UserError E_PREPROCESSING, E_INPUT_SHAPE, E_LABEL_COUNT and E_LABEL_ORDER, naming both sides
 */
export function resolvePreprocessing(request: {
  readonly options?: unknown;
  readonly file?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly dataset: Described;
  readonly inputShape?: readonly (number | null)[];
  readonly outputs?: number;
}): ResolvedPreprocessing {
  const { dataset, inputShape } = request;
  const layers: [PreprocessingOrigin, Stated][] = [
    ['option', parse(request.options ?? {}, 'options')],
    ['file', request.file === undefined ? {} : readPreprocessing(request.file)],
    ['metadata', fromMetadata(request.metadata ?? {}) ?? {}],
  ];
  const origin = {} as Record<keyof Preprocessing, PreprocessingOrigin>;
  const notes: string[] = [];
  const take = <K extends keyof Stated & keyof Preprocessing>(
    key: K,
    other: Preprocessing[K],
    from: PreprocessingOrigin,
  ) => {
    const stated = layers.find(([, layer]) => layer[key] !== undefined);
    origin[key] = stated ? stated[0] : from;
    return stated ? (stated[1][key] as Preprocessing[K]) : other;
  };

  if (inputShape && inputShape.length !== 4) {
    throw new UserError('E_INPUT_SHAPE', `The network takes ${inputShape.length} axes; images need 4 (N, C, H, W).`, {
      fix: 'Only networks with one image input can be fed from an image data set.',
    });
  }
  const layout = take('layout', looksLikeNhwc(inputShape) ? 'nhwc' : 'nchw', inputShape ? 'network' : 'default');
  const [channels, height, width] = (layout === 'nchw' ? [1, 2, 3] : [3, 1, 2]).map(axis => inputShape?.[axis] ?? null);
  const color = take('color', (channels ?? dataset.shape[0]) === 1 ? 'gray' : 'rgb', channels ? 'network' : 'default');
  const seen = color === 'gray' ? 1 : 3;
  if (channels !== null && channels !== seen) {
    throw new UserError('E_INPUT_SHAPE', `The network takes ${channels} channels, colour '${color}' has ${seen}.`, {
      fix: '1 channel is gray, 3 are rgb or bgr; --layout says which axis of the input holds them.',
    });
  }

  const scale = take('scale', 1 / 255, 'default');
  const plain = origin.scale !== 'default';
  const own = statistics(dataset, color);
  const mean = spread(take('mean', plain ? [0] : own.mean, 'default'), seen, 'mean', color);
  const std = spread(take('std', plain ? [1] : own.std, 'default'), seen, 'std', color);
  if (plain && origin.mean === 'default' && origin.std === 'default') {
    notes.push('A scale is stated without mean and deviation: none is subtracted or divided by.');
  }

  const [, storedHeight, storedWidth] = dataset.shape;
  const fed = [height ?? storedHeight, width ?? storedWidth] as const;
  const size = take('size', fed, height === null && width === null ? 'default' : 'network') ?? fed;
  if ((height !== null && height !== size[0]) || (width !== null && width !== size[1])) {
    throw new UserError(
      'E_INPUT_SHAPE',
      `The network takes images of ${height}x${width}, size says ${size.join('x')}.`,
      {
        fix: 'Leave --size out, or export the network for another size.',
      },
    );
  }
  if (size[0] !== storedHeight || size[1] !== storedWidth) {
    notes.push(
      `Images of ${dataset.name} are resized from ${storedHeight}x${storedWidth} to ${size.join('x')} (bilinear).`,
    );
  }
  if (seen !== dataset.shape[0]) {
    notes.push(seen === 1 ? 'Colour images are turned into grey ones.' : 'The grey channel is repeated three times.');
  }

  const labelOrder = take('labelOrder', null, 'default');
  if (request.outputs !== undefined && request.outputs !== dataset.classes.length) {
    throw new UserError(
      'E_LABEL_COUNT',
      `The network tells ${request.outputs} classes apart, ${dataset.name} has ${dataset.classes.length}.`,
      { fix: 'Choose the data set that the network was trained for.' },
    );
  }
  labelMap(dataset.classes, labelOrder);
  return { preprocessing: { size, scale, mean, std, color, layout, labelOrder }, origin, notes };
}

/** Whether the channels of an input are its last axis, as far as its shape tells. */
export const looksLikeNhwc = (shape?: readonly (number | null)[]): boolean =>
  shape !== undefined && shape[1] !== 1 && shape[1] !== 3 && (shape[3] === 1 || shape[3] === 3);

/** One number for all channels, or one each. */
function spread(values: readonly number[], channels: number, name: string, color: string): number[] {
  if (values.length === 1) return Array<number>(channels).fill(values[0]);
  if (values.length === channels) return [...values];
  throw new UserError(
    'E_PREPROCESSING',
    `${name} has ${values.length} numbers, colour '${color}' has ${channels} channels.`,
    {
      fix: `Give one number, or ${channels}.`,
    },
  );
}
