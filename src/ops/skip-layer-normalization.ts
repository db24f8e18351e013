import {
  bias,
  type NodeView,
  type Operator,
  operator,
  type Role,
  scale,
  shift,
  type ValueType,
} from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { coupleBroadcast, isWhole } from './families/broadcast.ts';
import { affine, centred, coupleNormalised, rootMeanSquare } from './families/normalised.ts';

/** Place of the bias that is added before: there is no shift in front of it without the mean. */
const biasInput = (n: NodeView): number => (n.opType === 'SkipLayerNormalization' ? 4 : 3);

/** Nothing is added but the two inputs, of which none is a constant or stretched. */
const isSumOnly = (n: NodeView): boolean =>
  [3, 4].every(input => !n.has(input)) && [0, 1].every(input => isWhole(n, input));

/** Layer normalisation over the last axis of the sum of two inputs and a bias; the sum is the fourth output. */
const skipping = (type: string): Operator =>
  operator(type, {
    domain: 'com.microsoft',
    roles: (n): Record<number, Role> => (biasInput(n) === 4 ? { 2: scale, 3: shift, 4: bias } : { 2: scale, 3: bias }),
    shape(n) {
      const shape = n.shape(0);
      const { elemType } = n.type(0);
      const types: ValueType[] = [
        { elemType, shape },
        { elemType: DataType.FLOAT, shape: shape.with(-1, 1) },
        { elemType: DataType.FLOAT, shape: shape.with(-1, 1) },
        { elemType, shape },
      ];
      return types.slice(0, n.outputs.length);
    },
    couple(n, r) {
      coupleNormalised(n, r, [n.shape(0).length - 1]);
      for (const input of n.inputs.keys()) if (input > 0 && n.has(input)) coupleBroadcast(n, input, 0, r);
      for (const [output, name] of n.outputs.entries()) {
        if (!name || output === 0) continue;
        for (let axis = 0; axis < n.shape(0).length - (output === 3 ? 0 : 1); axis++) {
          r.same(n.axis(0, axis), n.outputAxis(output, axis));
        }
      }
      return undefined;
    },
    zero: n => (isSumOnly(n) && !n.outputs[1] && !n.outputs[2] ? 'zero' : 'constant'),
    forward(n, engine) {
      const axes = [n.shape(0).length - 1];
      const epsilon = n.float('epsilon', 1e-5);
      const add = engine.op('add.Tensor');
      const apply = affine(engine);
      const at = biasInput(n);
      const layer = at === 4 ? centred(engine, axes, epsilon) : null;
      const root = rootMeanSquare(engine, axes, epsilon);
      return inputs => {
        const [x, skip, gamma] = inputs;
        const joined = add(x, skip);
        const sum = inputs[at] ? add(joined, inputs[at]) : joined;
        if (!layer) {
          const { normalised, inverse } = root(sum);
          return [apply(normalised, gamma), inverse, inverse, sum];
        }
        const { normalised, mean, inverse } = layer(sum);
        return [apply(normalised, gamma, inputs[3]), mean, inverse, sum];
      };
    },
  });

/** https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md (com.microsoft 1) */
export const SkipLayerNormalization = skipping('SkipLayerNormalization');
/** The same without mean and shift. */
export const SkipSimplifiedLayerNormalization = skipping('SkipSimplifiedLayerNormalization');
