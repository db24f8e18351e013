import { z } from 'zod';
import { readModel } from '../onnx/index.ts';
import { type LatencyRow, measureLatency } from '../runtime/latency.ts';
import { runtimeVersion } from '../runtime/session.ts';
import { UserError } from '../util/errors.ts';
import { milliseconds, table } from '../util/format.ts';
import { defineCommand } from './command.ts';
import { optimizeOption, parseShapes, shapeOption } from './model-file.ts';

export const command = defineCommand({
  name: 'bench',
  summary: 'measure the latency of ONNX files side by side in ONNX Runtime',
  description:
    'Files take turns run by run on the same random inputs, so that whatever else the machine does hits all of them; a wide range (p10 to p90) says that it did much. The ratio is taken round by round against the first file. A setting that a file cannot run is listed with the reason.',
  arguments: [
    {
      name: 'files',
      description: 'ONNX files; the first is what the others are compared with',
      required: true,
      variadic: true,
    },
  ],
  options: z.object({
    batch: z.array(z.int().positive()).min(1).default([1, 32]).meta({ description: 'batch sizes' }),
    threads: z
      .array(z.union([z.int().positive(), z.literal('all')]))
      .min(1)
      .default([1, 'all'])
      .meta({ value: 'N,all', description: 'thread counts; all are those that affinity and quota allow' }),
    seconds: z.number().positive().default(2).meta({ value: 'S', description: 'measuring time per file and setting' }),
    shape: shapeOption,
    optimize: optimizeOption,
    seed: z.int().nonnegative().default(0).meta({ description: 'of the random inputs' }),
  }),
  examples: [
    'bench mynet.onnx runs/mynet-cifar100-1/pruned.onnx',
    'bench detector.onnx pruned.onnx --shape images=1,3,640,640 --batch 1 --threads 1,2,4',
  ],
  async run({ files }, { batch, threads, seconds, shape, optimize, seed }, { signal, onEvent }) {
    // A missing or damaged file is told as such before anything is measured.
    for (const file of files) readModel(file);
    const latency = await measureLatency(files, {
      batches: batch,
      threads,
      seconds,
      shapes: parseShapes(shape),
      optimize,
      seed,
      signal,
      onProgress: ({ threads, batch, step, steps }) => {
        const detail = `batch ${batch}, threads ${threads}`;
        onEvent({ type: 'progress', label: 'measuring', done: step, total: steps, unit: 'settings', detail });
      },
    }).catch(error => {
      throw optimize === 'all' ? withHint(error) : error;
    });
    return { ...latency, runtime: await runtimeVersion() };
  },
  render({ rows, allowedThreads, optimize, runtime }) {
    const head = ['file', 'batch', 'threads', 'median', 'p10 to p90', 'speed-up'];
    const lines = table([head, ...rows.map(cells)]);
    const skipped = rows.filter(row => row.notRun !== undefined);
    const reasons = [
      ...new Set(skipped.map(({ path, batch, notRun }) => `${path}, batch ${batch}: not run, ${notRun}`)),
    ];
    const setting = `ONNX Runtime ${runtime}, graph optimisation: ${optimize}; all threads: ${allowedThreads.threads} (${allowedThreads.why}).`;
    return [lines, '', ...reasons, setting].join('\n');
  },
});

/** The runtime's optimiser breaks some files that run as they are written. */
function withHint(error: unknown): unknown {
  if (!(error instanceof UserError && error.code === 'E_RUNTIME')) return error;
  const fix = "If the runtime's graph optimiser is at fault, --optimize none runs the graph as it is written.";
  return new UserError(error.code, error.what, { where: error.where, fix, cause: error });
}

function cells({ path, batch, threads, notRun, medianMs, p10Ms, p90Ms, speedup }: LatencyRow): string[] {
  const place = [path, String(batch), String(threads)];
  if (notRun !== undefined || medianMs === undefined) return [...place, 'not run'];
  const range = `${milliseconds(p10Ms ?? medianMs)} to ${milliseconds(p90Ms ?? medianMs)}`;
  return [...place, milliseconds(medianMs), range, speedup === undefined ? '' : `${speedup.toFixed(2)}x`];
}
