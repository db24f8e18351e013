import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { type OnnxModel, shapeOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { freeBatch } from '../../src/rewrite/batch.ts';
import { openModel } from '../../src/runtime/session.ts';
import { UserError } from '../../src/util/errors.ts';
import { stream } from '../../src/util/random.ts';
import { type Net, netOf } from '../prune/nets.ts';

const image = (batch: number, length = 3 * 64) => {
  const random = stream(1, 'image');
  return Float32Array.from({ length: batch * length }, () => random.int(3) - 1);
};

async function run(
  model: OnnxModel,
  batch: number,
  data: Float32Array,
): Promise<{ shape: readonly number[]; data: number[] }> {
  const session = await openModel(model);
  const { Y } = await session.run({ X: { type: 'float32', shape: [batch, 3, 8, 8], data } });
  await session.dispose();
  return { shape: Y.shape, data: Array.from(Y.data as Float32Array) };
}

const features = (g: Net, x: string) => g.op('Relu', [g.conv(x, 3, 4, { attributes: { strides: [2, 2] } })]);

/** Heads that hold the batch of 1 in a Reshape (B12). */
const heads: Readonly<Record<string, (g: Net, y: string) => string>> = {
  'Reshape [1, 64]': (g, y) => g.linear(g.op('Reshape', [y, g.ints('t', 1, 64)]), 64, 5),
  'Reshape [1, -1]': (g, y) => g.linear(g.op('Reshape', [y, g.ints('t', 1, -1)]), 64, 5),
  'Reshape [1, 4, 16], Transpose, ReduceMean': (g, y) => {
    const tokens = g.op('Transpose', [g.op('Reshape', [y, g.ints('t', 1, 4, 16)])], { perm: [0, 2, 1] });
    return g.linear(g.op('ReduceMean', [tokens], { axes: [1], keepdims: 0 }), 4, 5);
  },
  'one target for two Reshapes': (g, y) => {
    const target = g.ints('t', 1, 64);
    const flat = [y, g.op('Relu', [y])].map(value => g.op('Reshape', [value, target]));
    return g.linear(g.op('Add', flat), 64, 5);
  },
  Flatten: (g, y) => g.linear(g.op('Flatten', [y]), 64, 5),
};

const fixed = (head: (g: Net, y: string) => string, irVersion = 8) =>
  netOf((g, x) => g.op('Identity', [head(g, features(g, x))], {}, 'Y'), { irVersion, opset: irVersion < 4 ? 9 : 13 });

describe.each(Object.entries(heads))('a file for one image with %s', (_, head) => {
  test.each([3, 8])('takes three, image by image the same (IR version %i)', async irVersion => {
    const model = fixed(head, irVersion);
    const freed = freeBatch(model, operators);
    expect(shapeOf(freed.graph.inputs[0])).toEqual(['batch', 3, 8, 8]);
    expect(buildGraph(freed, operators).batch).toBe('batch');
    const data = image(3);
    const together = await run(freed, 3, data);
    expect(together.shape).toEqual([3, 5]);
    const singly: number[] = [];
    for (let i = 0; i < 3; i++) singly.push(...(await run(model, 1, data.slice(i * 192, (i + 1) * 192))).data);
    expect(together.data).toEqual(singly);
  });
});

test('a file with a symbolic batch is left as it is', () => {
  const model = netOf((g, x) => heads.Flatten(g, features(g, x)), { shape: ['N', 3, 8, 8] });
  expect(freeBatch(model, operators)).toBe(model);
});

test('a batch that is held in another way is refused, naming the Reshape and the remedy', () => {
  const model = fixed(
    (g, y) => g.linear(g.op('Unsqueeze', [g.op('Reshape', [y, g.ints('t', 64)], {}, 'flat')], { axes: [0] }), 64, 5),
    3,
  );
  try {
    freeBatch(model, operators);
    expect.unreachable();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    expect(error).toMatchObject({ code: 'E_FIXED_BATCH', what: expect.stringContaining("Reshape 'flat'") });
    expect((error as UserError).fix).toMatch(/dynamic_axes/);
  }
});
