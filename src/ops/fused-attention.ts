import { productOf, quotientOf } from '../graph/dims.ts';
import {
  bias,
  type Dim,
  type Monomial,
  type NodeView,
  type Operator,
  operator,
  type Relations,
  type Shape,
  type ValueType,
  weight,
} from '../graph/operator.ts';
import { attend, rotate } from './families/attend.ts';
import { keepAll } from './families/whole.ts';

/** Attention in one node: whole heads can go. */

interface Heads {
  /** Of queries, and of keys and values. */
  readonly query: number;
  readonly key: number;
}

/** Where an operator has what belongs to it. */
interface Form {
  /** Of flat operands: [batch, length, heads x dims]. */
  heads(n: NodeView): Heads;
  attributes(heads: Heads): Readonly<Record<string, number>>;
  /** A vector that is added to queries, keys and values, one after the other. */
  readonly bias: number | null;
  /** Added to or taken from the products, broadcast to [batch, heads, queries, keys]. */
  readonly masks: readonly number[];
  /** Keys of the past, [batch, heads, length, dims], which go in front of the keys. */
  readonly past: number;
  /** Inputs that are none of these, if only they stay as they are. */
  readonly others: readonly number[];
}

const isFlat = (n: NodeView): boolean => n.shape(0).length === 3;

function headsOf(n: NodeView, form: Form): Heads | null {
  if (!n.has(1) || !n.has(2)) return null;
  if (!isFlat(n)) {
    const [query, key] = [n.shape(0)[1], n.shape(1)[1]];
    return typeof query === 'number' && typeof key === 'number' ? { query, key } : null;
  }
  const { query, key } = form.heads(n);
  const isWhole = [1, 2].every(input => n.shape(input).length === 3);
  return isWhole && query > 0 && key > 0 && query % key === 0 ? { query, key } : null;
}

interface Operand {
  readonly batch: Dim;
  readonly length: Dim;
  /** Of one head. */
  readonly dims: Dim;
}

function split(shape: Shape, heads: number | undefined): Operand | null {
  if (shape.length === 4) return { batch: shape[0], length: shape[2], dims: shape[3] };
  const dims = heads === undefined ? null : quotientOf(shape[2], heads);
  return dims === null ? null : { batch: shape[0], length: shape[1], dims };
}

const times = (dim: Dim, by: number): Dim => productOf([dim, by]);

/** The output, the keys and values with those of the past in front, and the products of queries and keys. */
function shapes(n: NodeView, form: Form): ValueType[] {
  const { elemType } = n.type(0);
  const heads = headsOf(n, form);
  const [q, k, v] = heads ? [0, 1, 2].map(i => split(n.shape(i), i === 0 ? heads.query : heads.key)) : [];
  if (!heads || !q || !k || !v) return n.outputs.map(() => ({ elemType, shape: null }));
  const y = isFlat(n) ? [q.batch, q.length, times(v.dims, heads.query)] : [q.batch, heads.query, q.length, v.dims];
  const past = n.type(form.past).shape?.length === 4 ? n.shape(form.past)[2] : n.has(form.past) ? `${n.name}_past` : 0;
  const total: Dim =
    past === 0
      ? k.length
      : typeof past === 'number' && typeof k.length === 'number'
        ? past + k.length
        : `${n.name}_total`;
  return [
    { elemType, shape: y },
    { elemType, shape: [k.batch, heads.key, total, k.dims] },
    { elemType, shape: [k.batch, heads.key, total, v.dims] },
    { elemType, shape: [q.batch, heads.query, q.length, total] },
  ].slice(0, n.outputs.length);
}

/** Heads that share keys and values go together, in all three operands and the output. */
function coupleHeads(n: NodeView, r: Relations, { query, key }: Heads): void {
  const shared = query / key;
  if (!isFlat(n)) {
    r.same(n.axis(2, 1), n.axis(1, 1));
    r.same(n.outputAxis(0, 1), n.axis(0, 1));
    r.map(n.axis(0, 1), n.axis(1, 1), head => Math.floor(head / shared));
    return;
  }
  const dims = (input: number, heads: number) => Number(n.shape(input)[2]) / heads;
  const [ofQuery, ofKey, ofValue] = [dims(0, query), dims(1, key), dims(2, key)];
  r.tie(n.axis(1, 2), i => Math.floor(i / ofKey));
  r.map(n.axis(0, 2), n.axis(1, 2), i => Math.floor(i / ofQuery / shared) * ofKey);
  r.map(n.axis(2, 2), n.axis(1, 2), i => Math.floor(i / ofValue) * ofKey);
  r.map(n.outputAxis(0, 2), n.axis(1, 2), i => Math.floor(i / ofValue / shared) * ofKey);
}

