import { beforeAll, describe, expect, test } from 'vitest';
import type { Tensor } from '../../src/graph/engine.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { type KeptChannels, keptIndices } from '../../src/prune/plan.ts';
import type { Torch } from '../../src/torch/index.ts';
import { createNetwork, type Network } from '../../src/train/network.ts';
import { expectClose } from './close.ts';
import { plainEngine } from './engine.ts';
import { examples } from './networks.ts';
import { normals, stream } from './random.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await plainEngine();
});

const { model, input } = examples['resnet8, projected shortcuts']();
const batchOf = (seed: number): Float32Array =>
  Float32Array.from(normals(stream(seed, 'statistics'), 6 * 3 * 64), x => 1 + 2 * x);
const run = (network: Network, view: 'dense' | 'soft' | 'hard', seed: number, training = true): Float32Array =>
  torch.scope(() => torch.values(network[view](torch.tensor(batchOf(seed), [6, ...input]), training)[0]));
/** Channels of every group from one share of its size to another. */
const between = ({ coupling }: Network, from: number, to: number): number[][] =>
  coupling.groups.map(({ size }) =>
    Array.from({ length: size }, (_, i) => i).filter(i => i >= from * size && i < to * size),
  );
const snapshot = (statistics: ReadonlyMap<string, Tensor>) =>
  new Map([...statistics].map(([name, tensor]) => [name, torch.values(tensor)]));
/** Elements of a statistic that belong to kept channels. */
const keptOf = (network: Network, kept: KeptChannels, name: string, values: Float32Array): Float32Array => {
  const left = keptIndices(network.coupling, kept)({ value: name, axis: 0 });
  return left ? Float32Array.from(left, i => values[i]) : values;
};

