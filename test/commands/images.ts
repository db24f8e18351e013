import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { stream } from '../../src/util/random.ts';

/** Hues of the classes; noise on top keeps the images apart. */
const colors = { blue: [40, 60, 200], green: [50, 190, 60], red: [200, 50, 40] } as const;
export type Color = keyof typeof colors;

/** A noisy PNG of 16x16 in one colour. */
export async function writeImage(path: string, color: Color, index: number): Promise<void> {
  const random = stream(0, 'image', color, index);
  const pixels = Buffer.from(Array.from({ length: 16 * 16 * 3 }, (_, i) => colors[color][i % 3] + random.int(80) - 40));
  await sharp(pixels, { raw: { width: 16, height: 16, channels: 3 } })
    .png()
    .toFile(path);
}

/**
 * A folder of images: `train/<class>/` and `val/<class>/`, or `<class>/` alone for the part ''.
 * @param counts number of images by part and class
 */
export async function writeImages(
  folder: string,
  counts: Readonly<Record<string, Partial<Record<Color, number>>>>,
): Promise<string> {
  for (const [part, classes] of Object.entries(counts)) {
    for (const [color, count] of Object.entries(classes)) {
      const place = join(folder, part, color);
      mkdirSync(place, { recursive: true });
      for (let i = 0; i < count; i++) await writeImage(join(place, `${part}${i}.png`), color as Color, i);
    }
  }
  return folder;
}
