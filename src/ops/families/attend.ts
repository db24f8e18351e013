import type { Engine, Tensor } from '../../graph/engine.ts';
import type { Forward, NodeView } from '../../graph/operator.ts';
import { DataType } from '../../onnx/index.ts';
import { untrainable } from './untrainable.ts';

/** [batch, length, heads x dims] as [batch, heads, length, dims], and back. */
function headsApart(engine: Engine): { apart(x: Tensor, heads: number): Tensor; together(x: Tensor): Tensor } {
  const [reshape, transpose] = [engine.op('reshape'), engine.op('transpose.int')];
  return {
    apart(x, heads) {
      const [batch, length, width] = x.shape;
      return transpose(reshape(x, [batch, length, heads, width / heads]), 1, 2);
    },
    together(x) {
      const [batch, heads, length, dims] = x.shape;
      return reshape(transpose(x, 1, 2), [batch, length, heads * dims]);
    },
  };
}

/**
 * Softmax of queries by keys, times values, in every head.
 * @param heads of queries, and of keys and values
 */
export function attend(n: NodeView, engine: Engine, heads: { query: number; key: number } | null): Forward {
  const hasMore = n.outputs.some((name, i) => name && i > 0) || [4, 5, 6].some(input => n.has(input));
  if (!heads || hasMore) throw untrainable(n, 'it keeps keys and values for later');
  if (n.float('softcap', 0) !== 0) throw untrainable(n, 'it bounds the products');
  const isLocal = ['left_window_size', 'right_window_size'].some(name => n.attribute(name) !== undefined);
  if (isLocal) throw untrainable(n, 'it looks at a window only');
  const [matmul, multiply, transpose] = ['matmul', 'mul.Scalar', 'transpose.int'].map(name => engine.op(name));
  // A row that is masked everywhere gives zeros.
  const softmax = engine.op(engine.has('_safe_softmax') ? '_safe_softmax' : 'softmax.int');
  const [add, fill, not, equal] = ['add.Tensor', 'masked_fill.Scalar', 'logical_not', 'eq.Scalar'].map(name =>
    engine.op(name),
  );
  const [ones, lower, repeat] = ['ones_like', 'tril', 'repeat_interleave.self_int'].map(name => engine.op(name));
  const { apart, together } = headsApart(engine);
  const isFlat = n.shape(0).length === 3;
  const [isCausal, isBoolean] = [n.int('is_causal', 0) === 1, n.type(3).elemType === DataType.BOOL];
  const shared = heads.query / heads.key;
  return ([queries, keys, values, mask]) => {
    const [q, k, v] = isFlat
      ? [apart(queries!, heads.query), apart(keys!, heads.key), apart(values!, heads.key)]
      : [queries!, keys!, values!];
    const spread = (x: Tensor) => (shared === 1 ? x : repeat(x, shared, 1));
    const scale = n.float('scale', 1 / Math.sqrt(q.shape[3]));
    let scores = multiply(matmul(q, transpose(spread(k), 2, 3)), scale);
    if (mask) scores = isBoolean ? fill(scores, not(mask), Number.NEGATIVE_INFINITY) : add(scores, mask);
    if (isCausal) scores = fill(scores, equal(lower(ones(scores)), 0), Number.NEGATIVE_INFINITY);
    const y = matmul(softmax(scores, -1), spread(v));
    return isFlat ? together(y) : y;
  };
}

/** Pairs of dimensions turned by the angles of their position: halves of each head, or neighbours. */
export function rotate(n: NodeView, engine: Engine): Forward {
  const [slice, cat, stack] = ['slice.Tensor', 'cat', 'stack'].map(name => engine.op(name));
  const [times, plus, minus] = ['mul.Tensor', 'add.Tensor', 'sub.Tensor'].map(name => engine.op(name));
  const [reshape, select, unsqueeze] = ['reshape', 'index_select', 'unsqueeze'].map(name => engine.op(name));
  const { apart, together } = headsApart(engine);
  const isFlat = n.shape(0).length === 3;
  const heads = n.int('num_heads', 0);
  if (isFlat && heads === 0) throw untrainable(n, 'it does not say how many heads there are');
  const isInterleaved = n.int('interleaved', 0) === 1;
  return ([input, cosines, sines, positions]) => {
    const x = isFlat ? apart(input!, heads) : input!;
    const dims = x.shape[3];
    const turned = n.int('rotary_embedding_dim', 0) || dims;
    /** [batch or 1, 1, length, pairs] */
    const angles = (cache: Tensor) => {
      if (!positions) return unsqueeze(cache, 1);
      const rows = select(cache, 0, reshape(positions, [-1]));
      return unsqueeze(reshape(rows, [...positions.shape, cache.shape[1]]), 1);
    };
    const [cos, sin] = [angles(cosines!), angles(sines!)];
    const [a, b] = isInterleaved
      ? [slice(x, 3, 0, turned, 2), slice(x, 3, 1, turned, 2)]
      : [slice(x, 3, 0, turned / 2), slice(x, 3, turned / 2, turned)];
    const real = minus(times(a, cos), times(b, sin));
    const imaginary = plus(times(a, sin), times(b, cos));
    const pairs = isInterleaved
      ? reshape(stack([real, imaginary], -1), [...x.shape.slice(0, 3), turned])
      : cat([real, imaginary], 3);
    const y = turned === dims ? pairs : cat([pairs, slice(x, 3, turned, dims)], 3);
    return isFlat ? together(y) : y;
  };
}
