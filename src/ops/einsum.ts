import { unknown } from '../graph/axes.ts';
import type { AxisRef } from '../graph/operator.ts';
import {
  type Dim,
  type Monomial,
  type NodeView,
  operator,
  type Relations,
  type Role,
  type Shape,
  weight,
} from '../graph/operator.ts';

/** An equation with one letter per axis: broadcast axes are `...1`, `...2` and so on, counted from the last. */
interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

/** @throws UnknownShape for an equation that does not fit the shapes */
function equationOf(n: NodeView): Equation {
  const [left, right] = n.string('equation', '').replaceAll(/\s/g, '').split('->');
  const terms = left.split(',');
  if (terms.length !== n.inputs.length) unknown();
  const inputs = terms.map((term, i) => lettersOf(term, n.shape(i).length));
  const letters = inputs.flat();
  const broadcast = [...new Set(letters.filter(isBroadcast))].sort((a, b) => Number(b.slice(3)) - Number(a.slice(3)));
  if (right === undefined) {
    // Letters that occur once, in the order of the alphabet, behind the broadcast axes.
    const once = letters.filter(
      letter => !isBroadcast(letter) && letters.indexOf(letter) === letters.lastIndexOf(letter),
    );
    return { inputs, output: [...broadcast, ...once.sort()] };
  }
  const output = right.split(/(\.\.\.)/).flatMap(part => (part === '...' ? broadcast : [...part]));
  return { inputs, output };
}

const isBroadcast = (letter: string): boolean => letter.startsWith('...');

function lettersOf(term: string, rank: number): string[] {
  const many = rank - term.replace('...', '').length;
  if (many < 0 || (many > 0 && !term.includes('...'))) unknown();
  return term
    .split(/(\.\.\.)/)
    .flatMap(part => (part === '...' ? Array.from({ length: many }, (_, i) => `...${many - i}`) : [...part]));
}

/** Length of every letter; of broadcast ones the one that is not 1. */
function lengthsOf({ inputs }: Equation, n: NodeView): Map<string, Dim> {
  const lengths = new Map<string, Dim>();
  inputs.forEach((letters, i) => {
    n.shape(i).forEach((dim, axis) => {
      const before = lengths.get(letters[axis]);
      if (
        before === undefined ||
        before === 1 ||
        (typeof before === 'string' && typeof dim === 'number' && dim !== 1)
      ) {
        lengths.set(letters[axis], dim);
      }
    });
  });
  return lengths;
}

/**
 * A constant operand: letters that only it and the output have are its outputs, letters that the output lacks are summed
 * over. Of several the longest counts.
 */
function roles(n: NodeView): Record<number, Role> {
  const { inputs, output } = equationOf(n);
  const found: Record<number, Role> = {};
  inputs.forEach((letters, i) => {
    if (!n.isConstant(i)) return;
    const others = new Set(inputs.filter((_, other) => other !== i).flat());
    const shape: Shape = n.shape(i);
    const longest = (is: (letter: string) => boolean) =>
      letters.reduce(
        (best, letter, axis) => (is(letter) && !(best >= 0 && shape[best] >= shape[axis]) ? axis : best),
        -1,
      );
    const out = longest(letter => !others.has(letter) && output.includes(letter));
    const summed = longest(letter => others.has(letter) && !output.includes(letter));
    if (out >= 0 && summed >= 0) found[i] = weight({ out, in: summed });
  });
  return found;
}

/** Sums of products, taken operand by operand. */
function cost(n: NodeView): Monomial[] {
  const { inputs, output } = equationOf(n);
  const axisOf = new Map<string, AxisRef>();
  // What is computed tells the batch from constants of the same length.
  const order = [...inputs.keys()].sort((a, b) => Number(n.isConstant(a)) - Number(n.isConstant(b)));
  for (const i of order) {
    n.shape(i).forEach((dim, axis) => {
      const letter = inputs[i][axis];
      if (dim !== 1 && !axisOf.has(letter)) axisOf.set(letter, n.axis(i, axis));
    });
  }
  const terms: Monomial[] = [];
  let product = new Set(inputs[0]);
  for (const [at, letters] of inputs.entries()) {
    if (at === 0) continue;
    const both = new Set([...product, ...letters]);
    const later = new Set([...output, ...inputs.slice(at + 1).flat()]);
    product = new Set([...both].filter(letter => later.has(letter)));
    // Without a sum it is an elementwise product.
    if (product.size === both.size) continue;
    terms.push({ coefficient: 1, axes: [...both].flatMap(letter => axisOf.get(letter) ?? []) });
  }
  return terms;
}

/** Say of a product of two activations over a batch which axes are heads and which their dims, as MatMul does. */
function attend(n: NodeView, r: Relations): void {
  if (n.inputs.length !== 2 || n.isConstant(0) || n.isConstant(1)) return;
  const { inputs, output } = equationOf(n);
  const [left, right] = inputs.map(letters => new Set(letters));
  const isBatch = (letter: string) => left.has(letter) && right.has(letter) && output.includes(letter);
  if (!inputs[0].some(isBatch)) return;
  inputs.forEach((letters, i) => {
    for (const [axis, letter] of letters.entries()) {
      if (isBatch(letter)) r.attends(n.axis(i, axis), 'heads');
      else if (i === 1 || right.has(letter)) r.attends(n.axis(i, axis), 'dims');
    }
  });
}

/** Sums of products by letters. https://onnx.ai/onnx/operators/onnx__Einsum.html (12) */
export const Einsum = operator('Einsum', {
  roles,
  shape(n) {
    const equation = equationOf(n);
    const lengths = lengthsOf(equation, n);
    return [{ elemType: n.type(0).elemType, shape: equation.output.map(letter => lengths.get(letter) ?? unknown()) }];
  },
  couple(n, r) {
    const { inputs, output } = equationOf(n);
    const axes = [
      ...inputs.flatMap((letters, i) =>
        letters.map((letter, axis) => ({ letter, ref: n.axis(i, axis), dim: n.shape(i)[axis], input: i })),
      ),
      ...output.map((letter, axis) => ({
        letter,
        ref: n.outputAxis(0, axis),
        dim: n.outputShape(0)[axis],
        input: null,
      })),
    ];
    const whole = new Map(axes.map(axis => [axis.letter, axis]));
    for (const axis of axes) if (axis.dim !== 1) whole.set(axis.letter, axis);
    for (const { letter, ref, dim, input } of axes) {
      const { ref: other, dim: length } = whole.get(letter)!;
      if (dim === 1 && length !== 1) r.wall(ref, `Einsum '${n.name}' broadcasts it`);
      else if (ref !== other) r.same(ref, other);
      if (input !== null && !output.includes(letter)) r.sums(input, ref.axis);
    }
    attend(n, r);
    return undefined;
  },
  cost,
  zero: () => 'absorbs',
  forward(n, engine) {
    const einsum = engine.op('einsum');
    const equation = n.string('equation', '').replaceAll(/\s/g, '');
    return inputs => einsum(equation, inputs);
  },
});
