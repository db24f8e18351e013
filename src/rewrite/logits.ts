import type { Graph } from '../graph/graph.ts';

/** What the training objective looks at instead of the graph's outputs. */
export interface Logits {
  /** Values to compute, one per graph output: where the file ends in a Softmax, what that Softmax takes. */
  readonly outputs: readonly string[];
  /** Names of the Softmax nodes that were passed over. */
  readonly stripped: readonly string[];
}

/**
 * Look through a final Softmax or LogSoftmax (and Identity after it): the loss is taken from the logits. The file keeps
 * the node; only training does without.
 */
export function logitsOf(graph: Graph): Logits {
  const stripped: string[] = [];
  const outputs = graph.outputs.map(output => {
    let value = output;
    for (let node = graph.producers.get(value); node?.opType === 'Identity'; node = graph.producers.get(value))
      value = node.inputs[0];
    const last = graph.producers.get(value);
    if (last?.domain !== '' || (last.opType !== 'Softmax' && last.opType !== 'LogSoftmax')) return output;
    stripped.push(last.name);
    return last.inputs[0];
  });
  return { outputs, stripped };
}
