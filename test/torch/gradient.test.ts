import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { openEngine, type Tensor, type Torch } from '../../src/torch/index.ts';
import { fill, relativeError, sizeOf } from './fill.ts';

interface Golden {
  operators: Record<string, { shapes: number[][]; shape: number[]; value: number[]; gradients: number[][] }>;
}
const golden = JSON.parse(readFileSync(new URL('golden.json', import.meta.url), 'utf8')) as Golden;

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

/** The operators of golden.py, as libtorch calls them. */
const operators: Record<string, (...inputs: Tensor[]) => Tensor> = {
  conv2d: (x, w, b) => torch.op('convolution')(x, w, b, [2, 2], [1, 1], [1, 1], false, [0, 0], 1),
  'conv2d grouped': (x, w, b) => torch.op('convolution')(x, w, b, [1, 1], [1, 1], [1, 1], false, [0, 0], 2),
  batch_norm: (x, w, b) => {
    const [mean, variance] = [torch.op('zeros_like')(b), torch.op('ones_like')(b)];
    return torch.op('batch_norm')(x, w, b, mean, variance, true, 0.1, 1e-5, true);
  },
  linear: (x, w, b) => torch.op('linear')(x, w, b),
  softmax: x => torch.op('softmax.int')(x, 1),
  log_softmax: x => torch.op('log_softmax.int')(x, 1),
  cross_entropy: x => {
    const labels = torch.tensor(new BigInt64Array([1n, 0n, 4n]), [3]);
    return torch.op('reshape')(torch.op('cross_entropy_loss')(x, labels, null, 1, -100, 0.1), [1]);
  },
  kl_div: (x, y) => {
    const log = torch.op('log_softmax.int');
    const sum = torch.op('kl_div')(log(x, 1), log(y, 1), 2, true);
    return torch.op('reshape')(torch.op('div.Scalar')(sum, 3), [1]);
  },
  max_pool2d: x => torch.op('max_pool2d')(x, 3, 2, 1),
  layer_norm: (x, w, b) => torch.op('layer_norm')(x, [5], w, b),
  gelu: x => torch.op('gelu')(x),
};

test('the tests know every operator of the golden file', () => {
  expect(Object.keys(operators).sort()).toEqual(Object.keys(golden.operators).sort());
});

describe.each(Object.keys(golden.operators))('%s', name => {
  const { shapes, shape, value, gradients } = golden.operators[name];
  const run = operators[name];
  const seed = fill(sizeOf(shape), 9);
  const variables = (data: readonly ArrayLike<number>[], dtype: 'float32' | 'float64' = 'float32') =>
    data.map((values, i) =>
      torch.requiresGrad(
        torch.tensor(dtype === 'float32' ? Float32Array.from(values) : Float64Array.from(values), shapes[i]),
      ),
    );
  const inputs = shapes.map((s, i) => fill(sizeOf(s), i + 1));

  test.each(['contiguous', 'channels_last'])('gives what PyTorch gives, %s', layout => {
    torch.scope(() => {
      const leaves = variables(inputs);
      const y = run(...(layout === 'contiguous' ? leaves : leaves.map(x => torch.channelsLast(x) as Tensor)));
      expect(y.shape).toEqual(shape);
      expect(relativeError(torch.values(y), value)).toBeLessThan(1e-5);
      const found = torch.grad(y, leaves, { outputsGrad: [torch.tensor(seed, shape)] });
      for (const [i, expected] of gradients.entries()) {
        expect(relativeError(torch.values(found[i]!), expected)).toBeLessThan(1e-5);
      }
    });
  });

  test('has the gradient of its finite differences, in float64', () => {
    torch.scope(() => {
      const leaves = variables(inputs, 'float64');
      const weights = torch.tensor(Float64Array.from(seed), shape);
      const found = torch.grad(run(...leaves), leaves, { outputsGrad: [weights] }).map(g => torch.values(g!));
      const objective = (data: readonly Float64Array[]) =>
        torch.scope(() => {
          const y = run(...data.map((d, i) => torch.tensor(d, shapes[i])));
          return torch.item(torch.op('sum')(torch.op('mul.Tensor')(y, weights)));
        });
      const h = 1e-5;
      for (const [i, gradient] of found.entries()) {
        const numeric = Array.from(gradient, (_, j) => {
          const moved = (by: number) =>
            inputs.map((d, k) => Float64Array.from(d, (v, l) => (k === i && l === j ? v + by : v)));
          return (objective(moved(h)) - objective(moved(-h))) / (2 * h);
        });
        expect(relativeError(gradient, numeric)).toBeLessThan(1e-6);
      }
    });
  });
});

describe('grad', () => {
  test('gives null for an input that the output does not depend on', () => {
    torch.scope(() => {
      const x = torch.requiresGrad(torch.tensor(new Float32Array([2]), [1]));
      const unused = torch.requiresGrad(torch.zeros([3]));
      const [dx, du] = torch.grad(torch.op('square')(x), [x, unused]);
      expect([...torch.values(dx!)]).toEqual([4]);
      expect(du).toBeNull();
    });
  });

  test('keeps the graph only when asked to', () => {
    torch.scope(() => {
      const x = torch.requiresGrad(torch.tensor(new Float32Array([3]), [1]));
      const y = torch.op('square')(x);
      torch.grad(y, [x], { retain: true });
      torch.grad(y, [x]);
      expect(() => torch.grad(y, [x])).toThrow(/backward through the graph a second time/);
    });
  });

  test('differentiates twice with create: d³/dx³ of x⁴ is 24x', () => {
    torch.scope(() => {
      const x = torch.requiresGrad(torch.tensor(new Float32Array([2]), [1]));
      let y = torch.op('pow.Tensor_Scalar')(x, 4);
      for (let i = 0; i < 3; i++) y = torch.grad(y, [x], { create: true })[0]!;
      expect(torch.item(y)).toBe(48);
    });
  });

  test('reaches only the inputs that were asked for, through several outputs', () => {
    torch.scope(() => {
      const x = torch.requiresGrad(torch.tensor(new Float32Array([5]), [1]));
      const w = torch.requiresGrad(torch.tensor(new Float32Array([7]), [1]));
      const y = torch.op('mul.Tensor')(x, w);
      const [dw] = torch.grad([y, torch.op('square')(w)], [w], {
        outputsGrad: [torch.tensor(new Float32Array([10]), [1]), torch.tensor(new Float32Array([1]), [1])],
      });
      expect(torch.item(dw!)).toBe(10 * 5 + 2 * 7);
    });
  });

  test('noGrad, detach and requiresGrad stop the recording', () => {
    torch.scope(() => {
      const x = torch.requiresGrad(torch.tensor(new Float32Array([5]), [1]));
      expect(torch.noGrad(() => torch.op('square')(x)).requiresGrad).toBe(false);
      expect(torch.op('square')(torch.detach(x)).requiresGrad).toBe(false);
      expect(torch.op('square')(x).requiresGrad).toBe(true);
      expect(torch.op('square')(torch.requiresGrad(x, false)).requiresGrad).toBe(false);
    });
  });

  test('noGrad ends when its function throws', () => {
    torch.scope(() => {
      const x = torch.requiresGrad(torch.zeros([1]));
      expect(() =>
        torch.noGrad(() => {
          throw new Error('out');
        }),
      ).toThrow('out');
      expect(torch.op('square')(x).requiresGrad).toBe(true);
    });
  });
});
