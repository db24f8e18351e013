import type { Random } from '../util/random.ts';
import type { Augmentation } from './dataset.ts';
import { enlargeWindow } from './resize.ts';

type Shape = readonly [number, number, number];

/**
 * One training image, varied: random resized crop, then zero padding and random crop, then horizontal flip (each where
 * the augmentation asks for it), as torchvision's RandomResizedCrop, RandomCrop(padding) and RandomHorizontalFlip on
 * the stored pixels. All that is random comes out of `random`, so the same stream gives the same image.
 * @param image uint8 [C, H, W]; not changed
 * @param scratch two buffers of the image's length that may be overwritten; made when left out
 * @returns uint8 [C, H, W]: `image` itself when nothing is to be done, else one of the buffers
 */
export function augment(
  image: Uint8Array,
  shape: Shape,
  random: Random,
  { padCrop, flip, resizedCrop }: Augmentation,
  scratch: readonly [Uint8Array, Uint8Array] = [new Uint8Array(image.length), new Uint8Array(image.length)],
): Uint8Array {
  let current = image;
  if (resizedCrop < 1) current = enlargeWindow(current, shape, cropWindow(shape, random, resizedCrop), scratch[0]);
  const dy = padCrop > 0 ? random.int(2 * padCrop + 1) - padCrop : 0;
  const dx = padCrop > 0 ? random.int(2 * padCrop + 1) - padCrop : 0;
  const mirrored = flip && random.uniform() < 0.5;
  return dy === 0 && dx === 0 && !mirrored ? current : shift(current, shape, dy, dx, mirrored, scratch[1]);
}

/** out[y, x] = image[y + dy, x + dx], zero outside; mirrored afterwards. */
function shift(image: Uint8Array, shape: Shape, dy: number, dx: number, mirrored: boolean, out: Uint8Array) {
  const [channels, height, width] = shape;
  const first = Math.max(0, -dx);
  const last = Math.min(width, width - dx);
  const step = mirrored ? -1 : 1;
  if (dy !== 0 || dx !== 0) out.fill(0);
  for (let c = 0; c < channels; c++) {
    for (let y = Math.max(0, -dy); y < Math.min(height, height - dy); y++) {
      const row = (c * height + y) * width;
      const end = row + dy * width + last + dx;
      let to = mirrored ? row + width - 1 - first : row + first;
      for (let from = row + dy * width + first + dx; from < end; from++, to += step) out[to] = image[from];
    }
  }
  return out;
}

/** torchvision's RandomResizedCrop.get_params with ratio 3/4 to 4/3: ten tries, then the largest centred crop. */
function cropWindow([, height, width]: Shape, random: Random, least: number) {
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = height * width * (least + random.uniform() * (1 - least));
    const ratio = Math.exp((2 * random.uniform() - 1) * Math.log(4 / 3));
    const w = Math.round(Math.sqrt(area * ratio));
    const h = Math.round(Math.sqrt(area / ratio));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    return { top: random.int(height - h + 1), left: random.int(width - w + 1), height: h, width: w };
  }
  const ratio = Math.min(4 / 3, Math.max(3 / 4, width / height));
  const w = Math.min(width, Math.round(height * ratio));
  const h = Math.min(height, Math.round(width / ratio));
  return { top: (height - h) >> 1, left: (width - w) >> 1, height: h, width: w };
}
