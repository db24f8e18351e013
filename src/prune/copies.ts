import type { TensorData } from '../onnx/index.ts';
import type { Coupling } from './groups.ts';

/**
 * The same channels, for costs of a file whose constants are shared as `reshared` leaves them: of copies that stay whole
 * whatever goes, one counts.
 */
export function countedOnce(coupling: Coupling): Coupling {
  const { graph } = coupling;
  const tensors = new Map(graph.tensors);
  const counted = new Map<TensorData, string>();
  for (const [name, { data, dims }] of graph.tensors) {
    if (dims.some((_, axis) => coupling.channelsOf({ value: name, axis }))) continue;
    // The last one, for the first may be what an operator without roles reads.
    const other = counted.get(data);
    if (other !== undefined) tensors.delete(other);
    counted.set(data, name);
  }
  return tensors.size < graph.tensors.size ? { ...coupling, graph: { ...graph, tensors } } : coupling;
}
