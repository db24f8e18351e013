import { known, windowOf } from '../../graph/axes.ts';
import type { Arg, Engine, Tensor } from '../../graph/engine.ts';
import { type Forward, type NodeView, type Operator, operator } from '../../graph/operator.ts';
import { DataType } from '../../onnx/index.ts';
import { untrainable } from './untrainable.ts';

/** Pads of the spatial axes in libtorch's order: last axis first, before and after. */
export function padConstant(
  engine: Engine,
  begin: readonly number[],
  end: readonly number[],
  value: number,
): (x: Tensor) => Tensor {
  const pads = begin.flatMap((_, i) => [begin[begin.length - 1 - i], end[end.length - 1 - i]]);
  if (pads.every(pad => pad === 0)) return x => x;
  const pad = engine.op('constant_pad_nd');
  return x => pad(x, pads, value);
}

/** A pooling node's window and how libtorch can apply it. */
function poolingOf(n: NodeView) {
  const spatial = n.shape(0).slice(2);
  const ceil = n.int('ceil_mode', 0) === 1;
  const window = windowOf(n, spatial, n.ints('kernel_shape')!, ceil);
  const { kernel, strides, dilations, padsBegin, padsEnd, size } = window;
  // libtorch pads by at most half the kernel and the same on both sides; other pads are put on before.
  const plain = padsBegin.every((pad, axis) => pad === padsEnd[axis] && pad * 2 <= kernel[axis]);
  // Pads with which rounding down gives the size that rounding up asks for.
  const exact = (axis: number) =>
    (known(size[axis]) - 1) * strides[axis] +
    (kernel[axis] - 1) * dilations[axis] +
    1 -
    known(spatial[axis]) -
    padsBegin[axis];
  return {
    ...window,
    rank: spatial.length,
    ceil,
    plain,
    end: ceil ? kernel.map((_, i) => exact(i)) : padsEnd,
  };
}

type Pooling = ReturnType<typeof poolingOf>;

/** The mean of every window of an input that is padded already. */
function windowMean(engine: Engine, { kernel, strides, dilations, rank }: Pooling): (x: Tensor) => Tensor {
  if (dilations.every(dilation => dilation === 1)) {
    const averagePool = engine.op(`avg_pool${rank}d`);
    return x => averagePool(x, kernel, strides, 0, false, true);
  }
  const [convolution, reshape, typeAs] = ['convolution', 'reshape', 'type_as'].map(name => engine.op(name));
  const cells = kernel.reduce((a, b) => a * b, 1);
  const share = engine.tensor(new Float32Array(cells).fill(1 / cells), [1, 1, ...kernel]);
  const zeros = kernel.map(() => 0);
  return x => {
    const [batch, channels, ...spatial] = x.shape;
    const planes = reshape(x, [-1, 1, ...spatial]);
    const means = convolution(planes, typeAs(share, x), null, strides, zeros, dilations, false, zeros, 1);
    return reshape(means, [batch, channels, ...means.shape.slice(2)]);
  };
}

/** Max and average pooling: windows over the spatial axes of each channel. */
function pool(type: string, definition: Pick<Operator, 'couple' | 'forward'>): Operator {
  return operator(type, {
    shape(n) {
      const [batch, channels, ...spatial] = n.shape(0);
      const { size } = windowOf(n, spatial, n.ints('kernel_shape')!, n.int('ceil_mode', 0) === 1);
      const shape = [batch, channels, ...size];
      return n.outputs.map((_, i) => ({ elemType: i === 0 ? n.type(0).elemType : DataType.INT64, shape }));
    },
    zero: () => 'zero',
    ...definition,
  });
}

/** Indices within a plane as indices into the whole tensor; planes are row by row, or column by column. */
function globalIndices(engine: Engine, byColumn: boolean): (indices: Tensor, x: Tensor) => Tensor {
  const [reshape, narrow, ones, cumsum] = ['reshape', 'narrow', 'ones_like', 'cumsum'].map(name => engine.op(name));
  const [add, minus, times] = ['add.Tensor', 'sub.Scalar', 'mul.Scalar'].map(name => engine.op(name));
  const [quotient, remainder] = ['div.Scalar_mode', 'remainder.Scalar'].map(name => engine.op(name));
  return (indices, x) => {
    const [batch, channels, ...spatial] = x.shape;
    const [height, width] = spatial;
    const local = byColumn ? add(times(remainder(indices, width), height), quotient(indices, width, 'floor')) : indices;
    const planes = reshape(local, [batch * channels, -1]);
    const plane = minus(cumsum(ones(narrow(planes, 1, 0, 1)), 0), 1);
    const size = spatial.reduce((a, b) => a * b, 1);
    return reshape(add(planes, times(plane, size)), indices.shape);
  };
}

