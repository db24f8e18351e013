import { UserError } from '../util/errors.ts';
import { type Random, stream } from '../util/random.ts';
import type { Dataset } from './dataset.ts';
import { bilinear } from './resize.ts';
import { digest, type Source } from './source.ts';
import { memorySplit } from './split.ts';

const defaults = { classes: 10, size: 32, channels: 3, train: 512, validation: 128, test: 128, seed: 0 };
type Parameters = typeof defaults;

/**
 * A small learnable set for tests and trials: every class has a smooth pattern (4x4 random values, enlarged), an image
 * is its class's pattern, shifted by up to an eighth of the size, plus noise. Labels go round, so classes are balanced.
 * `synthetic:classes=10,size=32,channels=3,train=512,validation=128,test=128,seed=0` (these are the defaults).
 */
export const synthetic: Source = {
  name: 'synthetic',
  classes: defaults.classes,
  shape: [defaults.channels, defaults.size, defaults.size],
  about: `synthetic: made here, learnable; ${Object.entries(defaults)
    .map(([key, value]) => `${key}=${value}`)
    .join(',')} may follow a colon`,
  find: () => '(made in memory)',
  open: async (_, parameters) => make(parse(parameters)),
};

function parse(text: string): Parameters {
  const parameters = { ...defaults };
  for (const item of text.split(',').filter(Boolean)) {
    const [key, value] = item.split('=');
    const number = Number(value);
    const least = key === 'seed' ? 0 : key === 'size' ? 4 : 1;
    if (!Object.hasOwn(defaults, key) || !value || !Number.isInteger(number) || number < least) {
      throw new UserError('E_DATA_SPEC', `synthetic does not understand '${item}'.`, {
        fix: `Write synthetic:key=number,… with ${Object.keys(defaults).join(', ')}.`,
        usage: true,
      });
    }
    parameters[key as keyof Parameters] = number;
  }
  if (parameters.channels === 1 || parameters.channels === 3) return parameters;
  throw new UserError('E_DATA_SPEC', `synthetic makes images of 1 or 3 channels, not ${parameters.channels}.`, {
    usage: true,
  });
}

function make(p: Parameters): Dataset {
  const shape = [p.channels, p.size, p.size] as const;
  const classes = Array.from({ length: p.classes }, (_, i) => `class${i}`);
  const enlarge = bilinear([4, 4], [p.size, p.size]);
  const patterns = classes.map((_, label) => {
    const random = stream(p.seed, 'synthetic pattern', label);
    const small = Uint8Array.from({ length: p.channels * 16 }, () => random.int(256));
    return enlarge(small, p.channels, new Uint8Array(p.channels * p.size ** 2));
  });
  const split = (name: 'train' | 'validation' | 'test') => {
    const labels = Int32Array.from({ length: p[name] }, (_, i) => i % p.classes);
    const bytes = p.channels * p.size ** 2;
    const pixels = new Uint8Array(labels.length * bytes);
    labels.forEach((label, i) => {
      const random = stream(p.seed, 'synthetic', name, i);
      draw(patterns[label], p, random, pixels.subarray(i * bytes, (i + 1) * bytes));
    });
    return memorySplit(pixels, labels, shape, classes);
  };
  const train = split('train');
  return {
    name: 'synthetic',
    classes,
    shape,
    train,
    validation: split('validation'),
    test: split('test'),
    mean: Array<number>(p.channels).fill(0.5),
    std: Array<number>(p.channels).fill(0.25),
    augmentation: { padCrop: 0, flip: false, resizedCrop: 1 },
    fingerprint: digest('synthetic', JSON.stringify(p)),
    skipped: [],
  };
}

/** Pattern, shifted round the edges, plus uniform noise of up to 40 grey levels. */
function draw(pattern: Uint8Array, { size, channels }: Parameters, random: Random, out: Uint8Array): void {
  const reach = size >> 3;
  const dy = random.int(2 * reach + 1) + size - reach;
  const dx = random.int(2 * reach + 1) + size - reach;
  for (let c = 0, at = 0; c < channels; c++) {
    for (let y = 0; y < size; y++) {
      const row = (c * size + ((y + dy) % size)) * size;
      for (let x = 0; x < size; x++) {
        const value = pattern[row + ((x + dx) % size)] + (random.uint32() % 81) - 40;
        out[at++] = Math.max(0, Math.min(255, value));
      }
    }
  }
}
