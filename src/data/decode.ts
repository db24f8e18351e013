import { messageOf, UserError } from '../util/errors.ts';

/** How image files become pixels. */
export interface DecodeOptions {
  /** [height, width] of the result. */
  readonly size: readonly [number, number];
  /** The shorter side before the centre crop. */
  readonly resize: number;
}

type Sharp = typeof import('sharp').default;
let loaded: Promise<Sharp> | undefined;

/** @throws UserError E_SHARP with the command that installs it */
function loadSharp(): Promise<Sharp> {
  loaded ??= import('sharp').then(
    module => module.default,
    error => {
      throw new UserError(
        'E_SHARP',
        `Image files are decoded by sharp, which is not usable here: ${messageOf(error)}.`,
        {
          fix: 'Install it: npm install sharp',
          cause: error,
        },
      );
    },
  );
  return loaded;
}

/**
 * A decoder of JPEG, PNG and WebP files: turned upright by EXIF, resized so that the shorter side is `resize`
 * (bilinear with antialiasing), centre crop, three channels (grey repeated, alpha dropped), uint8 [3, H, W]. This is
 * torchvision's Resize and CenterCrop behind Pillow, up to rounding. Where `size` is not square, the resized image
 * covers it in the same proportion. One call into sharp's thread pool per image, so decoding goes on while the main
 * thread is busy.
 * @throws UserError E_SHARP; the decoder itself rejects with libvips' reason when a file is broken
 */
export async function decoder({
  size: [height, width],
  resize,
}: DecodeOptions): Promise<(path: string) => Promise<Uint8Array>> {
  const sharp = await loadSharp();
  const ratio = resize / Math.min(height, width);
  const covered = { height: Math.round(height * ratio), width: Math.round(width * ratio) };
  const top = Math.round((covered.height - height) / 2);
  const left = Math.round((covered.width - width) / 2);
  return async path => {
    const pixels = await sharp(path, { failOn: 'error' })
      .autoOrient()
      .resize({ ...covered, fit: 'cover', kernel: 'linear', fastShrinkOnLoad: false })
      .extract({ top, left, width, height })
      .removeAlpha()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer();
    return toPlanes(pixels, height * width);
  };
}

/** [H, W, 3] to [3, H, W]. */
function toPlanes(pixels: Uint8Array, plane: number): Uint8Array {
  const out = new Uint8Array(3 * plane);
  for (let i = 0, at = 0; i < plane; i++) {
    out[i] = pixels[at++];
    out[plane + i] = pixels[at++];
    out[2 * plane + i] = pixels[at++];
  }
  return out;
}

/**
 * The size that all readable images share, upright; null when they differ or none can be read.
 * @throws UserError E_SHARP
 */
export async function commonSize(paths: readonly string[], signal?: AbortSignal): Promise<[number, number] | null> {
  const sharp = await loadSharp();
  let common: [number, number] | null = null;
  for (const path of paths) {
    signal?.throwIfAborted();
    const header = await sharp(path)
      .metadata()
      .catch(() => null);
    if (!header) continue;
    const { height, width } = header.autoOrient;
    if (common && (common[0] !== height || common[1] !== width)) return null;
    common = [height, width];
  }
  return common;
}
