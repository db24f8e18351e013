import { axesOf, normalAxis, unknown } from '../graph/axes.ts';
import { numericPart } from '../graph/dims.ts';
import type { Tensor } from '../graph/engine.ts';
import { type Dim, type Follow, type Kept, type NodeView, operator, shapeVector } from '../graph/operator.ts';

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly step: number;
  /** Number of elements; null on an axis that is not taken whole, where a bound or its length is not known. */
  readonly count: number | null;
  /** All of the axis, in order. */
  readonly whole: boolean;
}

/** A start, an end or a step: a number, a symbolic length, or null where it is computed at run time. */
type Bound = number | string | null;

interface Written {
  readonly starts: readonly Bound[];
  readonly ends: readonly Bound[];
  readonly axes: readonly number[];
  readonly steps: readonly Bound[];
}

/** What the node says: attributes up to opset 9, inputs from 10 on. @throws UnknownShape where it does not say which axes */
function written(n: NodeView): Written {
  const starts = n.ints('starts') ?? n.constant(1)?.values;
  const ends = n.ints('ends') ?? n.constant(2)?.values;
  const length = n.type(1).shape?.[0] ?? n.type(2).shape?.[0];
  const count = starts?.length ?? ends?.length ?? (typeof length === 'number' ? length : null);
  const axes = axesOf(n, 3) ?? Array.from({ length: count ?? unknown() }, (_, i) => i);
  const computed = axes.map(() => null);
  const steps = n.has(4) ? (n.constant(4)?.values ?? computed) : axes.map(() => 1);
  return { starts: starts ?? computed, ends: ends ?? computed, axes, steps };
}

/** Starts, ends and steps resolved against the input's shape (ONNX Slice: clamping depends on the step's sign). */
function ranges(n: NodeView): Range[] {
  const shape = n.shape(0);
  const { starts, ends, axes, steps } = written(n);
  return axes.map((given, i): Range => {
    const axis = normalAxis(given, shape.length);
    const [length, first, last, step] = [shape[axis], starts[i], ends[i], steps[i]];
    if (
      typeof length === 'string' ||
      typeof first !== 'number' ||
      typeof last !== 'number' ||
      typeof step !== 'number'
    ) {
      // The end of an axis that channels are merged into is another one after a cut.
      const isToEnd = typeof last === 'number' ? last >= 2 ** 31 - 1 : last === length && numericPart(length) === 1;
      return { axis, start: 0, step: Number(step), count: null, whole: step === 1 && first === 0 && isToEnd };
    }
    const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));
    const start = clamp(first < 0 ? first + length : first, 0, step < 0 ? length - 1 : length);
    // An end before the first element (any huge negative number) cannot be written as an index from the end.
    const end = clamp(last < 0 ? last + length : last, step < 0 ? -1 : 0, step < 0 ? length - 1 : length);
    const count = Math.max(0, Math.ceil((end - start) / step));
    return { axis, start, step, count, whole: step === 1 && count === length };
  });
}

const areNumbers = (bounds: readonly Bound[]): bounds is readonly number[] =>
  bounds.every(bound => typeof bound === 'number');

/** What the node says where all of it is numbers, which can be written anew. @throws UnknownShape */
function numbers(n: NodeView): { starts: readonly number[]; ends: readonly number[]; steps: readonly number[] } {
  const { starts, ends, steps } = written(n);
  return areNumbers(starts) && areNumbers(ends) && areNumbers(steps) ? { starts, ends, steps } : unknown();
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
  const { starts, ends, steps } = numbers(n);
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
    for (const { axis, count, whole } of ranges(n)) {
      if (whole) continue;
      // How much is left of an axis of known length may be declared.
      if (count === null && typeof shape[axis] === 'number') unknown();
      shape[axis] = count ?? `${n.outputs[0]}_${axis}`;
    }
    return [{ elemType: n.type(0).elemType, shape }];
  },
  evaluate(n) {
    const value = n.constant(0);
    if (!value) return [null];
    const dims = [...value.dims];
    const picks: number[][] = dims.map(dim => Array.from({ length: dim }, (_, i) => i));
    for (const { axis, start, step, count, whole } of ranges(n)) {
      if (whole) continue;
      if (count === null) return [null];
      dims[axis] = count;
      picks[axis] = Array.from({ length: count }, (_, i) => start + i * step);
    }
    const flat = picks.reduce<number[]>(
      (rows, pick, axis) => rows.flatMap(row => pick.map(i => row * value.dims[axis] + i)),
      [0],
    );
    return [{ ...value, dims, values: flat.map(i => value.values[i]) }];
  },
  couple(n, r) {
    const cuts = new Map(ranges(n).map(range => [range.axis, range]));
    const { starts, ends, steps } = written(n);
    const isWritten = [starts, ends, steps].every(areNumbers);
    n.shape(0).forEach((_, axis) => {
      const range = cuts.get(axis);
      const [before, after] = [n.axis(0, axis), n.outputAxis(0, axis)];
      if (!range || range.whole) r.same(before, after);
      else if (range.count !== null && isWritten) r.map(after, before, i => range.start + i * range.step);
      else {
        const why = range.count === null ? 'cuts an axis of unknown length' : 'cuts it at computed places';
        for (const ref of [before, after]) r.wall(ref, `Slice '${n.name}' ${why}`);
      }
    });
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const slice = engine.op('slice.Tensor');
    const indexSelect = engine.op('index_select');
    const steps = ranges(n).flatMap(({ axis, start, step, count, whole }, i): ((x: Tensor) => Tensor)[] => {
      if (whole) return [];
      if (count === null) {
        const { starts, ends } = numbers(n);
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
