import { beforeAll, describe, expect, test } from 'vitest';
import type { OnnxTensor } from '../../src/onnx/index.ts';
import { openEngine, type Tensor, type Torch } from '../../src/torch/index.ts';
import { stream } from '../../src/util/random.ts';
import { sizeOf } from '../torch/fill.ts';
import { forward, type NodeUnderTest } from './node.ts';

/** A node whose inputs, but for constants, are variables of gradients. */
export interface Differentiable extends NodeUnderTest {
  readonly inputs: readonly (readonly number[] | OnnxTensor | null)[];
  readonly training?: boolean;
  /** Which of its outputs; the first by default. */
  readonly output?: number;
  /** Variables are drawn between these instead of around 0. */
  readonly between?: readonly [number, number];
}

/** The gradient of each node in each variable is that of its central differences. */
export function hasGradients(nodes: Readonly<Record<string, Differentiable>>): void {
  let torch: Torch;
  beforeAll(async () => {
    torch = await openEngine({ threads: 1 });
  });

  describe.each(Object.entries(nodes))('%s', (name, node) => {
    const random = stream(3, name);
    // Maxima are unique, nothing is 0, and small steps do not change that.
    const spaced = (length: number) => {
      const places = random.permutation(length);
      if (!node.between) return Float64Array.from(places, i => (i - length / 2 + 0.3) / 8);
      const [low, high] = node.between;
      return Float64Array.from(places, i => low + ((high - low) * (i + 0.5)) / length);
    };
    const shapes = node.inputs.filter(input => Array.isArray(input)) as (readonly number[])[];
    const values = shapes.map((shape, i) => {
      const data = spaced(sizeOf(shape));
      return node.op === 'BatchNormalization' && i === 4 ? data.map(v => v * v + 0.5) : data;
    });
    // Running statistics are no variables.
    const variables = node.op === 'BatchNormalization' ? 3 : values.length;

    const run = (data: readonly Float64Array[], record: boolean): { inputs: Tensor[]; y: Tensor } => {
      const inputs = data.map((v, i) => torch.tensor(v, shapes[i]));
      if (record) for (const input of inputs.slice(0, variables)) torch.requiresGrad(input);
      return { inputs, y: forward(torch, node, inputs, node.training)[node.output ?? 0] };
    };

    test('has the gradient of its central differences, in float64', () => {
      torch.scope(() => {
        const { inputs, y } = run(values, true);
        const seed = Float64Array.from({ length: sizeOf(y.shape) }, random.normal);
        const weighted = (found: Tensor) =>
          (torch.read(found) as Float64Array).reduce((sum, v, i) => sum + v * seed[i], 0);
        const gradients = torch.grad(y, inputs.slice(0, variables), { outputsGrad: [torch.tensor(seed, y.shape)] });
        gradients.forEach((gradient, which) => {
          const direction = Float64Array.from({ length: values[which].length }, random.normal);
          const step = 1e-5;
          const [ahead, behind] = [step, -step].map(s =>
            torch.noGrad(() => {
              const moved = values.map((v, i) => (i === which ? v.map((x, at) => x + s * direction[at]) : v));
              return weighted(run(moved, false).y);
            }),
          );
          const expected = (ahead - behind) / (2 * step);
          const found = (torch.read(gradient!) as Float64Array).reduce((sum, g, i) => sum + g * direction[i], 0);
          const scale = (torch.read(gradient!) as Float64Array).reduce((sum, g) => sum + Math.abs(g), 1e-3);
          expect(Math.abs(found - expected) / scale, `input ${which}`).toBeLessThan(1e-7);
        });
      });
    });
  });
}