/** The vector for queries, keys and values, one after the other. */
function coupleBias(n: NodeView, r: Relations, input: number): void {
  let start = 0;
  for (const operand of [0, 1, 2]) {
    const from = start;
    const length = Number(n.shape(operand)[2]);
    r.map(n.axis(input, 0), n.axis(operand, 2), i => (i >= from && i < from + length ? i - from : -1));
    start += length;
  }
}

/** Why no head can go; null: they can. */
function obstacle(n: NodeView, form: Form, heads: Heads | null): string | null {
  const last = n.shape(0).length - 1;
  if (!heads || ![0, 1, 2].every(input => typeof n.shape(input)[last] === 'number')) return 'needs it whole';
  const known = new Set([0, 1, 2, form.bias, ...form.masks, ...form.others]);
  const hasCache = n.inputs.some((name, i) => name && !known.has(i)) || n.outputs.some((name, i) => name && i > 0);
  if (hasCache) return 'keeps keys and values for later';
  const isPerHead = form.masks.some(input => n.has(input) && n.shape(input).length > 2 && n.shape(input).at(-3) !== 1);
  return isPerHead ? 'has a mask for each head' : null;
}

function couple(n: NodeView, r: Relations, form: Form): undefined {
  const heads = headsOf(n, form);
  if (!heads) return keepAll(n, r);
  const why = (what: string) => `${n.opType} '${n.name}' ${what}`;
  const last = n.shape(0).length - 1;
  const operands = [
    ...[0, 1, 2].map(input => (axis: number) => n.axis(input, axis)),
    (axis: number) => n.outputAxis(0, axis),
  ];
  for (const at of operands) {
    r.same(at(0), n.outputAxis(0, 0));
    r.wall(at(last - 1), why('runs along it'));
    if (!isFlat(n)) r.wall(at(last), why('scales by the dimensions of a head'));
  }
  for (const input of n.inputs.keys()) {
    if (input < 3 || input === form.bias || !n.has(input)) continue;
    for (const axis of (n.type(input).shape ?? []).keys()) r.wall(n.axis(input, axis), why('needs it whole'));
  }
  const reason = obstacle(n, form, heads);
  if (reason !== null) for (const at of operands) r.wall(at(isFlat(n) ? 2 : 1), why(reason));
  else coupleHeads(n, r, heads);
  if (form.bias !== null && n.has(form.bias)) coupleBias(n, r, form.bias);
}

/** Queries by keys, and the outcome by values; in each head, so that it is whole widths where heads are flat. */
function cost(n: NodeView, form: Form): Monomial[] {
  const heads = headsOf(n, form);
  const last = n.shape(0).length - 1;
  const over = (input: number) => [...(isFlat(n) ? [] : [n.axis(0, 1)]), n.axis(input, last)];
  const share = isFlat(n) && heads ? heads.query / heads.key : 1;
  const keys = [n.axis(1, last - 1), ...(n.has(form.past) ? [n.axis(form.past, 2)] : [])];
  return keys.flatMap(length => {
    const steps = [n.axis(0, 0), n.axis(0, last - 1), length];
    return [
      { coefficient: 1, axes: [...steps, ...over(0)] },
      { coefficient: share, axes: [...steps, ...over(2)] },
    ];
  });
}

const attention = (type: string, domain: string, form: Form): Operator =>
  operator(type, {
    domain,
    shape: n => shapes(n, form),
    couple: (n, r) => couple(n, r, form),
    cost: n => cost(n, form),
    zero: () => 'mixes',
    cut(n, kept) {
      const heads = isFlat(n) ? headsOf(n, form) : null;
      const left = heads && kept(n.axis(1, 2));
      if (!left) return null;
      const key = (left.length * heads.key) / Number(n.shape(1)[2]);
      return { attributes: form.attributes({ key, query: (key * heads.query) / heads.key }) };
    },
  });

const standard: Form = {
  heads: n => ({ query: n.int('q_num_heads', 0), key: n.int('kv_num_heads', 0) }),
  attributes: ({ query, key }) => ({ q_num_heads: query, kv_num_heads: key }),
  bias: null,
  masks: [3],
  past: 4,
  others: [6],
};

/** https://onnx.ai/onnx/operators/onnx__Attention.html (23, 24) */
export const Attention: Operator = {
  ...attention('Attention', '', standard),
  forward: (n, engine) => attend(n, engine, headsOf(n, standard)),
};

/** https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MultiHeadAttention (1) */
export const MultiHeadAttention = attention('MultiHeadAttention', 'com.microsoft', {
  heads: n => ({ query: n.int('num_heads', 0), key: n.int('num_heads', 0) }),
  attributes: ({ key }) => ({ num_heads: key }),
  bias: 3,
  masks: [5],
  past: 6,
  others: [4],
});

/** Widths of queries, keys and values in the packed weight. */
function packed(n: NodeView): number[] | null {
  const width = n.shape(1)[1];
  if (typeof width !== 'number') return null;
  return [...(n.ints('qkv_hidden_sizes') ?? [width / 3, width / 3, width / 3])];
}

