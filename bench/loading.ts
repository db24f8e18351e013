/**
 * Does loading keep up with training? `npx tsx bench/loading.ts [step] [large step]`
 *
 * Prints, for batches of 128 augmented images, the time to make one batch with nothing prepared (`make`), the time that
 * a training step waits for it (`wait`: images out of files are decoded while the step computes), and the wait as a
 * share of the step. The step is simulated by a busy main thread, as libtorch's calls are. Its milliseconds: for 32x32
 * those of ResNet-20 on two cores with AVX-512 (172), for 224x224 of ResNet-18 there (128 images at 1.8 GMACs, three
 * times for forward and backward, at 200 GFLOP/s: 7000).
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import type { Dataset } from '../src/data/dataset.ts';
import { openDataset } from '../src/data/index.ts';
import { trainLoader } from '../src/data/loader.ts';
import { defaultPreprocessing } from '../src/data/preprocess.ts';
import { stream } from '../src/util/random.ts';

const stepMs = Number(process.argv[2] ?? 172);
const largeStepMs = Number(process.argv[3] ?? 7000);
const batch = 128;
const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];

/** Keep the main thread busy, as a training step does. */
function compute(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

async function measure(title: string, set: Dataset, stepLength: number, steps: number): Promise<void> {
  const preprocessing = defaultPreprocessing(set);
  const augmentation = { padCrop: 4, flip: true, resizedCrop: set.augmentation.resizedCrop };
  const options = { batch, seed: 1, preprocessing, augmentation };
  const make: number[] = [];
  // Steps that do not follow each other, so that nothing was decoded ahead.
  for (let i = 0; i < steps; i++) {
    const loader = trainLoader(set.train, options);
    const start = performance.now();
    await loader.at(i * 3);
    make.push(performance.now() - start);
  }
  const wait: number[] = [];
  const loader = trainLoader(set.train, options);
  for (let step = 0; step < steps + 1; step++) {
    const start = performance.now();
    await loader.at(step);
    wait.push(performance.now() - start);
    compute(stepLength);
    // The training loop lets the event loop run once a step.
    await new Promise(setImmediate);
  }
  const waited = median(wait.slice(1));
  const share = ((100 * waited) / stepLength).toFixed(1);
  const numbers = `make ${median(make).toFixed(1)} ms   wait ${waited.toFixed(1)} ms   step ${stepLength} ms`;
  process.stdout.write(`${title.padEnd(34)} ${numbers}   wait / step ${share} %\n`);
}

async function photographs(folder: string, count: number): Promise<void> {
  const random = stream(1, 'photographs');
  for (let i = 0; i < count; i++) {
    const place = join(folder, `class${i % 4}`);
    mkdirSync(place, { recursive: true });
    const noise = Uint8Array.from({ length: 25 * 19 * 3 }, () => random.int(256));
    const image = sharp(noise, { raw: { width: 25, height: 19, channels: 3 } })
      .resize(500, 375)
      .jpeg({ quality: 90 });
    await image.toFile(join(place, `${i}.jpg`));
  }
}

process.stdout.write(`${availableParallelism()} cores, batches of ${batch}\n`);
await measure('3x32x32 in memory', await openDataset('synthetic:train=6400'), stepMs, 20);
const folder = mkdtempSync(join(tmpdir(), 's2h-loading-'));
process.env.XDG_CACHE_HOME = join(folder, 'cache');
try {
  await photographs(join(folder, 'photos'), 600);
  const photos = join(folder, 'photos');
  await measure('500x375 JPEG to 224x224, cached', await openDataset(photos, { size: [224, 224] }), largeStepMs, 3);
  const live = await openDataset(photos, { size: [224, 224], cacheLimitBytes: 0 });
  await measure('500x375 JPEG to 224x224, on the fly', live, largeStepMs, 3);
} finally {
  rmSync(folder, { recursive: true });
}
