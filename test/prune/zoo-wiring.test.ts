import { describe } from 'vitest';
import { around, head, type Net, netOf } from './nets.ts';
import { inZoo } from './zoo.ts';

const cat = (g: Net, ...parts: string[]) => g.op('Concat', parts, { axis: 1 });
const relu = (g: Net, x: string) => g.op('Relu', [x]);
const slice = (g: Net, x: string, from: number, to: number) =>
  g.op('Slice', [x, g.ints(g.unique('s'), from), g.ints(g.unique('e'), to), g.ints(g.unique('x'), 1)]);
const split = (g: Net, x: string, ...parts: number[]) =>
  g.node(
    'Split',
    [x, g.ints(g.unique('sizes'), ...parts)],
    { axis: 1 },
    { outputs: parts.map(() => g.unique('part')) },
  );
const convs = (g: Net, x: string, from: number, widths: Record<string, number>) =>
  Object.entries(widths).map(([name, to]) => g.conv(x, from, to, { name }));

describe('Concat', () => {
  inZoo(
    'members of a Concat are not one group (TP #481)',
    () =>
      netOf((g, x) => {
        const joined = cat(g, ...convs(g, x, 3, { a: 4, b: 6, c: 5 }));
        return g.conv(relu(g, g.norm(joined, 15)), 15, 4, { name: 'd' });
      }),
    { groups: { 'a.weight': 4, 'b.weight': 6, 'c.weight': 5 } },
  );
  inZoo(
    'cascaded concat (TP #12 #37)',
    () =>
      netOf((g, x) => {
        const [a, b, c] = convs(g, x, 3, { a: 3, b: 4, c: 5 });
        const inner = cat(g, a, relu(g, b));
        return g.conv(cat(g, cat(g, c, inner), inner), 19, 4, { name: 'd' });
      }),
    { groups: { 'a.weight': 3, 'b.weight': 4, 'c.weight': 5 } },
  );
  inZoo('concat of x with x (TP #146)', () => around((g, a) => cat(g, a, g.op('Neg', [a])), 16), {
    groups: { 'a.weight': 8 },
  });
  inZoo(
    'Inception: branches of different depth (onnxsim #894)',
    () =>
      netOf((g, x) => {
        const stem = relu(g, g.conv(x, 3, 6, { name: 'stem' }));
        const deep = g.conv(relu(g, g.conv(stem, 6, 4, { name: 'b1', kernel: 1 })), 4, 5, { name: 'b2' });
        const attributes = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] };
        const pooled = g.conv(g.op('MaxPool', [stem], attributes), 6, 3, { name: 'p', kernel: 1 });
        return head(g, relu(g, cat(g, g.conv(stem, 6, 4, { name: 'a', kernel: 1 }), deep, pooled)), 12);
      }),
    { groups: { 'stem.weight': 6, 'a.weight': 4, 'b1.weight': 4, 'b2.weight': 5, 'p.weight': 3 } },
  );
  inZoo(
    'DenseNet: every layer reads all before it (onnxsim #905)',
    () =>
      netOf((g, x) => {
        const stem = g.conv(x, 3, 6, { name: 'stem', bias: false });
        const layer = (y: string, from: number, name: string) =>
          g.conv(relu(g, g.norm(y, from, `${name}.bn`)), from, 4, { name, bias: false });
        const one = cat(g, stem, layer(stem, 6, 'a'));
        const two = cat(g, one, layer(one, 10, 'b'));
        return head(g, relu(g, g.norm(two, 14, 'last')), 14);
      }),
    { groups: { 'stem.weight': 6, 'a.weight': 4, 'b.weight': 4 } },
  );
  inZoo(
    'U-Net: a skip across the bottom (TP #258)',
    () =>
      netOf((g, x) => {
        const a = relu(g, g.conv(x, 3, 5, { name: 'a' }));
        const deep = relu(g, g.conv(g.op('MaxPool', [a], { kernel_shape: [1, 1] }), 5, 7, { name: 'b' }));
        return g.conv(relu(g, g.conv(cat(g, g.conv(deep, 7, 5, { name: 'c' }), a), 10, 6, { name: 'd' })), 6, 2);
      }),
    { groups: { 'a.weight': 5, 'b.weight': 7, 'c.weight': 5, 'd.weight': 6 } },
  );
  inZoo(
    'Fire modules (SqueezeNet)',
    () =>
      netOf((g, x) => {
        const squeezed = relu(g, g.conv(x, 3, 4, { name: 's', kernel: 1 }));
        const parts = [g.conv(squeezed, 4, 6, { name: 'e1', kernel: 1 }), g.conv(squeezed, 4, 6, { name: 'e3' })];
        return g.conv(cat(g, ...parts.map(part => relu(g, part))), 12, 3, { name: 'last' });
      }),
    { groups: { 's.weight': 4, 'e1.weight': 6, 'e3.weight': 6 } },
  );
  inZoo(
    'joined along height, the channels go together (NNI #4637)',
    () => around((g, a) => relu(g, g.norm(g.op('Concat', [a, g.conv('X', 3, 8, { name: 'c' })], { axis: -2 }), 8))),
    { groups: { 'a.weight': 8 } },
  );
  inZoo(
    'joined along the batch',
    () => around((g, a) => g.op('Concat', [a, g.conv('X', 3, 8, { name: 'c' })], { axis: 0 })),
    { groups: { 'a.weight': 8 } },
  );
  inZoo('joined with the input of the graph (YOLO stems)', () => around((g, a) => cat(g, 'X', a, 'X'), 14), {
    groups: { 'a.weight': 8 },
  });
  inZoo(
    'joined with a constant of coordinates (CoordConv)',
    () => around((g, a) => cat(g, a, g.weight('xy', [1, 2, 8, 8])), 10),
    { groups: { 'a.weight': 8 } },
  );
});

