import type { NodeProto, OnnxModel } from '../onnx/index.ts';

/** Operators whose outputs hold elements of their first input as they are. */
const handOn = new Set(
  ['Identity', 'Cast', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Transpose', 'Expand', 'Tile'].concat([
    'Slice',
    'Split',
    'Gather',
    'Where',
    'Clip',
  ]),
);

/** Operators that a table may lie behind, with as many rows as it has itself. */
const keepRows = new Set(['Identity', 'Cast', 'DequantizeLinear']);

/** By operator: the inputs that are indices, what they look up, and along which axis. */
const lookups: Readonly<Record<string, readonly { readonly indices: number; readonly table: number }[]>> = {
  Gather: [{ indices: 1, table: 0 }],
  GatherElements: [{ indices: 1, table: 0 }],
  EmbedLayerNormalization: [
    { indices: 0, table: 2 },
    { indices: 1, table: 4 },
  ],
};

/**
 * What integers that are fed have to stay below, since they look something up: the rows of an embedding, by input.
 * Inputs that look nothing up, or nothing whose length the file says, are not in it.
 */
export function indexBounds({ graph }: OnnxModel): ReadonlyMap<string, number> {
  const lengths = new Map<string, readonly (number | null)[]>();
  for (const { name, type } of [...graph.valueInfo, ...graph.inputs]) {
    if (type?.value.case !== 'tensorType') continue;
    const dims = type.value.value.shape?.dim.map(({ value }) =>
      value.case === 'dimValue' ? Number(value.value) : null,
    );
    if (dims) lengths.set(name, dims);
  }
  for (const { name, dims } of graph.initializers) lengths.set(name, dims);
  const producers = new Map<string, NodeProto>();
  const readers = new Map<string, { node: NodeProto; input: number }[]>();
  for (const node of graph.nodes) {
    for (const output of node.output) if (output) producers.set(output, node);
    node.input.forEach((value, input) => {
      const own = readers.get(value);
      if (own) own.push({ node, input });
      else if (value) readers.set(value, [{ node, input }]);
    });
  }
  const rowsOf = (table: string, node: NodeProto): number | null => {
    for (let value = table, steps = 0; value && steps < 8; steps++) {
      const dims = lengths.get(value);
      const axis = Number(node.attribute.find(({ name }) => name === 'axis')?.i ?? 0);
      if (dims) return dims.at(axis) ?? null;
      const producer = producers.get(value);
      if (!producer || !keepRows.has(producer.opType)) return null;
      value = producer.input[0];
    }
    return null;
  };
  const bounds = new Map<string, number>();
  for (const { name } of graph.inputs) {
    const seen = new Set([name]);
    // A set takes more while it is gone through.
    for (const value of seen) {
      for (const { node, input } of readers.get(value) ?? []) {
        for (const { indices, table } of lookups[node.opType] ?? []) {
          const rows = indices === input ? rowsOf(node.input[table] ?? '', node) : null;
          if (rows !== null && rows > 0) bounds.set(name, Math.min(rows, bounds.get(name) ?? rows));
        }
        const passes = (input === 0 && handOn.has(node.opType)) || node.opType === 'Concat' || node.opType === 'Where';
        if (passes) for (const output of node.output) if (output) seen.add(output);
      }
    }
  }
  return bounds;
}
