import { describe, expect, test } from 'vitest';
import { DataType, GraphBuilder } from '../../src/onnx/index.ts';
import { wallsOf } from '../../src/prune/walls.ts';
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

  test.each(['N', 1])('a width that a sub-graph reads stays what it was there (batch %s)', async batch => {
    const model = around(
      (g, a) => {
        g.op('Cast', [lengthOf(g, a, 1)], { to: DataType.FLOAT }, 'width');
        const map = g.conv(a, 8, 8, { name: 'm' });
        const branch = (inner: GraphBuilder, ...nodes: readonly (readonly [string, readonly string[]])[]) => {
          const last = nodes.reduce((_, [type, inputs], i) => inner.node(type, inputs, {}, { output: `v${i}` }), '');
          inner.output(last);
          return inner.graphProto();
        };
        const nested = branch(new GraphBuilder(), ['Sub', [map, 'width']]);
        // What it makes itself is another value.
        const own = new GraphBuilder();
        own.node('If', ['yes'], { then_branch: nested, else_branch: nested }, { output: 'w' });
        const outer = branch(own, ['Add', ['w', 'width']], ['Mul', ['v0', 'width']]);
        const plain = branch(new GraphBuilder(), ['Neg', [map]]);
        g.initializer('yes', [1], [], DataType.BOOL);
        const chosen = g.node('If', ['yes'], { then_branch: outer, else_branch: plain }, { name: 'if' });
        return g.op('Reshape', [chosen, g.op('Shape', [map])]);
      },
      8,
      { shape: [batch, 3, 8, 8] },
    );
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 8 });
    await exactCut(model, [[0, 5, 6]]);
  });

  test('a vector of such widths and of open lengths is put together anew', async () => {
    const model = netOf(
      (g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const [n, width] = [lengthOf(g, a, 0), lengthOf(g, a, 1)];
        const rows = g.op('Mul', [n, width]);
        const other = g.conv(x, 3, 8, { name: 'o' });
        const target = g.op('Concat', [rows, g.ints('rest', 8, 8)], { axis: 0 });
        const whole = g.op('Concat', [n, width, g.ints('flat', -1)], { axis: 0 });
        const moved = g.op('Reshape', [g.op('Reshape', [other, target]), whole]);
        return [g.conv(a, 8, 4, { name: 'b' }), moved];
      },
      { shape: ['N', 3, 8, 8] },
    );
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 8 });
    await exactCut(model, [[0, 5, 6]]);
  });

  test.each(['N', 1])('zeros that are shaped by a width stay as many (batch %s)', async batch => {
    const zeros = around(
      (g, a) => g.op('Concat', [a, g.op('ConstantOfShape', [g.op('Shape', [a])])], { axis: 1 }),
      16,
      {
        shape: [batch, 3, 8, 8],
      },
    );
    await exactCut(zeros, [[0, 5, 6]]);
  });

  test('parts of a width that another value is split into stay', async () => {
    const model = netOf((g, x) => {
      const a = g.conv(x, 3, 8, { name: 'a' });
      const half = g.op('Div', [lengthOf(g, a, 1), g.ints('two', 2)]);
      const sizesOf = g.op('Concat', [half, half], { axis: 0 });
      const other = g.conv(x, 3, 8, { name: 'o' });
      g.node('Split', [other, sizesOf], { axis: 1 }, { name: 'split', outputs: ['p', 'q'] });
      return [g.conv(a, 8, 4, { name: 'b' }), 'p', 'q'];
    });
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 8 });
    await exactCut(model, [[0, 5, 6]]);
  });

  test('an output that is a width is a wall; one that is another length is none', async () => {
    const model = (axis: number) =>
      netOf((g, x) => {
        const a = g.conv(x, 3, 8, { name: 'a' });
        const length = g.op('Cast', [lengthOf(g, a, axis)], { to: DataType.FLOAT }, 'length');
        return [g.conv(a, 8, 4, { name: 'b' }), length];
      });
    const coupling = couplingOf(model(1));
    expect(sizes(coupling)).toEqual({});
    expect(wallsOf(coupling)).toContainEqual(
      expect.objectContaining({
        reason: "graph output 'length' says its length",
        groups: [{ name: 'a.weight', size: 8 }],
      }),
    );
    for (const axis of [0, 2, -1]) {
      expect(sizes(couplingOf(model(axis)))).toEqual({ 'a.weight': 8 });
      await exactCut(model(axis), [[0, 5]]);
    }
  });

  test('a width is a wall where something computes with its product with a length that is not known', () => {
    const model = around(
      (g, a) => {
        const shape = g.op('Shape', [a], { start: 0, end: 2 });
        const area = g.op('Cast', [g.op('ReduceProd', [shape], { keepdims: 0 })], { to: DataType.FLOAT });
        return g.op('Div', [a, area]);
      },
      8,
      dynamic,
    );
    const coupling = couplingOf(model);
    expect(sizes(coupling)).toEqual({});
    expect(wallsOf(coupling).map(({ reason }) => reason)).toContainEqual(
      expect.stringMatching(/^Div '.*' computes with its length and with one that is not known$/),
    );
  });
});
