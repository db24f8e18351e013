import { type Dim, operator, shapeVector } from '../graph/operator.ts';
import { keepAll } from './families/whole.ts';

/** Puts elements back where MaxPool found them. https://onnx.ai/onnx/operators/onnx__MaxUnpool.html (9, 11, 22) */
export const MaxUnpool = operator('MaxUnpool', {
  roles: { 2: shapeVector },
  shape(n) {
    const { elemType } = n.type(0);
    const wanted = n.has(2) ? n.constant(2)?.values : undefined;
    if (wanted) return [{ elemType, shape: wanted }];
    const [batch, channels, ...spatial] = n.shape(0);
    const kernel = n.ints('kernel_shape') ?? [];
    const strides = n.ints('strides') ?? kernel.map(() => 1);
    const pads = n.ints('pads') ?? [...kernel, ...kernel].map(() => 0);
    const size = spatial.map((dim, i): Dim => {
      if (typeof dim === 'string' || n.has(2)) return `${n.outputs[0]}_${i + 2}`;
      return (dim - 1) * strides[i] + kernel[i] - pads[i] - pads[i + spatial.length];
    });
    return [{ elemType, shape: [batch, channels, ...size] }];
  },
  couple: (n, r) => keepAll(n, r, 'is told places in all of it'),
  zero: () => 'zero',
});
