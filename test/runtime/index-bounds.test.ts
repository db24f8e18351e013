import { expect, test } from 'vitest';
import { DataType, GraphBuilder } from '../../src/onnx/index.ts';
import { indexBounds } from '../../src/runtime/index-bounds.ts';
import { finiteInputs } from '../../src/runtime/inputs.ts';
import { openModel } from '../../src/runtime/session.ts';

/** A sentence whose words, kinds and places are looked up in tables of 50, 2 and 3 rows. */
function embedding() {
  const g = new GraphBuilder({ name: 'embedding' });
  const table = (name: string, rows: number) => g.initializer(name, new Float32Array(rows * 4).fill(rows), [rows, 4]);
  const ids = ['words', 'kinds', 'places', 'mask'].map(name => g.input(name, ['N', 5], DataType.INT64));
  const words = g.node('Gather', [table('w', 50), ids[0]]);
  const kinds = g.node('Gather', [table('k', 2), g.node('Cast', [ids[1]], { to: DataType.INT32 })]);
  const copied = g.node('Identity', [table('p', 3)]);
  const first = g.initializer('first', BigInt64Array.of(0n), [1]);
  const last = g.initializer('last', BigInt64Array.of(5n), [1]);
  const axis = g.initializer('axis', BigInt64Array.of(1n), [1]);
  const places = g.node('Gather', [copied, g.node('Slice', [ids[2], first, last, axis])]);
  const mask = g.node('Unsqueeze', [
    g.node('Cast', [ids[3]], { to: DataType.FLOAT }),
    g.initializer('end', BigInt64Array.of(-1n), [1]),
  ]);
  g.output(g.node('Mul', [g.node('Add', [g.node('Add', [words, kinds]), places]), mask], {}, { output: 'Y' }), [
    'N',
    5,
    4,
  ]);
  return g.model();
}

test('integers stay below the rows of what they look up', async () => {
  const model = embedding();
  expect(Object.fromEntries(indexBounds(model))).toEqual({ words: 50, kinds: 2, places: 3 });
  const session = await openModel(model);
  try {
    for (let seed = 0; seed < 4; seed++) {
      const feeds = finiteInputs(session.inputs, { batch: 8, seed });
      const most = Object.entries(feeds).map(([name, { data }]) => [name, Math.max(...[...data].map(Number))]);
      expect(Object.fromEntries(most)).toEqual({ words: 3, kinds: 1, places: 2, mask: 3 });
      const { Y } = await session.run(feeds);
      expect(Y.shape).toEqual([8, 5, 4]);
    }
  } finally {
    await session.dispose();
  }
});
