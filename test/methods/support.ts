import type { Tensor } from '../../src/graph/engine.ts';
import { routes } from '../../src/methods/index.ts';
import { budgetFor } from '../../src/prune/budget.ts';
import type { Torch } from '../../src/torch/index.ts';
import { sgd } from '../../src/torch/optim.ts';
import type { Method, MethodFactory, MethodSettings, StepReport } from '../../src/train/method.ts';
import { createNetwork, type Network } from '../../src/train/network.ts';
import { classification } from '../../src/train/objective.ts';
import { createSearch, type Search, type SearchSettings } from '../../src/train/search.ts';
import { stream } from '../../src/util/random.ts';
import { buildNetwork } from '../../src/zoo/index.ts';

export const classes = 4;
export const steps = 20;
const batch = 16;

/** Images of one smooth pattern per class plus noise: learnable in a few steps. */
export function batchAt(torch: Torch, step: number): { images: Tensor; labels: Tensor } {
  const noise = stream(7, 'images', step);
  const label = Array.from({ length: batch }, (_, i) => (i + step) % classes);
  const images = Float32Array.from({ length: batch * 3 * 64 }, (_, i) => {
    const phase = stream(7, 'pattern', label[Math.floor(i / 192)], i % 3).uniform() * 6;
    return Math.sin(phase + (i % 8) * 0.7 + (Math.floor(i / 8) % 8) * 0.4) + 0.5 * noise.normal();
  });
  return {
    images: torch.tensor(images, [batch, 3, 8, 8]),
    labels: torch.tensor(BigInt64Array.from(label, BigInt), [batch]),
  };
}

export interface Run {
  readonly network: Network;
  readonly search: Search;
  readonly method: Method;
  readonly reports: readonly StepReport[];
  /** u, ranks and frozen counts before the first step and after each. */
  readonly states: readonly ReturnType<Search['state']>[];
  /** Gradients that each step gave to theta. */
  readonly gradients: readonly (Float32Array | null)[][];
}

export interface RunOptions {
  readonly settings?: Partial<MethodSettings>;
  readonly search?: Partial<SearchSettings>;
  readonly budget?: number;
  readonly until?: number;
  /** Whether theta moves; gradients are recorded either way. */
  readonly learn?: boolean;
  /** Stands between the method and what it works with. */
  readonly watch?: (torch: Torch, network: Network) => { torch: Torch; network: Network };
}

/** Twenty steps of a method on a narrow ResNet-8: masks move from step 5 to step 14. */
export function run(torch: Torch, factory: MethodFactory, options: RunOptions = {}): Run {
  const {
    budget: fraction = 0.4,
    until = steps,
    learn = true,
    watch = (torch, network) => ({ torch, network }),
  } = options;
  const model = buildNetwork('resnet8', { classes, channels: 3, size: [8, 8], seed: 2, width: 8 });
  const network = createNetwork(torch, model);
  const budget = budgetFor(network.coupling, { resource: 'macs', value: fraction }, options.search?.granularity);
  const search = createSearch(network.coupling, budget, {
    ...{ count: 'ceil', resource: 'hard', fusion: 'gnorm', kappa: 2, relax: 0.01, maskGapWeight: 1, perMember: true },
    ...{ temperature: 1, maskStart: 1, granularity: 1, order: 'l1', seed: 0 },
    ...options.search,
  });
  const optimizer = sgd(torch, network.parameters, { momentum: 0.9, weightDecay: 5e-4 });
  const gradients: (Float32Array | null)[][] = [];
  const method = factory({
    ...watch(torch, network),
    objective: classification(torch),
    search,
    steps,
    settings: {
      ...{
        routes: routes.t1,
        lossCoefficient: 1,
        gapCoefficient: 1,
        searchFrom: 0.25,
        searchUntil: 0.7,
        maskLearningRate: 0.5,
        finishFrom: 1,
        maskEvery: 1,
        maskSchedule: 'constant',
        teacher: 'none' as const,
        labelWeight: 0.3,
        teacherTemperature: 4,
        seed: 0,
      },
      ...options.settings,
    },
    optimize(found, learningRate) {
      gradients.push(found.map(g => g && torch.values(g)));
      if (learn) optimizer.step(found, learningRate);
    },
  });
  const states = [search.state()];
  const reports = Array.from({ length: until }, (_, step) =>
    torch.scope(() => {
      const { images, labels } = batchAt(torch, step);
      const report = method.step(images, { labels, teacher: null }, step, 0.05);
      states.push(search.state());
      return report;
    }),
  );
  optimizer.free();
  return { network, search, method, reports, states, gradients };
}

/** Names of the views that a method runs, in order. */
export function viewsRun(calls: string[]) {
  return (torch: Torch, network: Network): { torch: Torch; network: Network } => {
    const named = (view: 'dense' | 'soft' | 'hard') => (images: Tensor, training: boolean) => {
      calls.push(view);
      return network[view](images, training);
    };
    return {
      torch: {
        ...torch,
        grad(...args) {
          calls.push('grad');
          return torch.grad(...args);
        },
      },
      network: Object.assign(Object.create(network), {
        dense: named('dense'),
        soft: named('soft'),
        hard: named('hard'),
      }),
    };
  };
}
