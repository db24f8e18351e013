import { known, unknown } from '../graph/axes.ts';
import {
  bias,
  type NodeView,
  type Operator,
  operator,
  type Relations,
  shapeVector,
  type ValueType,
  weight,
} from '../graph/operator.ts';

/** Where the axes of the data and the state stand: batch first with `layout` 1. */
interface Layout {
  readonly time: number;
  readonly batch: number;
  /** Of the state [directions, batch, hidden], or [batch, directions, hidden]. */
  readonly stateBatch: number;
}

const layoutOf = (n: NodeView): Layout =>
  n.int('layout', 0) === 1 ? { time: 1, batch: 0, stateBatch: 0 } : { time: 0, batch: 1, stateBatch: 1 };

/** The hidden size, as the recurrence weight has it. */
const hiddenOf = (n: NodeView): number => known(n.shape(2)[2]);

const directionsOf = (n: NodeView): number => known(n.shape(1)[0]);

function shapes(n: NodeView): ValueType[] {
  const { time, batch, stateBatch } = layoutOf(n);
  const x = n.shape(0);
  const [hidden, directions] = [hiddenOf(n), directionsOf(n)];
  const { elemType } = n.type(0);
  const state = stateBatch === 0 ? [x[batch], directions, hidden] : [directions, x[batch], hidden];
  const y = time === 0 ? [x[0], directions, x[1], hidden] : [x[0], x[1], directions, hidden];
  return n.outputs.map((_, i) => ({ elemType, shape: i === 0 ? y : state }));
}

/**
 * Unit j owns row j of every gate of both weights, column j of the recurrence, its biases, peepholes and state, in every
 * direction; the recurrence sums over the units of the step before.
 */
function coupleUnits(n: NodeView, r: Relations): void {
  const hidden = hiddenOf(n);
  const { time, batch, stateBatch } = layoutOf(n);
  const columns = n.axis(2, 2);
  const ofUnits = (input: number, axis: number) => {
    if (n.has(input)) r.map(n.axis(input, axis), columns, i => i % hidden);
  };
  const why = `${n.opType} '${n.name}'`;
  const whole = (input: number, axis: number, what: string) => {
    if (n.has(input)) r.wall(n.axis(input, axis), `${why} ${what}`);
  };
  ofUnits(1, 1);
  ofUnits(2, 1);
  ofUnits(3, 1);
  for (const state of [5, 6]) ofUnits(state, 2);
  ofUnits(7, 1);
  r.sums(2, 2);
  r.same(n.axis(0, 2), n.axis(1, 2));
  r.sums(0, 2);
  r.sums(1, 2);
  for (const input of [1, 2, 3, 7]) whole(input, 0, 'has one for each direction');
  for (const state of [5, 6]) whole(state, 1 - stateBatch, 'has one for each direction');
  whole(0, time, 'walks along it');
  n.outputs.forEach((name, output) => {
    if (!name) return;
    const rank = output === 0 ? 4 : 3;
    r.same(n.outputAxis(output, rank - 1), columns);
    r.same(n.outputAxis(output, output === 0 ? (batch === 0 ? 0 : 2) : stateBatch), n.axis(0, batch));
    const directions = output === 0 ? (batch === 0 ? 2 : 1) : 1 - stateBatch;
    r.wall(n.outputAxis(output, directions), `${why} has one for each direction`);
    if (output === 0) r.wall(n.outputAxis(0, time), `${why} walks along it`);
  });
  for (const state of [5, 6]) if (n.has(state)) r.same(n.axis(state, stateBatch), n.axis(0, batch));
}

const recurrent = (type: string): Operator =>
  operator(type, {
    roles: { 1: weight({ out: 1, in: 2 }), 2: weight({ out: 1, in: 2 }), 3: bias, 4: shapeVector, 7: bias },
    shape: shapes,
    couple(n, r) {
      // GRU applies the reset gate to the sum over all units or to each; both look at column j alone for unit j.
      if (n.type(2).shape?.length !== 3) unknown();
      coupleUnits(n, r);
      return undefined;
    },
    cost(n) {
      const { time, batch } = layoutOf(n);
      const all = (input: number) => [0, 1, 2].map(axis => n.axis(input, axis));
      const length = n.shape(0)[time];
      // Axis 0 of the data is time, which must not be taken for the batch.
      const steps =
        typeof length === 'number' ? { coefficient: length, axes: [] } : { coefficient: 1, axes: [n.axis(0, time)] };
      return [1, 2].map(input => ({
        coefficient: steps.coefficient,
        axes: [...steps.axes, n.axis(0, batch), ...all(input)],
      }));
    },
    zero: () => 'mixes',
    cut(n, kept) {
      const left = kept(n.axis(2, 2));
      return left && { attributes: { hidden_size: left.length } };
    },
  });

/** https://onnx.ai/onnx/operators/onnx__LSTM.html (1, 7, 14, 22), GRU (1, 3, 7, 14, 22), RNN (1, 7, 14, 22) */
export const recurrents: readonly Operator[] = ['LSTM', 'GRU', 'RNN'].map(recurrent);
