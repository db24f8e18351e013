import { normalAxis } from '../graph/axes.ts';
import { type NodeView, type Operator, operator } from '../graph/operator.ts';

/** Up to opset 12 everything from `axis` (default 1) on is one vector; from 13 on only `axis` (default -1). */
function axesOf(n: NodeView): number[] {
  const rank = n.shape(0).length;
  if (n.version >= 13) return [normalAxis(n.int('axis', -1), rank)];
  const first = normalAxis(n.int('axis', 1), rank);
  return Array.from({ length: rank - first }, (_, i) => first + i);
}

const softmax = (type: string, aten: string): Operator =>
  operator(type, {
    shape: n => [n.type(0)],
    couple(n, r) {
      const axes = axesOf(n);
      n.shape(0).forEach((_, axis) => {
        r.same(n.axis(0, axis), n.outputAxis(0, axis));
        if (axes.includes(axis)) r.wall(n.axis(0, axis), `${type} '${n.name}' normalises over it`);
      });
      return undefined;
    },
    zero: () => 'constant',
    forward(n, engine) {
      const call = engine.op(aten);
      const reshape = engine.op('reshape');
      const axes = axesOf(n);
      if (axes.length === 1) return ([x]) => call(x, axes[0]);
      return ([x]) => reshape(call(reshape(x, [...x!.shape.slice(0, axes[0]), -1]), axes[0]), x!.shape);
    },
  });

/** https://onnx.ai/onnx/operators/onnx__Softmax.html (1, 11, 13) */
export const Softmax = softmax('Softmax', 'softmax.int');
/** https://onnx.ai/onnx/operators/onnx__LogSoftmax.html (1, 11, 13) */
export const LogSoftmax = softmax('LogSoftmax', 'log_softmax.int');

/** 1 for the first of the largest, 0 for all others. https://onnx.ai/onnx/operators/onnx__Hardmax.html (1, 11, 13) */
export const Hardmax: Operator = {
  ...softmax('Hardmax', 'argmax'),
  discrete: true,
  forward(n, engine) {
    const [reshape, argmax, zeros, scatter] = ['reshape', 'argmax', 'zeros_like', 'scatter.value'].map(name =>
      engine.op(name),
    );
    const axes = axesOf(n);
    return ([x]) => {
      const rows = axes.length === 1 ? x! : reshape(x, [...x!.shape.slice(0, axes[0]), -1]);
      return reshape(scatter(zeros(rows), axes[0], argmax(rows, axes[0], true), 1), x!.shape);
    };
  },
};
