/**
 * One training step per message, for bench/step.ts: arguments DEPTH TARGET BATCH THREADS MODE PRECISION. Where masks
 * move at every fourth step, it is the mean of four in a row.
 */
import { methods, routes } from '../src/methods/index.ts';
import { budgetFor } from '../src/prune/budget.ts';
import { openEngine } from '../src/torch/index.ts';
import { sgd } from '../src/torch/optim.ts';
import { createNetwork } from '../src/train/network.ts';
import { classification } from '../src/train/objective.ts';
import type { Precision } from '../src/train/precision.ts';
import { createSearch, type Search } from '../src/train/search.ts';
import { stream } from '../src/util/random.ts';
import { buildNetwork } from '../src/zoo/index.ts';

const [depth, target, batch, threads, mode, precision] = process.argv.slice(2);
const torch = await openEngine({ threads: Number(threads), device: 'cpu' });
const network = createNetwork(
  torch,
  buildNetwork(`resnet${depth}`, { classes: 100, channels: 3, size: [32, 32], seed: 1 }),
  { precision: precision as Precision },
);
const plain = mode === 'plain';
const moves = mode === 's2h' || mode === 'every';
const cycle = mode === 's2h' ? 4 : 1;
const search: Search | null = plain
  ? null
  : createSearch(network.coupling, budgetFor(network.coupling, { resource: 'macs', value: Number(target) }), {
      count: 'ceil',
      resource: 'hard',
      fusion: 'gnorm',
      kappa: 2,
      relax: 0.01,
      maskGapWeight: 1,
      perMember: true,
      temperature: 1,
      maskStart: 1,
      granularity: 1,
      order: 'l1',
      seed: 0,
    });
if (search) {
  // Where the search ends up: masks that meet the budget.
  const state = search.state();
  search.freeze();
  search.load({ ...search.state(), counts: moves ? null : search.state().counts, ranks: state.ranks });
}
const optimizer = sgd(torch, network.parameters, { momentum: 0.9, weightDecay: 5e-4 });
const method = methods[plain ? 'plain' : 's2h']({
  torch,
  network,
  objective: classification(torch),
  search,
  settings: {
    routes: routes.t1,
    lossCoefficient: 1,
    gapCoefficient: 1,
    searchFrom: 0,
    searchUntil: moves ? 1 : 0,
    maskLearningRate: 1e-9,
    finishFrom: mode === 'alone' ? 0 : 1,
    maskEvery: cycle,
    maskSchedule: 'constant',
    teacher: 'none',
    labelWeight: 0.3,
    teacherTemperature: 4,
    seed: 0,
  },
  steps: 1e6,
  optimize: (gradients, rate) => optimizer.step(gradients, rate),
});
if (mode === 'alone') method.result();
const random = stream(0, 'bench');
const n = Number(batch);
const pixels = Float32Array.from({ length: n * 3 * 32 * 32 }, () => random.normal());
const labels = BigInt64Array.from({ length: n }, () => BigInt(random.int(100)));

process.on('message', () => {
  const began = performance.now();
  for (let step = 1; step <= cycle; step++) {
    torch.scope(() => {
      const x = torch.tensor(pixels, [n, 3, 32, 32]);
      method.step(x, { labels: torch.tensor(labels, [n]), teacher: null }, step, 0.01);
    });
  }
  process.send!({ seconds: (performance.now() - began) / 1000 / cycle, peakMb: process.resourceUsage().maxRSS / 1024 });
});
