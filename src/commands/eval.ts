import { z } from 'zod';
import type { Dataset, Preprocessing } from '../data/index.ts';
import { evalBatches } from '../data/loader.ts';
import { labelMap } from '../data/preprocessor.ts';
import { readModel } from '../onnx/index.ts';
import { compareEvaluations, type Evaluation, evaluateFile, withOrWithoutOptimiser } from '../runtime/evaluate.ts';
import { fasterThreads } from '../runtime/thread-probe.ts';
import { UserError } from '../util/errors.ts';
import { percent, table, within } from '../util/format.ts';
import { allowedThreads, type ThreadLimit } from '../util/threads.ts';
import { type Context, defineCommand } from './command.ts';
import {
  dataOptions,
  type Feeding,
  feedingOf,
  openData,
  outputNames,
  preprocessingOptions,
  splitOf,
  splitOption,
} from './data-options.ts';
import { imageNetworkOf, optimizeOption } from './model-file.ts';

/** Right answers for one class. */
export interface ClassAccuracy {
  readonly name: string;
  readonly correct: number;
  readonly total: number;
}

/** What the images of one class lost or gained. */
export interface ClassChange {
  readonly name: string;
  readonly total: number;
  /** Right answers of the other file and of this one. */
  readonly before: number;
  readonly after: number;
}

const options = z.object({
  ...dataOptions,
  split: splitOption,
  ...preprocessingOptions,
  against: z.string().optional().meta({
    value: 'OTHER.onnx',
    description: 'a file to compare with image by image: the network before pruning, say',
  }),
  output: z.string().optional().meta({ value: 'NAME', description: 'the output with the class scores' }),
  batch: z
    .int()
    .positive()
    .default(64)
    .meta({ description: 'images at a time; a file with a fixed batch keeps its own' }),
  threads: z
    .int()
    .positive()
    .optional()
    .meta({ description: 'CPU threads (default: 1 or all that are allowed, whichever is faster on the first images)' }),
  optimize: optimizeOption,
});

export const command = defineCommand({
  name: 'eval',
  summary: 'measure the accuracy of an ONNX file, by ONNX Runtime alone',
  description:
    'Images are preprocessed as the flags say, else a JSON file (--preprocessing), else the metadata that a run wrote into the file, else the data set’s own mean and deviation.',
  arguments: [{ name: 'file', description: 'the ONNX file', required: true }],
  options,
  examples: [
    'eval runs/resnet8-mnist-1/pruned.onnx --data mnist',
    'eval runs/mynet-cifar100-1/pruned.onnx --data cifar100 --against mynet.onnx',
    'eval theirs.onnx --data ./photos --size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225',
  ],
  async run({ file }, values, context) {
    const network = imageNetworkOf(readModel(file), values.output);
    const reference =
      values.against === undefined ? undefined : imageNetworkOf(readModel(values.against), values.output);
    const opened = await openData(values, context, network);
    const { dataset, preprocessing, origin } = opened;
    const threads = await threadsFor(file, dataset, opened, values);
    const settings = { ...values, threads: threads.threads };
    const evaluation = await evaluate(file, dataset, opened, settings, context);
    const names = outputNames(dataset, preprocessing);
    const perClass = evaluation.perClass.map(({ class: index, correct, total }): ClassAccuracy => {
      return { name: names[index], correct, total };
    });
    const { images, classes, output, correct, top1, top5, interval, optimize } = evaluation;
    const result = {
      file,
      data: values.data,
      split: values.split,
      images,
      classes,
      output,
      correct,
      top1,
      top5,
      interval,
      perClass,
      preprocessing,
      origin,
      notes: [...opened.notes, ...remarks(evaluation, dataset)],
      threads: threads.threads,
      threadsWhy: threads.why,
      optimize,
    };
    if (values.against === undefined) return { ...result, against: null };
    const feeding = feedingOf(dataset, values, reference);
    const other = await evaluate(values.against, dataset, feeding, settings, context);
    const before = inDataOrder(other, dataset, feeding.preprocessing);
    const { perClass: changes, ...difference } = compareEvaluations(
      before,
      inDataOrder(evaluation, dataset, preprocessing),
    );
    return {
      ...result,
      against: {
        file: values.against,
        correct: other.correct,
        top1: other.top1,
        interval: other.interval,
        ...difference,
        perClass: changes.map(
          ({ class: index, ...counts }): ClassChange => ({ name: dataset.classes[index], ...counts }),
        ),
        preprocessing: feeding.preprocessing,
      },
    };
  },
  render(result) {
    const { file, data, split, images, classes, top1, top5, interval, perClass, against, optimize } = result;
    const measured = [
      ['file', file],
      ['images', `${images} of ${data} (${split})`],
      ['accuracy', accuracyText({ top1, interval, correct: result.correct, images })],
      ...(classes > 5 ? [['top-5', percent(top5, 2)]] : []),
      [
        'worst classes',
        worst(perClass)
          .map(({ name, correct, total }) => `${name} ${correct}/${total}`)
          .join(', '),
      ],
      ['preprocessing', describe(result.preprocessing)],
      ['runtime', `ONNX Runtime, threads: ${result.threads} (${result.threadsWhy}), graph optimisation: ${optimize}`],
    ];
    const lines = [
      table([['', ''], ...measured], { align: ['left', 'left'] })
        .split('\n')
        .slice(2)
        .join('\n'),
    ];
    if (against) {
      const lost = against.perClass.filter(({ before, after }) => after < before).slice(0, 5);
      lines.push(
        '',
        `${against.file}: ${accuracyText({ ...against, images })}`,
        `${against.changed} of ${images} answers changed: ${against.lost} right before and wrong now, ${against.gained} the other way round (McNemar p = ${against.p.toPrecision(2)}).`,
      );
      if (lost.length > 0) {
        const list = lost.map(({ name, before, after, total }) => `${name} ${before} to ${after} of ${total}`);
        lines.push(`Classes that lost most: ${list.join(', ')}.`);
      }
    }
    return [...lines, ...(result.notes.length > 0 ? [''] : []), ...result.notes.map(note => `- ${note}`)].join('\n');
  },
});

