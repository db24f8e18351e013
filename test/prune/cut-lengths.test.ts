import { describe, expect, test } from 'vitest';
import { DataType } from '../../src/onnx/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { around, couplingOf, exactCut, type Net, netOf, sizes } from './nets.ts';

describe('shape arithmetic', () => {
  const dynamic = { shape: ['N', 3, 8, 8] as const };
  /** One length of a value. */
  const lengthOf = (g: Net, value: string, axis: number) =>
    g.op('Gather', [g.op('Shape', [value]), g.ints(g.unique('axis'), axis)]);

  test('a literal channel count in a target is written anew', async () => {
    const model = around(
      (g, a) => {
        const target = g.op('Concat', [lengthOf(g, a, 0), g.ints('rest', 8, 64)], { axis: 0 });
        const flat = g.op('Reshape', [a, target]);
        return g.op('Reshape', [flat, g.op('Concat', [lengthOf(g, flat, 0), g.ints('back', 8, 8, 8)], { axis: 0 })]);
      },
      8,
      dynamic,
    );
    await exactCut(model, [[0, 5, 6]]);
  });

  test('a channel count that is read off a shape follows by itself or is written anew', async () => {
    const model = around(
      (g, a) => {
        const parts = [lengthOf(g, a, 0), lengthOf(g, a, 1), g.ints('rest', -1)];
        const flat = g.op('Reshape', [a, g.op('Concat', parts, { axis: 0 })]);
        return g.op('Reshape', [flat, g.op('Shape', [a])]);
      },
      8,
      dynamic,
    );
    await exactCut(model, [[0, 5, 6]]);
  });

  test.each(['N', 1])('a width that is computed with stays what it was (batch %s)', async batch => {
    const model = around(
      (g, a) => {
        const width = g.op('Cast', [lengthOf(g, a, 1)], { to: DataType.FLOAT });
        return g.op('Mul', [a, g.op('Div', [g.initializer('one', Float32Array.of(1), []), width])]);
      },
      8,
      { shape: [batch, 3, 8, 8] },
    );
    const cut = await exactCut(model, [[0, 5, 6, 7]]);
    // An eighth, though four channels are left.
    expect(cut.graph.nodes.map(({ opType }) => opType)).toEqual(['Conv', 'Mul', 'Conv']);
    expect(cut.graph.initializers.some(({ name }) => name.endsWith('_before'))).toBe(true);
  });

  test('a width that another tensor is shaped by stays what it was', async () => {
    const model = netOf((g, x) => {
      const a = g.conv(x, 3, 8, { name: 'a' });
      const other = g.op('Flatten', [g.conv(x, 3, 8, { name: 'o' })]);
      const shaped = g.op('Reshape', [other, g.op('Concat', [lengthOf(g, a, 1), g.ints('r', 64)], { axis: 0 })]);
      return [g.conv(a, 8, 4, { name: 'b' }), shaped];
    });
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 8 });
    await exactCut(model, [[0, 5, 6]]);
  });

  test('an output that is a width is refused', () => {
    const model = netOf((g, x) => {
      const a = g.conv(x, 3, 8, { name: 'a' });
      return [g.conv(a, 8, 4, { name: 'b' }), g.op('Shape', [a], {}, 'shape')];
    });
    expect(() => cutModel(couplingOf(model), [[0, 1]])).toThrow(
      expect.objectContaining({
        code: 'E_CUT',
        what: expect.stringMatching(/^The output 'shape' depends on a length/),
      }),
    );
  });
});
