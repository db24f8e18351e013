import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Split } from '../../src/data/dataset.ts';
import { decoder } from '../../src/data/decode.ts';
import { openDataset } from '../../src/data/index.ts';
import { evalBatches, trainLoader } from '../../src/data/loader.ts';
import { defaultPreprocessing } from '../../src/data/preprocess.ts';
import type { UserError } from '../../src/util/errors.ts';
import golden from './golden.json' with { type: 'json' };

const folder = mkdtempSync(join(tmpdir(), 's2h-images-'));
const before = { ...process.env };
beforeAll(() => {
  process.env.XDG_CACHE_HOME = join(folder, 'cache');
});
afterAll(() => {
  process.env = before;
  rmSync(folder, { recursive: true });
});

let root = '';
let said: string[] = [];
let count = 0;
beforeEach(() => {
  root = join(folder, `set${count++}`);
  said = [];
});
const say = (text: string) => said.push(text);
const open = (options = {}) => openDataset(root, { say, ...options });
const failure = (promise: Promise<unknown>): Promise<UserError> =>
  promise.then(
    () => expect.unreachable('no error'),
    error => error,
  );

/** A picture of one colour, whose red channel can be recognised. */
async function picture(name: string, red: number, width = 10, height = 8): Promise<string> {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  await sharp({ create: { width, height, channels: 3, background: { r: red, g: 100, b: 200 } } }).toFile(path);
  return path;
}
async function pictures(part: string, perClass: number, classes = ['ant', 'bee']): Promise<void> {
  for (const [label, name] of classes.entries()) {
    for (let i = 0; i < perClass; i++)
      await picture(`${part}/${name}/${String(i).padStart(3, '0')}.png`, 100 * label + i);
  }
}
const reds = async (split: Split) =>
  Promise.all(Array.from({ length: split.size }, async (_, i) => (await split.image(i))[0]));

