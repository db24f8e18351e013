import { z } from 'zod';
import { evalBatches } from '../data/loader.ts';
import { buildGraph } from '../graph/graph.ts';
import { type OnnxModel, readModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import type { KeptChannels } from '../prune/plan.ts';
import { unsharedGraph } from '../rewrite/unshare.ts';
import { type Certificate, certify } from '../runtime/certificate.ts';
import { withComputedConstants } from '../runtime/computed-constants.ts';
import { withProbedShapes } from '../runtime/probe.ts';
import { amount, percent, table } from '../util/format.ts';
import { type Context, defineCommand } from './command.ts';
import { openData, optionalDataOptions, preprocessingOptions, splitOf } from './data-options.ts';
import { imageNetworkOf, parseShapes, shapeOption } from './model-file.ts';
import { readPlanFile } from './plan-file.ts';
import { readFull, sealOption } from './selection.ts';

const options = z.object({
  plan: z.string().meta({ value: 'plan.json', description: 'what was kept' }),
  ...optionalDataOptions,
  ...preprocessingOptions,
  images: z.int().positive().default(64).meta({ description: 'with --data: test images that are compared' }),
  inputs: z.int().positive().default(16).meta({ description: 'random inputs that are compared' }),
  seed: z.int().nonnegative().default(0).meta({ description: 'of the random inputs' }),
  shape: shapeOption,
  sealInputs: sealOption,
});

export const command = defineCommand({
  name: 'verify',
  summary: 'prove that a cut file computes what the full one does without the removed channels',
  description:
    'First the tensors and nodes of the small file are compared bit for bit with a cut made anew from the plan. Then both files run in ONNX Runtime on one thread, the full one with zeros wherever a removed channel would be summed over. Exit status 1 when it fails.',
  arguments: [
    { name: 'full', description: 'the full-width file: trained.onnx of a run', required: true },
    { name: 'small', description: 'the cut file: pruned.onnx of a run', required: true },
  ],
  options,
  examples: [
    'verify out/trained.onnx out/pruned.onnx --plan out/plan.json',
    'verify out/trained.onnx out/pruned.onnx --plan out/plan.json --data cifar100 --images 500',
  ],
  async run(files, values, context) {
    const small = readModel(files.small);
    const shapes = parseShapes(values.shape);
    const { graph: written } = await withComputedConstants(unsharedGraph(readFull(files.full, values), operators));
    const { model: full } = await withProbedShapes(written, shapes);
    const { kept, coupling } = readPlanFile(
      values.plan,
      full === written.model ? written : buildGraph(full, operators),
    );
    const certificate = await certify({
      full,
      coupling: coupling.options,
      small,
      kept,
      operators,
      shapes,
      random: values.inputs,
      images: values.data === undefined ? undefined : await testImages(full, { ...values, data: values.data }, context),
      seed: values.seed,
      signal: context.signal,
      onProgress: done => context.onEvent({ type: 'progress', label: 'comparing', done, total: null, unit: 'inputs' }),
    });
    return { ...files, plan: values.plan, widths: widthsOf(kept), certificate, exitCode: certificate.passed ? 0 : 1 };
  },
  render: ({ full, small, certificate }) => render(full, small, certificate),
});

/** The first images of the test split, as the network takes them. */
async function testImages(model: OnnxModel, values: z.output<typeof options> & { data: string }, context: Context) {
  const { dataset, preprocessing } = await openData(values, context, { ...imageNetworkOf(model), labels: false });
  const split = splitOf(dataset, 'test');
  const size = Math.min(values.images, split.size);
  const batch = Math.min(size, 32);
  return evalBatches(
    { ...split, size, image: index => split.image(index) },
    { batch, preprocessing, signal: context.signal },
  );
}

const widthsOf = (kept: KeptChannels): number[] => kept.map(channels => channels.length);

function render(full: string, small: string, certificate: Certificate): string {
  const { passed, failure, inputs, outputs, notes } = certificate;
  const verdict = passed
    ? `${small} computes what ${full} computes without the removed channels.`
    : `FAILED: ${failure}`;
  const head = ['output', 'type', 'scale', 'largest error', 'of the scale', 'limit', 'same argmax'];
  const rows = outputs.map(({ name, type, scale, maxAbsError, maxRelError, limit, argmaxAgreement }) => {
    const [size, error, relative] = [scale, maxAbsError, maxRelError].map(value =>
      value === 0 ? '0' : value.toPrecision(3),
    );
    return [name, type, size, error, relative, limit.toExponential(1), percent(argmaxAgreement, 2)];
  });
  const figures =
    rows.length > 0
      ? [`${amount(inputs, 'input')}, one thread:`, table([head, ...rows], { align: ['left', 'left'] })]
      : [];
  return [verdict, ...(figures.length > 0 ? ['', ...figures] : []), ...notes.map(note => `- ${note}`)].join('\n');
}
