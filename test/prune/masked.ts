import { byteSize, bytesOf, changeNode, makeNode, type OnnxModel, tensorOf, withData } from '../../src/onnx/index.ts';
import type { Coupling } from '../../src/prune/groups.ts';
import { type MaskPoint, maskPoints } from '../../src/prune/mask-points.ts';
import type { KeptChannels } from '../../src/prune/plan.ts';

/**
 * The full-width model with a mask of zeros and ones at every mask point, as the soft view has them: folded into the
 * rows of weights, scales and shifts where the point says so, elsewhere as a product behind the value. The consumers'
 * columns stay as they are.
 */
export function maskedModel(coupling: Coupling, kept: KeptChannels): OnnxModel {
  const { model } = coupling.graph;
  const alive = new Uint8Array(coupling.channels);
  kept.forEach((channels, g) => {
    for (const channel of channels) alive[coupling.offsets[g] + channel] = 1;
  });
  const factorsOf = ({ channels }: MaskPoint) => Float32Array.from(channels, c => (c < 0 || alive[c] ? 1 : 0));

  const initializers = new Map(model.graph.initializers.map(tensor => [tensor.name, tensor]));
  const products = new Map<string, ReturnType<typeof makeNode>[]>();
  const renamed = new Map<string, string>();
  for (const point of maskPoints(coupling)) {
    const factors = factorsOf(point);
    const fold = point.fold?.every(({ input }) => isOwn(coupling, initializers, point, input)) ? point.fold : null;
    for (const { input, axis } of fold ?? []) {
      const tensor = initializers.get(point.node.inputs[input])!;
      const bytes = bytesOf(tensor).slice();
      const inner = tensor.dims.slice(axis + 1).reduce((a, b) => a * b, byteSize(tensor.dataType)!);
      for (let at = 0, row = 0; at < bytes.length; at += inner, row++) {
        if (factors[row % tensor.dims[axis]] === 0) bytes.fill(0, at, at + inner);
      }
      initializers.set(tensor.name, withData(tensor, tensor.dims, bytes));
    }
    if (fold) continue;
    const { value, axis } = point;
    const { elemType, shape } = coupling.graph.types.get(value)!;
    const dims = shape!.map((_, a) => (a === axis ? factors.length : 1));
    const mask = tensorOf(`${value}/${axis}/mask`, [...factors], dims, elemType);
    initializers.set(mask.name, mask);
    const [from, to] = [renamed.get(value) ?? value, `${value}/${axis}/masked`];
    products.set(value, [...(products.get(value) ?? []), makeNode('Mul', [from, mask.name], [to], {}, { name: to })]);
    renamed.set(value, to);
  }
  const nodes = model.graph.nodes.flatMap(node => [
    changeNode(node, { input: node.input.map(name => renamed.get(name) ?? name) }),
    ...node.output.flatMap(name => products.get(name) ?? []),
  ]);
  return { ...model, graph: { ...model.graph, nodes, initializers: [...initializers.values()] } };
}

/** Whether the constant can be scaled for this node alone. */
const isOwn = (coupling: Coupling, initializers: ReadonlyMap<string, unknown>, { node }: MaskPoint, input: number) =>
  initializers.has(node.inputs[input]) && coupling.graph.consumers.get(node.inputs[input])?.length === 1;
