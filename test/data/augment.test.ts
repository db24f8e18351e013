import { expect, test } from 'vitest';
import { augment } from '../../src/data/augment.ts';
import { stream } from '../../src/util/random.ts';

const shape = [2, 6, 5] as const;
const image = Uint8Array.from({ length: 60 }, (_, i) => i + 1);
const none = { padCrop: 0, flip: false, resizedCrop: 1 };

/** What the definition says: pad with zeros, cut out at (dy, dx), mirror. */
function reference(dy: number, dx: number, mirrored: boolean): Uint8Array {
  const [c, h, w] = shape;
  return Uint8Array.from({ length: c * h * w }, (_, i) => {
    const x = i % w;
    const y = Math.floor(i / w) % h;
    const fromY = y + dy;
    const fromX = (mirrored ? w - 1 - x : x) + dx;
    if (fromY < 0 || fromY >= h || fromX < 0 || fromX >= w) return 0;
    return image[(Math.floor(i / (h * w)) * h + fromY) * w + fromX];
  });
}

test('no augmentation gives the image itself', () => expect(augment(image, shape, stream(1), none)).toBe(image));

test('pad-crop and flip give each of their results, equally often, and nothing else', () => {
  const outcomes = new Map<string, number>();
  for (let dy = -2; dy <= 2; dy++) {
    for (let dx = -2; dx <= 2; dx++) {
      for (const mirrored of [false, true]) outcomes.set(String(reference(dy, dx, mirrored)), 0);
    }
  }
  expect(outcomes.size).toBe(50);
  const before = image.slice();
  const runs = 20_000;
  for (let i = 0; i < runs; i++) {
    const key = String(augment(image, shape, stream(7, 'augment', 0, i), { padCrop: 2, flip: true, resizedCrop: 1 }));
    expect(outcomes.has(key)).toBe(true);
    outcomes.set(key, outcomes.get(key)! + 1);
  }
  expect(image).toEqual(before);
  // Chi-square with 49 degrees of freedom: above 85.35 in one case of a thousand; the seed is fixed.
  const expected = runs / 50;
  const chi = [...outcomes.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  expect(chi).toBeLessThan(85.35);
});

test('the same key gives the same image, another epoch another', () => {
  const all = { padCrop: 2, flip: true, resizedCrop: 0.3 };
  const once = (epoch: number) => augment(image, shape, stream(7, 'augment', epoch, 3), all).slice();
  expect(once(4)).toEqual(once(4));
  expect([0, 1, 2, 3].some(epoch => String(once(epoch)) !== String(once(4)))).toBe(true);
});

test('a resized crop keeps the colour of a plain image, and the slope of a ramp within its limits', () => {
  const plain = new Uint8Array(3 * 16 * 16).fill(77);
  const ramp = Uint8Array.from({ length: 256 }, (_, i) => (i % 16) * 10);
  const crop = { ...none, resizedCrop: 0.25 };
  for (let i = 0; i < 200; i++) {
    expect(augment(plain, [3, 16, 16], stream(i), crop)).toEqual(plain);
    const row = augment(ramp, [1, 16, 16], stream(i), crop).subarray(112, 128);
    // A window of w columns has slope 10 w / 16; w² lies between 16² · 1/4 · 3/4 and 16².
    const slope = (row[12] - row[4]) / 8;
    expect(slope).toBeGreaterThan(10 * Math.sqrt(0.1875) - 1);
    expect(slope).toBeLessThanOrEqual(10.2);
    for (let x = 1; x < 16; x++) expect(row[x]).toBeGreaterThanOrEqual(row[x - 1]);
  }
});
