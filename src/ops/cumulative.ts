import { normalAxis, unknown } from '../graph/axes.ts';
import { type NodeView, type Operator, operator, shapeVector } from '../graph/operator.ts';
import { coupleNormalised } from './families/normalised.ts';

const axisOf = (n: NodeView): number => normalAxis((n.constantInts(1) ?? unknown())[0], n.shape(0).length);

/** Sums or products of everything up to an element. @param neutral what stands in front of the first */
const cumulative = (type: string, aten: string, neutral: number): Operator =>
  operator(type, {
    roles: { 1: shapeVector },
    shape: n => [n.type(0)],
    evaluate(n) {
      const value = n.constant(0);
      if (!value || value.values.some(element => typeof element === 'string')) return [null];
      const axis = axisOf(n);
      const length = value.dims[axis];
      const step = value.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
      const values = [...(value.values as readonly number[])];
      const order = Array.from({ length }, (_, i) => (n.int('reverse', 0) ? length - 1 - i : i));
      for (let first = 0; first < values.length; first++) {
        if (Math.floor(first / step) % length !== 0) continue;
        let total = neutral;
        for (const i of order) {
          const element = values[first + i * step];
          const next = neutral === 0 ? total + element : total * element;
          values[first + i * step] = n.int('exclusive', 0) ? total : next;
          total = next;
        }
      }
      return [{ ...value, values }];
    },
    couple(n, r) {
      coupleNormalised(n, r, [axisOf(n)], 'accumulates along it');
      return undefined;
    },
    zero: n => (neutral !== 0 && n.int('exclusive', 0) ? 'constant' : 'zero'),
    forward(n, engine) {
      const axis = axisOf(n);
      const [accumulate, flip, narrow, cat, full] = [aten, 'flip', 'narrow', 'cat', 'full_like'].map(name =>
        engine.op(name),
      );
      const reverse = n.int('reverse', 0) === 1;
      const shifted = n.int('exclusive', 0) === 1;
      const turned = (x: Parameters<typeof flip>[0]) => flip(x, [axis]);
      return ([x]) => {
        const ordered = reverse ? turned(x) : x!;
        const first = full(narrow(ordered, axis, 0, 1), neutral);
        const length = x!.shape[axis];
        const start = shifted ? cat([first, narrow(ordered, axis, 0, length - 1)], axis) : ordered;
        const found = accumulate(start, axis);
        return reverse ? turned(found) : found;
      };
    },
  });

/** https://onnx.ai/onnx/operators/onnx__CumSum.html (11, 14) */
export const CumSum = cumulative('CumSum', 'cumsum', 0);
/** https://onnx.ai/onnx/operators/onnx__CumProd.html (26) */
export const CumProd = cumulative('CumProd', 'cumprod', 1);
