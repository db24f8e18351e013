import { normalAxis } from '../../graph/axes.ts';
import type { Engine, Tensor } from '../../graph/engine.ts';
import type { NodeView, Relations } from '../../graph/operator.ts';
import { coupleBroadcast } from './broadcast.ts';

/** The axes from `axis` on, over which the layer normalisations compute their statistics. @throws UnknownShape */
export function lastAxes(n: NodeView): number[] {
  const rank = n.shape(0).length;
  const first = normalAxis(n.int('axis', -1), rank);
  return Array.from({ length: rank - first }, (_, i) => first + i);
}

/**
 * State that the first output has the axes of the first input, and that those over which statistics are taken keep their
 * lengths: without one index the others would be different.
 */
export function coupleNormalised(n: NodeView, r: Relations, axes: readonly number[], why = 'normalises over it'): void {
  for (const axis of axes) r.wall(n.axis(0, axis), `${n.opType} '${n.name}' ${why}`);
  coupleBroadcast(n, 0, 0, r);
}

/** x / sqrt(mean of x² over the axes + epsilon). */
export function rootMeanSquare(
  engine: Engine,
  axes: readonly number[],
  epsilon: number,
): (x: Tensor) => { normalised: Tensor; inverse: Tensor } {
  const [multiply, mean, add, rsqrt] = ['mul.Tensor', 'mean.dim', 'add.Scalar', 'rsqrt'].map(name => engine.op(name));
  return x => {
    const inverse = rsqrt(add(mean(multiply(x, x), axes, true), epsilon));
    return { normalised: multiply(x, inverse), inverse };
  };
}

/** (x - mean) / sqrt(variance + epsilon) over the axes, with both statistics. */
export function centred(
  engine: Engine,
  axes: readonly number[],
  epsilon: number,
): (x: Tensor) => { normalised: Tensor; mean: Tensor; inverse: Tensor } {
  const [subtract, mean] = ['sub.Tensor', 'mean.dim'].map(name => engine.op(name));
  const scaled = rootMeanSquare(engine, axes, epsilon);
  return x => {
    const centre = mean(x, axes, true);
    return { ...scaled(subtract(x, centre)), mean: centre };
  };
}

/** Times a scale, plus a shift, both broadcast; null where the node has none. */
export function affine(engine: Engine): (x: Tensor, scale?: Tensor | null, shift?: Tensor | null) => Tensor {
  const [multiply, add] = ['mul.Tensor', 'add.Tensor'].map(name => engine.op(name));
  return (x, scale, shift) => {
    const scaled = scale ? multiply(x, scale) : x;
    return shift ? add(scaled, shift) : scaled;
  };
}
