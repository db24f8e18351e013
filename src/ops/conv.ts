import { known, product, windowOf } from '../graph/axes.ts';
import {
  bias,
  type Follow,
  type Kept,
  type Monomial,
  type NodeView,
  operator,
  type Relations,
  type Shape,
  WrongNode,
  weight,
} from '../graph/operator.ts';
import { padConstant } from './families/window.ts';

/** Where a convolution has its operands: quantised ones have others in between. */
export interface Operands {
  readonly weight: number;
  /** Inputs with one element for every output channel. */
  readonly vectors: readonly number[];
}

const plain: Operands = { weight: 1, vectors: [2] };

/** Groups of a convolution, and its input and output channels per group. @throws UnknownShape */
function grouping(n: NodeView, { weight: w }: Operands): { group: number; inputs: number; outputs: number } {
  const group = n.int('group', 1);
  const [out, inputs] = n.shape(w).map(known);
  return { group, inputs, outputs: out / group };
}

/** Lengths of the kernel's axes. @throws UnknownShape */
const kernelOf = (n: NodeView, { weight: w }: Operands = plain): readonly number[] =>
  n.ints('kernel_shape') ?? n.shape(w).slice(2).map(known);

/** @throws WrongNode when groups, weight and input do not fit */
function checkGroups(n: NodeView, { weight: w }: Operands): void {
  const group = n.int('group', 1);
  const [out, inputs] = n.shape(w);
  const channels = n.shape(0)[1];
  if (!(group >= 1) || (typeof out === 'number' && out % group !== 0))
    throw new WrongNode(`has ${group} groups of ${out} output channels`);
  if (typeof inputs === 'number' && typeof channels === 'number' && channels !== group * inputs)
    throw new WrongNode(`reads ${channels} channels, and its weight is for ${group} groups of ${inputs}`);
}

/** Shape of a convolution's output. @throws UnknownShape, WrongNode */
export function convolved(n: NodeView, operands: Operands = plain): Shape {
  checkGroups(n, operands);
  const [batch, , ...spatial] = n.shape(0);
  const { size } = windowOf(n, spatial, kernelOf(n, operands));
  return [batch, n.shape(operands.weight)[0], ...size];
}

/** Multiply-accumulates of a convolution. @throws UnknownShape */
export function costOfConvolution(n: NodeView, { weight: w }: Operands = plain): Monomial[] {
  const cells = product([...n.outputShape(0).slice(2), ...n.shape(w).slice(2)]);
  return [{ coefficient: cells, axes: [n.axis(0, 0), n.axis(w, 0), n.axis(w, 1)] }];
}

/** What a cut leaves of the number of groups: where whole groups went, the weight's axis 1 is as long as before. */
export function cutGroups(n: NodeView, kept: Kept, operands: Operands = plain): Follow | null {
  const left = kept(n.axis(0, 1));
  if (n.int('group', 1) === 1 || !left || kept(n.axis(operands.weight, 1))) return null;
  return { attributes: { group: left.length / grouping(n, operands).inputs } };
}

/**
 * `equal`: every group loses the same of its outputs and inputs. `whole`: a group goes with all its inputs and outputs,
 * which then follow each other, so that nothing is summed over; depthwise convolutions leave no other choice.
 */
export function coupleConvolution(n: NodeView, r: Relations, operands: Operands = plain): void {
  const { weight: w, vectors } = operands;
  const { group, inputs, outputs } = grouping(n, operands);
  r.same(n.axis(0, 0), n.outputAxis(0, 0));
  r.same(n.axis(w, 0), n.outputAxis(0, 1));
  for (const vector of vectors) if (n.has(vector)) r.same(n.axis(w, 0), n.axis(vector, 0));
  if (group === 1) {
    r.same(n.axis(0, 1), n.axis(w, 1));
    r.sums(0, 1);
    r.sums(w, 1);
  } else if (inputs === 1 || r.grouped === 'whole') {
    r.tie(n.axis(0, 1), i => Math.floor(i / inputs));
    r.map(n.outputAxis(0, 1), n.axis(0, 1), o => Math.floor(o / outputs) * inputs);
    r.wall(n.axis(w, 1), `${n.opType} '${n.name}' keeps the input channels of a group`);
  } else {
    r.map(n.axis(0, 1), n.axis(w, 1), i => i % inputs);
    r.tie(n.axis(w, 0), o => o % outputs);
    r.sums(0, 1);
  }
  for (let axis = 2; axis < n.shape(0).length; axis++) {
    for (const ref of [n.axis(0, axis), n.axis(w, axis), n.outputAxis(0, axis)]) {
      r.wall(ref, `${n.opType} '${n.name}' slides over it`);
    }
  }
}

/** Convolution, 1-D to 3-D, grouped and depthwise. https://onnx.ai/onnx/operators/onnx__Conv.html (1, 11, 22) */
export const Conv = operator('Conv', {
  roles: { 1: weight({ out: 0, in: 1 }), 2: bias },
  foldable: [1, 2],
  overwritable: true,
  shape: n => [{ elemType: n.type(0).elemType, shape: convolved(n) }],
  couple(n, r) {
    if (n.int('group', 1) === 1) return 'N I *, O I *, O -> N O *';
    coupleConvolution(n, r);
    return undefined;
  },
  cost: n => costOfConvolution(n),
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
  cut: (n, kept) => cutGroups(n, kept),
});
