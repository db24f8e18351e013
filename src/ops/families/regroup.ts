import { factorsOf, numericPart, productOf, symbolsOf } from '../../graph/dims.ts';
import type { AxisRef, Dim, NodeView, Relations, Shape } from '../../graph/operator.ts';

/**
 * State what a Reshape or Flatten does: flat indices stay. Where symbolic lengths stand between other numbers before
 * and after, nothing can be said.
 */
export function coupleRegrouped(n: NodeView, r: Relations): void {
  const [from, to] = [n.shape(0), n.outputShape(0)];
  const inputs: AxisRef[] = from.map((_, axis) => n.axis(0, axis));
  const outputs: AxisRef[] = to.map((_, axis) => n.outputAxis(0, axis));
  if (isAligned(from, to)) r.regroup(inputs, outputs);
  else for (const ref of [...inputs, ...outputs]) r.wall(ref, `${n.opType} '${n.name}' regroups it with other axes`);
}

/** Whether all symbols stand in the same places among the factors of both shapes. */
export function isAligned(from: Shape, to: Shape): boolean {
  const factors = (shape: Shape) => factorsOf(productOf(shape));
  const [a, b] = [factors(from), factors(to)];
  return a.length === b.length && a.every((factor, i) => factor === b[i]);
}

/**
 * The lengths of a shape in the order in which another one has their factors, slowest first: `[batch, 4, 8]` as
 * `[batch·4, 8]`. What does not come out that way stays as it is.
 */
export function laidOut(lengths: Shape, from: Shape): Shape {
  if (lengths.every(dim => typeof dim === 'number')) return lengths;
  const left = [...factorsOf(productOf(from))];
  const taken = (dim: Dim): Dim | null => {
    const symbols = [...symbolsOf(dim)];
    const factors: Dim[] = [];
    for (let number = numericPart(dim); number > 1 || symbols.length > 0; ) {
      const [next] = left;
      if (typeof next === 'number') {
        const part = number % next === 0 ? next : next % number === 0 ? number : 1;
        if (part === 1) return null;
        if (part === next) left.shift();
        else left[0] = next / part;
        number /= part;
        factors.push(part);
      } else {
        const at = symbols.indexOf(next);
        if (at < 0) return null;
        symbols.splice(at, 1);
        factors.push(left.shift()!);
      }
    }
    return productOf(factors);
  };
  const ordered = lengths.map(taken);
  return ordered.includes(null) ? lengths : (ordered as Shape);
}
