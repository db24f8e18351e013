import { axesOf, known, normalAxis, unknown } from '../graph/axes.ts';
import { type Dim, type Kept, type NodeView, operator, shapeVector } from '../graph/operator.ts';

interface Pads {
  readonly begin: readonly number[];
  readonly end: readonly number[];
  readonly mode: string;
  readonly value: number;
}

/** libtorch's names where they differ. */
const modes: Readonly<Record<string, string>> = { edge: 'replicate', wrap: 'circular' };

/** The attribute with the pads, which operator set 1 called otherwise; null: they are an input (from 11 on). */
const padsAttribute = (n: NodeView) => ['pads', 'paddings'].find(name => n.ints(name)) ?? null;

/** The axes that the pads are for: all, or those of an input (from operator set 18 on). */
const paddedAxes = (n: NodeView): readonly number[] => {
  const shape = n.shape(0);
  return (axesOf(n, 3) ?? shape.map((_, axis) => axis)).map(axis => normalAxis(axis, shape.length));
};

/** Pads of every axis of the input. */
function padsOf(n: NodeView): Pads {
  const attribute = padsAttribute(n);
  const flat = (attribute ? n.ints(attribute) : n.constantInts(1)) ?? unknown();
  const axes = paddedAxes(n);
  const begin = n.shape(0).map(() => 0);
  const end = [...begin];
  axes.forEach((axis, i) => {
    begin[axis] = flat[i];
    end[axis] = flat[i + axes.length];
  });
  const value = n.has(2) ? Number(n.constant(2)?.values[0] ?? unknown()) : n.float('value', 0);
  return { begin, end, mode: n.string('mode', 'constant'), value };
}

/** The pads for a shortened axis: as many of the padded channels as stay on either side. */
function cutPads(n: NodeView, kept: Kept): number[] | null {
  const pads = padsOf(n);
  const begin = [...pads.begin];
  const end = [...pads.end];
  n.shape(0).forEach((dim, axis) => {
    const left = kept(n.outputAxis(0, axis));
    if (!left || isUnpadded(pads, axis)) return;
    begin[axis] = left.filter(index => index < pads.begin[axis]).length;
    end[axis] = left.filter(index => index >= pads.begin[axis] + known(dim)).length;
  });
  const changed = begin.some((pad, axis) => pad !== pads.begin[axis] || end[axis] !== pads.end[axis]);
  const axes = paddedAxes(n);
  return changed ? [...axes.map(axis => begin[axis]), ...axes.map(axis => end[axis])] : null;
}

const isUnpadded = ({ begin, end }: Pads, axis: number): boolean => begin[axis] === 0 && end[axis] === 0;

/** https://onnx.ai/onnx/operators/onnx__Pad.html (2, 11, 13, 18, 19) */
export const Pad = operator('Pad', {
  roles: { 1: shapeVector, 3: shapeVector },
  shape(n) {
    const pads = padsOf(n);
    const padded = n.shape(0).map((dim, axis): Dim => {
      if (isUnpadded(pads, axis)) return dim;
      return typeof dim === 'number' ? dim + pads.begin[axis] + pads.end[axis] : `${n.outputs[0]}_${axis}`;
    });
    return [{ elemType: n.type(0).elemType, shape: padded }];
  },
  couple(n, r) {
    const pads = padsOf(n);
    const { begin, end, mode } = pads;
    n.shape(0).forEach((dim, axis) => {
      const [before, after] = [n.axis(0, axis), n.outputAxis(0, axis)];
      const wall = (why: string) => {
        for (const ref of [before, after]) r.wall(ref, `Pad '${n.name}' ${why}`);
      };
      if (isUnpadded(pads, axis)) r.same(before, after);
      else if (typeof dim === 'string') wall('pads an axis of unknown length');
      else if (mode !== 'constant') wall(`pads by ${mode} along it`);
      else if (begin[axis] < 0 || end[axis] < 0) wall('crops it');
      else r.map(before, after, index => index + begin[axis]);
    });
    return undefined;
  },
  zero: n => (padsOf(n).value === 0 ? 'zero' : 'constant'),
  forward(n, engine) {
    const { begin, end, mode, value } = padsOf(n);
    const first = begin.findIndex((pad, axis) => pad !== 0 || end[axis] !== 0);
    if (first < 0) return ([x]) => x!;
    const last = begin.length - 1;
    // libtorch takes the last axis first, and no axes before the first padded one; by a border all that are spatial.
    const from = mode === 'constant' ? first : Math.min(first, 2);
    const pads = begin.slice(from).flatMap((_, i) => [begin[last - i], end[last - i]]);
    const pad = engine.op('pad');
    const name = modes[mode] ?? mode;
    return ([x]) => (mode === 'constant' ? pad(x, pads, 'constant', value) : pad(x, pads, name));
  },
  cut(n, kept) {
    const pads = cutPads(n, kept);
    if (!pads) return null;
    const attribute = padsAttribute(n);
    return attribute ? { attributes: { [attribute]: pads } } : { constants: { 1: pads } };
  },
});