describe('an image folder', () => {
  test('with train/ and val/: val/ is the test split, the validation split a part of train/', async () => {
    await pictures('train', 10);
    await pictures('val', 3);
    const set = await open();
    expect([set.name, set.shape, set.classes]).toEqual([root.split('/').at(-1), [3, 8, 10], ['ant', 'bee']]);
    expect([set.train.size, set.validation.size, set.test.size]).toEqual([18, 2, 6]);
    expect(await reds(set.test)).toEqual([0, 1, 2, 100, 101, 102]);
    expect([...set.test.labels]).toEqual([0, 0, 0, 1, 1, 1]);
    const both = [...(await reds(set.train)), ...(await reds(set.validation))].sort((a, b) => a - b);
    expect(both).toEqual([...Array(10).keys(), ...[...Array(10).keys()].map(i => 100 + i)]);
    expect(set.mean[1]).toBeCloseTo(100 / 255, 10);
    expect(said).toEqual([]);
  });

  test('with train/, val/ and test/: each is what its name says', async () => {
    await pictures('train', 4);
    await pictures('valid', 2);
    await pictures('test', 1);
    const set = await open();
    expect([set.train.size, set.validation.size, set.test.size]).toEqual([8, 4, 2]);
  });

  test('of class folders alone: a share of every class is held out, and it says so', async () => {
    await pictures('.', 10);
    const set = await open({ valFraction: 0.3 });
    expect([set.train.size, set.validation.size, set.test.size]).toEqual([12, 2, 6]);
    expect([...set.test.labels].sort()).toEqual([0, 0, 0, 1, 1, 1]);
    expect(said[0]).toContain('6 of 20 images (0.3 of each class) are held out');
  });

  test('says which files and folders it does not use', async () => {
    await pictures('train', 10);
    await pictures('val', 3);
    mkdirSync(join(root, 'train/empty'));
    mkdirSync(join(root, 'val/cow'));
    for (const name of ['train/ant/moving.gif', 'train/bee/notes.txt', 'val/cow/still.bmp', 'train/ant/.hidden.gif'])
      writeFileSync(join(root, name), 'GIF89a');
    const set = await open();
    expect([set.classes, set.train.size + set.validation.size, set.test.size]).toEqual([['ant', 'bee'], 20, 6]);
    expect(said).toEqual([
      'Folders without a usable image are no classes: train/empty/, val/cow/.',
      '3 files are not used, being no .jpg, .jpeg, .png, .webp: train/ant/moving.gif, train/bee/notes.txt, val/cow/still.bmp.',
    ]);
  });

  test('whose class is named train is one folder of classes', async () => {
    await pictures('.', 10, ['car', 'train']);
    expect((await open()).classes).toEqual(['car', 'train']);
  });

  test('with one image per class is measured on its training images, and says so', async () => {
    await pictures('.', 1);
    const set = await open();
    expect([set.train.size, set.validation.size, set.test.size]).toEqual([2, 2, 2]);
    expect(said[0]).toContain('measured on the training images');
    const loader = trainLoader(set.train, {
      batch: 32,
      seed: 1,
      preprocessing: defaultPreprocessing(set),
      augmentation: set.augmentation,
    });
    expect((await loader.at(0)).shape).toEqual([2, 3, 8, 10]);
  });

  test('of 65 training and 33 test images: every test image is counted', async () => {
    for (let i = 0; i < 65; i++) await picture(`train/${i % 2 ? 'a' : 'b'}/${i}.png`, i, 4, 4);
    for (let i = 0; i < 33; i++) await picture(`val/${i % 2 ? 'a' : 'b'}/${i}.png`, i, 4, 4);
    const set = await open();
    let images = 0;
    const batches = evalBatches(set.test, { batch: 32, preprocessing: defaultPreprocessing(set) });
    for await (const batch of batches) images += batch.shape[0];
    expect(images).toBe(33);
  });

  test('skips broken images by name, and ignores hidden and other files', async () => {
    await pictures('train', 4);
    await pictures('val', 1);
    writeFileSync(join(root, 'train/ant/002.png'), 'not an image');
    const whole = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } })
      .jpeg()
      .toBuffer();
    writeFileSync(join(root, 'train/bee/cut.jpg'), whole.subarray(0, whole.length - 200));
    writeFileSync(join(root, 'train/bee/.hidden.png'), '');
    writeFileSync(join(root, 'train/bee/notes.txt'), 'notes');
    mkdirSync(join(root, 'train/.thumbs'));
    const set = await open({ size: [8, 10] });
    expect(set.train.size + set.validation.size).toBe(7);
    expect(set.skipped.map(text => text.split(':')[0])).toEqual(['train/ant/002.png', 'train/bee/cut.jpg']);
    expect(said[1]).toContain('2 broken images are skipped: train/ant/002.png');
    expect([...(await reds(set.train)), ...(await reds(set.validation))].sort((a, b) => a - b)).toEqual([
      0, 1, 3, 100, 101, 102, 103,
    ]);
    expect((await open({ size: [8, 10] })).skipped).toEqual(set.skipped);
  });

  test('with a class in one part only, or without a usable image, is an error that names it', async () => {
    await pictures('train', 2, ['ant', 'bee', 'cat']);
    await pictures('val', 1);
    const error = await failure(open());
    expect([error.code, error.what]).toEqual(['E_DATA_CLASSES', "val/ has no images of 'cat'."]);
    await picture('val/cat/0.png', 1);
    expect((await open()).classes.length).toBe(3);
    writeFileSync(join(root, 'val/cat/0.png'), 'broken');
    expect((await failure(open())).what).toBe("No image of 'cat' in val/ can be decoded.");
  });

  test('of another layout says what is expected', async () => {
    await picture('0.png', 1);
    expect((await failure(open())).message).toContain('<folder>/train/<class>/*.jpg');
    await pictures('val', 1);
    expect((await failure(open())).message).toContain('has val/ but no train/');
  });

  test('of images that differ in size needs to be told one', async () => {
    await pictures('.', 4);
    await picture('ant/big.png', 50, 40, 20);
    const error = await failure(open());
    expect([error.code, error.exitCode]).toEqual(['E_DATA_IMAGE_SIZE', 2]);
    const set = await open({ size: [6, 6] });
    expect(set.shape).toEqual([3, 6, 6]);
    expect(await reds(set.train)).toContain(50);
  });

  test('is decoded once; one changed image is seen and decoded anew', async () => {
    await pictures('.', 4);
    const first = await open();
    const cache = join(folder, 'cache/s2hpruner/images');
    const files = () => readdirSync(cache, { recursive: true }).filter(name => String(name).endsWith('.bin')).length;
    const had = files();
    const decoded: number[] = [];
    const again = await open({ onProgress: (progress: { done: number }) => decoded.push(progress.done) });
    expect(decoded).toEqual([]);
    expect(again.fingerprint).toBe(first.fingerprint);
    const changed = await picture('ant/001.png', 55);
    utimesSync(changed, new Date(), new Date(1_700_000_000_000));
    const third = await open();
    expect(third.fingerprint).not.toBe(first.fingerprint);
    const all = [...(await reds(third.train)), ...(await reds(third.validation)), ...(await reds(third.test))];
    expect(all).toContain(55);
    expect(files()).toBe(had);
    expect(await reds(first.test)).toEqual(await reds(again.test));
  });

  test('above the limit is decoded on the fly, to the same pixels, without a file in the cache', async () => {
    await pictures('train', 6);
    await pictures('val', 2);
    const cached = await open({ size: [4, 4] });
    const live = await open({ size: [4, 4], cacheLimitBytes: 100 });
    expect(said[0]).toContain('decoded on the fly');
    expect(live.fingerprint).toBe(cached.fingerprint);
    expect([live.mean, live.std]).toEqual([cached.mean, cached.std]);
    const settings = { batch: 4, seed: 3, preprocessing: defaultPreprocessing(live), augmentation: live.augmentation };
    for (const step of [0, 1, 2, 5]) {
      expect(await trainLoader(live.train, settings).at(step)).toEqual(
        await trainLoader(cached.train, settings).at(step),
      );
    }
  });

  test('on the fly, a broken image is named once and another of its class takes its place', async () => {
    await pictures('train', 3);
    await pictures('val', 2);
    writeFileSync(join(root, 'val/bee/000.png'), 'broken');
    const set = await open({ size: [4, 4], cacheLimitBytes: 100 });
    expect(await reds(set.test)).toEqual([0, 1, 101, 101]);
    expect(await reds(set.test)).toEqual([0, 1, 101, 101]);
    expect(set.skipped).toHaveLength(1);
    expect(said.filter(text => text.startsWith('val/bee/000.png is broken'))).toHaveLength(1);
  });

  test('an interrupted decoding leaves nothing behind', async () => {
    await pictures('.', 40);
    const stop = new AbortController();
    await expect(open({ signal: stop.signal, onProgress: () => stop.abort() })).rejects.toThrow('abort');
    expect((await open()).train.size).toBeGreaterThan(0);
    const left = readdirSync(join(folder, 'cache/s2hpruner/images'), { recursive: true });
    expect(left.filter(name => String(name).includes('.tmp-'))).toEqual([]);
  });

  test('what a killed decoding left goes with the next one; what others are writing stays', async () => {
    await pictures('.', 4);
    const set = await open();
    const cache = join(folder, 'cache/s2hpruner/images');
    const named = readdirSync(cache, { recursive: true, encoding: 'utf8' }).find(name =>
      name.endsWith(`${set.fingerprint}.bin`),
    )!;
    const place = join(cache, dirname(named));
    // Written by this process as it is being killed: the name that it would have left.
    const stop = new AbortController();
    let temporary = '';
    utimesSync(await picture('ant/001.png', 55), new Date(), new Date(1_700_000_000_000));
    const onProgress = () => {
      temporary = readdirSync(place).find(name => name.includes('.tmp-'))!;
      stop.abort();
    };
    await pictures('.', 40);
    await expect(open({ signal: stop.signal, onProgress })).rejects.toThrow('abort');
    expect(temporary).toMatch(new RegExp(`-${process.pid}$`));
    const by = (pid: number) => temporary.replace(/\d+$/, String(pid));
    const elsewhere = by(2 ** 23).replace(/-[0-9a-f]{8}-/, '-00000000-');
    // Linux gives process numbers up to 2^22.
    for (const name of [by(2 ** 23), by(process.ppid), elsewhere, 'notes.txt'])
      writeFileSync(join(place, name), 'half');
    const { fingerprint } = await open();
    expect(readdirSync(place).sort()).toEqual(
      [by(process.ppid), elsewhere, `${fingerprint}.bin`, 'index.json', 'notes.txt'].sort(),
    );
    for (const name of [by(process.ppid), elsewhere]) rmSync(join(place, name));
  });

  test.skipIf(process.platform !== 'linux')(
    'above the limit of memory is read one by one, to the same pixels; its file is closed in the end',
    async () => {
      await pictures('train', 6);
      await pictures('val', 2);
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      const files = () =>
        readdirSync('/proc/self/fd').filter(fd => {
          const at = lstatSync(`/proc/self/fd/${fd}`, { throwIfNoEntry: false }) && readlinkSync(`/proc/self/fd/${fd}`);
          return at?.endsWith('.bin');
        }).length;
      const pixels = async () => {
        const held = await open();
        const read = await open({ memoryLimitBytes: 100 });
        expect(read.fingerprint).toBe(held.fingerprint);
        expect(files()).toBe(1);
        expect(await reds(read.train)).toEqual(await reds(held.train));
        expect(await read.test.image(3)).toEqual(Uint8Array.from(await held.test.image(3)));
      };
      await pixels();
      await vi.waitFor(
        () => {
          collect();
          expect(files()).toBe(0);
        },
        { timeout: 20_000 },
      );
    },
  );
});