describe('Split and Slice', () => {
  inZoo(
    'split after concat (TP #147, NNI #5416)',
    () =>
      netOf((g, x) => {
        const joined = cat(g, ...convs(g, x, 3, { a: 5, b: 7 }));
        const [p, q] = split(g, joined, 4, 8);
        return [g.conv(p, 4, 3, { name: 'c' }), g.conv(relu(g, q), 8, 3, { name: 'd' })];
      }),
    { groups: { 'a.weight': 4, 'b.weight': 7 }, walls: { 'a.weight#2': /single channel/ } },
  );
  inZoo(
    'YOLOv8 C2f: split, blocks, concat of all (TP #147)',
    () =>
      netOf((g, x) => {
        const [p, q] = split(g, relu(g, g.conv(x, 3, 8, { name: 'a', kernel: 1 })), 4, 4);
        const block = (y: string, name: string) =>
          g.op('Add', [y, relu(g, g.conv(relu(g, g.conv(y, 4, 4, { name: `${name}1` })), 4, 4, { name: `${name}2` }))]);
        const one = block(q, 'm');
        return g.conv(cat(g, p, q, one, block(one, 'n')), 16, 5, { name: 'last', kernel: 1 });
      }),
    { groups: { 'a.weight': 4, 'a.weight#2': 4, 'm1.weight': 4, 'n1.weight': 4 } },
  );
  inZoo(
    'chunk into gate and value (NNI #5416, GLU)',
    () =>
      around((g, a) => {
        const [p, q] = split(g, a, 4, 4);
        return g.op('Mul', [p, relu(g, q)]);
      }, 4),
    { groups: { 'a.weight': 4 } },
  );
  inZoo('halves that change places (NNI #5713)', () => around((g, a) => cat(g, slice(g, a, 4, 8), slice(g, a, 0, 4))), {
    groups: { 'a.weight': 4, 'a.weight#2': 4 },
  });
  inZoo(
    'ShuffleNet v2: half goes through, half is shuffled in (TP coverage list)',
    () =>
      netOf((g, x) => {
        const stem = g.conv(x, 3, 8, { name: 'stem' });
        const [p, q] = split(g, relu(g, stem), 4, 4);
        const joined = cat(g, p, relu(g, g.conv(q, 4, 4, { name: 'a', kernel: 1 })));
        const apart = g.op('Reshape', [joined, g.ints('apart', 1, 2, 4, 8, 8)]);
        const swapped = g.op('Transpose', [apart], { perm: [0, 2, 1, 3, 4] });
        const [r, s] = split(g, g.op('Reshape', [swapped, g.ints('back', 1, 8, 8, 8)]), 4, 4);
        return g.conv(cat(g, g.conv(r, 4, 4, { name: 'b', kernel: 1 }), s), 8, 5, { name: 'last' });
      }),
    {
      groups: {
        'stem.weight': 2,
        'stem.weight#2': 2,
        'stem.weight#3': 4,
        'a.weight': 2,
        'a.weight#2': 2,
        'b.weight': 4,
      },
    },
  );
  inZoo('a half that nothing reads', () => around((g, a) => slice(g, a, 2, 6), 4), {
    groups: { 'a.weight': 4, 'a.weight#2': 4 },
  });
  inZoo(
    'overlapping slices',
    () =>
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        return [g.conv(slice(g, a, 0, 6), 6, 3, { name: 'b' }), g.conv(slice(g, a, 3, 8), 5, 3, { name: 'c' })];
      }),
    { groups: { 'a.weight': 3, 'a.weight#2': 3, 'a.weight#3': 2 } },
  );
});

