// 10,000 training steps of a small network: what lives and what is resident after 2,000 of them and at the end.
import { openEngine } from '../../../src/torch/index.ts';
import { sgd } from '../../../src/torch/optim.ts';
import { fill } from '../fill.ts';

const torch = await openEngine({ threads: 1, setup: false });
const leaf = (shape: number[], phase: number) =>
  torch.keep(
    torch.requiresGrad(
      torch.tensor(
        fill(
          shape.reduce((a, b) => a * b, 1),
          phase,
        ),
        shape,
      ),
    ),
  );
const parameters = [leaf([8, 3, 3, 3], 1), leaf([8], 2), leaf([8], 3), leaf([4, 8], 4)];
const mean = torch.keep(torch.zeros([8]));
const variance = torch.keep(torch.op('ones')([8], 'float32'));
const optimizer = sgd(torch, parameters, { momentum: 0.9, weightDecay: 1e-4 });
const images = fill(4 * 3 * 8 * 8, 5);

function step(): number {
  return torch.scope(() => {
    const [w, scale, shift, last] = parameters;
    const x = torch.channelsLast(torch.tensor(images, [4, 3, 8, 8]));
    const y = torch.op('convolution')(x, w, null, [1, 1], [1, 1], [1, 1], false, [0, 0], 1);
    const n = torch.op('batch_norm')(y, scale, shift, mean, variance, true, 0.1, 1e-5, true);
    const pooled = torch.op('mean.dim')(torch.op('relu_')(n), [2, 3]);
    const labels = torch.tensor(new BigInt64Array([0n, 1n, 2n, 3n]), [4]);
    const loss = torch.op('cross_entropy_loss')(torch.op('linear')(pooled, last), labels);
    optimizer.step(torch.grad(loss, parameters), 0.05);
    return torch.item(loss);
  });
}

const state = () => ({ live: torch.liveTensors(), rssMb: process.memoryUsage.rss() / 2 ** 20 });
const first = step();
for (let i = 1; i < 2000; i++) step();
const early = state();
for (let i = 2000; i < 10_000; i++) step();
process.stdout.write(`${JSON.stringify({ early, late: state(), first, last: step() })}\n`);
