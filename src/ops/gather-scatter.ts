import { known, normalAxis, unknown } from '../graph/axes.ts';
import type { Engine, Tensor } from '../graph/engine.ts';
import { type Dim, type NodeView, type Operator, operator, type Relations } from '../graph/operator.ts';
import { untrainable } from './families/untrainable.ts';

/** Indexing element by element and block by block. */

const axisOf = (n: NodeView): number => normalAxis(n.int('axis', 0), n.shape(0).length);

/** Indices from the start: libtorch takes no negative ones. */
function fromStart(engine: Engine, length: Dim): (indices: Tensor) => Tensor {
  if (typeof length === 'string') unknown();
  const remainder = engine.op('remainder.Scalar');
  return indices => remainder(indices, length);
}

/**
 * Axes of a pick element by element, where index i of the indices goes with index i of the data. Data that is longer
 * than the indices, and the picked axis, stay whole.
 */
function coupleElements(n: NodeView, r: Relations, data: number, output: boolean): void {
  const axis = axisOf(n);
  const [own, indices] = [n.shape(data), n.shape(1)];
  for (const a of own.keys()) {
    if (output) r.same(n.axis(1, a), n.outputAxis(0, a));
    if (a !== axis && own[a] === indices[a]) r.same(n.axis(data, a), n.axis(1, a));
    else r.wall(n.axis(data, a), `${n.opType} '${n.name}' picks from it`);
  }
}

/** https://onnx.ai/onnx/operators/onnx__GatherElements.html (11, 13) */
export const GatherElements = operator('GatherElements', {
  shape: n => [{ elemType: n.type(0).elemType, shape: n.shape(1) }],
  couple(n, r) {
    coupleElements(n, r, 0, true);
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const gather = engine.op('gather');
    const axis = axisOf(n);
    const positive = fromStart(engine, n.shape(0)[axis]);
    return ([x, indices]) => gather(x, axis, positive(indices!));
  },
});

const scatterElements = (type: string): Operator =>
  operator(type, {
    shape: n => [n.type(0)],
    couple(n, r) {
      const axis = axisOf(n);
      const indices = n.shape(1);
      n.shape(0).forEach((dim, a) => {
        const all = [n.axis(0, a), n.axis(1, a), n.axis(2, a), n.outputAxis(0, a)];
        if (a !== axis && dim === indices[a]) for (const ref of all.slice(1)) r.same(all[0], ref);
        else for (const ref of all) r.wall(ref, `${type} '${n.name}' puts into it by index`);
      });
      return undefined;
    },
    zero: n => (n.isConstant(0) || n.isConstant(2) ? 'constant' : 'zero'),
    forward(n, engine) {
      const reduction = n.string('reduction', 'none');
      const name = { none: 'scatter.src', add: 'scatter_add' }[reduction];
      if (!name) throw untrainable(n, `it reduces by ${reduction}`);
      const scatter = engine.op(name);
      const axis = axisOf(n);
      const positive = fromStart(engine, n.shape(0)[axis]);
      return ([x, indices, updates]) => scatter(x, axis, positive(indices!), updates);
    },
  });

/** https://onnx.ai/onnx/operators/onnx__Scatter.html (9) */
export const Scatter = scatterElements('Scatter');
/** https://onnx.ai/onnx/operators/onnx__ScatterElements.html (11, 13, 16, 18) */
export const ScatterElements = scatterElements('ScatterElements');

/** Number of axes that the last axis of the indices points into. */
function pointed(n: NodeView): number {
  const shape = n.shape(1);
  const count = shape[shape.length - 1];
  return typeof count === 'number' ? count : unknown();
}

/** https://onnx.ai/onnx/operators/onnx__GatherND.html (11, 12, 13) */
export const GatherND = operator('GatherND', {
  shape(n) {
    const rest = n.shape(0).slice(n.int('batch_dims', 0) + pointed(n));
    return [{ elemType: n.type(0).elemType, shape: [...n.shape(1).slice(0, -1), ...rest] }];
  },
  couple(n, r) {
    const batch = n.int('batch_dims', 0);
    const first = batch + pointed(n);
    const lead = n.shape(1).length - 1;
    const why = `GatherND '${n.name}' picks by index`;
    for (const a of n.shape(0).keys()) {
      if (a >= first) r.same(n.axis(0, a), n.outputAxis(0, lead + a - first));
      else if (a < batch) r.same(n.axis(0, a), n.outputAxis(0, a));
      else r.wall(n.axis(0, a), why);
    }
    r.wall(n.axis(1, lead), why);
    for (let a = 0; a < lead; a++) r.same(n.axis(1, a), n.outputAxis(0, a));
    return undefined;
  },
  zero: () => 'zero',
});

/** https://onnx.ai/onnx/operators/onnx__ScatterND.html (11, 13, 16, 18) */
export const ScatterND = operator('ScatterND', {
  shape: n => [n.type(0)],
  couple(n, r) {
    const first = pointed(n);
    const lead = n.shape(1).length - 1;
    const why = `ScatterND '${n.name}' puts into it by index`;
    for (const a of n.shape(0).keys()) {
      r.same(n.axis(0, a), n.outputAxis(0, a));
      if (a < first) r.wall(n.axis(0, a), why);
      else r.same(n.axis(0, a), n.axis(2, lead + a - first));
    }
    for (let a = 0; a <= lead; a++) {
      r.wall(n.axis(1, a), why);
      if (a < lead) r.wall(n.axis(2, a), why);
    }
    return undefined;
  },
  zero: n => (n.isConstant(0) || n.isConstant(2) ? 'constant' : 'zero'),
  forward(n, engine) {
    const reduction = n.string('reduction', 'none');
    if (reduction !== 'none' && reduction !== 'add') throw untrainable(n, `it reduces by ${reduction}`);
    const [put, select] = [engine.op('index_put'), engine.op('select.int')];
    const depth = known(n.shape(1).at(-1)!);
    return ([x, indices, updates]) => {
      const at = Array.from({ length: depth }, (_, i) => select(indices, -1, i));
      return put(x, at, updates, reduction === 'add');
    };
  },
});
