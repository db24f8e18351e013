import { float32 } from './against-runtime.ts';
import { hasGradients } from './central-differences.ts';

const image = [2, 4, 3, 5];
const rows = [2, 3, 6];

hasGradients({
  LayerNormalization: { op: 'LayerNormalization', inputs: [rows, [6], [6]] },
  'LayerNormalization from axis 1 on, broadcast scale': {
    op: 'LayerNormalization',
    inputs: [rows, [6], [3, 1]],
    attributes: { axis: 1 },
  },
  'mean of LayerNormalization': {
    op: 'LayerNormalization',
    inputs: [rows, float32(1, 2, 3, 4, 5, 6)],
    outputs: 3,
    output: 1,
  },
  'factor of LayerNormalization': {
    op: 'LayerNormalization',
    inputs: [rows, float32(1, 2, 3, 4, 5, 6)],
    outputs: 3,
    output: 2,
  },
  RMSNormalization: { op: 'RMSNormalization', inputs: [rows, [6]], opset: 23 },
  SkipLayerNormalization: {
    op: 'SkipLayerNormalization',
    domain: 'com.microsoft',
    inputs: [rows, rows, [6], [6], [6]],
  },
  SkipSimplifiedLayerNormalization: {
    op: 'SkipSimplifiedLayerNormalization',
    domain: 'com.microsoft',
    inputs: [rows, rows, [6], [6]],
    outputs: 4,
  },
  InstanceNormalization: { op: 'InstanceNormalization', inputs: [image, [4], [4]] },
  'GroupNormalization of opset 18': {
    op: 'GroupNormalization',
    inputs: [image, [2], [2]],
    attributes: { num_groups: 2 },
    opset: 18,
  },
  'GroupNormalization of opset 21': {
    op: 'GroupNormalization',
    inputs: [image, [4], [4]],
    attributes: { num_groups: 2 },
    opset: 21,
  },
  LRN: { op: 'LRN', inputs: [[2, 6, 3, 2]], attributes: { size: 4, alpha: 0.5 } },
  LpNormalization: { op: 'LpNormalization', inputs: [image], attributes: { axis: 1 } },
  'LpNormalization, p 1': { op: 'LpNormalization', inputs: [image], attributes: { p: 1 } },
  MeanVarianceNormalization: { op: 'MeanVarianceNormalization', inputs: [image] },
});
