import { known, product } from '../graph/axes.ts';
import { bias, type Dim, type NodeView, operator, type Relations, weight } from '../graph/operator.ts';

/** Groups, and input and output channels of each. @throws UnknownShape */
function grouping(n: NodeView): { group: number; inputs: number; outputs: number } {
  const group = n.int('group', 1);
  const [inputs, outputs] = n.shape(1).map(known);
  return { group, inputs: inputs / group, outputs };
}

const isDepthwise = (n: NodeView): boolean => {
  const group = n.int('group', 1);
  return group > 1 && n.type(1).shape?.[0] === group;
};

interface Geometry {
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Lengths of the spatial axes as the scattered kernels cover them. */
  readonly full: readonly Dim[];
  /** Of these, where the output begins. */
  readonly begin: readonly number[];
  readonly size: readonly Dim[];
}

/** Where the output lies in what the scattered kernels cover. @throws UnknownShape */
function geometryOf(n: NodeView): Geometry {
  const spatial = n.shape(0).slice(2);
  const kernel = n.ints('kernel_shape') ?? n.shape(1).slice(2).map(known);
  const ones = spatial.map(() => 1);
  const strides = n.ints('strides') ?? ones;
  const dilations = n.ints('dilations') ?? ones;
  const pads = n.ints('pads') ?? [...ones, ...ones].map(() => 0);
  const extra = n.ints('output_padding') ?? ones.map(() => 0);
  // Some exporters give it with batch and channels in front.
  const wanted = n.ints('output_shape')?.slice(-spatial.length);
  const autoPad = n.string('auto_pad', 'NOTSET');
  const begin: number[] = [];
  const full: Dim[] = [];
  const size: Dim[] = [];
  spatial.forEach((dim, axis) => {
    if (typeof dim === 'string') {
      if (autoPad.startsWith('SAME')) known(dim);
      const output = `${n.outputs[0]}_${axis + 2}`;
      begin.push(autoPad === 'VALID' ? 0 : pads[axis]);
      full.push(output);
      size.push(wanted?.[axis] ?? output);
      return;
    }
    const covered = (dim - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1;
    full.push(covered);
    const target = wanted?.[axis] ?? (autoPad.startsWith('SAME') ? dim * strides[axis] : undefined);
    if (target === undefined) {
      const [before, after] = autoPad === 'VALID' ? [0, 0] : [pads[axis], pads[axis + spatial.length]];
      begin.push(before);
      size.push(covered + extra[axis] - before - after);
    } else {
      const total = Math.max(0, covered + extra[axis] - target);
      begin.push(autoPad === 'SAME_UPPER' ? total >> 1 : total - (total >> 1));
      size.push(target);
    }
  });
  return { strides, dilations, full, begin, size };
}

/** As convolutions lose channels (conv.ts), with the weight's axes the other way round. */
function coupleGroups(n: NodeView, r: Relations): void {
  const { inputs, outputs } = grouping(n);
  r.same(n.axis(0, 0), n.outputAxis(0, 0));
  r.same(n.axis(1, 0), n.axis(0, 1));
  if (n.has(2)) r.same(n.axis(2, 0), n.outputAxis(0, 1));
  if (inputs === 1 || r.grouped === 'whole') {
    r.tie(n.axis(0, 1), i => Math.floor(i / inputs));
    r.map(n.outputAxis(0, 1), n.axis(0, 1), o => Math.floor(o / outputs) * inputs);
    r.wall(n.axis(1, 1), `ConvTranspose '${n.name}' keeps the output channels of a group`);
  } else {
    r.map(n.outputAxis(0, 1), n.axis(1, 1), o => o % outputs);
    r.tie(n.axis(0, 1), i => i % inputs);
    r.sums(0, 1);
  }
  for (let axis = 2; axis < n.shape(0).length; axis++) {
    for (const ref of [n.axis(0, axis), n.axis(1, axis), n.outputAxis(0, axis)]) {
      r.wall(ref, `ConvTranspose '${n.name}' slides over it`);
    }
  }
}

/** Transposed convolution. https://onnx.ai/onnx/operators/onnx__ConvTranspose.html (1, 11, 22) */
export const ConvTranspose = operator('ConvTranspose', {
  roles: n => ({ 1: isDepthwise(n) ? weight({ out: 0, in: 1 }) : weight({ out: 1, in: 0 }), 2: bias }),
  foldable: [1, 2],
  overwritable: true,
  shape(n) {
    const outputs = known(n.shape(1)[1]) * n.int('group', 1);
    return [{ elemType: n.type(0).elemType, shape: [n.shape(0)[0], outputs, ...geometryOf(n).size] }];
  },
  couple(n, r) {
    if (n.int('group', 1) === 1) return 'N I *, I O *, O -> N O *';
    coupleGroups(n, r);
    return undefined;
  },
  cost(n) {
    const cells = product([...n.shape(0).slice(2), ...n.shape(1).slice(2)]);
    return [{ coefficient: cells, axes: [n.axis(0, 0), n.axis(1, 0), n.axis(1, 1)] }];
  },
  zero: n => (n.has(2) ? 'constant' : 'zero'),
  forward(n, engine) {
    const convolution = engine.op('convolution');
    const pad = engine.op('constant_pad_nd');
    const add = engine.op('add.Tensor');
    const reshape = engine.op('reshape');
    const { strides, dilations, full, begin, size } = geometryOf(n);
    const group = n.int('group', 1);
    const lengths = size.map(known);
    const after = full.map((dim, axis) => known(dim) - begin[axis] - lengths[axis]);
    const zeros = strides.map(() => 0);
    // What libtorch can say itself: the same pads on both sides and an output a little longer at the end.
    const extra = after.map((crop, axis) => begin[axis] - crop);
    if (extra.every((more, axis) => more >= 0 && more < Math.max(strides[axis], dilations[axis]))) {
      return ([x, w, b]) => convolution(x, w, b ?? null, strides, begin, dilations, true, extra, group);
    }
    const crops = begin.map((_, i) => begin.length - 1 - i).flatMap(axis => [-begin[axis], -after[axis]]);
    return ([x, w, b]) => {
      const y = pad(convolution(x, w, null, strides, zeros, dilations, true, zeros, group), crops, 0);
      return b ? add(y, reshape(b, [-1, ...strides.map(() => 1)])) : y;
    };
  },
  cut(n, kept) {
    // Where whole groups went every group that is left has all its inputs, else none has.
    const left = kept(n.axis(0, 1));
    const { group, inputs } = grouping(n);
    if (group === 1 || !left?.every((index, at) => index % inputs === at % inputs)) return null;
    return { attributes: { group: left.length / inputs } };
  },
});
