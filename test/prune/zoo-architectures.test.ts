import { describe } from 'vitest';
import { head, type Net, netOf } from './nets.ts';
import { inZoo } from './zoo.ts';

const relu = (g: Net, x: string) => g.op('Relu', [x]);
const cat = (g: Net, ...parts: string[]) => g.op('Concat', parts, { axis: 1 });
const reshape = (g: Net, x: string, ...to: number[]) => g.op('Reshape', [x, g.ints(g.unique('to'), ...to)]);
const one = (g: Net, x: string, from: number, to: number, name: string) => g.conv(x, from, to, { name, kernel: 1 });
const pool3 = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] };

/** Twice as high and wide. */
const doubled = (g: Net, x: string) => {
  const scales = g.initializer(g.unique('scales'), Float32Array.of(1, 1, 2, 2), [4]);
  const how = { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' };
  return g.op('Resize', [x, '', scales], how);
};

/** Channels i * (c / groups) + j become j * groups + i. */
const shuffle = (g: Net, x: string, channels: number, groups: number) => {
  const apart = reshape(g, x, 1, groups, channels / groups, 8, 8);
  return reshape(g, g.op('Transpose', [apart], { perm: [0, 2, 1, 3, 4] }), 1, channels, 8, 8);
};

describe('classifiers', () => {
  inZoo(
    'ShuffleNet v1: grouped, shuffled, depthwise, grouped (OTO-pf #39)',
    () =>
      netOf((g, x) => {
        const stem = relu(g, g.conv(x, 3, 8, { name: 'stem' }));
        const a = relu(g, g.conv(stem, 8, 12, { name: 'a', kernel: 1, group: 2 }));
        const deep = g.conv(shuffle(g, a, 12, 2), 12, 12, { name: 'd', group: 12 });
        const b = g.conv(deep, 12, 8, { name: 'b', kernel: 1, group: 2 });
        return head(g, relu(g, g.op('Add', [stem, b])), 8);
      }),
    { groups: { 'stem.weight': 4, 'a.weight': 3 } },
  );
  inZoo(
    'VGG: a flattened last map and two hidden layers (TP #125)',
    () =>
      netOf((g, x) => {
        const a = g.op('MaxPool', [relu(g, g.conv(x, 3, 6, { name: 'a' }))], { kernel_shape: [2, 2], strides: [2, 2] });
        const flat = g.op('Flatten', [relu(g, g.conv(a, 6, 8, { name: 'b' }))]);
        return g.linear(relu(g, g.linear(relu(g, g.linear(flat, 128, 12, 'c')), 12, 7, 'd')), 7, 4, 'e');
      }),
    { groups: { 'a.weight': 6, 'b.weight': 8, 'c.weight': 12, 'd.weight': 7 } },
  );
  inZoo(
    'ResNet-D: the shortcut is pooled before its convolution',
    () =>
      netOf((g, x) => {
        const stem = relu(g, g.conv(x, 3, 6, { name: 'stem' }));
        const window = { kernel_shape: [2, 2], strides: [2, 2] };
        const inner = relu(g, g.conv(stem, 6, 5, { name: 'a', attributes: { strides: [2, 2] } }));
        const shortcut = g.norm(one(g, g.op('AveragePool', [stem], window), 6, 8, 'down'), 8);
        return head(g, relu(g, g.op('Add', [g.norm(g.conv(inner, 5, 8, { name: 'b' }), 8), shortcut])), 8);
      }),
    { groups: { 'stem.weight': 6, 'a.weight': 5, 'down.weight': 8 } },
  );
  inZoo(
    'MobileNetV3: squeeze and excitation with HardSigmoid on a depthwise convolution, HardSwish',
    () =>
      netOf((g, x) => {
        const swish = (y: string) => g.op('HardSwish', [y]);
        const wide = swish(one(g, swish(g.conv(x, 3, 5, { name: 'stem' })), 5, 10, 'e'));
        const deep = g.conv(wide, 10, 10, { name: 'd', group: 10 });
        const squeezed = relu(g, one(g, g.op('GlobalAveragePool', [deep]), 10, 4, 's'));
        const gate = g.op('HardSigmoid', [one(g, squeezed, 4, 10, 'x')], { alpha: 0.2 });
        return head(g, one(g, swish(g.op('Mul', [gate, deep])), 10, 6, 'p'), 6);
      }),
    { groups: { 'stem.weight': 5, 'e.weight': 10, 's.weight': 4, 'p.weight': 6 }, exact: false },
  );
  inZoo(
    'GhostNet: half of the maps are made of the other half by a depthwise convolution',
    () =>
      netOf((g, x) => {
        const half = relu(g, g.conv(x, 3, 6, { name: 'a' }));
        return head(g, cat(g, half, relu(g, g.conv(half, 6, 6, { name: 'd', group: 6 }))), 12);
      }),
    { groups: { 'a.weight': 6 } },
  );
});

describe('segmentation', () => {
  inZoo(
    'DeepLab: dilated branches and a pooled one that is enlarged again',
    () =>
      netOf((g, x) => {
        const stem = relu(g, g.conv(x, 3, 6, { name: 'stem' }));
        const branch = (name: string, rate: number) => {
          const attributes = { dilations: [rate, rate], pads: [rate, rate, rate, rate] };
          return relu(g, g.conv(stem, 6, 4, { name, attributes }));
        };
        const pooled = relu(g, one(g, g.op('GlobalAveragePool', [stem]), 6, 5, 'p'));
        const size = g.op('Concat', [g.ints('lead', 1, 5), g.ints('space', 8, 8)], { axis: 0 });
        const large = g.op('Resize', [pooled, '', '', size], { mode: 'nearest' });
        return one(g, cat(g, branch('a', 1), branch('b', 2), branch('c', 3), large), 17, 3, 'last');
      }),
    { groups: { 'stem.weight': 6, 'a.weight': 4, 'b.weight': 4, 'c.weight': 4, 'p.weight': 5 } },
  );
  inZoo(
    'LR-ASPP: a branch scaled by a gate, and a shortcut of low level',
    () =>
      netOf((g, x) => {
        const low = relu(g, g.conv(x, 3, 4, { name: 'low' }));
        const high = relu(g, g.conv(low, 4, 6, { name: 'high', attributes: { strides: [2, 2] } }));
        const gate = g.op('Sigmoid', [one(g, g.op('GlobalAveragePool', [high]), 6, 5, 'gate')]);
        const scaled = doubled(g, g.op('Mul', [relu(g, one(g, high, 6, 5, 'cbr')), gate]));
        return g.op('Add', [one(g, low, 4, 3, 'l'), one(g, scaled, 5, 3, 'h')]);
      }),
    {
      groups: { 'low.weight': 4, 'high.weight': 6, 'gate.weight': 5 },
      walls: { 'l.weight': /graph output/ },
      exact: false,
    },
  );
  inZoo(
    'super-resolution: sub-pixel convolution at the end (ESPCN)',
    () =>
      netOf((g, x) => {
        const a = relu(g, g.conv(relu(g, g.conv(x, 3, 8, { name: 'a' })), 8, 6, { name: 'b' }));
        return g.op('DepthToSpace', [g.conv(a, 6, 12, { name: 'c' })], { blocksize: 2, mode: 'CRD' });
      }),
    { groups: { 'a.weight': 8, 'b.weight': 6 }, walls: { 'c.weight': /graph output/ } },
  );
});

describe('detection', () => {
  inZoo(
    'feature pyramid: lateral sums and a head that all levels share (RetinaNet)',
    () =>
      netOf((g, x) => {
        const c1 = relu(g, g.conv(x, 3, 6, { name: 'c1' }));
        const c2 = relu(g, g.conv(c1, 6, 8, { name: 'c2', attributes: { strides: [2, 2] } }));
        const p2 = one(g, c2, 8, 5, 'l2');
        const p1 = g.op('Add', [one(g, c1, 6, 5, 'l1'), doubled(g, p2)]);
        const tower = [g.weight('tower', [7, 5, 3, 3]), g.weight('tower.bias', [7])];
        const last = [g.weight('scores', [4, 7, 1, 1]), g.weight('scores.bias', [4])];
        return [p1, p2].map(level => {
          const hidden = relu(g, g.op('Conv', [level, ...tower], { pads: [1, 1, 1, 1] }));
          return g.op('Conv', [hidden, ...last]);
        });
      }),
    { groups: { 'c1.weight': 6, 'c2.weight': 8, 'l2.weight': 5, tower: 7 } },
  );
  inZoo(
    'SSD: heads of several maps, flattened and joined (NNI #5568)',
    () =>
      netOf((g, x) => {
        const c1 = relu(g, g.conv(x, 3, 6, { name: 'c1' }));
        const c2 = relu(g, g.conv(c1, 6, 8, { name: 'c2', attributes: { strides: [2, 2] } }));
        const rows = [c1, c2].map((level, i) => {
          const boxes = g.conv(level, [6, 8][i], 8, { name: `loc${i}` });
          return reshape(g, g.op('Transpose', [boxes], { perm: [0, 2, 3, 1] }), 1, -1, 4);
        });
        return g.op('Concat', rows, { axis: 1 });
      }),
    {
      groups: { 'c1.weight': 6, 'c2.weight': 8 },
      walls: { 'loc0.weight': /^Reshape|^graph output/, 'loc1.weight': /^Reshape|^graph output/ },
    },
  );
  inZoo(
    'YOLO: spatial pyramid pooling of one map, and CSP halves (NNI #3548)',
    () =>
      netOf((g, x) => {
        const stem = relu(g, g.conv(x, 3, 6, { name: 'stem' }));
        const main = relu(g, one(g, stem, 6, 4, 'a'));
        const inner = g.op('Add', [main, relu(g, g.conv(relu(g, one(g, main, 4, 3, 'm1')), 3, 4, { name: 'm2' }))]);
        const joined = relu(g, one(g, cat(g, inner, relu(g, one(g, stem, 6, 4, 'b'))), 8, 5, 'c'));
        const pooled = [joined];
        for (let i = 0; i < 3; i++) pooled.push(g.op('MaxPool', [pooled[i]], pool3));
        return one(g, cat(g, ...pooled), 20, 7, 'last');
      }),
    { groups: { 'stem.weight': 6, 'a.weight': 4, 'm1.weight': 3, 'b.weight': 4, 'c.weight': 5 } },
  );
  inZoo(
    'YOLO: anchors taken apart, boxes and scores decoded by Split (TP #356)',
    () =>
      netOf((g, x) => {
        const stem = relu(g, g.conv(x, 3, 8, { name: 'stem' }));
        const raw = reshape(g, one(g, stem, 8, 14, 'detect'), 1, 2, 7, 64);
        const rows = g.op('Sigmoid', [g.op('Transpose', [raw], { perm: [0, 1, 3, 2] })]);
        const parts = [g.ints('sizes', 2, 2, 3)];
        const [xy, wh, scores] = g.node('Split', [rows, ...parts], { axis: -1 }, { outputs: ['xy', 'wh', 'scores'] });
        const squared = g.op('Mul', [wh, wh]);
        return g.op('Reshape', [g.op('Concat', [xy, squared, scores], { axis: -1 }), g.ints('all', 1, -1, 7)]);
      }),
    { groups: { 'stem.weight': 8 }, walls: { 'detect.weight': /graph output/ }, exact: false },
  );
});

describe('sequences', () => {
  inZoo(
    'CRNN: the height is squeezed away, columns become tokens (OCR files)',
    () =>
      netOf((g, x) => {
        const a = relu(g, g.conv(x, 3, 8, { name: 'a' }));
        const rows = g.op('MaxPool', [a], { kernel_shape: [8, 1], strides: [8, 1] });
        const tokens = g.op('Transpose', [g.op('Squeeze', [rows, g.ints('height', 2)])], { perm: [0, 2, 1] });
        const hidden = relu(g, g.op('Add', [g.op('MatMul', [tokens, g.weight('w', [8, 6])]), g.weight('b', [6])]));
        return g.op('MatMul', [hidden, g.weight('v', [6, 5])]);
      }),
    { groups: { 'a.weight': 8, w: 6 } },
  );
  inZoo(
    'WaveNet: gated dilated convolutions with a residual and a skip path',
    () =>
      netOf(
        (g, x) => {
          const conv = (y: string, name: string, from: number, to: number, rate = 0) => {
            const kernel = rate ? 3 : 1;
            const inputs = [y, g.weight(`${name}.weight`, [to, from, kernel]), g.weight(`${name}.bias`, [to])];
            return g.op('Conv', inputs, rate ? { pads: [rate, rate], dilations: [rate] } : {}, name);
          };
          const stem = conv(x, 'stem', 3, 6);
          const wide = conv(stem, 'g', 6, 10, 2);
          const halves = g.node('Split', [wide, g.ints('sizes', 5, 5)], { axis: 1 }, { outputs: ['t', 's'] });
          const gated = g.op('Mul', [g.op('Tanh', [halves[0]]), g.op('Sigmoid', [halves[1]])]);
          const next = g.op('Add', [stem, conv(gated, 'r', 5, 6)]);
          return conv(relu(g, g.op('Add', [conv(gated, 'k', 5, 4), conv(next, 'm', 6, 4)])), 'last', 4, 2);
        },
        { shape: [1, 3, 16] },
      ),
    { groups: { 'stem.weight': 6, 'g.weight': 5, 'k.weight': 4 }, exact: false },
  );
});
