import { tensorOf } from '../../src/onnx/index.ts';
import { float32, int64 } from './against-runtime.ts';
import { type Differentiable, hasGradients } from './central-differences.ts';

const image = [2, 3, 4, 5];
const transposed = (
  x: number[],
  w: number[],
  attributes: Differentiable['attributes'] = {},
  bias?: number,
): Differentiable => ({ op: 'ConvTranspose', inputs: bias ? [x, w, [bias]] : [x, w], attributes });
const resize = (attributes: Differentiable['attributes'], scales = [1, 1, 1.7, 0.6], opset = 18): Differentiable => ({
  op: 'Resize',
  inputs: [image, null, float32(...scales)],
  attributes,
  opset,
});

hasGradients({
  ConvTranspose: transposed([2, 3, 3, 4], [3, 2, 3, 2], { strides: [2, 1], pads: [1, 0, 1, 0] }, 2),
  'ConvTranspose, uneven pads': transposed([2, 3, 3, 4], [3, 2, 3, 3], { strides: [2, 2], pads: [0, 1, 2, 0] }, 2),
  'ConvTranspose in groups': transposed([2, 4, 3, 3], [4, 3, 2, 2], { group: 2, strides: [2, 2] }, 6),
  'ConvTranspose depthwise': transposed([2, 4, 3, 3], [4, 1, 3, 3], {
    group: 4,
    output_padding: [1, 0],
    strides: [2, 2],
  }),
  'ConvTranspose with output_shape': transposed(
    [2, 3, 3, 4],
    [3, 2, 3, 3],
    { strides: [2, 2], output_shape: [6, 9] },
    2,
  ),
  'ConvTranspose 1-D, dilated': transposed([2, 3, 5], [3, 2, 3], { dilations: [2] }, 2),
  'Resize to the nearest': resize({}),
  'Resize to the nearest, doubled': resize(
    { coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
    [1, 1, 2, 2],
  ),
  'Resize, linear': resize({ mode: 'linear' }),
  'Resize, linear, asymmetric': resize({ mode: 'linear', coordinate_transformation_mode: 'asymmetric' }),
  'Resize, linear, corners aligned': resize({ mode: 'linear', coordinate_transformation_mode: 'align_corners' }),
  'Resize, cubic': resize({ mode: 'cubic' }),
  'Resize, without aliasing': resize({ mode: 'linear', antialias: 1 }, [1, 1, 0.5, 0.6]),
  'Resize of a crop': {
    op: 'Resize',
    inputs: [image, float32(0, 0, -0.2, 0.6, 1, 1, 0.6, 1.8), null, int64(2, 3, 4, 3)],
    attributes: { mode: 'linear', coordinate_transformation_mode: 'tf_crop_and_resize' },
  },
  Upsample: { op: 'Upsample', inputs: [image, float32(1, 1, 2, 3)], attributes: { mode: 'linear' }, opset: 9 },
  DepthToSpace: { op: 'DepthToSpace', inputs: [[2, 8, 2, 3]], attributes: { blocksize: 2 } },
  'DepthToSpace, column first': {
    op: 'DepthToSpace',
    inputs: [[2, 8, 2, 3]],
    attributes: { blocksize: 2, mode: 'CRD' },
  },
  SpaceToDepth: { op: 'SpaceToDepth', inputs: [[2, 3, 4, 6]], attributes: { blocksize: 2 } },
  Expand: { op: 'Expand', inputs: [[3, 1], int64(2, 1, 4)] },
  Tile: { op: 'Tile', inputs: [image, int64(1, 2, 1, 3)] },
  Where: { op: 'Where', inputs: [tensorOf('', [1, 0, 1], [3, 1, 1], 9), image, [4, 5]] },
  LpPool: { op: 'LpPool', inputs: [image], attributes: { kernel_shape: [2, 2], strides: [2, 2], pads: [0, 1, 0, 0] } },
  'LpPool, p 3': { op: 'LpPool', inputs: [image], attributes: { kernel_shape: [2, 3], p: 3 } },
  GlobalLpPool: { op: 'GlobalLpPool', inputs: [image] },
  'AveragePool, dilated': {
    op: 'AveragePool',
    inputs: [image],
    attributes: { kernel_shape: [2, 2], dilations: [2, 2], pads: [1, 1, 1, 1] },
    opset: 19,
  },
  'MaxPool with indices': { op: 'MaxPool', inputs: [image], attributes: { kernel_shape: [2, 2] }, outputs: 2 },
  GridSample: { op: 'GridSample', inputs: [image, [2, 3, 2, 2]], between: [-0.9, 0.9], opset: 16 },
  'GridSample, cubic': {
    op: 'GridSample',
    inputs: [image, [2, 3, 2, 2]],
    attributes: { mode: 'bicubic', padding_mode: 'border' },
    between: [-0.9, 0.9],
    opset: 16,
  },
  AffineGrid: { op: 'AffineGrid', inputs: [[2, 2, 3], int64(2, 3, 4, 5)], opset: 20 },
});
