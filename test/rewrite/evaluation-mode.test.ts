import { expect, test } from 'vitest';
import { attributesOf, DataType, GraphBuilder, tensorOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { inEvaluationMode } from '../../src/rewrite/evaluation-mode.ts';
import { openModel } from '../../src/runtime/session.ts';

/** As torch.onnx.export writes a network in training mode: running statistics as outputs, a live Dropout. */
function exportedInTraining(useMean = false) {
  const g = new GraphBuilder({ name: 'training', opset: 17 });
  const x = g.input('x', ['N', 2, 2, 2]);
  const vector = (name: string, ...values: number[]) => g.initializer(name, Float32Array.from(values), [2]);
  const [y, mean] = g.node(
    'BatchNormalization',
    [x, vector('scale', 1, 2), vector('shift', 0, 1), vector('mean', 3, 4), vector('var', 4, 9)],
    { training_mode: 1 },
    { outputs: ['y', 'mean_out', 'var_out'] },
  );
  const ratio = g.initializer('ratio', Float32Array.of(0.5), []);
  const training = g.tensor(tensorOf('training', Uint8Array.of(1), [], DataType.BOOL));
  g.output(g.node('Dropout', [y, ratio, training]), ['N', 2, 2, 2]);
  if (useMean) g.output(mean, [2]);
  return g.model();
}

test('BatchNormalization uses its running statistics and Dropout passes on, by ONNX Runtime', async () => {
  const { model, changed } = inEvaluationMode(exportedInTraining(), operators);
  expect(changed).toHaveLength(2);
  expect(attributesOf(model.graph.nodes[0]).get('training_mode')).toBeUndefined();
  const session = await openModel(model);
  const data = Float32Array.of(5, 5, 5, 5, 7, 7, 7, 7);
  const [y] = Object.values(await session.run({ x: { type: 'float32', shape: [1, 2, 2, 2], data } }));
  await session.dispose();
  // (5 - 3) / 2 = 1, and 2 (7 - 4) / 3 + 1 = 3
  for (const [i, value] of [...(y.data as Float32Array)].entries()) expect(value).toBeCloseTo(i < 4 ? 1 : 3, 4);
});

test('A node whose statistics are read stays as it is, and so does a file in evaluation mode', () => {
  const used = inEvaluationMode(exportedInTraining(true), operators);
  expect(used.model.graph.nodes[0].output).toHaveLength(3);
  const once = inEvaluationMode(exportedInTraining(), operators).model;
  expect(inEvaluationMode(once, operators)).toEqual({ model: once, changed: [] });
});
