import { type Net, netOf } from './nets.ts';

/** Tokens, width, heads and dims of a head: no two alike. */
export const [T, C, H, D] = [5, 12, 4, 3];

export const batched = { shape: ['N', T, C] as const };
export const fixed = { shape: [2, T, C] as const };

/** x W + b */
export const linear = (g: Net, x: string, from: number, to: number, name: string): string =>
  g.op('Add', [g.op('MatMul', [x, g.weight(`${name}.weight`, [from, to])]), g.weight(`${name}.bias`, [to])]);
export const constant = (g: Net, value: number): string => g.initializer(g.unique('value'), Float32Array.of(value), []);
export const reshape = (g: Net, x: string, ...shape: number[]): string =>
  g.op('Reshape', [x, g.ints(g.unique('shape'), ...shape)]);
export const transpose = (g: Net, x: string, ...perm: number[]): string => g.op('Transpose', [x], { perm });
export const pick = (g: Net, x: string, index: number, axis = 0): string =>
  g.op('Gather', [x, g.initializer(g.unique('index'), BigInt64Array.of(BigInt(index)), [])], { axis });
export const slice = (g: Net, x: string, axis: number, from: number, to: number): string =>
  g.op('Slice', [x, g.ints(g.unique('from'), from), g.ints(g.unique('to'), to), g.ints(g.unique('axis'), axis)]);
export const length = (g: Net, x: string, axis: number): string => pick(g, g.op('Shape', [x]), axis);
/** A vector of lengths out of numbers and of what was computed. */
export const lengths = (g: Net, ...parts: (number | string)[]): string =>
  g.op(
    'Concat',
    parts.map(part =>
      typeof part === 'number' ? g.ints(g.unique('n'), part) : g.op('Unsqueeze', [part, g.ints(g.unique('u'), 0)]),
    ),
    { axis: 0 },
  );

/** softmax(scale q kᵀ + bias) v, of (…, tokens, dims) each. */
export function attention(g: Net, q: string, k: string, v: string, bias?: string): string {
  const rank = 4;
  const turned = transpose(g, k, ...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2);
  const scores = g.op('Mul', [g.op('MatMul', [q, turned]), constant(g, 0.1)]);
  return g.op('MatMul', [g.op('Softmax', [bias ? g.op('Add', [scores, bias]) : scores], { axis: -1 }), v]);
}

/** (batch, tokens, heads x dims) to (batch, heads, tokens, dims) and back. */
export const split = (g: Net, x: string, heads = H, batch = 0) =>
  transpose(g, reshape(g, x, batch, T, heads, D), 0, 2, 1, 3);
export const merge = (g: Net, x: string, batch = 0) => reshape(g, transpose(g, x, 0, 2, 1, 3), batch, T, C);

/** As nn.MultiheadAttention is exported: tokens first, all lengths computed from shapes. */
export const tokensFirst = () =>
  netOf((g, x) => {
    const y = transpose(g, x, 1, 0, 2);
    const [tokens, batch, width] = [0, 1, 2].map(axis => length(g, y, axis));
    const dims = g.op('Div', [width, g.initializer('heads', BigInt64Array.of(BigInt(H)), [])]);
    const all = linear(g, y, C, 3 * C, 'qkv');
    const [q, k, v] = [0, 1, 2].map(i => {
      const rows = g.op('Mul', [batch, g.initializer(g.unique('heads'), BigInt64Array.of(BigInt(H)), [])]);
      const own = g.op('Reshape', [slice(g, all, -1, i * C, (i + 1) * C), lengths(g, tokens, rows, dims)]);
      return transpose(g, own, 1, 0, 2);
    });
    const scores = g.op('MatMul', [g.op('Div', [q, constant(g, 4)]), transpose(g, k, 0, 2, 1)]);
    const y1 = transpose(g, g.op('MatMul', [g.op('Softmax', [scores], { axis: -1 }), v]), 1, 0, 2);
    const flat = g.op('Reshape', [y1, lengths(g, g.op('Mul', [tokens, batch]), width)]);
    const out = g.linear(flat, C, 7, 'out');
    return transpose(g, g.op('Reshape', [out, lengths(g, tokens, batch, 7)]), 1, 0, 2);
  }, batched);

const [S, W] = [4, 2];
/** A map of 4x4 in windows of 2x2, attention within each, and back; shifted by one with a mask. */
export const windows = (batch: number | string, shifted: boolean) => () =>
  netOf(
    (g, x) => {
      const roll = (y: string, axis: number, by: number) =>
        g.op('Concat', [slice(g, y, axis, by, S), slice(g, y, axis, 0, by)], { axis });
      const turned = shifted ? roll(roll(x, 1, 1), 2, 1) : x;
      const cells = transpose(g, reshape(g, turned, -1, S / W, W, S / W, W, C), 0, 1, 3, 2, 4, 5);
      const tokens = reshape(g, cells, -1, W * W, C);
      const all = transpose(g, reshape(g, linear(g, tokens, C, 3 * C, 'qkv'), -1, W * W, 3, H, D), 2, 0, 3, 1, 4);
      const [q, k, v] = [0, 1, 2].map(i => pick(g, all, i));
      let scores = g.op('Mul', [g.op('MatMul', [q, transpose(g, k, 0, 1, 3, 2)]), constant(g, 0.1)]);
      scores = g.op('Add', [scores, g.weight('positions', [1, H, W * W, W * W])]);
      if (shifted) {
        const apart = reshape(g, scores, -1, (S / W) ** 2, H, W * W, W * W);
        const masked = g.op('Add', [apart, g.weight('mask', [1, (S / W) ** 2, 1, W * W, W * W])]);
        scores = reshape(g, masked, -1, H, W * W, W * W);
      }
      const y = g.op('MatMul', [g.op('Softmax', [scores], { axis: -1 }), v]);
      const merged = linear(g, reshape(g, transpose(g, y, 0, 2, 1, 3), -1, W * W, C), C, 6, 'out');
      const back = transpose(g, reshape(g, merged, -1, S / W, S / W, W, W, 6), 0, 1, 3, 2, 4, 5);
      const image = reshape(g, back, -1, S, S, 6);
      const hidden = g.op('Relu', [linear(g, image, 6, 9, 'up')]);
      return linear(g, hidden, 9, 5, 'down');
    },
    { shape: [batch, S, S, C] },
  );

/** Separate projections, v through a Sigmoid behind the Reshape that merges heads into the batch. */
export const gatedValues = () =>
  netOf((g, x) => {
    const [q, k, v] = ['q', 'k', 'v'].map(name => reshape(g, split(g, linear(g, x, C, C, name)), -1, T, D));
    const scores = g.op('Softmax', [g.op('MatMul', [q, transpose(g, k, 0, 2, 1)])], { axis: -1 });
    const y = g.op('MatMul', [scores, g.op('Sigmoid', [v])]);
    return linear(g, merge(g, reshape(g, y, -1, H, T, D)), C, 7, 'out');
  }, batched);
