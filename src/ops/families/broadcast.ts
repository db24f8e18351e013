import { type NodeView, type Relations, UnknownShape } from '../../graph/operator.ts';

/** State that an input is broadcast to an output: equal axes go together, an axis of 1 that is stretched stays 1. */
export function coupleBroadcast(n: NodeView, input: number, output: number, r: Relations): void {
  const from = n.shape(input);
  const to = n.outputShape(output);
  from.forEach((dim, axis) => {
    const target = axis + to.length - from.length;
    if (dim === 1 && to[target] !== 1) r.wall(n.axis(input, axis), `${n.opType} '${n.name}' broadcasts it`);
    else r.same(n.axis(input, axis), n.outputAxis(output, target));
  });
}

/** Whether an operand is computed and has the output's shape: where its channel is zero, all that comes of it is. */
export function isWhole(n: NodeView, input: number): boolean {
  if (n.isConstant(input)) return false;
  try {
    return n.shape(input).join() === n.outputShape(0).join();
  } catch (error) {
    if (error instanceof UnknownShape) return false;
    throw error;
  }
}
