import { describe, expect, test } from 'vitest';
import { attributesOf, ints, type OnnxModel } from '../../src/onnx/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { around, couplingOf, exactCut, initializer, type Net, netOf, nodeOf } from './nets.ts';
import { expectAgreement } from './zoo.ts';

const dims = (model: OnnxModel, name: string) => initializer(model, name).dims;
const attribute = (model: OnnxModel, node: string, name: string) => attributesOf(nodeOf(model, node)).get(name);
/** The last constant of a node's inputs. */
const vector = (model: OnnxModel, node: string) => ints(initializer(model, nodeOf(model, node).input.at(-1)!));

/** Conv 3>8, ConvTranspose 8>12 in 4 groups, Conv 12>4. */
const grouped = around(
  (g, a) => g.op('ConvTranspose', [a, g.weight('t.weight', [8, 3, 3, 3]), g.weight('t.bias', [12])], { group: 4 }, 't'),
  12,
);

describe('uneven plans, written by hand: what follows the channels', () => {
  test('ConvTranspose in groups, the same channels of every group', async () => {
    const cut = await exactCut(grouped, [[1], [0, 2]]);
    expect(dims(cut, 'a.weight')).toEqual([4, 3, 3, 3]);
    expect(dims(cut, 't.weight')).toEqual([4, 2, 3, 3]);
    expect(dims(cut, 't.bias')).toEqual([8]);
    expect(attribute(cut, 't', 'group')).toBe(4);
  });

  test('ConvTranspose in groups, whole groups', async () => {
    const cut = await exactCut(grouped, [[0, 2, 3]], { grouped: 'whole' });
    expect(dims(cut, 't.weight')).toEqual([6, 3, 3, 3]);
    expect(dims(cut, 'b.weight')).toEqual([4, 9, 3, 3]);
    expect(attribute(cut, 't', 'group')).toBe(3);
  });

  test('ConvTranspose of one group', async () => {
    const model = around(
      (g, a) => g.op('ConvTranspose', [a, g.weight('t.weight', [8, 6, 2, 2])], { strides: [2, 2] }),
      6,
    );
    const cut = await exactCut(model, [
      [1, 2, 5],
      [0, 1, 4, 5],
    ]);
    expect(dims(cut, 't.weight')).toEqual([3, 4, 2, 2]);
  });

  test.each([
    [18, 4, [3]],
    [21, 8, [6]],
  ])('GroupNormalization of opset %i', async (opset, length, left) => {
    const model = around(
      (g, a) => {
        const ones = (name: string) => g.initializer(name, new Float32Array(length).fill(0.5), [length]);
        return g.op('GroupNormalization', [a, ones('scale'), ones('shift')], { num_groups: 4 }, 'gn');
      },
      8,
      { opset },
    );
    const coupling = couplingOf(model);
    await expectAgreement(coupling, [[0, 2, 3]], { exact: false });
    const cut = cutModel(coupling, [[0, 2, 3]]);
    expect(attribute(cut, 'gn', 'num_groups')).toBe(3);
    expect(dims(cut, 'scale')).toEqual(left);
    expect(dims(cut, 'a.weight')).toEqual([6, 3, 3, 3]);
  });

  test('DepthToSpace keeps its blocks', async () => {
    for (const mode of ['DCR', 'CRD']) {
      const model = netOf((g, x) => {
        const deep = g.op('DepthToSpace', [g.conv(x, 3, 16, { name: 'a' })], { blocksize: 2, mode }, 'd');
        return g.conv(deep, 4, 5, { name: 'b' });
      });
      const cut = await exactCut(model, [[0, 2, 3]]);
      expect(dims(cut, 'a.weight')).toEqual([12, 3, 3, 3]);
      expect(attribute(cut, 'd', 'blocksize')).toBe(2);
    }
  });

  const one = (g: Net) => g.conv('X', 3, 1, { name: 'one' });

  test('the target of an Expand', async () => {
    const model = around((g, a) => g.op('Mul', [a, g.op('Expand', [one(g), g.ints('t', 1, 8, 8, 8)], {}, 'e')]));
    expect(vector(await exactCut(model, [[1, 2, 5]]), 'e')).toEqual([1, 3, 8, 8]);
  });

  test('the target of an Expand whose input has the channels', async () => {
    const model = around((g, a) => {
      const pooled = g.op('GlobalMaxPool', [a]);
      return g.op('Add', [a, g.op('Expand', [pooled, g.ints('t', 8, 8, 8)], {}, 'e')]);
    });
    expect(vector(await exactCut(model, [[1, 2, 5]]), 'e')).toEqual([3, 8, 8]);
  });

  test('the repeats of a Tile of a single channel', async () => {
    const model = around((g, a) => g.op('Mul', [a, g.op('Tile', [one(g), g.ints('t', 1, 8, 1, 1)], {}, 'tile')]));
    expect(vector(await exactCut(model, [[1, 2, 5]]), 'tile')).toEqual([1, 3, 1, 1]);
  });

  test('a Tile of several channels repeats those that are left', async () => {
    const model = around((g, a) => g.op('Tile', [a, g.ints('t', 1, 2, 1, 1)], {}, 'tile'), 16);
    const cut = await exactCut(model, [[1, 2, 5]]);
    expect(vector(cut, 'tile')).toEqual([1, 2, 1, 1]);
    expect(dims(cut, 'b.weight')).toEqual([4, 6, 3, 3]);
  });

  test('constants of a Where, a mask among them', async () => {
    const model = around((g, a) => {
      const mask = g.initializer('mask', [1, 0, 1, 1, 0, 1, 0, 1], [8, 1, 1], 9);
      return g.op('Where', [mask, a, g.weight('other', [1, 8, 1, 1])]);
    });
    const cut = await exactCut(model, [[1, 2, 5]]);
    expect(ints(initializer(cut, 'mask'))).toEqual([0, 1, 1]);
    expect(dims(cut, 'other')).toEqual([1, 3, 1, 1]);
  });
});
