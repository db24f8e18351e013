import { type NodeView, operator } from '../graph/operator.ts';
import { coupleBroadcast } from './families/broadcast.ts';

/** The bounds: attributes up to opset 10, inputs from 11 on; null: open. */
function bounds(n: NodeView): { min: number | null; max: number | null; known: boolean } {
  const read = (name: string, input: number) => {
    const attribute = n.attribute(name);
    if (typeof attribute === 'number') return attribute;
    const value = n.constant(input)?.values[0];
    return typeof value === 'number' ? value : null;
  };
  const known = [1, 2].every(input => !n.has(input) || n.constant(input) !== null);
  return { min: read('min', 1), max: read('max', 2), known };
}

/** https://onnx.ai/onnx/operators/onnx__Clip.html (1, 6, 11, 12, 13) */
export const Clip = operator('Clip', {
  shape: n => [n.type(0)],
  couple(n, r) {
    coupleBroadcast(n, 0, 0, r);
    return undefined;
  },
  zero(n) {
    const { min, max, known } = bounds(n);
    return known && (min ?? 0) <= 0 && (max ?? 0) >= 0 ? 'zero' : 'constant';
  },
  forward(n, engine) {
    const { min, max, known } = bounds(n);
    if (known && min === null && max === null) return ([x]) => x!;
    const clamp = engine.op('clamp');
    const clampTensor = engine.op('clamp.Tensor');
    return ([x, low, high]) => (known ? clamp(x, min, max) : clampTensor(x, low ?? null, high ?? null));
  },
});
