/**
 * BatchNormalization, a residual and a ReLU, forward and backward: our kernel against libtorch's three operators, in
 * channels_last, alternating in one run, medians.
 *
 *     npx tsx bench/batch-norm.ts [threads]
 */
import { availableParallelism } from 'node:os';
import type { Tensor } from '../src/graph/engine.ts';
import { openEngine } from '../src/torch/index.ts';
import { table } from '../src/util/format.ts';
import { stream } from '../src/util/random.ts';
import { median } from '../src/util/stats.ts';

const torch = await openEngine({ threads: Number(process.argv[2] ?? availableParallelism()), device: 'cpu' });
const random = stream(0, 'batch norm');
const [fused, norm, add, relu] = ['s2hpruner::batch_norm_relu', 'batch_norm', 'add.Tensor', 'relu_'].map(name =>
  torch.op(name),
);
const rounds = 15;
const rows = [['channels', 'pixels', 'residual', 'ours, ms', "libtorch's, ms", 'ratio']];
for (const [channels, side] of [
  [16, 32],
  [7, 32],
  [4, 32],
  [32, 16],
  [15, 16],
  [64, 8],
  [35, 8],
]) {
  for (const hasResidual of [false, true]) {
    const shape = [128, channels, side, side];
    const size = shape.reduce((a, b) => a * b);
    const draw = () => torch.channelsLast(torch.tensor(Float32Array.from({ length: size }, random.uniform), shape));
    const vector = (value: number) => torch.tensor(new Float32Array(channels).fill(value), [channels]);
    torch.scope(() => {
      const [x, residual] = [torch.requiresGrad(draw()), torch.requiresGrad(draw())];
      const [gamma, beta] = [torch.requiresGrad(vector(1)), torch.requiresGrad(vector(0))];
      const [mean, variance] = [vector(0), vector(1)];
      const leaves = [x, gamma, beta, ...(hasResidual ? [residual] : [])];
      const ours = () => fused(x, gamma, beta, mean, variance, hasResidual ? residual : null, true, 0.1, 1e-5, true);
      const theirs = () => {
        const y = norm(x, gamma, beta, mean, variance, true, 0.1, 1e-5, true);
        return relu(hasResidual ? add(y, residual) : y);
      };
      const timed = (run: () => Tensor): number => {
        const began = performance.now();
        torch.scope(() => void torch.grad(torch.op('sum')(run()), leaves));
        return performance.now() - began;
      };
      const times: [number, number][] = Array.from({ length: rounds + 2 }, () => [timed(ours), timed(theirs)]);
      const [a, b] = [0, 1].map(i => median(times.slice(2).map(pair => pair[i])));
      const residualText = hasResidual ? 'yes' : 'no';
      rows.push([String(channels), `${side}x${side}`, residualText, a.toFixed(2), b.toFixed(2), (b / a).toFixed(1)]);
    });
  }
}
process.stdout.write(`${table(rows, { style: 'markdown' })}\n`);
