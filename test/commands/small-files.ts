import { join } from 'node:path';
import { type Dimension, GraphBuilder, type OnnxModel, writeModel } from '../../src/onnx/index.ts';

/** A file that answers `answer` of `classes` for any image. */
export function constantAnswer(
  folder: string,
  name: string,
  { answer, classes, shape }: { answer: number; classes: number; shape: readonly Dimension[] },
  metadata: Record<string, string> = {},
): string {
  const g = new GraphBuilder({ name });
  const x = g.input('images', shape);
  const flat = g.node('Flatten', [g.node('GlobalAveragePool', [x])]);
  const channels = shape[1] as number;
  const w = g.initializer('w', new Float32Array(channels * classes), [channels, classes]);
  const b = g.initializer(
    'b',
    Float32Array.from({ length: classes }, (_, i) => Number(i === answer)),
    [classes],
  );
  g.node('Gemm', [flat, w, b], {}, { output: 'scores' });
  g.output('scores', [shape[0], classes]);
  return write(folder, name, g.model({ metadata }));
}

/** A file whose two scores are the mean of its first channel and of its last one. */
export function redOrBlue(folder: string, name: string, shape: readonly Dimension[]): string {
  const g = new GraphBuilder({ name });
  const x = g.input('images', shape);
  const flat = g.node('Flatten', [g.node('GlobalAveragePool', [x])]);
  g.node('MatMul', [flat, g.initializer('w', Float32Array.of(1, 0, 0, 0, 0, 1), [3, 2])], {}, { output: 'scores' });
  g.output('scores', [shape[0], 2]);
  return write(folder, name, g.model());
}

export function write(folder: string, name: string, model: OnnxModel): string {
  const path = join(folder, `${name}.onnx`);
  writeModel(model, path);
  return path;
}