type Settings = z.output<typeof options> & { readonly threads: number };

async function threadsFor(
  file: string,
  dataset: Dataset,
  { preprocessing }: Feeding,
  { threads, split, batch, optimize }: z.output<typeof options>,
): Promise<ThreadLimit> {
  if (threads !== undefined) return { threads, why: '--threads' };
  for await (const first of evalBatches(splitOf(dataset, split), { batch, preprocessing })) {
    try {
      return await fasterThreads(file, first, allowedThreads(), optimize);
    } catch (error) {
      // The evaluation itself says what is wrong, or does without the optimiser.
      if (error instanceof UserError && error.code === 'E_RUNTIME') break;
      throw error;
    }
  }
  return allowedThreads();
}

function evaluate(...given: Parameters<typeof evaluateWith>): Promise<Evaluation> {
  const [file, dataset, feeding, settings, context] = given;
  if (settings.optimize === 'none') return evaluateWith(...given);
  return withOrWithoutOptimiser(
    optimize => evaluateWith(file, dataset, feeding, { ...settings, optimize }, context),
    error => context.say(`${error.what} With graph optimisation off it runs, so that is what is reported.`),
  );
}

function evaluateWith(
  file: string,
  dataset: Dataset,
  { preprocessing }: Feeding,
  { split, batch, threads, optimize, output }: Settings,
  { signal, onEvent }: Context,
): Promise<Evaluation> {
  const images = splitOf(dataset, split);
  return evaluateFile(file, evalBatches(images, { batch, preprocessing, signal }), {
    threads,
    optimize,
    output,
    signal,
    onProgress: done =>
      onEvent({ type: 'progress', label: `evaluating ${file}`, done, total: images.size, unit: 'images' }),
  });
}

/** Labels and predictions by the data set's numbers, so that files with other label orders can be compared. */
function inDataOrder(evaluation: Evaluation, { classes }: Dataset, { labelOrder }: Preprocessing): Evaluation {
  const map = labelMap(classes, labelOrder);
  if (!map) return evaluation;
  const inverse = new Map(Array.from(map, (output, index) => [output, index]));
  const number = (output: number) => inverse.get(output) ?? output;
  return {
    ...evaluation,
    labels: evaluation.labels.map(number),
    predictions: evaluation.predictions.map(number),
    perClass: evaluation.perClass
      .map(result => ({ ...result, class: number(result.class) }))
      .sort((a, b) => a.class - b.class),
  };
}

function remarks({ top1, images, classes }: Evaluation, dataset: Dataset): string[] {
  const notes = dataset.skipped.length > 0 ? [`${dataset.skipped.length} broken images were skipped.`] : [];
  const chance = 1 / classes;
  if (top1 <= chance + 3 * Math.sqrt((chance * (1 - chance)) / images)) {
    notes.push(
      `This is no better than chance (${percent(chance)}). Suspects: --scale, --mean and --std, --color, --layout, --label-order; or the file is not trained for this data.`,
    );
  }
  return notes;
}

const worst = (perClass: readonly ClassAccuracy[]): ClassAccuracy[] =>
  [...perClass].sort((a, b) => a.correct / a.total - b.correct / b.total).slice(0, 5);

const accuracyText = (counts: Pick<Evaluation, 'top1' | 'interval' | 'correct' | 'images'>): string =>
  `${within(counts.top1, counts.interval)}, ${counts.correct} of ${counts.images}`;

function describe({ size, scale, mean, std, color, layout, labelOrder }: Preprocessing): string {
  const numbers = (values: readonly number[]) => values.map(value => Number(value.toPrecision(4))).join(',');
  const factor = scale === 1 / 255 ? '1/255' : String(Number(scale.toPrecision(4)));
  const order = labelOrder ? ', labels in the order given' : '';
  return `${size?.join('x') ?? 'as stored'} ${color} ${layout}, scale ${factor}, mean ${numbers(mean)}, std ${numbers(std)}${order}`;
}