describe('each view has its own running statistics', () => {
  test('a pass updates those of its view in training mode, none in evaluation mode', () => {
    const network = createNetwork(torch, model);
    const before = snapshot(network.statistics.soft);
    for (const view of ['dense', 'soft', 'hard'] as const) run(network, view, 1, false);
    network.flush();
    expect(snapshot(network.statistics.soft)).toEqual(before);
    expect(snapshot(network.statistics.hard)).toEqual(before);

    run(network, 'soft', 1);
    network.flush();
    const soft = snapshot(network.statistics.soft);
    expect(soft).not.toEqual(before);
    expect(snapshot(network.statistics.hard)).toEqual(before);

    run(network, 'hard', 2);
    network.flush();
    expect(snapshot(network.statistics.soft)).toEqual(soft);
    expect(snapshot(network.statistics.hard)).not.toEqual(before);

    run(network, 'dense', 3);
    expect(snapshot(network.statistics.soft)).not.toEqual(soft);
  });

  test('the hard ones on kept channels are those of the compact network trained alone', () => {
    const network = createNetwork(torch, model);
    const kept = between(network, 0.2, 0.8);
    network.setKept(kept);
    const compact = createNetwork(torch, cutModel(network.coupling, kept));
    for (const seed of [1, 2, 3]) {
      expectClose(run(network, 'hard', seed), run(compact, 'dense', seed), `logits ${seed}`, 1e-5);
      run(network, 'soft', seed + 10);
    }
    network.flush();
    for (const [name, own] of snapshot(network.statistics.hard)) {
      expectClose(keptOf(network, kept, name, own), torch.values(compact.statistics.soft.get(name)!), name, 1e-5);
    }
    expectClose(run(network, 'hard', 4, false), run(compact, 'dense', 4, false), 'logits in evaluation mode', 1e-5);
  });

  test('channels that come and go keep theirs; one that is met for the first time takes the soft one', () => {
    const network = createNetwork(torch, model);
    const [first, second, all] = [between(network, 0, 0.5), between(network, 0.5, 1), between(network, 0, 1)];
    network.setKept(first);
    for (const seed of [1, 2]) run(network, 'hard', seed);
    run(network, 'soft', 3);
    const soft = snapshot(network.statistics.soft);
    network.setKept(second);
    run(network, 'hard', 4, false); // no update: what it starts from
    const hard = snapshot(network.statistics.hard);
    run(network, 'soft', 5);
    network.setKept(all);
    run(network, 'hard', 6, false);
    network.flush();
    expect(snapshot(network.statistics.hard)).toEqual(hard);
    const alone = createNetwork(torch, cutModel(network.coupling, first));
    for (const seed of [1, 2]) run(alone, 'dense', seed);
    for (const [name, values] of hard) {
      expect(keptOf(network, second, name, values), `${name}, met second`).toEqual(
        keptOf(network, second, name, soft.get(name)!),
      );
      expectClose(
        keptOf(network, first, name, values),
        torch.values(alone.statistics.soft.get(name)!),
        `${name}, met first`,
        1e-5,
      );
    }
  });

  test('what is no channel starts from the soft ones too', () => {
    const example = examples['normalised images, and a walled normalisation']();
    const network = createNetwork(torch, example.model);
    const pass = (view: 'soft' | 'hard', training: boolean) =>
      torch.scope(() => {
        network[view](torch.tensor(batchOf(1).subarray(0, 6 * 108), [6, ...example.input]), training);
      });
    pass('soft', true);
    network.setKept(between(network, 0, 0.5));
    pass('hard', false);
    for (const name of ['images.mean', 'last.var']) {
      expect(torch.values(network.statistics.hard.get(name)!)).toEqual(
        torch.values(network.statistics.soft.get(name)!),
      );
    }
  });

  test('a hard view that nothing trains has the soft ones whenever it runs', () => {
    const network = createNetwork(torch, model);
    for (const seed of [1, 2]) {
      run(network, 'soft', seed);
      network.setKept(between(network, 0, 0.5));
      network.forget();
      const compact = createNetwork(torch, cutModel(network.coupling, network.kept));
      torch.noGrad(() => {
        for (const [name, tensor] of compact.statistics.soft) {
          torch.write(tensor, keptOf(network, network.kept, name, torch.values(network.statistics.soft.get(name)!)));
        }
      });
      expectClose(run(network, 'hard', 5, false), run(compact, 'dense', 5, false), `after ${seed}`, 1e-5);
    }
  });

  test('they are read up to date, written back whole, and taken over after they were written', () => {
    const network = createNetwork(torch, model);
    network.setKept(between(network, 0.3, 1));
    run(network, 'soft', 1);
    run(network, 'hard', 2);
    const read = Object.fromEntries([...network.statistics.hard.keys()].map(name => [name, network.values(name)]));
    network.flush();
    expect(read).toEqual(Object.fromEntries(snapshot(network.statistics.hard)));

    const before = run(network, 'hard', 3, false);
    const saved = snapshot(network.statistics.hard);
    run(network, 'hard', 4);
    expect(run(network, 'hard', 3, false)).not.toEqual(before);
    torch.noGrad(() => {
      for (const [name, tensor] of network.statistics.hard) torch.write(tensor, saved.get(name)!);
    });
    network.reload();
    expect(run(network, 'hard', 3, false)).toEqual(before);
  });
});

test('steps leave no tensors behind, however often the kept channels change', () => {
  for (const name of ['resnet8, padded shortcuts', 'constants that are no parameters']) {
    const example = examples[name]();
    const network = createNetwork(torch, example.model);
    const length = 6 * example.input.reduce((a, b) => a * b, 1);
    const step = (share: number) => {
      torch.scope(() => {
        const x = torch.tensor(batchOf(1).subarray(0, length), [6, ...example.input]);
        network.setKept(between(network, 0, share));
        network.soft(x, true);
        network.hard(x, true);
      });
    };
    step(0.5);
    step(1);
    const live = torch.liveTensors();
    for (const share of [0.5, 0.5, 0.75, 1, 0.25, 1]) step(share);
    expect(torch.liveTensors(), name).toBe(live);
  }
});
