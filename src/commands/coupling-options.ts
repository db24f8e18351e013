import { z } from 'zod';

/** What of grouped convolutions and of attention goes; left out: the default, or what a plan says. */
export const couplingOptions = {
  grouped: z
    .enum(['equal', 'whole'])
    .optional()
    .describe(
      'convolutions of several groups lose the same number of channels in each, or whole groups (default: equal)',
    ),
  attention: z
    .enum(['heads', 'dims'])
    .optional()
    .describe('attention loses whole heads, or the same dimensions of every head (default: heads)'),
};
