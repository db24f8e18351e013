const scratch = new DataView(new ArrayBuffer(4));

/** IEEE 754 binary16 bits as a number. */
export function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The nearest binary16 bits of a number that is a float32, ties to even; beyond 65504 infinity. */
export function toHalf(value: number): number {
  scratch.setFloat32(0, value);
  const word = scratch.getUint32(0);
  const sign = (word >>> 16) & 0x8000;
  const exponent = ((word >>> 23) & 255) - 127;
  const fraction = word & 0x7fffff;
  if (exponent === 128) return sign | 0x7c00 | (fraction ? 0x200 | (fraction >> 13) : 0);
  if (exponent > 15) return sign | 0x7c00;
  if (exponent < -25) return sign;
  // Normal numbers drop 13 bits; subnormal ones one more for each step below 2^-14. A carry moves into the exponent.
  const drop = exponent < -14 ? -1 - exponent : 13;
  const whole = fraction | 0x800000;
  const kept = exponent < -14 ? whole >>> drop : ((exponent + 14) << 10) + (whole >>> drop);
  const remainder = whole & ((1 << drop) - 1);
  const tie = 1 << (drop - 1);
  return sign | (kept + (remainder > tie || (remainder === tie && kept & 1) ? 1 : 0));
}

/** bfloat16 bits as a number. */
export function fromBfloat(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** The nearest bfloat16 bits of a number that is a float32, ties to even. */
export function toBfloat(value: number): number {
  scratch.setFloat32(0, value);
  const word = scratch.getUint32(0);
  if (Number.isNaN(value)) return (word >>> 16) | 0x40;
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff;
}
