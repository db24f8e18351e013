import { known, windowOf } from '../../graph/axes.ts';
import type { Engine, Tensor } from '../../graph/engine.ts';
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
    end: ceil && !plain ? kernel.map((_, i) => exact(i)) : padsEnd,
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

/** https://onnx.ai/onnx/operators/onnx__MaxPool.html (1, 8, 10, 11, 12, 22) */
export const MaxPool = pool('MaxPool', {
  couple(n, r) {
    // Its second output counts positions through all channels.
    if (n.outputs[1]) {
      for (const ref of [n.axis(0, 1), n.outputAxis(1, 1)]) r.wall(ref, `MaxPool '${n.name}' gives indices into it`);
    }
    return 'N C * -> N C *';
  },
  forward(n, engine) {
    if (n.outputs[1]) throw untrainable(n, 'it gives indices');
    const { kernel, strides, dilations, padsBegin, end, rank, ceil, plain } = poolingOf(n);
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
    const { kernel, strides, dilations, padsBegin, end, rank, ceil, plain } = poolingOf(n);
    if (dilations.some(dilation => dilation !== 1)) throw untrainable(n, 'its window is dilated');
    const averagePool = engine.op(`avg_pool${rank}d`);
    const onesLike = engine.op('ones_like');
    const slice = engine.op('slice.Tensor');
    const divide = engine.op('div.Tensor');
    const countPads = n.int('count_include_pad', 0) === 1;
    if (plain) return ([x]) => averagePool(x, kernel, strides, padsBegin, ceil, countPads);
    const pad = padConstant(engine, padsBegin, end, 0);
    return ([x]) => {
      const sum = averagePool(pad(x!), kernel, strides, 0, false, true);
      if (countPads) return sum;
      // The share of each window that lies inside the input.
      const inside = slice(slice(onesLike(x), 0, 0, 1), 1, 0, 1);
      return divide(sum, averagePool(pad(inside), kernel, strides, 0, false, true));
    };
  },
});

/** Pooling over all spatial axes, which stay with length 1. */
function globalPool(type: string, aten: string): Operator {
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
      return ([x]) => reduce(x, axes, true);
    },
  });
}

/** https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html (1, 22) */
export const GlobalAveragePool = globalPool('GlobalAveragePool', 'mean.dim');
/** https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html (1, 22) */
export const GlobalMaxPool = globalPool('GlobalMaxPool', 'amax');
