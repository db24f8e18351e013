import { describe, expect, test } from 'vitest';
import { attributesOf, DataType, ints, type OnnxModel, tensorOf, withName } from '../../src/onnx/index.ts';
import { around, couplingOf, exactCut, initializer, type Net, netOf, nodeOf, sizes } from './nets.ts';

describe('Slice', () => {
  const mirrored = (g: Net, a: string) =>
    g.op(
      'Slice',
      [a, g.ints('s', -1), g.ints('e', Number.MIN_SAFE_INTEGER), g.ints('x', 1), g.ints('t', -1)],
      {},
      'sl',
    );

  test('a mirror still reaches the first channel (B03)', async () => {
    const cut = await exactCut(around(mirrored), [[0, 1, 5]]);
    expect(ints(initializer(cut, 's'))).toEqual([2]);
    expect(ints(initializer(cut, 'e'))[0]).toBeLessThan(-3);
    expect(ints(initializer(cut, 't'))).toEqual([-1]);
  });

  test('int32 numbers stay int32, in initializers and in nodes', async () => {
    const int32 = (...values: number[]) => tensorOf('', Int32Array.from(values), [values.length]);
    const numbers = { s: int32(-1), e: int32(-(2 ** 31)), x: int32(-3), t: int32(-1) };
    const initial = (g: Net, a: string) =>
      g.op('Slice', [a, ...Object.entries(numbers).map(([name, tensor]) => g.tensor(withName(tensor, name)))]);
    const nodes = (g: Net, a: string) =>
      g.op('Slice', [a, ...Object.entries(numbers).map(([name, value]) => g.op('Constant', [], { value }, name))]);
    for (const form of [initial, nodes]) {
      const cut = await exactCut(around(form), [[0, 1, 5]]);
      const changed = cut.graph.initializers.filter(({ name }) => /^[se](_cut)?$/.test(name));
      expect(changed.map(({ dataType }) => dataType)).toEqual([DataType.INT32, DataType.INT32]);
    }
  });

  test('every second channel, unevenly cut, becomes a Gather (B03)', async () => {
    const every = (g: Net, a: string) =>
      g.op('Slice', [a, g.ints('s', -1), g.ints('e', -100), g.ints('x', 1), g.ints('t', -2)], {}, 'sl');
    // Read: 7, 5, 3, 1 (group 1 in ascending order: 1, 3, 5, 7); unread: 0, 2, 4, 6.
    const cut = await exactCut(around(every, 4), [
      [0, 1],
      [0, 2, 3],
    ]);
    expect(nodeOf(cut, 'sl').opType).toBe('Gather');
    for (const name of ['s', 'e', 'x', 't']) expect(initializer(cut, name)).toBeUndefined();
  });

  test('with another axis sliced too, the Gather goes in front', async () => {
    const both = (g: Net, a: string) =>
      g.op('Slice', [a, g.ints('s', 0, 1), g.ints('e', 8, 7), g.ints('x', 1, 3), g.ints('t', 2, 3)], {}, 'sl');
    const cut = await exactCut(around(both, 4), [
      [0, 1, 3],
      [0, 3],
    ]);
    expect(cut.graph.nodes.map(({ opType }) => opType)).toEqual(['Conv', 'Gather', 'Slice', 'Conv']);
  });

  test('attributes of opset 9 are written anew', async () => {
    const model = around((g, a) => g.op('Slice', [a], { starts: [2], ends: [100], axes: [1] }, 'sl'), 6, { opset: 9 });
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 2, 'a.weight#2': 6 });
    const cut = await exactCut(model, [[1], [0, 2, 5]]);
    expect(attributesOf(nodeOf(cut, 'sl')).get('starts')).toEqual([1]);
    expect(attributesOf(nodeOf(cut, 'sl')).get('ends')).toEqual([4]);
  });
});

describe('Split', () => {
  const halves = (attributes: Readonly<Record<string, number | number[]>>, opset: number, sizesInput?: number[]) =>
    netOf(
      (g, x) => {
        const inputs = [g.conv(x, 3, 8, { name: 'a' }), ...(sizesInput ? [g.ints('sizes', ...sizesInput)] : [])];
        const parts = g.node('Split', inputs, { axis: 1, ...attributes }, { name: 'sp', outputs: ['p', 'q'] });
        return parts.map((part, i) => g.conv(part, sizesInput?.[i] ?? 4, 3, { name: `next${i}` }));
      },
      { opset },
    );

  test.each<[string, OnnxModel]>([
    ['even, opset 11', halves({}, 11)],
    ['with sizes, opset 11', halves({ split: [4, 4] }, 11)],
    ['even, opset 13', halves({}, 13)],
    ['with sizes, opset 13', halves({}, 13, [4, 4])],
    ['num_outputs, opset 18', halves({ num_outputs: 2 }, 18)],
  ])('%s: the parts keep what is theirs', async (_, model) => {
    const cut = await exactCut(model, [[1], [0, 2, 3]]);
    const split = nodeOf(cut, 'sp');
    const written = attributesOf(split).get('split') ?? ints(initializer(cut, split.input[1]));
    expect(written).toEqual([1, 3]);
  });
});