describe('decoding', () => {
  const smooth = (height: number, width: number) => {
    const at = (y: number, x: number) => [
      (x * 9 + y * 3) % 256,
      Math.max(0, 255 - y * 10),
      Math.min(255, (x * x + y * y) >> 2),
    ];
    const pixels = Array.from({ length: height * width }, (_, i) => at(Math.floor(i / width), i % width)).flat();
    return sharp(Uint8Array.from(pixels), { raw: { width, height, channels: 3 } });
  };
  const file = async (name: string, image: Sharp) => {
    mkdirSync(root, { recursive: true });
    await image.toFile(join(root, name));
    return join(root, name);
  };

  test.each([
    ['wide', golden.centre, 20, 30, 12, 8],
    ['tall', golden.tall, 21, 10, 10, 10],
  ] as const)(
    "of a %s image is Pillow's resize and centre crop, up to rounding",
    async (_, expected, h, w, resize, crop) => {
      const path = await file('smooth.png', smooth(h, w));
      const found = await (await decoder({ size: [crop, crop], resize }))(path);
      expect(found.length).toBe(expected.length);
      const worst = Math.max(...found.map((v, i) => Math.abs(v - expected[i])));
      expect(worst).toBeLessThanOrEqual(2);
    },
  );

  test('keeps pixels that need no resize, in PNG and lossless WebP', async () => {
    const raw = await smooth(4, 6).raw().toBuffer();
    const planes = Uint8Array.from({ length: 72 }, (_, i) => raw[(i % 24) * 3 + Math.floor(i / 24)]);
    const decode = await decoder({ size: [4, 6], resize: 4 });
    expect(await decode(await file('a.png', smooth(4, 6).png()))).toEqual(planes);
    expect(await decode(await file('a.webp', smooth(4, 6).webp({ lossless: true })))).toEqual(planes);
  });

  test('turns a photograph upright', async () => {
    const raw = Uint8Array.from({ length: 18 }, (_, i) => i * 14);
    const upright = sharp(raw, { raw: { width: 2, height: 3, channels: 3 } });
    // Orientation 6 says: turn by 90 degrees clockwise to view. So what is stored is turned the other way.
    const stored = await upright.clone().rotate(270).png().toBuffer();
    const path = await file('turned.png', sharp(stored).withMetadata({ orientation: 6 }));
    const found = await (await decoder({ size: [3, 2], resize: 2 }))(path);
    expect([...found]).toEqual(Array.from({ length: 18 }, (_, i) => raw[(i % 6) * 3 + Math.floor(i / 6)]));
  });

  test('makes three channels of grey, of grey with alpha, and of 16 bits', async () => {
    const decode = await decoder({ size: [1, 2], resize: 1 });
    const grey = sharp(Uint8Array.of(40, 250), { raw: { width: 2, height: 1, channels: 1 } });
    expect([...(await decode(await file('g.png', grey.clone().toColourspace('b-w'))))]).toEqual([
      40, 250, 40, 250, 40, 250,
    ]);
    const veiled = sharp(Uint8Array.of(40, 255, 250, 128), { raw: { width: 2, height: 1, channels: 2 } });
    expect([...(await decode(await file('ga.png', veiled.toColourspace('b-w'))))]).toEqual([40, 250, 40, 250, 40, 250]);
    const deep = sharp(Uint8Array.of(1, 2, 3, 4, 5, 6), { raw: { width: 2, height: 1, channels: 3 } });
    expect([...(await decode(await file('16.png', deep.toColourspace('rgb16'))))]).toEqual([1, 4, 2, 5, 3, 6]);
  });
});

test('a copy of a cached folder elsewhere is read from its own cache', async () => {
  await pictures('.', 2);
  const set = await open();
  const other = `${root}-copy`;
  for (const name of ['ant', 'bee']) {
    mkdirSync(join(other, name), { recursive: true });
    for (const image of readdirSync(join(root, name))) copyFileSync(join(root, name, image), join(other, name, image));
  }
  const copy = await openDataset(other, {});
  expect(copy.classes).toEqual(set.classes);
  expect(existsSync(other) && readFileSync(join(other, 'ant', '000.png')).length).toBeGreaterThan(0);
});
