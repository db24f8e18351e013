/**
 * Where the time of an S2H step goes, and what share of the machine's GEMM rate it reaches.
 *
 *     npx tsx bench/profile.ts [--depth 20] [--target 0.35] [--batch 128] [--threads 2] [--rounds 10]
 *
 * Medians of wall-clock times in one process, S2H and plain steps alternating. The rate of a step is counted as
 * 2 FLOP per MAC, three times the forward pass for a step with its backward pass.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import type { Tensor } from '../src/graph/engine.ts';
import { methods, routes } from '../src/methods/index.ts';
import { budgetFor } from '../src/prune/budget.ts';
import { costOf } from '../src/prune/cost.ts';
import { openEngine, type Torch } from '../src/torch/index.ts';
import { sgd } from '../src/torch/optim.ts';
import { createNetwork } from '../src/train/network.ts';
import { classification } from '../src/train/objective.ts';
import { createSearch } from '../src/train/search.ts';
import { table } from '../src/util/format.ts';
import { stream } from '../src/util/random.ts';
import { median } from '../src/util/stats.ts';
import { buildNetwork } from '../src/zoo/index.ts';

const { values } = parseArgs({
  options: {
    depth: { type: 'string', default: '20' },
    target: { type: 'string', default: '0.35' },
    batch: { type: 'string', default: '128' },
    threads: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string', default: '10' },
  },
});
const n = Number(values.batch);
const engine = await openEngine({ threads: Number(values.threads), device: 'cpu' });

const times = new Map<string, number[]>();
const record = (name: string, milliseconds: number) => times.set(name, [...(times.get(name) ?? []), milliseconds]);
/** The function, its time recorded under a name. */
const timed =
  <A extends unknown[], R>(name: string | (() => string), run: (...args: A) => R) =>
  (...args: A): R => {
    const began = performance.now();
    try {
      return run(...args);
    } finally {
      record(typeof name === 'string' ? name : name(), performance.now() - began);
    }
  };

const backward = ['L to theta and u', 'G to theta through hard', 'G to u through soft'];
let calls = 0;
const torch: Torch = Object.assign(Object.create(engine), {
  grad: timed(() => `backward: ${backward[calls++ % backward.length]}`, engine.grad),
});
const plainNetwork = createNetwork(
  engine,
  buildNetwork(`resnet${values.depth}`, { classes: 100, channels: 3, size: [32, 32], seed: 1 }),
);
const network = Object.assign(Object.create(plainNetwork), {
  soft: timed('forward: soft', plainNetwork.soft),
  hard: timed('forward: hard', plainNetwork.hard),
});
const search = createSearch(
  plainNetwork.coupling,
  budgetFor(plainNetwork.coupling, { resource: 'macs', value: Number(values.target) }),
  {
    ...{ count: 'ceil', resource: 'hard', fusion: 'gnorm', kappa: 2, relax: 0.01, maskGapWeight: 1, perMember: true },
    ...{ temperature: 1, maskStart: 1, granularity: 1, order: 'l1', seed: 0 },
  },
);
// Where the search ends up: masks that meet the budget, and go on moving.
const { ranks } = search.state();
search.freeze();
search.load({ ...search.state(), counts: null, ranks });
const optimizer = sgd(engine, network.parameters, { momentum: 0.9, weightDecay: 5e-4 });
const context = {
  network,
  objective: classification(engine),
  search,
  steps: 1e6,
  settings: {
    ...{
      routes: routes.t1,
      lossCoefficient: 1,
      gapCoefficient: 1,
      maskLearningRate: 1e-9,
      maskEvery: 1,
      maskSchedule: 'constant' as const,
    },
    ...{
      searchFrom: 0,
      searchUntil: 1,
      finishFrom: 1,
      teacher: 'none' as const,
      labelWeight: 1,
      teacherTemperature: 1,
    },
    seed: 0,
  },
  optimize: (gradients: readonly (Tensor | null)[], rate: number) => optimizer.step(gradients, rate),
};
const steps = {
  'an S2H step': methods.s2h({ ...context, torch }),
  'a plain step': methods.plain({ ...context, torch: engine, network: plainNetwork }),
};
const random = stream(0, 'profile');
const pixels = Float32Array.from({ length: n * 3 * 32 * 32 }, () => random.normal());
const labels = BigInt64Array.from({ length: n }, () => BigInt(random.int(100)));
const product = (size: number) => {
  const [a, b] = [0, 1].map(() => engine.tensor(new Float32Array(size * size).fill(0.5), [size, size]));
  return timed('GEMM', () => engine.op('mm')(a, b));
};
for (let round = -2; round < Number(values.rounds); round++) {
  if (round === 0) times.clear();
  for (const [name, method] of Object.entries(steps)) {
    engine.scope(() => {
      const x = engine.tensor(pixels, [n, 3, 32, 32]);
      const target = { labels: engine.tensor(labels, [n]), teacher: null };
      timed(name, () => method.step(x, target, 1, 0.01))();
    });
  }
  engine.scope(() => product(1024)());
}
const of = (name: string) => median(times.get(name)!);
const plain = of('a plain step');
const parts = [...times.keys()].filter(name => /forward|backward/.test(name)).sort();
const rest = of('an S2H step') - parts.reduce((sum, name) => sum + of(name), 0);
const row = (name: string, milliseconds: number) => [name, milliseconds.toFixed(1), (milliseconds / plain).toFixed(2)];
process.stdout.write(
  `${table(
    [
      ['part', 'ms', 'of a plain step'],
      ...parts.map(name => row(name, of(name))),
      row('the rest (losses, masks, parameters)', rest),
      row('an S2H step', of('an S2H step')),
      row('a plain step', plain),
    ],
    { style: 'markdown', align: ['left', 'right', 'right'] },
  )}\n`,
);
const gemm = 2 * 1024 ** 3;
const macs = costOf(plainNetwork.coupling, 'macs').full;
const rate = (flop: number, milliseconds: number) => flop / milliseconds / 1e6;
process.stdout.write(
  `\nGEMM 1024: ${rate(gemm, of('GEMM')).toFixed(0)} GFLOP/s; a plain step: ${rate(6 * macs * n, plain).toFixed(0)} GFLOP/s, ${((100 * rate(6 * macs * n, plain)) / rate(gemm, of('GEMM'))).toFixed(0)} % of it.\n` +
    `ResNet-${values.depth}, ${values.target} kept, batch ${n}, ${values.threads} threads, ${values.rounds} rounds, medians.\n`,
);
