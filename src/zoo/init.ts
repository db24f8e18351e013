import type { Random } from '../util/random.ts';

/** Fills a new parameter's values in place, given its shape. */
export type Initialiser = (values: Float32Array, shape: readonly number[], random: Random) => void;

/** The same value everywhere. */
export const constant =
  (value: number): Initialiser =>
  values => {
    values.fill(value);
  };

/** Normal with mean 0. */
export const normal =
  (deviation: number): Initialiser =>
  (values, _, random) => {
    for (let i = 0; i < values.length; i++) values[i] = deviation * random.normal();
  };

/** Uniform in [-bound, bound). */
export const uniform =
  (bound: number): Initialiser =>
  (values, _, random) => {
    for (let i = 0; i < values.length; i++) values[i] = bound * (2 * random.uniform() - 1);
  };

const product = (sizes: readonly number[]) => sizes.reduce((a, b) => a * b, 1);

/**
 * Normal with variance 2 / fan_out, for weights [O, I, kh, kw] in front of a ReLU
 * (He et al., "Delving Deep into Rectifiers", ICCV 2015; `kaiming_normal_(mode='fan_out')`).
 */
export const kaimingNormal: Initialiser = (values, shape, random) =>
  normal(Math.sqrt(2 / (shape[0] * product(shape.slice(2)))))(values, shape, random);

/** PyTorch's default for weights [O, I, ...] of linear layers and convolutions: uniform within 1 / sqrt(fan_in). */
export const defaultWeight: Initialiser = (values, shape, random) =>
  uniform(1 / Math.sqrt(product(shape.slice(1))))(values, shape, random);

/** PyTorch's default for the bias of a layer that sums over `fanIn` values: uniform within 1 / sqrt(fanIn). */
export const defaultBias = (fanIn: number): Initialiser => uniform(1 / Math.sqrt(fanIn));
