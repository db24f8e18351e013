/** Memory that copies are made in, one after the other: fresh memory for each of them takes longer than the copy. */
export interface Scratch {
  bytes: Uint8Array;
}

export const newScratch = (): Scratch => ({ bytes: new Uint8Array(0) });

/**
 * Bytes that a typed array of this element size can view: these, or a copy.
 * @param reused where a copy is made; it is good until this is used again
 */
export function aligned(bytes: Uint8Array, size: number, reused?: Scratch): Uint8Array {
  if (bytes.byteOffset % size === 0) return bytes;
  if (!reused) return new Uint8Array(bytes);
  if (reused.bytes.byteLength < bytes.byteLength) reused.bytes = new Uint8Array(bytes.byteLength);
  reused.bytes.set(bytes);
  return reused.bytes.subarray(0, bytes.byteLength);
}