/** https://onnx.ai/onnx/operators/onnx__MaxPool.html (1, 8, 10, 11, 12, 22) */
export const MaxPool = pool('MaxPool', {
  couple(n, r) {
    // Its second output counts positions through all channels.
    if (n.outputs[1]) {
      const indices = n.shape(0).map((_, axis) => n.outputAxis(1, axis));
      for (const ref of [n.axis(0, 1), ...indices]) r.wall(ref, `MaxPool '${n.name}' gives indices into it`);
    }
    return 'N C * -> N C *';
  },
  forward(n, engine) {
    const { kernel, strides, dilations, padsBegin, end, rank, ceil, plain } = poolingOf(n);
    if (n.outputs[1]) {
      const byColumn = n.int('storage_order', 0) === 1 && rank > 1;
      if (!plain || (byColumn && rank > 2)) throw untrainable(n, 'libtorch has no such indices');
      const withIndices = engine.ops(`max_pool${rank}d_with_indices`);
      const global = globalIndices(engine, byColumn);
      return ([x]) => {
        const [y, indices] = withIndices(x, kernel, strides, padsBegin, dilations, ceil);
        return [y, global(indices, x!)];
      };
    }
    const maxPool = engine.op(`max_pool${rank}d`);
    if (plain) return ([x]) => maxPool(x, kernel, strides, padsBegin, dilations, ceil);
    const pad = padConstant(engine, padsBegin, end, Number.NEGATIVE_INFINITY);
    return ([x]) => maxPool(pad(x!), kernel, strides, 0, dilations, false);
  },
});

/** https://onnx.ai/onnx/operators/onnx__AveragePool.html (1, 7, 10, 11, 19, 22) */
export const AveragePool = pool('AveragePool', {
  couple: () => 'N C * -> N C *',
  forward(n, engine) {
    const pooling = poolingOf(n);
    const { kernel, strides, dilations, padsBegin, end, rank, ceil, plain } = pooling;
    const averagePool = engine.op(`avg_pool${rank}d`);
    const onesLike = engine.op('ones_like');
    const slice = engine.op('slice.Tensor');
    const divide = engine.op('div.Tensor');
    const countPads = n.int('count_include_pad', 0) === 1;
    if (plain && dilations.every(dilation => dilation === 1)) {
      return ([x]) => averagePool(x, kernel, strides, padsBegin, ceil, countPads);
    }
    const pad = padConstant(engine, padsBegin, end, 0);
    const mean = windowMean(engine, pooling);
    return ([x]) => {
      const sum = mean(pad(x!));
      if (countPads) return sum;
      // The share of each window that lies inside the input.
      const inside = slice(slice(onesLike(x), 0, 0, 1), 1, 0, 1);
      return divide(sum, mean(pad(inside)));
    };
  },
});

/** The p-th root of what may be 0, where its gradient counts as 0. */
function root(engine: Engine, p: number): (x: Tensor) => Tensor {
  const [isZero, fill, power] = ['eq.Scalar', 'masked_fill.Scalar', 'pow.Tensor_Scalar'].map(name => engine.op(name));
  if (p === 1) return x => x;
  return x => {
    const zero = isZero(x, 0);
    return fill(power(fill(x, zero, 1), 1 / p), zero, 0);
  };
}

/** The p-norm of every window. https://onnx.ai/onnx/operators/onnx__LpPool.html (2, 11, 18, 22) */
export const LpPool = pool('LpPool', {
  couple: () => 'N C * -> N C *',
  forward(n, engine) {
    const pooling = poolingOf(n);
    const [abs, power, times] = ['abs', 'pow.Tensor_Scalar', 'mul.Scalar'].map(name => engine.op(name));
    const p = n.int('p', 2);
    const cells = pooling.kernel.reduce((a, b) => a * b, 1);
    const pad = padConstant(engine, pooling.padsBegin, pooling.end, 0);
    const [mean, rooted] = [windowMean(engine, pooling), root(engine, p)];
    return ([x]) => rooted(times(mean(pad(power(abs(x), p))), cells));
  },
});

/** Pooling over all spatial axes, which stay with length 1. */
function globalPool(type: string, aten: string, before: (n: NodeView) => readonly Arg[] = () => []): Operator {
  return operator(type, {
    shape: n => [{ elemType: n.type(0).elemType, shape: n.shape(0).map((dim, axis) => (axis < 2 ? dim : 1)) }],
    couple: () => 'N C * -> N C *',
    zero: () => 'zero',
    forward(n, engine): Forward {
      const reduce = engine.op(aten);
      const axes = n
        .shape(0)
        .map((_, axis) => axis)
        .slice(2);
      const first = before(n);
      return ([x]) => reduce(x, ...first, axes, true);
    },
  });
}

/** https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html (1, 22) */
export const GlobalAveragePool = globalPool('GlobalAveragePool', 'mean.dim');
/** https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html (1, 22) */
export const GlobalMaxPool = globalPool('GlobalMaxPool', 'amax');
/** https://onnx.ai/onnx/operators/onnx__GlobalLpPool.html (2, 22) */
export const GlobalLpPool = globalPool('GlobalLpPool', 'linalg_vector_norm', n => [n.int('p', 2)]);
