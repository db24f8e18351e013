import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Const } from '../graph/operator.ts';
import { UserError } from '../util/errors.ts';

/** An operand that has to keep a value. */
export interface FrozenOperand {
  readonly node: GraphNode;
  readonly input: number;
  readonly value: Const;
}

/**
 * Operands that are read off a shape and come out differently in the cut graph.
 * @param rewritten inputs that the cut has written anew already, by node; of a node that it has replaced, all
 * @throws UserError E_CUT where such a value cannot be a constant, as it names symbolic lengths too
 */
export function changedLengths(
  before: Graph,
  after: Graph,
  rewritten: ReadonlyMap<GraphNode, ReadonlySet<number>>,
): FrozenOperand[] {
  const differs = (value: string): Const | null => {
    const old = before.constants.get(value);
    if (!old || before.fixed.has(value)) return null;
    const now = after.constants.get(value);
    return now?.values.join() === old.values.join() ? null : old;
  };
  for (const value of before.outputs) {
    if (differs(value)) throw refusal(`The output '${value}'`);
  }
  const found: FrozenOperand[] = [];
  for (const node of before.nodes) {
    // A node that only computes with known values is seen at those who use its outputs.
    if (node.outputs.every(value => !value || before.constants.has(value))) continue;
    node.inputs.forEach((name, input) => {
      const value = name && !rewritten.get(node)?.has(input) ? differs(name) : null;
      if (!value) return;
      if (value.values.some(element => typeof element === 'string')) throw refusal(`${node.opType} '${node.name}'`);
      found.push({ node, input, value });
    });
  }
  return found;
}

const refusal = (what: string): UserError =>
  new UserError('E_CUT', `${what} depends on a length that this cut changes.`, {
    fix: 'Keep those channels whole, or export the model with static shapes.',
  });
