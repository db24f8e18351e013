import { operator } from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { coupleBroadcast } from './families/broadcast.ts';

/** https://onnx.ai/onnx/operators/onnx__Identity.html (1, 13, 14, 16, 19, 21) */
export const Identity = operator('Identity', {
  shape: n => [n.type(0)],
  evaluate: n => [n.constant(0)],
  couple(n, r) {
    coupleBroadcast(n, 0, 0, r);
    return undefined;
  },
  zero: () => 'zero',
  forward:
    () =>
    ([x]) =>
      x!,
});

/** Dropout: the identity outside training. https://onnx.ai/onnx/operators/onnx__Dropout.html (1, 6, 7, 10, 12, 13, 22) */
export const Dropout = operator('Dropout', {
  shape(n) {
    // The second output, the mask, had the type of the input at first.
    const mask = n.version >= 10 ? DataType.BOOL : n.type(0).elemType;
    return [n.type(0), { elemType: mask, shape: n.type(0).shape }];
  },
  couple(n, r) {
    for (const [i, output] of n.outputs.entries()) if (output) coupleBroadcast(n, 0, i, r);
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const ratio = n.has(1) ? Number(n.constant(1)?.values[0] ?? 0.5) : n.float('ratio', 0.5);
    if (!n.outputs[1]) {
      const dropout = engine.op('dropout');
      return ([x], { training }) => (training ? dropout(x, ratio, true) : x!);
    }
    const dropout = engine.ops('native_dropout');
    return ([x], { training }) => dropout(x, ratio, training);
  },
});