/**
 * Attention with the projections in it: input [batch, length, width], weight [width, queries + keys + values].
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.Attention (1)
 */
export const PackedAttention = operator('Attention', {
  domain: 'com.microsoft',
  roles: { 1: weight({ out: 1, in: 0 }), 2: bias },
  shape(n) {
    const [batch, length] = n.shape(0);
    const value = packed(n)?.[2];
    const { elemType } = n.type(0);
    const y: ValueType = { elemType, shape: value === undefined ? null : [batch, length, value] };
    return n.outputs.map((_, i) => (i === 0 ? y : { elemType, shape: null }));
  },
  couple(n, r) {
    const why = (what: string) => `Attention '${n.name}' ${what}`;
    const heads = n.int('num_heads', 0);
    const sizes = packed(n);
    const isFree = heads > 0 && sizes?.every(size => size % heads === 0) && n.inputs.every((name, i) => !name || i < 4);
    r.same(n.axis(0, 0), n.outputAxis(0, 0));
    for (const ref of [n.axis(0, 1), n.outputAxis(0, 1)]) r.wall(ref, why('runs along it'));
    r.same(n.axis(0, 2), n.axis(1, 0));
    r.sums(0, 2);
    r.sums(1, 0);
    if (n.has(2)) r.same(n.axis(2, 0), n.axis(1, 1));
    if (!sizes || !isFree || n.outputs.some((name, i) => name && i > 0)) {
      for (const ref of [n.axis(1, 1), n.outputAxis(0, 2)]) r.wall(ref, why('needs it whole'));
      return undefined;
    }
    const [query, key] = sizes;
    const starts = [0, query, query + key];
    const headAt = (i: number) => {
      const part = i < query ? 0 : i < query + key ? 1 : 2;
      return Math.floor(((i - starts[part]) * heads) / sizes[part]);
    };
    r.tie(n.axis(1, 1), headAt);
    r.map(n.outputAxis(0, 2), n.axis(1, 1), i => query + key + i);
    return undefined;
  },
  cost(n) {
    const sizes = packed(n);
    const rows = [n.axis(0, 0), n.axis(0, 1)];
    const width = n.shape(1)[1];
    const share = sizes && typeof width === 'number' ? (sizes[0] + sizes[2]) / width : Number.NaN;
    // The past is [2, batch, heads, length, dims].
    const keys = [n.axis(0, 1), ...(n.has(4) ? [n.axis(4, 3)] : [])];
    return [
      { coefficient: 1, axes: [...rows, n.axis(1, 0), n.axis(1, 1)] },
      ...keys.map(length => ({ coefficient: share, axes: [...rows, length, n.axis(1, 1)] })),
    ];
  },
  zero: () => 'mixes',
  cut(n, kept) {
    const left = kept(n.axis(1, 1));
    const sizes = packed(n);
    if (!left || !sizes) return null;
    const [query, key] = sizes;
    const counts = [
      left.filter(i => i < query).length,
      left.filter(i => i >= query && i < query + key).length,
      left.filter(i => i >= query + key).length,
    ];
    const heads = (n.int('num_heads', 0) * counts[0]) / query;
    return {
      attributes: { num_heads: heads, ...(n.ints('qkv_hidden_sizes') ? { qkv_hidden_sizes: counts } : {}) },
    };
  },
});

/** Rotation of pairs of dimensions by position. https://onnx.ai/onnx/operators/onnx__RotaryEmbedding.html (23) */
export const RotaryEmbedding = operator('RotaryEmbedding', {
  shape: n => [n.type(0)],
  couple(n, r) {
    const shape = n.shape(0);
    for (const axis of shape.keys()) r.same(n.axis(0, axis), n.outputAxis(0, axis));
    const why = `RotaryEmbedding '${n.name}' turns pairs of it`;
    // Flat heads: whole ones may go, as each is turned alike.
    const heads = n.int('num_heads', 0);
    const width = shape[shape.length - 1];
    if (shape.length === 3 && heads > 0 && typeof width === 'number') {
      r.tie(n.axis(0, 2), i => Math.floor((i * heads) / width));
    } else {
      r.wall(n.axis(0, shape.length - 1), why);
    }
    for (const input of [1, 2, 3].filter(input => n.has(input))) {
      for (const axis of n.shape(input).keys()) r.wall(n.axis(input, axis), why);
    }
    return undefined;
  },
  zero: () => 'zero',
  forward: rotate,
  cut(n, kept) {
    const left = n.shape(0).length === 3 ? kept(n.axis(0, 2)) : null;
    const heads = n.int('num_heads', 0);
    return left && { attributes: { num_heads: (left.length * heads) / Number(n.shape(0)[2]) } };
  },
});
