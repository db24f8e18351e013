import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';

/** The SHA-256 of files one after the other, in hexadecimal, read in pieces: they may be larger than 2 GiB. */
export function sha256Files(...paths: readonly string[]): string {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(2 ** 20);
  for (const path of paths) {
    const file = openSync(path, 'r');
    try {
      for (let got = readSync(file, piece); got > 0; got = readSync(file, piece)) hash.update(piece.subarray(0, got));
    } finally {
      closeSync(file);
    }
  }
  return hash.digest('hex');
}
