import { type Random, stream } from '../../src/util/random.ts';

/** Draws whose seeds are named in the test's title. `S2H_SEED` shifts them all. */
export const seeds = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => i + Number(process.env.S2H_SEED ?? 1));

export const normals = (random: Random, length: number, deviation = 1): Float64Array =>
  Float64Array.from({ length }, () => deviation * random.normal());

export { type Random, stream };
