import { z } from 'zod';
import type { AskedBudget } from '../prune/budget.ts';
import { UserError } from '../util/errors.ts';

/** What the pruned network may cost: at most one. */
export const budgetOptions = {
  flops: z
    .number()
    .positive()
    .optional()
    .describe('budget of MACs (papers: "FLOPs"): the fraction kept up to 1, above it MACs of one image'),
  params: z.number().positive().optional().describe('budget of parameters, likewise'),
  bytes: z.number().positive().optional().describe('budget of the size of all constants, likewise'),
};

const schema = z.object(budgetOptions);
export type BudgetOptions = z.output<typeof schema>;

/** The budget among the options, null without one. @throws UserError E_BUDGET (usage) for several */
export function budgetIfAsked({ flops, params, bytes }: BudgetOptions): AskedBudget | null {
  const asked = [
    { resource: 'macs' as const, value: flops },
    { resource: 'params' as const, value: params },
    { resource: 'size' as const, value: bytes },
  ].flatMap(({ resource, value }) => (value === undefined ? [] : [{ resource, value }]));
  if (asked.length > 1) throw refusal('More than one budget is given.');
  return asked[0] ?? null;
}

/** The budget asked for. @throws UserError E_BUDGET (usage) unless exactly one is */
export function budgetAsked(options: BudgetOptions): AskedBudget {
  const asked = budgetIfAsked(options);
  if (!asked) throw refusal('No budget is given.');
  return asked;
}

const refusal = (what: string): UserError =>
  new UserError('E_BUDGET', what, {
    fix: 'Say how much may be kept with one of --flops 0.35, --params 0.5, --bytes 200000.',
    usage: true,
  });
