import type { Engine } from '../graph/engine.ts';
import {
  type Forward,
  type NodeView,
  operator,
  runningMean,
  runningVariance,
  scale,
  shift,
  WrongNode,
} from '../graph/operator.ts';
import { untrainable } from './families/untrainable.ts';

/** Batch normalisation over axis 1. https://onnx.ai/onnx/operators/onnx__BatchNormalization.html (7, 9, 14, 15) */
export const BatchNormalization = operator('BatchNormalization', {
  roles: { 1: scale, 2: shift, 3: runningMean, 4: runningVariance },
  foldable: [1, 2],
  overwritable: true,
  shape(n) {
    checkVectors(n);
    return [n.type(0), ...n.outputs.slice(1).map(() => ({ elemType: n.type(0).elemType, shape: [n.shape(0)[1]] }))];
  },
  couple: n => `N C *, C, C, C, C -> N C *${', C'.repeat(n.outputs.length - 1)}`,
  zero: () => 'constant',
  forward: (n, engine) => normalised(n, engine, false),
  forwardChain(n, behind, engine) {
    const [next] = behind;
    const residual = next?.opType === 'Add' ? next.inputs[next.inputs[0] === n.outputs[0] ? 1 : 0] : null;
    const added = residual && residual !== n.outputs[0] && sameShapes(next) ? 1 : 0;
    const relu = behind[added]?.opType === 'Relu' ? 1 : 0;
    if (added + relu === 0) return null;
    return { length: added + relu, inputs: added ? [residual!] : [], forward: normalised(n, engine, relu === 1) };
  },
});

/** @throws WrongNode for a vector that is not as long as there are channels */
function checkVectors(n: NodeView): void {
  const channels = n.type(0).shape?.[1];
  if (typeof channels !== 'number' || n.int('spatial', 1) === 0) return;
  for (const input of [1, 2, 3, 4]) {
    const length = n.type(input).shape?.[0];
    if (typeof length === 'number' && length !== channels)
      throw new WrongNode(`has ${length} numbers in '${n.inputs[input]}' for ${channels} channels`);
  }
}

const sameShapes = (n: NodeView) =>
  n.type(0).shape !== null && n.type(1).shape !== null && String(n.shape(0)) === String(n.shape(1));

/** In one pass with what is added to it, its sixth input, and a ReLU (native/batch_norm_relu.cc). */
function normalised(n: NodeView, engine: Engine, relu: boolean): Forward {
  if (n.int('training_mode', 0) === 1 || n.int('spatial', 1) === 0 || n.outputs.some((name, i) => i > 0 && name)) {
    throw untrainable(
      n,
      'its training outputs are used, or it is not per channel',
      'Export the model in evaluation mode: model.eval(), training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False.',
    );
  }
  const batchNorm = engine.op('s2hpruner::batch_norm_relu');
  const epsilon = n.float('epsilon', 1e-5);
  // ONNX weighs the old running value, libtorch the new one.
  const momentum = 1 - n.float('momentum', 0.9);
  return ([x, gamma, beta, mean, variance, residual = null], { training }) =>
    batchNorm(x, gamma, beta, mean, variance, residual, training, momentum, epsilon, relu);
}
