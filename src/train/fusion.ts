/** How the three gradients of u become one direction (docs/method.md, Fusion). */
export type Fusion = 'paper' | 'gnorm' | 'sum';

export interface FusionInput {
  /** Gradients of L, G and R by u, per group. */
  readonly gL: readonly Float64Array[];
  readonly gG: readonly Float64Array[];
  readonly gR: readonly Float64Array[];
  /** |rho - tau| */
  readonly distance: number;
}

export interface FusionSettings {
  readonly fusion: Fusion;
  /** gnorm: how much longer the resource term is than the task's; paper: the coefficient of gR is 5. */
  readonly kappa: number;
  /** gnorm: inside |rho - tau| < relax the resource term fades. */
  readonly relax: number;
  /** gnorm, sum: weight of G beside L. */
  readonly gapWeight: number;
}

/** Gradients below this norm carry rounding noise only. */
const floor = 1e-12;

export const normOf = (gradients: readonly Float64Array[]): number =>
  Math.sqrt(gradients.reduce((sum, g) => g.reduce((a, x) => a + x * x, sum), 0));

const combine = (a: readonly Float64Array[], x: number, b: readonly Float64Array[], y: number): Float64Array[] =>
  a.map((g, i) => g.map((value, k) => x * value + y * b[i][k]));

const inverse = (norm: number): number => (norm > floor ? 1 / norm : 0);

/**
 * One direction for u; norms are over all groups, so that the groups' relative sensitivities survive.
 * - `paper` (A4): gL/|gL| + gG/|gG|, rescaled to |gR|, plus 5 gR: the step dies out as the budget is met.
 * - `gnorm` (docs/method.md, Fusion): the same sum at norm 1, plus kappa min(1, |rho - tau| / relax) gR/|gR|.
 * - `sum`: gL + gG + gR.
 */
export function fuse(
  { gL, gG, gR, distance }: FusionInput,
  { fusion, kappa, relax, gapWeight }: FusionSettings,
): Float64Array[] {
  if (fusion === 'sum') return combine(combine(gL, 1, gG, gapWeight), 1, gR, 1);
  const unit = combine(gL, inverse(normOf(gL)), gG, (fusion === 'paper' ? 1 : gapWeight) * inverse(normOf(gG)));
  const direction = inverse(normOf(unit));
  if (fusion === 'paper') return combine(unit, direction * normOf(gR), gR, 5);
  return combine(unit, direction, gR, kappa * Math.min(1, distance / relax) * inverse(normOf(gR)));
}

/** Gradients divided by each group's number of member weights (docs/method.md, Fusion). */
export const perMember = (gradients: readonly Float64Array[], members: readonly number[]): Float64Array[] =>
  gradients.map((g, i) => g.map(x => x / Math.max(1, members[i])));
