import { known, normalAxis, unknown } from '../graph/axes.ts';
import type { Engine, Tensor } from '../graph/engine.ts';
import {
  type Dim,
  type Follow,
  type Kept,
  type NodeView,
  type OpenLength,
  type Operator,
  operator,
  shapeVector,
} from '../graph/operator.ts';
import {
  type Interpolation,
  interpolationMatrix,
  isOutside,
  nearestIndices,
  places,
  type ResizedAxis,
} from './families/interpolation.ts';

/** One axis of the output; lengths may be symbolic. */
interface Target {
  readonly to: Dim;
  readonly scale: number;
  readonly start: number;
  readonly end: number;
}

/** Up to operator set 10, and in Upsample, there were scales only. */
const isOld = (n: NodeView): boolean => n.opType === 'Upsample' || n.version < 11;

/** Elements of an optional input; null where it is left out or empty. @throws UnknownShape when it is computed at run time */
function given(n: NodeView, input: number): readonly (number | string)[] | null {
  if (!n.has(input)) return null;
  const { values } = n.constant(input) ?? unknown();
  return values.length > 0 ? values : null;
}

/** The axes that sizes, scales and roi are for. */
function axesOf(n: NodeView): readonly number[] {
  const shape = n.shape(0);
  return (n.ints('axes') ?? [...shape.keys()]).map(axis => normalAxis(axis, shape.length));
}

const sizesOf = (n: NodeView): readonly Dim[] | null => (isOld(n) ? null : given(n, 3));

/** Whether it has sizes, which may be computed at run time, and not scales. */
const takesSizes = (n: NodeView): boolean => !isOld(n) && n.has(3) && n.constant(3)?.values.length !== 0;

const scalesOf = (n: NodeView): readonly number[] =>
  ((n.attribute('scales') as readonly number[] | undefined) ?? given(n, isOld(n) ? 1 : 2) ?? unknown()) as number[];

function coordinatesOf(n: NodeView): string {
  return isOld(n) ? 'asymmetric' : n.string('coordinate_transformation_mode', 'half_pixel');
}

/** What every axis becomes. @throws UnknownShape */
function targetsOf(n: NodeView): readonly Target[] {
  const shape = n.shape(0);
  const axes = axesOf(n);
  const sizes = sizesOf(n);
  const scales = sizes ? null : scalesOf(n);
  const roi = coordinatesOf(n) === 'tf_crop_and_resize' ? (given(n, 1) as readonly number[] | null) : null;
  const policy = n.string('keep_aspect_ratio_policy', 'stretch');
  const ratios = () => axes.map((axis, i) => known(sizes![i]) / known(shape[axis]));
  const common = sizes && policy !== 'stretch' ? (policy === 'not_larger' ? Math.min : Math.max)(...ratios()) : null;
  return shape.map((dim, axis): Target => {
    const i = axes.indexOf(axis);
    if (i < 0) return { to: dim, scale: 1, start: 0, end: 1 };
    const [start, end] = roi ? [roi[i], roi[i + axes.length]] : [0, 1];
    if (common !== null) {
      return { to: Math.floor(common * known(dim) + 0.5), scale: Math.fround(common), start, end };
    }
    if (sizes) {
      const to = sizes[i];
      const ratio = typeof to === 'number' && typeof dim === 'number' ? Math.fround(to / dim) : Number.NaN;
      return { to, scale: to === dim ? 1 : ratio, start, end };
    }
    const scale = scales![i];
    if (typeof dim === 'number') return { to: Math.floor(Math.fround(dim * scale)), scale, start, end };
    return { to: scale === 1 ? dim : `${n.outputs[0]}_${axis}`, scale, start, end };
  });
}

const isSame = ({ scale, start, end }: Target): boolean => scale === 1 && start === 0 && end === 1;

/** Which axes stay as they are; where the sizes are computed those that are as long as before. */
function keptBy(n: NodeView): (axis: number) => boolean {
  const isCropped = coordinatesOf(n) === 'tf_crop_and_resize';
  const isComputed = (input: number) => n.has(input) && n.constant(input) === null;
  if (isOld(n) || !(isComputed(takesSizes(n) ? 3 : 2) || (isCropped && isComputed(1)))) {
    const targets = targetsOf(n);
    return axis => isSame(targets[axis]);
  }
  const named = new Set(axesOf(n));
  const isStretched = takesSizes(n) && !isCropped && n.string('keep_aspect_ratio_policy', 'stretch') === 'stretch';
  const [before, after] = [n.shape(0), n.outputShape(0)];
  return axis => !named.has(axis) || (isStretched && typeof before[axis] === 'number' && before[axis] === after[axis]);
}

const interpolationOf = (n: NodeView): Interpolation => ({
  mode: n.string('mode', 'nearest'),
  coordinates: coordinatesOf(n),
  nearest: isOld(n) ? 'simple' : n.string('nearest_mode', 'round_prefer_floor'),
  cubic: n.float('cubic_coeff_a', -0.75),
  excludeOutside: n.int('exclude_outside', 0) === 1,
  antialias: n.int('antialias', 0) === 1,
});

/** What lies outside a crop is this value. */
const extrapolation = (n: NodeView): number | null =>
  coordinatesOf(n) === 'tf_crop_and_resize' ? n.float('extrapolation_value', 0) : null;

