import type { NodeView } from '../../graph/operator.ts';
import { UserError } from '../../util/errors.ts';

/** The error for a form of a node that has no counterpart under the engine. */
export const untrainable = (
  n: NodeView,
  why: string,
  fix = 'Run one-shot cuts on this file instead, or export it without that operator.',
): UserError => new UserError('E_NO_FORWARD', `${n.opType} '${n.name}' cannot be trained: ${why}.`, { fix });
