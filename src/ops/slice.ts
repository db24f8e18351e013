import { axesOf, normalAxis, unknown } from '../graph/axes.ts';
import type { Tensor } from '../graph/engine.ts';
import { type Dim, type Follow, type Kept, type NodeView, operator, shapeVector } from '../graph/operator.ts';

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly step: number;
  /** Number of elements; null on a symbolic axis that is not taken whole. */
  readonly count: number | null;
  /** All of the axis, in order. */
  readonly whole: boolean;
}

interface Written {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly axes: readonly number[];
  readonly steps: readonly number[];
}

/** What the node says: attributes up to opset 9, inputs from 10 on. */
function written(n: NodeView): Written {
  const old = n.ints('starts');
  const starts = old ?? n.constantInts(1) ?? unknown();
  const ends = old ? n.ints('ends')! : (n.constantInts(2) ?? unknown());
  const axes = axesOf(n, 3) ?? starts.map((_, i) => i);
  const steps = n.has(4) ? (n.constantInts(4) ?? unknown()) : starts.map(() => 1);
  return { starts, ends, axes, steps };
}

/** Starts, ends and steps resolved against the input's shape (ONNX Slice: clamping depends on the step's sign). */
function ranges(n: NodeView): Range[] {
  const shape = n.shape(0);
  const { starts, ends, axes, steps } = written(n);
  return axes.map((given, i) => {
    const axis = normalAxis(given, shape.length);
    const step = steps[i];
    const length = shape[axis];
    if (typeof length === 'string') {
      const whole = step === 1 && starts[i] === 0 && ends[i] >= 2 ** 31 - 1;
      return { axis, start: 0, step, count: null, whole };
    }
    const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));
    const start = clamp(starts[i] < 0 ? starts[i] + length : starts[i], 0, step < 0 ? length - 1 : length);
    // An end before the first element (any huge negative number) cannot be written as an index from the end.
    const end = clamp(ends[i] < 0 ? ends[i] + length : ends[i], step < 0 ? -1 : 0, step < 0 ? length - 1 : length);
    const count = Math.max(0, Math.ceil((end - start) / step));
    return { axis, start, step, count, whole: step === 1 && count === length };
  });
}

/** For every element of a sliced axis that stays, its place on the shortened input axis; null: nothing changed. */
function sourcesOf(n: NodeView, { axis, start, step, count, whole }: Range, kept: Kept): number[] | null {
  const inputs = kept(n.axis(0, axis));
  const outputs = kept(n.outputAxis(0, axis));
  if (whole || count === null || (!inputs && !outputs)) return null;
  const place = inputs && new Map(inputs.map((index, at) => [index, at]));
  const left = outputs ?? Array.from({ length: count }, (_, i) => i);
  return left.map(i => start + i * step).map(index => (place ? place.get(index)! : index));
}

/** A number below the first element of any axis: -1 would be the last. */
const beforeFirst = -(2 ** 31);

/** Indices as start, end and step; null when they are not evenly spaced. */
function spaced(indices: readonly number[], sign: number): { start: number; end: number; step: number } | null {
  const step = indices.length > 1 ? indices[1] - indices[0] : sign;
  if (!indices.every((index, i) => index === indices[0] + i * step)) return null;
  const end = indices[indices.length - 1] + Math.sign(step);
  return { start: indices[0], end: end < 0 ? beforeFirst : end, step };
}

/**
 * The node for a shortened axis: other numbers where they can say it, else a Gather, which goes in front of the node
 * where that slices other axes too.
 */
function cutSlice(n: NodeView, kept: Kept): Follow | null {
  const all = ranges(n);
  const sources = all.map(range => sourcesOf(n, range, kept));
  if (sources.every(indices => indices === null)) return null;
  const { starts, ends, steps } = written(n);
  const next = { starts: [...starts], ends: [...ends], steps: [...steps] };
  let gather: Follow['gather'];
  sources.forEach((indices, i) => {
    if (!indices) return;
    const range = spaced(indices, Math.sign(all[i].step));
    const writable = range && (range.step === 1 || n.has(4));
    if (!writable && gather) unknown();
    if (!writable) gather = { axis: all[i].axis, indices };
    next.starts[i] = writable ? range.start : 0;
    next.ends[i] = writable ? range.end : 2 ** 31 - 1;
    next.steps[i] = writable ? range.step : 1;
  });
  if (gather && all.filter(range => !range.whole).length === 1) return { gather };
  if (n.ints('starts')) return { gather, attributes: { starts: next.starts, ends: next.ends } };
  const constants: Record<number, readonly number[]> = { 1: next.starts, 2: next.ends };
  if (n.has(4)) constants[4] = next.steps;
  return { gather, constants };
}

/** https://onnx.ai/onnx/operators/onnx__Slice.html (1, 10, 11, 13) */
export const Slice = operator('Slice', {
  roles: { 1: shapeVector, 2: shapeVector, 3: shapeVector, 4: shapeVector },
  shape(n) {
    const shape: Dim[] = [...n.shape(0)];
    for (const { axis, count, whole } of ranges(n)) if (!whole) shape[axis] = count ?? `${n.outputs[0]}_${axis}`;
    return [{ elemType: n.type(0).elemType, shape }];
  },
  evaluate(n) {
    const value = n.constant(0);
    if (!value) return [null];
    const dims = [...value.dims];
    const picks: number[][] = dims.map(dim => Array.from({ length: dim }, (_, i) => i));
    for (const { axis, start, step, count } of ranges(n)) {
      dims[axis] = count!;
      picks[axis] = Array.from({ length: count! }, (_, i) => start + i * step);
    }
    const flat = picks.reduce<number[]>(
      (rows, pick, axis) => rows.flatMap(row => pick.map(i => row * value.dims[axis] + i)),
      [0],
    );
    return [{ ...value, dims, values: flat.map(i => value.values[i]) }];
  },
  couple(n, r) {
    const cuts = new Map(ranges(n).map(range => [range.axis, range]));
    n.shape(0).forEach((_, axis) => {
      const range = cuts.get(axis);
      if (!range || range.whole) r.same(n.axis(0, axis), n.outputAxis(0, axis));
      else if (range.count === null) r.wall(n.axis(0, axis), `Slice '${n.name}' cuts an axis of unknown length`);
      else r.map(n.outputAxis(0, axis), n.axis(0, axis), i => range.start + i * range.step);
    });
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const slice = engine.op('slice.Tensor');
    const indexSelect = engine.op('index_select');
    const { starts, ends } = written(n);
    const steps = ranges(n).flatMap(({ axis, start, step, count, whole }, i): ((x: Tensor) => Tensor)[] => {
      if (whole) return [];
      if (count === null) {
        if (step < 0) unknown();
        return [x => slice(x, axis, starts[i], Math.min(ends[i], 2 ** 40), step)];
      }
      if (step > 0) return [x => slice(x, axis, start, start + count * step, step)];
      const backwards = engine.tensor(
        BigInt64Array.from({ length: count }, (_, at) => BigInt(start + at * step)),
        [count],
      );
      return [x => indexSelect(x, axis, backwards)];
    });
    return ([x]) => steps.reduce((y, step) => step(y), x!);
  },
  cut: cutSlice,
});
