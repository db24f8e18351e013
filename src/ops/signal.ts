import { known, normalAxis, unknown } from '../graph/axes.ts';
import type { Dim, NodeView, Operator } from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { opaque } from './families/whole.ts';

/** Fourier transforms and what belongs to them: every output depends on all of the transformed axis. */

/** A number that an input holds. */
const numberAt = (n: NodeView, input: number): number => n.constantInts(input)?.[0] ?? unknown();

/** The transformed axis: an attribute up to operator set 19, an input from 20 on; the last one holds real and imaginary part. */
function dftAxis(n: NodeView): number {
  const rank = n.shape(0).length;
  if (n.version < 20) return normalAxis(n.int('axis', 1), rank);
  return normalAxis(n.has(2) ? numberAt(n, 2) : -2, rank);
}

function dftShape(n: NodeView): Dim[] {
  const shape: Dim[] = [...n.shape(0)];
  const axis = dftAxis(n);
  if (n.has(1)) shape[axis] = numberAt(n, 1);
  const isInverse = n.int('inverse', 0) === 1;
  const isOnesided = n.int('onesided', 0) === 1;
  if (isOnesided) shape[axis] = isInverse ? 2 * (known(shape[axis]) - 1) : Math.floor(known(shape[axis]) / 2) + 1;
  shape[shape.length - 1] = isOnesided && isInverse ? 1 : 2;
  return shape;
}

function stftShape(n: NodeView): Dim[] {
  const [batch, length] = n.shape(0);
  const frame = n.has(3) ? numberAt(n, 3) : known(n.shape(2)[0]);
  const bins = n.int('onesided', 1) ? Math.floor(frame / 2) + 1 : frame;
  return [batch, 1 + Math.floor((known(length) - frame) / numberAt(n, 1)), bins, 2];
}

const window = (type: string): Operator =>
  opaque(type, n => [
    { elemType: n.int('output_datatype', DataType.FLOAT), shape: [n.constant(0)?.values[0] ?? unknown()] },
  ]);

/** https://onnx.ai/onnx/operators/onnx__DFT.html (17, 20), STFT and MelWeightMatrix (17), windows (17) */
export const signals: readonly Operator[] = [
  opaque('DFT', n => [{ elemType: n.type(0).elemType, shape: dftShape(n) }], { why: 'transforms it' }),
  opaque('STFT', n => [{ elemType: n.type(0).elemType, shape: stftShape(n) }], { why: 'transforms it' }),
  opaque('MelWeightMatrix', n => [
    {
      elemType: n.int('output_datatype', DataType.FLOAT),
      shape: [Math.floor(numberAt(n, 1) / 2) + 1, numberAt(n, 0)],
    },
  ]),
  ...['BlackmanWindow', 'HammingWindow', 'HannWindow'].map(window),
];
