import { type OperatorTable, operatorTable } from '../graph/operator.ts';
import { BatchNormalization } from './batch-normalization.ts';
import { Cast } from './cast.ts';
import { Clip } from './clip.ts';
import { Concat } from './concat.ts';
import { Constant, ConstantOfShape, Shape } from './constant.ts';
import { Conv } from './conv.ts';
import { activations, PRelu } from './families/activations.ts';
import { binaries, variadics } from './families/elementwise.ts';
import { AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool } from './families/window.ts';
import { Flatten } from './flatten.ts';
import { Gather } from './gather.ts';
import { Gemm } from './gemm.ts';
import { Dropout, Identity } from './identity.ts';
import { MatMul } from './matmul.ts';
import { Pad } from './pad.ts';
import { reductions } from './reduce.ts';
import { Reshape } from './reshape.ts';
import { Slice } from './slice.ts';
import { LogSoftmax, Softmax } from './softmax.ts';
import { Split } from './split.ts';
import { Squeeze, Unsqueeze } from './squeeze.ts';
import { Transpose } from './transpose.ts';

/** Every operator that the product knows; one line adds one. */
export const operators: OperatorTable = operatorTable([
  AveragePool,
  BatchNormalization,
  Cast,
  Clip,
  Concat,
  Constant,
  ConstantOfShape,
  Conv,
  Dropout,
  Flatten,
  Gather,
  Gemm,
  GlobalAveragePool,
  GlobalMaxPool,
  Identity,
  LogSoftmax,
  MatMul,
  MaxPool,
  Pad,
  PRelu,
  Reshape,
  Shape,
  Slice,
  Softmax,
  Split,
  Squeeze,
  Transpose,
  Unsqueeze,
  ...activations,
  ...binaries,
  ...reductions,
  ...variadics,
]);
