import { beforeAll, describe, expect, test } from 'vitest';
import type { OnnxModel } from '../../src/onnx/index.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import type { Torch } from '../../src/torch/index.ts';
import { createNetwork } from '../../src/train/network.ts';
import {
  attention,
  batched,
  C,
  D,
  gatedValues,
  H,
  linear,
  merge,
  pick,
  reshape,
  split,
  T,
  tokensFirst,
  transpose,
  windows,
} from '../prune/attention-nets.ts';
import { netOf, randomPlan } from '../prune/nets.ts';
import { expectClose } from './close.ts';
import { plainEngine } from './engine.ts';
import { normals, stream } from './random.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await plainEngine();
});

const nets: Readonly<Record<string, () => OnnxModel>> = {
  'separate projections': () =>
    netOf((g, x) => {
      const [q, k, v] = ['q', 'k', 'v'].map(name => split(g, linear(g, x, C, C, name)));
      return linear(g, merge(g, attention(g, q, k, v)), C, 7, 'out');
    }, batched),
  'one projection, one tensor': () =>
    netOf((g, x) => {
      const all = transpose(g, reshape(g, linear(g, x, C, 3 * C, 'qkv'), 0, T, 3, H, D), 2, 0, 3, 1, 4);
      const [q, k, v] = [0, 1, 2].map(i => pick(g, all, i));
      return linear(g, merge(g, attention(g, q, k, v)), C, 7, 'out');
    }, batched),
  'heads merged into the batch': tokensFirst,
  'a Sigmoid where heads are merged into the batch': gatedValues,
  'shifted windows': windows('N', true),
  'an inner layer with Gelu': () =>
    netOf((g, x) => {
      const up = linear(g, x, C, 20, 'up');
      const half = g.initializer('half', Float32Array.of(0.5), []);
      const root = g.initializer('root', Float32Array.of(Math.SQRT2), []);
      const one = g.initializer('one', Float32Array.of(1), []);
      const gate = g.op('Add', [g.op('Erf', [g.op('Div', [up, root])]), one]);
      return linear(g, g.op('Mul', [g.op('Mul', [up, gate]), half]), 20, 7, 'down');
    }, batched),
};

const batch = 3;

describe.each(Object.entries(nets))('%s', (_, build) => {
  test.each(['heads', 'dims'] as const)('random masks of 0 and 1 are the cut, and zeroed columns: %s', choice => {
    const network = createNetwork(torch, build(), { attention: choice });
    const { coupling } = network;
    expect(coupling.groups.length).toBeGreaterThan(0);
    const [, ...lengths] = coupling.graph.types.get('X')!.shape as number[];
    for (let seed = 0; seed < 3; seed++) {
      const random = stream(seed, 'masks');
      const kept = randomPlan(coupling, random);
      const w = new Float32Array(coupling.channels);
      kept.forEach((channels, g) => {
        for (const channel of channels) w[coupling.offsets[g] + channel] = 1;
      });
      network.setMask(w);
      network.setKept(kept);
      const zeroed = createNetwork(torch, zeroConsumers(coupling, kept), { attention: choice });
      const images = Float32Array.from(
        normals(
          random,
          lengths.reduce((a, b) => a * b, batch),
        ),
      );
      for (const training of [false, true]) {
        torch.scope(() => {
          const x = torch.tensor(images, [batch, ...lengths]);
          const run = (view: (typeof network)['soft']) => torch.values(view(x, training)[0]);
          const [soft, hard, wanted] = [network.soft, network.hard, zeroed.dense].map(run);
          expectClose(soft, wanted, `soft, seed ${seed}, training: ${training}`, 1e-4);
          expectClose(hard, wanted, `hard, seed ${seed}, training: ${training}`, 1e-4);
        });
      }
    }
  });
});

test('masks of heads fold into the rows of v and its bias', () => {
  const { points } = createNetwork(torch, nets['separate projections']());
  const folded = points.map(({ node, fold }) => [node.opType, fold?.map(({ input }) => node.inputs[input])]);
  expect(folded).toEqual([
    ['Add', ['v.bias']],
    ['MatMul', ['v.weight']],
  ]);
});