/** libtorch's own kernels, which are quicker, for images where they do the same; else null. */
function direct(n: NodeView, engine: Engine, resized: readonly ResizedAxis[]): ((x: Tensor) => Tensor) | null {
  const how = interpolationOf(n);
  const [, , height, width] = n.outputShape(0);
  if (n.shape(0).length !== 4 || resized.some(({ axis }) => axis < 2) || how.antialias) return null;
  const size = [known(height), known(width)];
  if (how.mode === 'nearest') {
    const isPlain = (axis: ResizedAxis) =>
      nearestIndices(axis, how).every(
        (index, at) => index === Math.floor(Math.fround(at * Math.fround(axis.from / axis.to))),
      );
    if (how.coordinates === 'tf_crop_and_resize' || !resized.every(isPlain)) return null;
    const nearest = engine.op('upsample_nearest2d');
    return x => nearest(x, size);
  }
  const corners = how.coordinates === 'align_corners';
  const halfPixel = ['half_pixel', 'pytorch_half_pixel'].includes(how.coordinates) && !size.includes(1);
  if (how.mode !== 'linear' || !(corners || halfPixel)) return null;
  const linear = engine.op('upsample_bilinear2d');
  // What is not the quotient of the lengths has to be said.
  const scales = [2, 3].map(axis => {
    const one = resized.find(candidate => candidate.axis === axis);
    return one && one.scale !== Math.fround(one.to / one.from) ? one.scale : null;
  });
  return x => linear(x, size, corners, ...scales);
}

/** One axis after the other: picked by index, or as a product with a matrix. */
function step(engine: Engine, resized: ResizedAxis, how: Interpolation): (x: Tensor) => Tensor {
  if (how.mode === 'nearest') {
    const indexSelect = engine.op('index_select');
    const indices = engine.tensor(BigInt64Array.from(nearestIndices(resized, how), BigInt), [resized.to]);
    return x => indexSelect(x, resized.axis, indices);
  }
  const [transpose, matmul, typeAs] = ['transpose.int', 'matmul', 'type_as'].map(name => engine.op(name));
  const matrix = engine.tensor(interpolationMatrix(resized, how), [resized.to, resized.from]);
  return x => {
    const across = transpose(typeAs(matrix, x), 0, 1);
    return transpose(matmul(transpose(x, resized.axis, -1), across), resized.axis, -1);
  };
}

/** Put a value at the places of an axis that lie outside the input. */
function outside(engine: Engine, resized: ResizedAxis, rank: number, value: number): (x: Tensor) => Tensor {
  const mask = Uint8Array.from(places(resized, 'tf_crop_and_resize'), at => Number(isOutside(resized, at)));
  if (!mask.includes(1)) return x => x;
  const [fill, isSet] = ['masked_fill.Scalar', 'ne.Scalar'].map(name => engine.op(name));
  const covered = engine.tensor(
    mask,
    Array.from({ length: rank }, (_, axis) => (axis === resized.axis ? resized.to : 1)),
  );
  return x => fill(x, isSet(covered, 0), value);
}

/** The sizes anew where one that a cut shortens is written into them; computed ones stay what the graph computes. */
function cutSizes(n: NodeView, kept: Kept): Follow | null {
  const axes = axesOf(n);
  if (!takesSizes(n) || axes.every(axis => !kept(n.outputAxis(0, axis)))) return null;
  const sizes = n.constant(3)?.values;
  const values = axes.map((axis, i): OpenLength => {
    const left = kept(n.outputAxis(0, axis));
    if (left) return typeof n.outputShape(0)[axis] === 'number' ? left.length : { axis, times: 1, over: 1 };
    const size = sizes?.[i];
    return typeof size === 'number' ? size : null;
  });
  return values.every(value => typeof value === 'number')
    ? { constants: { 3: values } }
    : { lengths: { input: 3, values } };
}

const resizing = (type: string): Operator =>
  operator(type, {
    roles: { 1: shapeVector, 2: shapeVector, 3: shapeVector },
    shape: n => [{ elemType: n.type(0).elemType, shape: targetsOf(n).map(({ to }) => to) }],
    couple(n, r) {
      const keeps = keptBy(n);
      for (const axis of n.shape(0).keys()) {
        const [before, after] = [n.axis(0, axis), n.outputAxis(0, axis)];
        if (keeps(axis)) r.same(before, after);
        else for (const ref of [before, after]) r.wall(ref, `${type} '${n.name}' resizes it`);
      }
      return undefined;
    },
    zero: n => (extrapolation(n) ? 'constant' : 'zero'),
    forward(n, engine) {
      const shape = n.shape(0);
      const how = interpolationOf(n);
      const resized = targetsOf(n).flatMap((target, axis): ResizedAxis[] =>
        isSame(target) ? [] : [{ ...target, axis, from: known(shape[axis]), to: known(target.to) }],
      );
      const once = direct(n, engine, resized);
      if (once) return ([x]) => once(x!);
      const steps = resized.map(axis => step(engine, axis, how));
      const value = extrapolation(n);
      if (value !== null) steps.push(...resized.map(axis => outside(engine, axis, shape.length, value)));
      return ([x]) => steps.reduce((y, next) => next(y), x!);
    },
    cut: cutSizes,
  });

/** https://onnx.ai/onnx/operators/onnx__Resize.html (10, 11, 13, 18, 19) */
export const Resize = resizing('Resize');
/** https://onnx.ai/onnx/operators/onnx__Upsample.html (7, 9, 10) */
export const Upsample = resizing('Upsample');
