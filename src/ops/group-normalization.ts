import { known } from '../graph/axes.ts';
import { type NodeView, operator, scale, shift } from '../graph/operator.ts';
import { coupleNormalised } from './families/normalised.ts';

/** Number of groups, and channels of each. @throws UnknownShape */
function grouping(n: NodeView): { groups: number; each: number } {
  const groups = n.int('num_groups', 1);
  return { groups, each: known(n.shape(0)[1]) / groups };
}

/** Scale and shift are per group (up to operator set 20), not per channel. */
const isPerGroup = (n: NodeView): boolean => n.version < 21;

/** https://onnx.ai/onnx/operators/onnx__GroupNormalization.html (18, 21) */
export const GroupNormalization = operator('GroupNormalization', {
  roles: { 1: scale, 2: shift },
  foldable: [1, 2],
  shape: n => [n.type(0)],
  // The statistics of a group need all its channels: it goes whole.
  couple(n, r) {
    const { groups, each } = grouping(n);
    const channels = n.axis(0, 1);
    const rest = n.shape(0).flatMap((_, axis) => (axis < 2 ? [] : [axis]));
    coupleNormalised(n, r, groups === 1 ? [1, ...rest] : rest);
    r.tie(channels, i => Math.floor(i / each));
    for (const input of [1, 2]) {
      if (isPerGroup(n)) r.map(channels, n.axis(input, 0), i => Math.floor(i / each));
      else r.same(channels, n.axis(input, 0));
    }
    return undefined;
  },
  forward(n, engine) {
    const { groups, each } = grouping(n);
    const epsilon = n.float('epsilon', 1e-5);
    const groupNorm = engine.op('group_norm');
    const repeat = engine.op('repeat_interleave.self_int');
    if (!isPerGroup(n)) return ([x, gamma, beta]) => groupNorm(x, groups, gamma, beta, epsilon);
    return ([x, gamma, beta]) => groupNorm(x, groups, repeat(gamma, each), repeat(beta, each), epsilon);
  },
  cut(n, kept) {
    const left = kept(n.axis(0, 1));
    return left && { attributes: { num_groups: left.length / grouping(n).each } };
  },
});
