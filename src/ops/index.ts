import { type OperatorTable, operatorTable } from '../graph/operator.ts';
import { BatchNormalization } from './batch-normalization.ts';
import { Cast, CastLike } from './cast.ts';
import { ArgMax, ArgMin, Compress, NonMaxSuppression, NonZero, Range, Size, TopK, Unique } from './choice.ts';
import { Clip } from './clip.ts';
import { collections, losses } from './collections.ts';
import { Concat } from './concat.ts';
import { Constant, ConstantOfShape, Shape } from './constant.ts';
import { contributed } from './contrib.ts';
import { controlFlow } from './control-flow.ts';
import { Conv } from './conv.ts';
import { ConvTranspose } from './conv-transpose.ts';
import { CumProd, CumSum } from './cumulative.ts';
import { DeformConv } from './deform-conv.ts';
import { DepthToSpace, SpaceToDepth } from './depth-space.ts';
import { Einsum } from './einsum.ts';
import { Expand } from './expand.ts';
import { activations, PRelu } from './families/activations.ts';
import { BitCast, bits, comparisons, Mod } from './families/comparisons.ts';
import { binaries, variadics } from './families/elementwise.ts';
import { functions, SwiGLU } from './families/functions.ts';
import { AveragePool, GlobalAveragePool, GlobalLpPool, GlobalMaxPool, LpPool, MaxPool } from './families/window.ts';
import { Flatten } from './flatten.ts';
import { Attention, MultiHeadAttention, PackedAttention, RotaryEmbedding } from './fused-attention.ts';
import { Gather } from './gather.ts';
import { GatherElements, GatherND, Scatter, ScatterElements, ScatterND } from './gather-scatter.ts';
import { Gemm } from './gemm.ts';
import { AffineGrid, GridSample } from './grid-sample.ts';
import { GroupNormalization } from './group-normalization.ts';
import { Dropout, Identity } from './identity.ts';
import { InstanceNormalization } from './instance-normalization.ts';
import { integers } from './integer.ts';
import { LayerNormalization, RMSNormalization, SimplifiedLayerNormalization } from './layer-normalization.ts';
import { LpNormalization } from './lp-normalization.ts';
import { LRN } from './lrn.ts';
import { MatMul } from './matmul.ts';
import { MaxUnpool } from './max-unpool.ts';
import { MeanVarianceNormalization } from './mean-variance-normalization.ts';
import { Pad } from './pad.ts';
import { positional, Trilu } from './positions.ts';
import { DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear } from './quantization.ts';
import { randoms } from './random.ts';
import { recurrents } from './recurrent.ts';
import { reductions } from './reduce.ts';
import { MaxRoiPool, RoiAlign } from './regions.ts';
import { Reshape } from './reshape.ts';
import { Resize, Upsample } from './resize.ts';
import { signals } from './signal.ts';
import { SkipLayerNormalization, SkipSimplifiedLayerNormalization } from './skip-layer-normalization.ts';
import { Slice } from './slice.ts';
import { Hardmax, LogSoftmax, Softmax } from './softmax.ts';
import { Split } from './split.ts';
import { Squeeze, Unsqueeze } from './squeeze.ts';
import { Tile } from './tile.ts';
import { Transpose } from './transpose.ts';
import { Where } from './where.ts';

/** Every operator that the product knows; one line adds one. */
export const operators: OperatorTable = operatorTable([
  AffineGrid,
  ArgMax,
  ArgMin,
  Attention,
  AveragePool,
  BatchNormalization,
  BitCast,
  Cast,
  CastLike,
  Clip,
  Compress,
  Concat,
  Constant,
  ConstantOfShape,
  Conv,
  ConvTranspose,
  CumProd,
  CumSum,
  DeformConv,
  DepthToSpace,
  DequantizeLinear,
  Dropout,
  DynamicQuantizeLinear,
  Einsum,
  Expand,
  Flatten,
  Gather,
  GatherElements,
  GatherND,
  Gemm,
  GlobalAveragePool,
  GlobalLpPool,
  GlobalMaxPool,
  GridSample,
  GroupNormalization,
  Hardmax,
  Identity,
  InstanceNormalization,
  LayerNormalization,
  LogSoftmax,
  LpNormalization,
  LpPool,
  LRN,
  MatMul,
  MaxPool,
  MaxRoiPool,
  MaxUnpool,
  MeanVarianceNormalization,
  MultiHeadAttention,
  Mod,
  NonMaxSuppression,
  NonZero,
  PackedAttention,
  Pad,
  PRelu,
  QuantizeLinear,
  Range,
  Reshape,
  Resize,
  RMSNormalization,
  RoiAlign,
  RotaryEmbedding,
  Scatter,
  ScatterElements,
  ScatterND,
  Shape,
  SimplifiedLayerNormalization,
  Size,
  SkipLayerNormalization,
  SkipSimplifiedLayerNormalization,
  Slice,
  Softmax,
  SpaceToDepth,
  Split,
  Squeeze,
  SwiGLU,
  Tile,
  TopK,
  Transpose,
  Trilu,
  Unique,
  Unsqueeze,
  Upsample,
  Where,
  ...activations,
  ...binaries,
  ...bits,
  ...collections,
  ...comparisons,
  ...contributed,
  ...controlFlow,
  ...functions,
  ...integers,
  ...losses,
  ...positional,
  ...randoms,
  ...recurrents,
  ...reductions,
  ...signals,
  ...variadics,
]);
