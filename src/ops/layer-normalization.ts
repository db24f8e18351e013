import { known } from '../graph/axes.ts';
import { type NodeView, type Operator, operator, type Relations, type Shape, scale, shift } from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { coupleBroadcast } from './families/broadcast.ts';
import { affine, centred, coupleNormalised, lastAxes, rootMeanSquare } from './families/normalised.ts';

/** Shape of the statistics: 1 along the normalised axes. */
const statistics = (n: NodeView): Shape => {
  const axes = lastAxes(n);
  return n.shape(0).map((dim, axis) => (axes.includes(axis) ? 1 : dim));
};

/** Everything that is per index of the axes in front: input and all outputs; scale and shift follow by broadcast. */
function couple(n: NodeView, r: Relations): undefined {
  const axes = lastAxes(n);
  coupleNormalised(n, r, axes);
  for (const input of [1, 2]) if (n.has(input)) coupleBroadcast(n, input, 0, r);
  for (const [output, name] of n.outputs.entries()) {
    if (!name || output === 0) continue;
    for (let axis = 0; axis < axes[0]; axis++) r.same(n.axis(0, axis), n.outputAxis(output, axis));
  }
  return undefined;
}

/** Whether scale and shift have the shape of what is normalised, as libtorch's layer_norm wants them. */
const isPlain = (n: NodeView, normalised: Shape): boolean =>
  [1, 2].every(input => !n.has(input) || n.shape(input).join() === normalised.join());

/** https://onnx.ai/onnx/operators/onnx__LayerNormalization.html (17) */
export const LayerNormalization = operator('LayerNormalization', {
  roles: { 1: scale, 2: shift },
  shape(n) {
    const stash = n.int('stash_type', DataType.FLOAT);
    return n.outputs.map((_, i) => (i === 0 ? n.type(0) : { elemType: stash, shape: statistics(n) }));
  },
  couple,
  zero: n => (n.has(2) || n.outputs[2] ? 'constant' : 'zero'),
  forward(n, engine) {
    const axes = lastAxes(n);
    const epsilon = n.float('epsilon', 1e-5);
    const normalised = axes.map(axis => n.shape(0)[axis]);
    if (n.outputs.every((name, i) => !name || i === 0) && isPlain(n, normalised)) {
      const layerNorm = engine.op('layer_norm');
      const lengths = normalised.map(known);
      return ([x, gamma, beta]) => layerNorm(x, lengths, gamma ?? null, beta ?? null, epsilon);
    }
    const [normalise, apply] = [centred(engine, axes, epsilon), affine(engine)];
    return ([x, gamma, beta]) => {
      const { normalised: y, mean, inverse } = normalise(x!);
      return [apply(y, gamma, beta), mean, inverse];
    };
  },
});

/** Normalisation by the root of the mean square over the last axes; the second output is the factor. */
const rootMeanSquared = (type: string): Operator =>
  operator(type, {
    roles: { 1: scale },
    shape(n) {
      const stash = n.int('stash_type', DataType.FLOAT);
      return n.outputs.map((_, i) => (i === 0 ? n.type(0) : { elemType: stash, shape: statistics(n) }));
    },
    couple,
    zero: n => (n.outputs[1] ? 'constant' : 'zero'),
    forward(n, engine) {
      const [normalise, apply] = [rootMeanSquare(engine, lastAxes(n), n.float('epsilon', 1e-5)), affine(engine)];
      return ([x, gamma]) => {
        const { normalised, inverse } = normalise(x!);
        return [apply(normalised, gamma), inverse];
      };
    },
  });

/** https://onnx.ai/onnx/operators/onnx__RMSNormalization.html (23) */
export const RMSNormalization = rootMeanSquared('RMSNormalization');

/** The same as ONNX Runtime's optimiser writes it, in the standard domain. */
export const SimplifiedLayerNormalization = rootMeanSquared('SimplifiedLayerNormalization');
