import { DataType, float } from '../../src/onnx/index.ts';
import { matchesRuntime, scalar } from './against-runtime.ts';

const image = [2, 4, 5, 6];
const rows = [2, 3, 8];

/** Forms of normalisations by operator; what they give comes from ONNX Runtime. */
matchesRuntime({
  LayerNormalization: [
    { inputs: [rows, [8], [8]] },
    { inputs: [rows, [8]], attributes: { epsilon: 0.25 } },
    { inputs: [rows, [3, 8], [3, 8]], attributes: { axis: 1 } },
    { inputs: [rows, [8], [8]], attributes: { axis: -2 } },
    { inputs: [rows, [8], [8]], outputs: 3 },
    { inputs: [image, [4, 5, 6]], attributes: { axis: 1 }, outputs: 3 },
    { inputs: [rows, [8], [8]], attributes: { stash_type: DataType.FLOAT }, opset: 18 },
  ],
  RMSNormalization: [
    { inputs: [rows, [8]], opset: 23 },
    { inputs: [image, [5, 6]], attributes: { axis: 2, epsilon: 0.5 }, opset: 23 },
  ],
  InstanceNormalization: [
    { inputs: [image, [4], [4]] },
    { inputs: [image, [4], [4]], attributes: { epsilon: 0.25 }, opset: 6 },
    { inputs: [[2, 4, 9], [4], [4]] },
    { inputs: [[2, 4, 3, 3, 2], [4], [4]] },
  ],
  GroupNormalization: [
    { inputs: [image, [2], [2]], attributes: { num_groups: 2 }, opset: 18 },
    { inputs: [image, [4], [4]], attributes: { num_groups: 2 }, opset: 21 },
    { inputs: [image, [4], [4]], attributes: { num_groups: 1, epsilon: 0.5 }, opset: 21 },
    { inputs: [[2, 6, 7], [6], [6]], attributes: { num_groups: 3 }, opset: 22 },
  ],
  LRN: [
    { inputs: [image], attributes: { size: 3 } },
    { inputs: [[2, 8, 3, 3]], attributes: { size: 5, alpha: 0.5, beta: 0.5, bias: float(2) } },
    { inputs: [[2, 8, 3, 3]], attributes: { size: 1, alpha: 0.5 } },
  ],
  LpNormalization: [
    { inputs: [image] },
    { inputs: [image], attributes: { axis: 1, p: 1 } },
    { inputs: [image], attributes: { axis: -2 } },
  ],
  MeanVarianceNormalization: [{ inputs: [image] }, { inputs: [image], attributes: { axes: [1, 3] } }],
  SimplifiedLayerNormalization: [
    { inputs: [rows, [8]] },
    { inputs: [rows, [8]], attributes: { epsilon: 0.25 }, outputs: 2 },
  ],
});

matchesRuntime({
  SkipLayerNormalization: [
    { domain: 'com.microsoft', inputs: [rows, rows, [8], [8], [8]] },
    { domain: 'com.microsoft', inputs: [rows, rows, [8]], attributes: { epsilon: 0.5 } },
  ],
  SkipSimplifiedLayerNormalization: [
    { domain: 'com.microsoft', inputs: [rows, rows, [8], [8]] },
    { domain: 'com.microsoft', inputs: [rows, rows, [8]], attributes: { epsilon: 0.5 } },
  ],
});

// Constants in place of the operands that a network has as parameters.
matchesRuntime({
  LayerNormalization: [{ inputs: [rows, scalar(2), scalar(-1)] }],
});
