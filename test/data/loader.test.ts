import { expect, test } from 'vitest';
import { assembler } from '../../src/data/assemble.ts';
import type { Batch, Split } from '../../src/data/dataset.ts';
import { openDataset } from '../../src/data/index.ts';
import { evalBatches, trainLoader } from '../../src/data/loader.ts';
import { defaultPreprocessing } from '../../src/data/preprocess.ts';
import { memorySplit } from '../../src/data/split.ts';
import { stream } from '../../src/util/random.ts';

const preprocessing = {
  size: null,
  scale: 1,
  mean: [0],
  std: [1],
  color: 'gray',
  layout: 'nchw',
  labelOrder: null,
} as const;
const none = { padCrop: 0, flip: false, resizedCrop: 1 };

/** n images of one pixel whose value is their index. */
const numbered = (n: number): Split =>
  memorySplit(
    Uint8Array.from({ length: n }, (_, i) => i),
    Int32Array.from({ length: n }, (_, i) => i % 2),
    [1, 1, 1],
    ['even', 'odd'],
  );
/** The same behind promises, as image files are. */
const decoded = (split: Split): Split => ({ ...split, image: async index => split.image(index) });
const options = { batch: 32, seed: 5, preprocessing, augmentation: none };
const collect = async (batches: AsyncIterable<Batch>) => {
  const all: Batch[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
};

test('a large batch is made by a thread: the same numbers as one made here, in any order of asking', async () => {
  const shape = [3, 96, 96] as const;
  const length = 3 * 96 * 96;
  const random = stream(4, 'pixels');
  const pixels = Uint8Array.from({ length: 160 * length }, () => random.int(256));
  const split = memorySplit(pixels, new Int32Array(160), shape, ['one']);
  const large = {
    batch: 80,
    seed: 3,
    preprocessing: { ...preprocessing, mean: [1, 2, 3], std: [4, 5, 6], color: 'bgr' as const },
    augmentation: { padCrop: 2, flip: true, resizedCrop: 0.5 },
  };
  const direct = assembler({
    stored: shape,
    preprocessing: large.preprocessing,
    varied: { augmentation: large.augmentation, seed: large.seed },
  });
  const loader = trainLoader(split, large);
  for (const step of [0, 1, 2, 7, 3]) {
    const made = loader.at(step);
    expect(made).toBeInstanceOf(Promise);
    const { images, indices } = await made;
    const here = direct(Math.floor(step / 2), indices, [...indices].map(split.image) as Uint8Array[]);
    expect(Buffer.compare(Buffer.from(images.buffer), Buffer.from(here.buffer))).toBe(0);
  }
  const owed = loader.at(9);
  loader.close();
  await expect(owed).rejects.toThrow('ended');
});

test('65 images in batches of 32: two steps, one image left out, each used at most once, another order next epoch', async () => {
  const loader = trainLoader(numbered(65), options);
  expect([loader.stepsPerEpoch, loader.batch, loader.dropped]).toEqual([2, 32, 1]);
  const epoch = async (e: number) => [...(await loader.at(2 * e)).indices, ...(await loader.at(2 * e + 1)).indices];
  const first = await epoch(0);
  expect(new Set(first).size).toBe(64);
  expect(await epoch(1)).not.toEqual(first);
  const unused = await Promise.all([0, 1, 2, 3].map(async e => numberMissing(await epoch(e))));
  expect(new Set(unused).size).toBeGreaterThan(1);
});
const numberMissing = (used: number[]) => Array.from({ length: 65 }, (_, i) => i).find(i => !used.includes(i));

test('64 images in batches of 32: every image once an epoch', async () => {
  const loader = trainLoader(numbered(64), options);
  const seen = [...(await loader.at(0)).indices, ...(await loader.at(1)).indices];
  expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 64 }, (_, i) => i));
  expect(loader.dropped).toBe(0);
});

