import { describe } from 'vitest';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { stream } from '../../src/util/random.ts';
import { cutsAgree } from './cuts-agree.ts';
import { type Net, netOf } from './nets.ts';

describe('recurrent layers', () => {
  const layer =
    (type: 'LSTM' | 'GRU' | 'RNN', options: Recurrence = {}) =>
    (): OnnxModel => {
      const { hidden = 6, directions = 1, attributes = {}, state = false, peepholes = false, last = false } = options;
      const gates = { LSTM: 4, GRU: 3, RNN: 1 }[type];
      return netOf(
        (g, x) => {
          const embedded = g.op('MatMul', [x, g.weight('w', [5, 8])]);
          const inputs = [
            embedded,
            small(g, 'W', [directions, gates * hidden, 8]),
            small(g, 'R', [directions, gates * hidden, hidden]),
            small(g, 'B', [directions, 2 * gates * hidden]),
          ];
          if (state || peepholes) inputs.push('', small(g, 'h0', [directions, 2, hidden]));
          if (type === 'LSTM' && (state || peepholes)) inputs.push(small(g, 'c0', [directions, 2, hidden]));
          if (peepholes) inputs.push(small(g, 'P', [directions, 3 * hidden]));
          const outputs = ['y', 'yh', ...(type === 'LSTM' ? ['yc'] : [])];
          const direction = directions === 2 ? 'bidirectional' : 'forward';
          g.node(type, inputs, { hidden_size: hidden, direction, ...attributes }, { name: 'rnn', outputs });
          if (last) return g.op('MatMul', [g.op('Squeeze', ['yh', g.ints('d', 0)]), g.weight('v', [hidden, 3])]);
          const rows = g.op('Transpose', ['y'], { perm: [0, 2, 1, 3] });
          const flat = g.op('Reshape', [rows, g.ints('t', 4, 2, directions * hidden)]);
          return g.op('MatMul', [flat, g.weight('v', [directions * hidden, 3])]);
        },
        { shape: [4, 2, 5] },
      );
    };

  interface Recurrence {
    readonly hidden?: number;
    readonly directions?: 1 | 2;
    readonly attributes?: Readonly<Record<string, number>>;
    readonly state?: boolean;
    readonly peepholes?: boolean;
    readonly last?: boolean;
  }

  const small = (g: Net, name: string, dims: readonly number[]) => {
    const random = stream(3, name);
    const values = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal() / 2);
    return g.initializer(name, values, dims);
  };

  const forms: [string, () => OnnxModel][] = [
    ['LSTM', layer('LSTM')],
    ['LSTM in both directions', layer('LSTM', { directions: 2 })],
    ['LSTM with initial state and peepholes', layer('LSTM', { state: true, peepholes: true })],
    ['LSTM whose last state counts', layer('LSTM', { last: true })],
    ['GRU', layer('GRU')],
    ['GRU that resets after the product', layer('GRU', { attributes: { linear_before_reset: 1 } })],
    ['GRU in both directions, with initial state', layer('GRU', { directions: 2, state: true })],
    ['RNN', layer('RNN', { state: true })],
  ];
  cutsAgree(
    'two LSTMs of which nothing but the last states are used, one shaped by a length of the other',
    () =>
      netOf(
        (g, x) => {
          const state = (name: string, hidden: number) => {
            const inputs = [g.op('MatMul', [x, g.weight(`${name}.w`, [5, 8])])];
            inputs.push(small(g, `${name}.W`, [1, 4 * hidden, 8]), small(g, `${name}.R`, [1, 4 * hidden, hidden]));
            g.node('LSTM', inputs, { hidden_size: hidden }, { name, outputs: ['', `${name}.h`] });
            return g.op('Squeeze', [`${name}.h`, g.ints(`${name}.d`, 0)]);
          };
          const [a, b] = [state('a', 6), state('b', 7)];
          const rows = g.op('Gather', [g.op('Shape', [a]), g.ints('first', 0)]);
          const shaped = g.op('Reshape', [b, g.op('Concat', [rows, g.ints('width', 7)], { axis: 0 })]);
          return g.op('MatMul', [g.op('Concat', [a, shaped], { axis: 1 }), g.weight('v', [13, 3])]);
        },
        { shape: [4, 2, 5] },
      ),
    { 'a.w': 8, 'b.w': 8, 'a.W': 6, 'b.W': 7 },
    { exact: false },
  );
  /** What goes into a layer is added to what it gives: the channels of both of its weights' columns are the same ones. */
  const residual = (type: 'LSTM' | 'GRU' | 'RNN', hidden: number) => (): OnnxModel =>
    netOf(
      (g, x) => {
        const gates = { LSTM: 4, GRU: 3, RNN: 1 }[type];
        const embedded = g.op('MatMul', [x, g.weight('w', [5, hidden])]);
        const inputs = [embedded, ...['W', 'R'].map(name => small(g, name, [1, gates * hidden, hidden]))];
        g.node(type, inputs, { hidden_size: hidden }, { name: 'rnn', outputs: ['y'] });
        const sum = g.op('Add', [embedded, g.op('Squeeze', ['y', g.ints('d', 1)])]);
        return g.op('MatMul', [sum, g.weight('v', [hidden, 3])]);
      },
      { shape: [4, 2, 5] },
    );
  for (const type of ['LSTM', 'GRU', 'RNN'] as const)
    cutsAgree(`${type} with a residual`, residual(type, 6), { w: 6 }, { exact: false });
  for (const [name, build] of forms) {
    cutsAgree(`${name}: input channels and hidden units`, build, { w: 8, W: 6 }, { exact: false });
  }
});
