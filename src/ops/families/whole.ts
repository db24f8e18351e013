import { isUnknown } from '../../graph/check.ts';
import { type NodeView, type Operator, operator, type Relations } from '../../graph/operator.ts';

/** Lengths of the axes of an input or output; none where the rank is not known. */
function axesOf(read: () => readonly unknown[]): number[] {
  try {
    return [...read().keys()];
  } catch (error) {
    if (isUnknown(error)) return [];
    throw error;
  }
}

/** State that every axis of the inputs keeps its length. @param why after the node's name: `'Unique 'x' compares along it'` */
export function keepInputs(n: NodeView, r: Relations, why: string, inputs = [...n.inputs.keys()]): void {
  for (const input of inputs.filter(input => n.has(input))) {
    for (const axis of axesOf(() => n.shape(input))) r.wall(n.axis(input, axis), `${n.opType} '${n.name}' ${why}`);
  }
}

/** State that every axis of the outputs keeps its length. */
export function keepOutputs(n: NodeView, r: Relations, why: string, outputs = [...n.outputs.keys()]): void {
  for (const output of outputs.filter(i => n.outputs[i])) {
    for (const axis of axesOf(() => n.outputShape(output)))
      r.wall(n.outputAxis(output, axis), `${n.opType} '${n.name}' ${why}`);
  }
}

/** Keep everything that a node touches. */
export function keepAll(n: NodeView, r: Relations, why = 'needs it whole'): undefined {
  keepInputs(n, r, why);
  keepOutputs(n, r, why);
}

/** An operator of which only the shapes are known: everything that it touches keeps its length, and nothing is multiplied. */
export const opaque = (
  type: string,
  shape: Operator['shape'],
  rest: Partial<Pick<Operator, 'domain' | 'discrete' | 'random' | 'evaluate' | 'cost'>> & {
    readonly why?: string;
  } = {},
): Operator => {
  const { why, ...flags } = rest;
  const record = operator(type, { shape, couple: (n, r) => keepAll(n, r, why), ...flags });
  walls.add(record);
  return record;
};

const walls = new WeakSet<Operator>();

/** Whether everything that an operator touches keeps its length. */
export const isWall = (record: Operator): boolean => record.couple === undefined || walls.has(record);

/** Outputs whose type nothing says: what the file declares stands. */
export const undeclared = (n: NodeView): { elemType: number; shape: null }[] =>
  n.outputs.map(() => ({ elemType: 0, shape: null }));