test('labels and pixels belong to the indices', async () => {
  const batch = await trainLoader(numbered(65), options).at(3);
  expect([...batch.images]).toEqual([...batch.indices]);
  expect([...batch.labels]).toEqual([...batch.indices].map(i => i % 2));
  expect(batch.shape).toEqual([32, 1, 1, 1]);
});

test('fewer images than a batch: all of them are one batch', async () => {
  const loader = trainLoader(numbered(20), options);
  expect([loader.stepsPerEpoch, loader.batch, loader.dropped]).toEqual([1, 20, 0]);
  expect((await loader.at(9)).indices.length).toBe(20);
  expect((await trainLoader(numbered(1), options).at(0)).indices.length).toBe(1);
});

test('asking in any order gives what asking in order gives, also behind promises', async () => {
  const set = await openDataset('synthetic:train=70,size=8,validation=1,test=1');
  const settings = {
    batch: 16,
    seed: 11,
    preprocessing: defaultPreprocessing(set),
    augmentation: { padCrop: 2, flip: true, resizedCrop: 0.5 },
  };
  const sequential: Batch[] = [];
  const loader = trainLoader(set.train, settings);
  for (let step = 0; step < 12; step++) sequential.push(await loader.at(step));
  for (const split of [set.train, decoded(set.train)]) {
    const other = trainLoader(split, settings);
    for (const step of [7, 3, 4, 5, 11, 0, 8, 9]) expect(await other.at(step)).toEqual(sequential[step]);
  }
  expect((await trainLoader(set.train, { ...settings, seed: 12 }).at(0)).indices).not.toEqual(sequential[0].indices);
});

test('images behind promises are asked for one step ahead, and no further', async () => {
  const asked: number[] = [];
  const split: Split = {
    ...numbered(64),
    image: async i => {
      asked.push(i);
      return Uint8Array.of(i);
    },
  };
  const loader = trainLoader(split, { ...options, batch: 8 });
  await loader.at(0);
  expect(asked.length).toBe(16);
  await loader.at(1);
  expect(asked.length).toBe(24);
  expect(new Set(asked).size).toBe(24);
});

test('the ranks of a data parallel run share an epoch out', async () => {
  const loaders = [0, 1].map(rank => trainLoader(numbered(64), { ...options, batch: 16, rank, ranks: 2 }));
  expect(loaders[0].stepsPerEpoch).toBe(2);
  const seen: number[] = [];
  for (const loader of loaders) for (const step of [0, 1]) seen.push(...(await loader.at(step)).indices);
  expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 64 }, (_, i) => i));
});

test('evaluation counts all 33 images, in order, the last batch short', async () => {
  for (const split of [numbered(33), decoded(numbered(33))]) {
    const batches = await collect(evalBatches(split, { batch: 32, preprocessing }));
    expect(batches.map(batch => batch.shape[0])).toEqual([32, 1]);
    expect(batches.flatMap(batch => [...batch.images])).toEqual(Array.from({ length: 33 }, (_, i) => i));
  }
  expect(await collect(evalBatches(numbered(0), { batch: 32, preprocessing }))).toEqual([]);
});

test("labels come in the order of the network's outputs", async () => {
  const swapped = { ...preprocessing, labelOrder: ['odd', 'even'] };
  const [batch] = await collect(evalBatches(numbered(4), { batch: 4, preprocessing: swapped }));
  expect([...batch.labels]).toEqual([1, 0, 1, 0]);
});

test('a failing image is an error of the step that needs it', async () => {
  const split: Split = {
    ...numbered(64),
    image: i => (i < 60 ? Promise.resolve(Uint8Array.of(i)) : Promise.reject(new Error('gone'))),
  };
  const loader = trainLoader(split, { ...options, batch: 64 });
  await expect(loader.at(0)).rejects.toThrow('gone');
  const stop = new AbortController();
  stop.abort();
  await expect(collect(evalBatches(numbered(3), { batch: 2, preprocessing, signal: stop.signal }))).rejects.toThrow(
    'abort',
  );
});
