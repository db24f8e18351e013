import { known, product, windowOf } from '../graph/axes.ts';
import { bias, type NodeView, operator, type Relations, weight } from '../graph/operator.ts';
import { padConstant } from './families/window.ts';

/** Groups of a convolution, and its input and output channels per group. @throws UnknownShape */
function grouping(n: NodeView): { group: number; inputs: number; outputs: number } {
  const group = n.int('group', 1);
  const [out, inputs] = n.shape(1).map(known);
  return { group, inputs, outputs: out / group };
}

/** Lengths of the kernel's axes. @throws UnknownShape */
const kernelOf = (n: NodeView): readonly number[] => n.ints('kernel_shape') ?? n.shape(1).slice(2).map(known);

/**
 * `equal`: every group loses the same of its outputs and inputs. `whole`: a group goes with all its inputs and outputs,
 * which then follow each other, so that nothing is summed over; depthwise convolutions leave no other choice.
 */
function coupleGroups(n: NodeView, r: Relations): void {
  const { inputs, outputs } = grouping(n);
  r.same(n.axis(0, 0), n.outputAxis(0, 0));
  r.same(n.axis(1, 0), n.outputAxis(0, 1));
  if (n.has(2)) r.same(n.axis(1, 0), n.axis(2, 0));
  if (inputs === 1 || r.grouped === 'whole') {
    r.tie(n.axis(0, 1), i => Math.floor(i / inputs));
    r.map(n.outputAxis(0, 1), n.axis(0, 1), o => Math.floor(o / outputs) * inputs);
    r.wall(n.axis(1, 1), `Conv '${n.name}' keeps the input channels of a group`);
  } else {
    r.map(n.axis(0, 1), n.axis(1, 1), i => i % inputs);
    r.tie(n.axis(1, 0), o => o % outputs);
    r.sums(0, 1);
  }
  for (let axis = 2; axis < n.shape(0).length; axis++) {
    for (const ref of [n.axis(0, axis), n.axis(1, axis), n.outputAxis(0, axis)]) {
      r.wall(ref, `Conv '${n.name}' slides over it`);
    }
  }
}

/** Convolution, 1-D to 3-D, grouped and depthwise. https://onnx.ai/onnx/operators/onnx__Conv.html (1, 11, 22) */
export const Conv = operator('Conv', {
  roles: { 1: weight({ out: 0, in: 1 }), 2: bias },
  foldable: [1, 2],
  overwritable: true,
  shape(n) {
    const [batch, , ...spatial] = n.shape(0);
    const { size } = windowOf(n, spatial, kernelOf(n));
    return [{ elemType: n.type(0).elemType, shape: [batch, n.shape(1)[0], ...size] }];
  },
  couple(n, r) {
    if (n.int('group', 1) === 1) return 'N I *, O I *, O -> N O *';
    coupleGroups(n, r);
    return undefined;
  },
  cost(n) {
    const cells = product([...n.outputShape(0).slice(2), ...n.shape(1).slice(2)]);
    return [{ coefficient: cells, axes: [n.axis(1, 0), n.axis(1, 1)] }];
  },
  zero: n => (n.has(2) ? 'constant' : 'zero'),
  forward(n, engine) {
    const kernel = kernelOf(n);
    const { strides, dilations, padsBegin, padsEnd } = windowOf(n, n.shape(0).slice(2), kernel);
    const group = n.int('group', 1);
    const convolution = engine.op('convolution');
    const slice = engine.op('slice.Tensor');
    const zeros = kernel.map(() => 0);
    const ones = kernel.map(() => 1);
    const pad = padConstant(engine, padsBegin, padsEnd, 0);
    // oneDNN corrupts memory in the weight gradient of a strided 1x1 convolution at few input channels.
    if (kernel.every(k => k === 1) && strides.some(s => s > 1)) {
      const strided = strides.flatMap((stride, axis) => (stride > 1 ? [[axis + 2, stride] as const] : []));
      return ([x, w, b]) => {
        const picked = strided.reduce((y, [axis, stride]) => slice(y, axis, 0, null, stride), pad(x!));
        return convolution(picked, w, b ?? null, ones, zeros, ones, false, zeros, group);
      };
    }
    if (padsBegin.every((before, axis) => before === padsEnd[axis])) {
      return ([x, w, b]) => convolution(x, w, b ?? null, strides, padsBegin, dilations, false, zeros, group);
    }
    return ([x, w, b]) => convolution(pad(x!), w, b ?? null, strides, zeros, dilations, false, zeros, group);
  },
  cut(n, kept) {
    // Whole groups went: of a group that loses some of its channels, the weight's axis 1 is shorter too.
    const left = kept(n.axis(0, 1));
    if (n.int('group', 1) === 1 || !left || kept(n.axis(1, 1))) return null;
    return { attributes: { group: left.length / grouping(n).inputs } };
  },
});
