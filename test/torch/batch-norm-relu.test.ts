import { beforeAll, describe, expect, test } from 'vitest';
import type { Arg, Tensor } from '../../src/graph/engine.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { stream } from '../../src/util/random.ts';
import { relativeError } from './fill.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine();
});

interface Case {
  readonly shape: readonly number[];
  readonly residual: boolean;
  readonly relu: boolean;
  readonly training: boolean;
}
const widths = [...Array.from({ length: 33 }, (_, i) => i + 1), 100, 257, 300];
const cases: Case[] = [
  ...widths.map(width => ({ shape: [3, width, 5, 5], residual: true, relu: true, training: true })),
  ...widths.map(width => ({ shape: [3, width, 5, 5], residual: false, relu: true, training: true })),
  { shape: [2, 7, 40, 40], residual: true, relu: false, training: true },
  { shape: [2, 7, 40, 40], residual: false, relu: false, training: true },
  { shape: [2, 7, 40, 40], residual: true, relu: true, training: false },
  { shape: [2, 7, 40, 40], residual: false, relu: true, training: false },
  { shape: [8, 7, 40, 40], residual: true, relu: true, training: true },
  { shape: [9, 21], residual: true, relu: true, training: true },
  { shape: [4, 6, 11], residual: true, relu: true, training: true },
  { shape: [2, 6, 3, 4, 5], residual: false, relu: true, training: true },
];

/** Output, gradients of x, weight, bias and residual, and the running statistics afterwards. */
function run(c: Case, ours: boolean): number[][] {
  const random = stream(9, 'batch norm', ...c.shape);
  const channels = c.shape[1];
  const count = c.shape.reduce((a, b) => a * b);
  const draw = (n: number, shape: readonly number[], scale = 1, offset = 0): Tensor => {
    const numbers = Array.from({ length: n }, () => Math.fround(random.normal() * scale + offset));
    return torch.tensor(ours ? Float32Array.from(numbers) : Float64Array.from(numbers), shape);
  };
  const layout = (x: Tensor) => (ours && c.shape.length === 4 ? torch.channelsLast(x) : x);
  return torch.scope(() => {
    // A mean of twenty deviations: sums of squares alone would lose it.
    const x = torch.requiresGrad(layout(draw(count, c.shape, 0.5, 10)));
    const weight = torch.requiresGrad(draw(channels, [channels]));
    const bias = torch.requiresGrad(draw(channels, [channels]));
    const mean = draw(channels, [channels], 1, 10);
    const variance = torch.op('abs')(draw(channels, [channels], 0.1, 1));
    const residual = c.residual ? torch.requiresGrad(layout(draw(count, c.shape))) : null;
    const weights = layout(draw(count, c.shape));
    const y = ours
      ? torch.op('s2hpruner::batch_norm_relu')(x, weight, bias, mean, variance, residual, c.training, 0.1, 1e-5, c.relu)
      : composed(c, x, weight, bias, mean, variance, residual);
    const loss = torch.op('sum')(torch.op('mul.Tensor')(y, weights));
    const gradients = torch.grad(loss, [x, weight, bias, ...(residual ? [residual] : [])]);
    return [y, ...gradients, mean, variance].map(t => [...torch.values(t!)]);
  });
}

function composed(c: Case, x: Tensor, w: Tensor, b: Tensor, mean: Tensor, variance: Tensor, residual: Tensor | null) {
  const y = torch.op('batch_norm')(x, w, b, mean, variance, c.training, 0.1, 1e-5, true);
  const sum = residual ? torch.op('add.Tensor')(y, residual) : y;
  return c.relu ? torch.op('relu')(sum) : sum;
}

describe("the fused normalisation is libtorch's in float64, every gradient and the running statistics too", () => {
  test.each(cases)('$shape, residual $residual, relu $relu, training $training', c => {
    const expected = run(c, false);
    for (const [i, values] of run(c, true).entries()) {
      expect(relativeError(values, expected[i]), String(i)).toBeLessThan(2e-5);
    }
  });
});

test('every number of threads gives the same bytes', () => {
  const { threads } = torch;
  const large = { shape: [8, 7, 40, 40], residual: true, relu: true, training: true };
  const results = [1, 2, 16].map(count => {
    torch.setThreads(count);
    return run(large, true);
  });
  torch.setThreads(threads);
  for (const result of results) expect(result).toEqual(results[0]);
});

test('in bfloat16 it is right to bfloat16', () => {
  const random = stream(9, 'bfloat16');
  torch.scope(() => {
    const draw = () =>
      torch.channelsLast(
        torch.tensor(
          Float32Array.from({ length: 1200 }, () => random.normal()),
          [2, 6, 10, 10],
        ),
      );
    const to = torch.op('to.dtype');
    const bfloat16 = 15;
    const vector = (value: number) => torch.tensor(new Float32Array(6).fill(value), [6]);
    const [x, z] = [draw(), draw()];
    const args = (a: Tensor, b: Tensor): Arg[] => [
      a,
      vector(1.5),
      vector(0.25),
      vector(0),
      vector(1),
      b,
      true,
      0.1,
      1e-5,
      true,
    ];
    const fused = torch.op('s2hpruner::batch_norm_relu');
    const half = to(fused(...args(to(x, bfloat16), to(z, bfloat16))), 6);
    expect(relativeError(torch.values(half), torch.values(fused(...args(x, z))))).toBeLessThan(2 ** -7);
  });
});

/** With running statistics 0 and 1, scale 1 and shift 0: what goes in, of three channels. */
function inEvaluation(x: Tensor, relu: boolean): Tensor {
  const vectors = [1, 0, 0, 1].map(value => torch.tensor(new Float32Array(3).fill(value), [3]));
  return torch.op('s2hpruner::batch_norm_relu')(x, ...vectors, null, false, 0.1, 0, relu);
}

test('two axes that lie otherwise in memory are read as they lie', () => {
  torch.scope(() => {
    const x = torch.tensor(
      Float32Array.from({ length: 12 }, (_, i) => i),
      [2, 6],
    );
    const narrow = torch.op('narrow')(x, 1, 0, 3);
    expect([...torch.values(inEvaluation(narrow, false))]).toEqual([0, 1, 2, 6, 7, 8]);
    const turned = torch.op('t')(
      torch.tensor(
        Float32Array.from({ length: 6 }, (_, i) => i),
        [3, 2],
      ),
    );
    expect([...torch.values(inEvaluation(turned, false))]).toEqual([0, 2, 4, 1, 3, 5]);
  });
});

test.each([1, 2, 3, 4])('vector %i of another length than the channels is refused, not read beyond its end', index => {
  torch.scope(() => {
    const x = torch.channelsLast(torch.tensor(new Float32Array(2 * 6 * 4).fill(1), [2, 6, 2, 2]));
    const args: Arg[] = [x, ...[1, 0, 0, 1].map(value => torch.tensor(new Float32Array(6).fill(value), [6]))];
    args[index] = torch.tensor(new Float32Array(2).fill(1), [2]);
    const fused = torch.op('s2hpruner::batch_norm_relu');
    for (const training of [true, false]) expect(() => fused(...args, null, training, 0.1, 1e-5, true)).toThrow();
  });
});

test('what is not a number stays that, and is not turned into 0', () => {
  torch.scope(() => {
    const x = torch.channelsLast(torch.tensor(new Float32Array(2 * 3 * 4).fill(Number.NaN), [2, 3, 2, 2]));
    const y = inEvaluation(x, true);
    expect([...torch.values(y)].every(Number.isNaN)).toBe(true);
  });
});
