import { type Dim, UnknownShape } from './operator.ts';

/**
 * Symbolic lengths that are products are written as their factors, slowest first: `batch·4` is an axis of a batch and
 * 4 of something for each of its entries. The order tells where the numbers lie in a flat index; what has the same
 * factors in another order is as long, but laid out otherwise.
 */
const times = '·';

/** The factors of a length, slowest first: numbers and symbols. */
export const factorsOf = (dim: Dim): readonly Dim[] =>
  typeof dim === 'number' ? [dim] : dim.split(times).map(factor => (/^\d+$/.test(factor) ? Number(factor) : factor));

/** The product of lengths in this order; neighbouring numbers become one, ones are left out. */
export function productOf(factors: readonly Dim[]): Dim {
  const merged: Dim[] = [];
  for (const factor of factors.flatMap(factorsOf)) {
    const last = merged.at(-1);
    if (factor === 1) continue;
    if (typeof factor === 'number' && typeof last === 'number') merged[merged.length - 1] = last * factor;
    else merged.push(factor);
  }
  if (merged.includes(0)) return 0;
  return merged.length <= 1 ? (merged[0] ?? 1) : merged.join(times);
}

/** Whether every length is a number. */
export const isConcrete = (dims: readonly Dim[]): dims is readonly number[] =>
  dims.every(dim => typeof dim === 'number');

/** The product of the numbers among the factors of a length; 1 for a symbol. */
export const numericPart = (dim: Dim): number =>
  typeof dim === 'number'
    ? dim
    : factorsOf(dim).reduce<number>((product, factor) => (typeof factor === 'number' ? product * factor : product), 1);

/** The symbols among the factors of a length, in alphabetical order. */
export const symbolsOf = (dim: Dim): readonly string[] =>
  factorsOf(dim)
    .filter(factor => typeof factor === 'string')
    .sort();

/** A length as a number. @throws UnknownShape where a symbol stands for nothing */
export const lengthAt = (dim: Dim, lengths: ReadonlyMap<string, number>): number =>
  factorsOf(dim).reduce<number>((product, factor) => {
    const length = typeof factor === 'number' ? factor : lengths.get(factor);
    if (length === undefined) throw new UnknownShape(`${factor} is not a length of an input`);
    return product * length;
  }, 1);

/** Whether two lengths are equal whatever their symbols stand for. */
export const sameLength = (a: Dim, b: Dim): boolean =>
  a === b || (numericPart(a) === numericPart(b) && symbolsOf(a).join(times) === symbolsOf(b).join(times));

/** `a / b` where it comes out even whatever the symbols stand for, else null. */
export function quotientOf(a: Dim, b: Dim): Dim | null {
  if (a === b) return 1;
  const left = [...factorsOf(a)];
  for (const symbol of symbolsOf(b)) {
    const at = left.indexOf(symbol);
    if (at < 0) return null;
    left.splice(at, 1);
  }
  const number = numericPart(productOf(left)) / numericPart(b);
  if (!Number.isInteger(number)) return null;
  const symbols = left.filter(factor => typeof factor === 'string');
  const numbers = left.filter(factor => typeof factor === 'number');
  // With one number left its place is kept.
  return numbers.length === 1
    ? productOf(left.map(factor => (typeof factor === 'number' ? number : factor)))
    : productOf([...symbols, number]);
}

/** A length whose numbers come to another product: what is left of an axis of `batch·4` that lost one of the 4. */
export const withNumericPart = (dim: Dim, number: number): Dim =>
  typeof dim === 'number'
    ? number
    : productOf([...factorsOf(dim).filter(factor => typeof factor === 'string'), number]);
