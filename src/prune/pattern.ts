import type { AxisRef, Dim, NodeView, Relations, Shape } from '../graph/operator.ts';

/** One axis that a pattern names. */
interface Named {
  /** A letter; `*`; or `...` with the axis counted from the end of the broadcast ones. */
  readonly letter: string;
  readonly ref: AxisRef;
  readonly dim: Dim;
  /** Input that it is an axis of; null: an output's. */
  readonly input: number | null;
}

/**
 * Relations from einsum letters (`'N I *, O I *, O -> N O *'`): axes with the same letter go together, a letter that
 * the output lacks is summed over, `*` are axes that keep their length, `...` are broadcast axes.
 */
export function applyPattern(pattern: string, n: NodeView, r: Relations): void {
  const [left, right] = pattern
    .split('->')
    .map(side => side.split(',').map(term => term.trim().split(/\s+/).filter(Boolean)));
  const axes = [
    ...left.flatMap((term, i) => (n.has(i) ? named(term, n.shape(i), axis => n.axis(i, axis), i) : [])),
    ...right.flatMap((term, i) =>
      n.outputs[i] ? named(term, n.outputShape(i), axis => n.outputAxis(i, axis), null) : [],
    ),
  ];
  const kept = new Set(right.flat());
  const byLetter = new Map<string, Named[]>();
  for (const axis of axes) {
    const { letter, ref, input } = axis;
    if (letter === '*') {
      r.wall(ref, `${n.opType} '${n.name}' needs it whole`);
      continue;
    }
    if (input !== null && !letter.startsWith('...') && !kept.has(letter)) r.sums(input, ref.axis);
    const same = byLetter.get(letter);
    if (same) same.push(axis);
    else byLetter.set(letter, [axis]);
  }
  for (const same of byLetter.values()) relate(same, n, r);
}

/** The axes of one operand by the letters of its term. */
function named(term: readonly string[], shape: Shape, refOf: (axis: number) => AxisRef, input: number | null): Named[] {
  const many = shape.length - term.filter(letter => letter !== '*' && letter !== '...').length;
  const letters = term.flatMap(letter => {
    if (letter === '*') return Array<string>(many).fill('*');
    return letter === '...' ? Array.from({ length: many }, (_, i) => `...${many - i}`) : [letter];
  });
  return letters.map((letter, axis) => ({ letter, ref: refOf(axis), dim: shape[axis], input }));
}

/** Couple the axes of one letter; a broadcast axis of 1 that is stretched stays 1. */
function relate(same: readonly Named[], n: NodeView, r: Relations): void {
  const { letter } = same[0];
  const whole = same[same.length - 1];
  for (const { ref, dim } of same.slice(0, -1)) {
    const stretched = letter.startsWith('...') && dim === 1 && whole.dim !== 1;
    if (stretched) r.wall(ref, `${n.opType} '${n.name}' broadcasts it`);
    else r.same(ref, whole.ref);
  }
}
