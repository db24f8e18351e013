import { type AttributeInput, float, tensorOf } from '../../src/onnx/index.ts';
import { float32, int64, matchesRuntime, type Variant } from './against-runtime.ts';

const image = [2, 3, 5, 6];

const transposed = (x: number[], w: number[], attributes: Record<string, AttributeInput> = {}, bias = 0): Variant => ({
  inputs: bias ? [x, w, [bias]] : [x, w],
  attributes,
});

const none = float32();
const resize = (
  how: { scales?: number[]; sizes?: number[]; roi?: number[] },
  attributes: Record<string, AttributeInput> = {},
  { opset = 13, x = image }: { opset?: number; x?: number[] } = {},
): Variant => ({
  inputs: [
    x,
    how.roi ? float32(...how.roi) : none,
    how.scales ? float32(...how.scales) : how.sizes && opset >= 13 ? null : none,
    ...(how.sizes ? [int64(...how.sizes)] : []),
  ],
  attributes,
  opset,
});
const double = { scales: [1, 1, 2, 2] };
const odd = { scales: [1, 1, 1.7, 0.6] };
const sized = { sizes: [2, 3, 7, 4] };
const modes = ['half_pixel', 'pytorch_half_pixel', 'align_corners', 'asymmetric'];

/** Forms of nodes by operator; what they give comes from ONNX Runtime. */
matchesRuntime({
  ConvTranspose: [
    transposed([2, 3, 4, 5], [3, 4, 3, 3]),
    transposed([2, 3, 4, 5], [3, 4, 3, 2], { strides: [2, 3], pads: [1, 0, 1, 0] }, 4),
    transposed([2, 3, 4, 5], [3, 4, 3, 3], { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] }, 4),
    transposed([2, 3, 4, 5], [3, 4, 3, 3], { strides: [2, 2], pads: [0, 1, 2, 0] }, 4),
    transposed([2, 3, 4, 5], [3, 4, 3, 3], { dilations: [2, 1], pads: [1, 1, 1, 1] }),
    transposed([2, 4, 4, 5], [4, 3, 3, 3], { group: 2, strides: [2, 2] }, 6),
    transposed([2, 4, 4, 5], [4, 1, 2, 2], { group: 4, strides: [2, 2] }),
    transposed([2, 4, 4, 5], [4, 2, 2, 2], { group: 4, strides: [2, 2], kernel_shape: [2, 2] }, 8),
    transposed([2, 3, 4, 5], [3, 4, 3, 3], { auto_pad: 'SAME_UPPER', strides: [2, 2] }, 4),
    transposed([2, 3, 4, 5], [3, 4, 3, 3], { auto_pad: 'SAME_LOWER', strides: [2, 2] }, 4),
    transposed([2, 3, 4, 5], [3, 4, 4, 3], { auto_pad: 'VALID', strides: [2, 2] }, 4),
    transposed([2, 3, 4, 5], [3, 4, 3, 3], { output_shape: [8, 10], strides: [2, 2] }, 4),
    transposed([2, 3, 4, 5], [3, 4, 3, 3], { output_shape: [8, 10], strides: [2, 2], output_padding: [1, 1] }, 4),
    transposed([2, 3, 4, 5], [3, 4, 3, 3], { output_shape: [10, 12], strides: [2, 2], output_padding: [1, 1] }, 4),
    transposed([2, 3, 6], [3, 4, 3], { strides: [2], pads: [1, 0] }, 4),
    transposed([1, 2, 3, 3, 2], [2, 3, 2, 2, 2], { strides: [2, 2, 2] }, 3),
  ],
  Resize: [
    { inputs: [image, float32(1, 1, 2, 2)], opset: 10 },
    { inputs: [image, float32(1, 1, 0.5, 0.7)], opset: 10 },
    { inputs: [image, float32(1, 1, 2, 3)], attributes: { mode: 'linear' }, opset: 10 },
    ...modes.flatMap(coordinate_transformation_mode =>
      [double, odd, sized].flatMap(how => [
        resize(how, { coordinate_transformation_mode }),
        resize(how, { coordinate_transformation_mode, mode: 'linear' }),
        resize(how, { coordinate_transformation_mode, mode: 'cubic' }),
      ]),
    ),
    ...['round_prefer_ceil', 'floor', 'ceil'].flatMap(nearest_mode =>
      [double, odd, sized].map(how => resize(how, { nearest_mode, coordinate_transformation_mode: 'asymmetric' })),
    ),
    resize(double, { coordinate_transformation_mode: 'tf_half_pixel_for_nn' }, { opset: 11 }),
    resize({ sizes: [2, 3, 9, 4] }, {}, { opset: 11 }),
    resize(odd, { mode: 'cubic', exclude_outside: 1, cubic_coeff_a: -0.5 }),
    resize({ scales: [1, 1, 2] }, { mode: 'linear' }, { x: [2, 3, 5] }),
    resize({ scales: [1, 1, 1, 2, 2] }, { mode: 'linear' }, { x: [1, 2, 3, 4, 4], opset: 18 }),
    resize({ sizes: [2, 3, 1, 1] }, { mode: 'linear', coordinate_transformation_mode: 'pytorch_half_pixel' }),
    resize({ sizes: [2, 3, 1, 12] }, { mode: 'linear', coordinate_transformation_mode: 'align_corners' }),
    resize(
      { roi: [0, 0, 0.4, 0.6, 1, 1, 0.6, 0.8], sizes: [2, 3, 3, 3] },
      { mode: 'linear', coordinate_transformation_mode: 'tf_crop_and_resize' },
      { opset: 11 },
    ),
    resize(
      { roi: [0, 0, -0.2, 0.6, 1, 1, 0.6, 1.8], sizes: [2, 3, 4, 3] },
      { mode: 'linear', coordinate_transformation_mode: 'tf_crop_and_resize', extrapolation_value: 10.5 },
      { opset: 11 },
    ),
    resize({ scales: [2, 2] }, { axes: [2, 3], mode: 'linear' }, { opset: 18 }),
    resize({ sizes: [4, 9] }, { axes: [3, 2] }, { opset: 18 }),
    resize({ sizes: [8, 8] }, { axes: [2, 3], keep_aspect_ratio_policy: 'not_larger' }, { opset: 18 }),
    resize({ sizes: [8, 8] }, { axes: [2, 3], keep_aspect_ratio_policy: 'not_smaller', mode: 'linear' }, { opset: 18 }),
    resize({ scales: [1, 1, 0.6, 0.5] }, { antialias: 1, mode: 'linear' }, { opset: 18, x: [1, 1, 10, 12] }),
    resize({ scales: [1, 1, 0.6, 0.5] }, { antialias: 1, mode: 'cubic' }, { opset: 18, x: [1, 1, 10, 12] }),
    resize({ scales: [1, 1, 2, 1.5] }, { antialias: 1, mode: 'linear' }, { opset: 18 }),
    resize(odd, { mode: 'linear', coordinate_transformation_mode: 'half_pixel_symmetric' }, { opset: 19 }),
    resize(odd, { coordinate_transformation_mode: 'half_pixel_symmetric' }, { opset: 19 }),
  ],
  Upsample: [
    { inputs: [image], attributes: { scales: float([1, 1, 2, 3]) }, opset: 7 },
    { inputs: [image], attributes: { scales: float([1, 1, 2, 3]), mode: 'linear' }, opset: 8 },
    { inputs: [image, float32(1, 1, 2, 2)], opset: 9 },
    { inputs: [image, float32(1, 1, 2.5, 1.5)], attributes: { mode: 'linear' }, opset: 9 },
  ],
  DepthToSpace: [
    { inputs: [[2, 8, 3, 4]], attributes: { blocksize: 2 }, opset: 9 },
    { inputs: [[2, 8, 3, 4]], attributes: { blocksize: 2, mode: 'CRD' } },
    { inputs: [[1, 9, 2, 3]], attributes: { blocksize: 3, mode: 'DCR' } },
  ],
  SpaceToDepth: [
    { inputs: [[2, 3, 4, 6]], attributes: { blocksize: 2 } },
    { inputs: [[1, 2, 6, 3]], attributes: { blocksize: 3 }, opset: 8 },
  ],
  Expand: [
    { inputs: [[3, 1], int64(2, 1, 6)] },
    { inputs: [[2, 3, 1, 4], int64(1, 5, 1)] },
    { inputs: [[3, 4], int64(3, 4)], opset: 8 },
  ],
  Tile: [{ inputs: [image, int64(1, 2, 1, 3)] }, { inputs: [[3], int64(4)], opset: 6 }],
  LpPool: [
    { inputs: [image], attributes: { kernel_shape: [2, 3] } },
    { inputs: [image], attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], p: 3 } },
    { inputs: [image], attributes: { kernel_shape: [2, 2], p: 1, auto_pad: 'SAME_UPPER' }, opset: 11 },
    { inputs: [image], attributes: { kernel_shape: [2, 2], dilations: [2, 2] }, opset: 18 },
    { inputs: [[2, 3, 9]], attributes: { kernel_shape: [3], strides: [2] } },
  ],
  GlobalLpPool: [{ inputs: [image] }, { inputs: [image], attributes: { p: 1 } }],
  GridSample: [
    ...['bilinear', 'nearest', 'bicubic'].flatMap(mode =>
      ['zeros', 'border', 'reflection'].map(padding_mode => ({
        inputs: [image, [2, 4, 3, 2]],
        attributes: { mode, padding_mode },
        opset: 16,
      })),
    ),
    { inputs: [image, [2, 4, 3, 2]], attributes: { mode: 'linear', align_corners: 1 }, opset: 20 },
    {
      inputs: [
        [1, 2, 3, 4, 3],
        [1, 2, 3, 2, 3],
      ],
      attributes: { mode: 'linear' },
      opset: 20,
    },
  ],
  AffineGrid: [
    { inputs: [[2, 2, 3], int64(2, 3, 4, 5)], opset: 20 },
    { inputs: [[2, 2, 3], int64(2, 3, 4, 5)], attributes: { align_corners: 1 }, opset: 20 },
    { inputs: [[2, 3, 4], int64(2, 3, 2, 4, 5)], opset: 20 },
  ],
  MaxPool: [
    { inputs: [image], attributes: { kernel_shape: [2, 2] }, outputs: 2 },
    { inputs: [image], attributes: { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }, outputs: 2 },
    { inputs: [[2, 3, 9]], attributes: { kernel_shape: [3], strides: [2] }, outputs: 2 },
    { inputs: [[2, 3, 9]], attributes: { kernel_shape: [3], strides: [2], pads: [1, 0], ceil_mode: 1 } },
    { inputs: [[1, 2, 4, 5, 4]], attributes: { kernel_shape: [2, 2, 2], dilations: [1, 2, 1] }, outputs: 2 },
  ],
  AveragePool: [
    { inputs: [[2, 3, 9]], attributes: { kernel_shape: [3], strides: [2], pads: [1, 0], ceil_mode: 1 } },
    {
      inputs: [[1, 2, 4, 5, 4]],
      attributes: { kernel_shape: [2, 2, 2], strides: [2, 2, 2], pads: [1, 0, 0, 0, 1, 0] },
    },
    { inputs: [image], attributes: { kernel_shape: [2, 2], dilations: [2, 3] }, opset: 19 },
    { inputs: [image], attributes: { kernel_shape: [2, 2], dilations: [2, 2], pads: [1, 1, 1, 1] }, opset: 19 },
    {
      inputs: [image],
      attributes: { kernel_shape: [2, 2], dilations: [2, 2], pads: [1, 0, 0, 1], count_include_pad: 1 },
      opset: 19,
    },
  ],
  Where: [
    { inputs: [tensorOf('', [1, 0, 1], [3, 1, 1], 9), image, image] },
    { inputs: [tensorOf('', [1, 0, 1, 1, 0, 0], [6], 9), image, float32(2)], opset: 9 },
  ],
});
