import { describe } from 'vitest';
import { type AttributeInput, DataType, float } from '../../src/onnx/index.ts';
import { around, type Net } from './nets.ts';
import { inZoo } from './zoo.ts';

const groups = { 'a.weight': 8 };

interface Form {
  readonly attributes?: Record<string, AttributeInput>;
  readonly opset?: number;
  /** Whether small integers stay exact. */
  readonly exact?: boolean;
  /** Instead of the convolution's own output. */
  readonly of?: (g: Net, a: string) => string;
}

const number = (g: Net, value: number) => g.initializer(g.unique('number'), Float32Array.of(value), []);
/** Into what the function is defined on. */
const bounded = (g: Net, a: string) => g.op('Tanh', [g.op('Mul', [a, number(g, 0.125)])]);
const positive = (g: Net, a: string) => g.op('Add', [g.op('Abs', [a]), number(g, 1)]);

const forms: Readonly<Record<string, Form>> = {
  Celu: { attributes: { alpha: float(0.5) } },
  Elu: {},
  Selu: {},
  Softplus: {},
  Softsign: {},
  Sigmoid: {},
  HardSigmoid: {},
  HardSwish: {},
  Mish: { opset: 18 },
  Gelu: { opset: 20, attributes: { approximate: 'tanh' } },
  Swish: { opset: 24, attributes: { alpha: float(0.5) } },
  ThresholdedRelu: { attributes: { alpha: float(2) }, exact: true },
  Shrink: { attributes: { lambd: float(3), bias: float(1) }, exact: true },
  Erf: {},
  Sign: { exact: true },
  Round: { exact: true },
  Ceil: { exact: true },
  Floor: { exact: true },
  Exp: { of: bounded },
  Sin: {},
  Cos: {},
  Tan: { of: bounded },
  Asin: { of: bounded },
  Acos: { of: bounded },
  Atan: {},
  Sinh: { of: bounded },
  Cosh: { of: bounded },
  Asinh: {},
  Acosh: { of: positive },
  Atanh: { of: (g, a) => g.op('Mul', [bounded(g, a), number(g, 0.5)]) },
};

describe('functions of one element', () => {
  for (const [op, { attributes = {}, opset = 17, exact = false, of = (_: Net, a: string) => a }] of Object.entries(
    forms,
  )) {
    inZoo(op, () => around((g, a) => g.op(op, [of(g, a)], attributes), 8, { opset }), { exact, groups });
  }
  for (const op of ['Gelu', 'QuickGelu']) {
    inZoo(
      `${op} of ONNX Runtime`,
      () =>
        around((g, a) => g.node(op, [a], {}, { name: 'f', domain: 'com.microsoft' }), 8, {
          domains: { 'com.microsoft': 1 },
        }),
      { exact: false, groups },
    );
  }
  inZoo(
    'Gelu, Swish and HardSwish as exporters write them out',
    () =>
      around((g, a) => {
        const erf = g.op('Add', [g.op('Erf', [g.op('Div', [a, number(g, Math.SQRT2)])]), number(g, 1)]);
        const gelu = g.op('Mul', [g.op('Mul', [a, erf]), number(g, 0.5)]);
        const silu = g.op('Mul', [gelu, g.op('Sigmoid', [gelu])]);
        const clipped = g.op('Clip', [g.op('Add', [silu, number(g, 3)]), number(g, 0), number(g, 6)]);
        return g.op('Mul', [silu, g.op('Div', [clipped, number(g, 6)])]);
      }),
    { exact: false, groups },
  );
});

describe('functions of several operands', () => {
  const other = (g: Net) => g.conv('X', 3, 8, { name: 'c' });
  inZoo(
    'Mean of two producers and a constant',
    () => around((g, a) => g.op('Mean', [a, other(g), g.weight('w', [8, 1, 1])])),
    {
      exact: false,
      groups,
    },
  );
  inZoo(
    'Mod by a constant per channel',
    () => {
      const divisors = Float32Array.from({ length: 8 }, (_, i) => 2 + i);
      return around((g, a) => g.op('Mod', [a, g.initializer('m', divisors, [8, 1, 1])], { fmod: 1 }));
    },
    { groups },
  );
  inZoo(
    'comparisons with constants per channel, as factors',
    () =>
      around((g, a) => {
        const above = g.op('Cast', [g.op('Greater', [a, g.weight('low', [8, 1, 1])])], { to: DataType.FLOAT });
        const below = g.op('Cast', [g.op('Less', [a, g.weight('high', [1, 8, 1, 1])])], { to: DataType.FLOAT });
        return g.op('Sub', [g.op('Mul', [a, above]), below]);
      }),
    { groups },
  );
  inZoo(
    'bits of integers',
    () =>
      around(
        (g, a) => {
          const whole = g.op('Cast', [a], { to: DataType.INT32 });
          const mask = g.initializer('mask', Int32Array.of(1, 3, 7, 1, 3, 7, 15, 1), [8, 1, 1]);
          const bits = g.op('BitwiseXor', [g.op('BitwiseAnd', [whole, mask]), g.op('BitwiseNot', [whole])]);
          return g.op('Cast', [g.op('BitwiseOr', [bits, mask])], { to: DataType.FLOAT });
        },
        8,
        { opset: 18 },
      ),
    { groups },
  );
  inZoo(
    'Hardmax along the rows, and along the channels as a wall',
    () =>
      around((g, a) => {
        const rows = g.op('Hardmax', [a], { axis: -1 });
        return g.op('Hardmax', [g.conv(rows, 8, 6, { name: 'c' })], { axis: 1 }, 'hard');
      }, 6),
    { groups, walls: { 'c.weight': /^Hardmax 'hard' normalises over it/ } },
  );
});
