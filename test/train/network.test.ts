import { beforeAll, describe, expect, test } from 'vitest';
import type { Tensor } from '../../src/graph/engine.ts';
import { type KeptChannels, keptIndices } from '../../src/prune/plan.ts';
import type { Torch } from '../../src/torch/index.ts';
import { createNetwork, type Network } from '../../src/train/network.ts';
import { classification } from '../../src/train/objective.ts';
import { expectClose, normOf } from './close.ts';
import { plainEngine } from './engine.ts';
import { examples } from './networks.ts';
import { normals, type Random, seeds, stream } from './random.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await plainEngine();
});

const batch = 6;

/** Some channels of every group, at least one. */
function draw({ coupling }: Network, random: Random): KeptChannels {
  return coupling.groups.map(({ size }) => {
    const share = random.uniform();
    const kept = Array.from({ length: size }, (_, i) => i).filter(() => random.uniform() < share);
    return kept.length ? kept : [random.int(size)];
  });
}

/** The soft network at masks of 0 and 1, the hard network at the same channels. */
function setBoth(network: Network, kept: KeptChannels): void {
  const w = new Float32Array(network.coupling.channels);
  kept.forEach((channels, g) => {
    for (const channel of channels) w[network.coupling.offsets[g] + channel] = 1;
  });
  network.setMask(w);
  network.setKept(kept);
}

/** The same running statistics for both views, not the initial ones. */
function setStatistics(network: Network, random: Random): void {
  torch.noGrad(() => {
    for (const [name, soft] of network.statistics.soft) {
      const values = Float32Array.from(normals(random, soft.shape[0]), x => (/var/.test(name) ? 0.5 + x * x : x));
      for (const tensor of [soft, network.statistics.hard.get(name)!]) torch.write(tensor, values);
    }
  });
  network.met.fill(1);
  network.reload();
}

interface Outcome {
  readonly logits: Float32Array;
  readonly gradients: (Float32Array | null)[];
}

function outcome(
  network: Network,
  view: 'soft' | 'hard',
  training: boolean,
  images: Float32Array,
  input: readonly number[],
): Outcome {
  return torch.scope(() => {
    const [logits] = network[view](torch.tensor(images, [batch, ...input]), training);
    const labels = torch.tensor(
      BigInt64Array.from({ length: batch }, (_, i) => BigInt(i % 5)),
      [batch],
    );
    const loss = classification(torch).loss([logits], { labels, teacher: null });
    return {
      logits: torch.values(logits),
      gradients: torch.grad(loss, network.parameters).map(g => g && torch.values(g)),
    };
  });
}

/** For every element of a parameter whether some axis of it was cut there. */
function cutElements(network: Network, kept: KeptChannels, name: string): boolean[] {
  const { dims } = network.coupling.graph.tensors.get(name)!;
  const left = keptIndices(network.coupling, kept);
  const axes = dims.map((length, axis) => {
    const indices = new Set(left({ value: name, axis }) ?? Array.from({ length }, (_, i) => i));
    return Array.from({ length }, (_, i) => !indices.has(i));
  });
  return axes.reduce<boolean[]>((cut, axis) => cut.flatMap(before => axis.map(here => before || here)), [false]);
}

describe.each(Object.entries(examples))('%s', (_, make) => {
  test.each([true, false])('the hard network is the soft one at masks of 0 and 1 (training: %s)', training => {
    const { model, input } = make();
    const network = createNetwork(torch, model);
    expect(network.coupling.groups.length).toBeGreaterThan(0);
    for (const seed of seeds(2)) {
      const random = stream(seed, 'masked is cut');
      const images = Float32Array.from(normals(random, batch * input.reduce((a, b) => a * b, 1)));
      const kept = draw(network, random);
      setStatistics(network, random);
      setBoth(network, kept);
      const soft = outcome(network, 'soft', training, images, input);
      const hard = outcome(network, 'hard', training, images, input);
      expect(hard, `a second run of the hard view, seed ${seed}`).toEqual(
        outcome(network, 'hard', training, images, input),
      );
      expectClose(hard.logits, soft.logits, `logits, seed ${seed}`, 1e-5);
      const scale = normOf(soft.gradients.map(g => (g ? normOf(g) : 0)));
      expect(scale).toBeGreaterThan(0);
      network.names.forEach((name, i) => {
        const what = `gradient of ${name}, seed ${seed}`;
        const [found, expected] = [
          hard.gradients[i],
          soft.gradients[i] ?? new Float32Array(hard.gradients[i]?.length ?? 0),
        ];
        // What cancels in one view, as in front of batch normalisation, is rounding noise beside the other gradients.
        expectClose(
          found ?? expected.map(() => 0),
          expected,
          what,
          1e-4 * Math.max(1, scale / Math.max(normOf(expected), 1e-3) / 10),
        );
        cutElements(network, kept, name).forEach((cut, at) => {
          if (cut && found && found[at] !== 0) expect(found[at], `${what} at a cut channel`).toBe(0);
        });
      });
    }
  });

  test('masks of 1 change nothing: the soft, the dense and the whole hard network agree', () => {
    const { model, input } = make();
    const network = createNetwork(torch, model);
    const images = Float32Array.from(normals(stream(1, 'dense'), batch * input.reduce((a, b) => a * b, 1)));
    for (const training of [false, true]) {
      torch.scope(() => {
        const x = (): Tensor => torch.tensor(images, [batch, ...input]);
        const dense = torch.values(network.dense(x(), training)[0]);
        expectClose(torch.values(network.soft(x(), training)[0]), dense, 'soft', 1e-6);
        expectClose(torch.values(network.hard(x(), training)[0]), dense, 'hard', 1e-6);
      });
    }
  });
});
