import type { Importance } from './criterion.ts';
import { meanOver, outWeights, type Statistic } from './members.ts';

/**
 * Mean over the group's weights of the sum of the distances of a channel's filter to all filters of the layer: filters
 * near the geometric median are those that the others can replace.
 * He et al., Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration, CVPR 2019.
 */
export const fpgm: Importance = (group, context) =>
  meanOver(outWeights(group, context.coupling), group, context, distances);

/** For every filter the sum of its Euclidean distances to the others; quadratic in the number of filters. */
const distances: Statistic = (values, dims, axis) => {
  const filters = filtersOf(values, dims, axis);
  const sums = new Float64Array(filters.length);
  for (let a = 0; a < filters.length; a++) {
    for (let b = a + 1; b < filters.length; b++) {
      const [p, q] = [filters[a], filters[b]];
      let square = 0;
      for (let i = 0; i < p.length; i++) square += (p[i] - q[i]) ** 2;
      const distance = Math.sqrt(square);
      sums[a] += distance;
      sums[b] += distance;
    }
  }
  return sums;
};

/** The elements of every index of an axis, each as one vector. */
function filtersOf(values: Float32Array, dims: readonly number[], axis: number): Float32Array[] {
  const length = dims[axis];
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = dims.slice(0, axis).reduce((a, b) => a * b, 1);
  if (outer === 1) return Array.from({ length }, (_, i) => values.subarray(i * inner, (i + 1) * inner));
  return Array.from({ length }, (_, i) => {
    const filter = new Float32Array(outer * inner);
    for (let o = 0; o < outer; o++) {
      const from = (o * length + i) * inner;
      filter.set(values.subarray(from, from + inner), o * inner);
    }
    return filter;
  });
}