describe('residual streams', () => {
  inZoo(
    'residual into concat (TP #258 #300)',
    () =>
      netOf((g, x) => {
        const stem = relu(g, g.conv(x, 3, 6, { name: 'stem' }));
        const sum = g.op('Add', [stem, g.conv(stem, 6, 6, { name: 'a' })]);
        return g.conv(cat(g, sum, g.conv(sum, 6, 4, { name: 'b' }), stem), 16, 3, { name: 'c' });
      }),
    { groups: { 'stem.weight': 6, 'b.weight': 4 } },
  );
  inZoo(
    'concat into residual: the stream is cut in parts',
    () =>
      netOf((g, x) => {
        const joined = cat(g, ...convs(g, x, 3, { a: 5, b: 3 }));
        return head(g, relu(g, g.op('Add', [joined, g.conv(x, 3, 8, { name: 'c' })])), 8);
      }),
    { groups: { 'a.weight': 5, 'b.weight': 3 } },
  );
  inZoo(
    'pre-activation blocks: one group, several mask points',
    () =>
      netOf((g, x) => {
        let stream = g.conv(x, 3, 6, { name: 'stem' });
        for (const name of ['a', 'b']) {
          const inner = g.conv(relu(g, g.norm(stream, 6, `${name}.bn`)), 6, 5, { name: `${name}1`, bias: false });
          stream = g.op('Add', [stream, g.conv(relu(g, g.norm(inner, 5)), 5, 6, { name: `${name}2` })]);
        }
        return head(g, relu(g, g.norm(stream, 6, 'last')), 6);
      }),
    { groups: { 'stem.weight': 6, 'a1.weight': 5, 'b1.weight': 5 } },
  );
  inZoo(
    'HRNet: branches that are summed into each other (TP #263)',
    () =>
      netOf((g, x) => {
        const [a, b] = convs(g, x, 3, { a: 6, b: 4 });
        const [sa, sb] = [relu(g, a), relu(g, b)];
        const fa = relu(
          g,
          g.op('Sum', [sa, g.conv(sb, 4, 6, { name: 'ba', kernel: 1 }), g.conv(sa, 6, 6, { name: 'aa' })]),
        );
        const fb = relu(g, g.op('Sum', [sb, g.conv(sa, 6, 4, { name: 'ab', kernel: 1 })]));
        return g.conv(cat(g, fa, fb), 10, 5, { name: 'last' });
      }),
    { groups: { 'a.weight': 6, 'b.weight': 4 } },
  );
  inZoo(
    'zero-padded shortcuts: padded channels go with what is added (TinyNN #72)',
    () =>
      netOf((g, x) => {
        const a = relu(g, g.conv(x, 3, 4, { name: 'a' }));
        const wide = g.op('Pad', [a, g.ints('pads', 0, 2, 0, 0, 0, 2, 0, 0)]);
        return head(g, relu(g, g.op('Add', [wide, g.conv(a, 4, 8, { name: 'b' })])), 8);
      }),
    { groups: { 'a.weight': 4, 'b.weight': 4 } },
  );
  inZoo(
    'a product across layers (NNI #4540)',
    () =>
      netOf((g, x) => {
        const a = relu(g, g.conv(x, 3, 6, { name: 'a' }));
        const b = relu(g, g.conv(a, 6, 5, { name: 'b' }));
        return g.conv(g.op('Mul', [g.conv(b, 5, 6, { name: 'c' }), a]), 6, 4, { name: 'd' });
      }),
    { groups: { 'a.weight': 6, 'b.weight': 5 } },
  );
});

describe('outputs and other users', () => {
  inZoo(
    'a tensor that is also a graph output',
    () =>
      netOf((g, x) => {
        const a = relu(g, g.conv(x, 3, 8, { name: 'a' }));
        return [a, g.conv(relu(g, g.conv(a, 8, 6, { name: 'b' })), 6, 4, { name: 'c' })];
      }),
    { groups: { 'b.weight': 6 }, walls: { 'a.weight': /graph output 'relu0'/ } },
  );
  inZoo(
    'detection heads keep what they mean (TP #186, NNI #5568)',
    () =>
      netOf((g, x) => {
        const stem = relu(g, g.conv(x, 3, 8, { name: 'stem' }));
        const tower = (name: string, to: number) =>
          g.conv(relu(g, g.conv(stem, 8, 6, { name: `${name}.tower` })), 6, to, { name, kernel: 1 });
        return [tower('boxes', 4), tower('scores', 3)];
      }),
    {
      groups: { 'stem.weight': 8, 'boxes.tower.weight': 6, 'scores.tower.weight': 6 },
      walls: { 'boxes.weight': /graph output 'boxes'/, 'scores.weight': /graph output 'scores'/ },
    },
  );
  inZoo(
    'a value that a sub-graph reads (onnx2torch #32, B09)',
    () =>
      netOf((g, x) => {
        const c = relu(g, g.conv(x, 3, 8, { name: 'a' }));
        const branch = (negate: boolean) => {
          const inner = new (g.constructor as new () => Net)();
          inner.output(inner.node(negate ? 'Neg' : 'Relu', [c], {}, { output: `${negate}` }));
          return inner.graphProto();
        };
        const branches = { then_branch: branch(true), else_branch: branch(false) };
        const chosen = g.op('If', [g.input('p', [], 9)], branches, 'choice');
        const plain = g.conv(relu(g, g.conv(x, 3, 6, { name: 'b' })), 6, 3, { name: 'd' });
        return [g.conv(c, 8, 4, { name: 'c' }), chosen, plain];
      }),
    { groups: { 'b.weight': 6 }, walls: { 'a.weight': /If 'choice'/ } },
  );
});
