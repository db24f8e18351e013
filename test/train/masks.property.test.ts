import { beforeAll, expect, test } from 'vitest';
import { float, type OnnxModel, withAttributes } from '../../src/onnx/index.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import type { Torch } from '../../src/torch/index.ts';
import { createNetwork, type Network } from '../../src/train/network.ts';
import { UserError } from '../../src/util/errors.ts';
import { randomPlan } from '../prune/nets.ts';
import { holds } from '../prune/property.ts';
import { type NetPlan, randomNet } from '../prune/random-nets.ts';
import { expectClose } from './close.ts';
import { plainEngine } from './engine.ts';
import { normals, stream } from './random.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await plainEngine();
});

const batch = 6;

/** With an epsilon that keeps channels which are constant over a batch from being blown up. */
const withEpsilon = (model: OnnxModel): OnnxModel => ({
  ...model,
  graph: {
    ...model.graph,
    nodes: model.graph.nodes.map(node =>
      node.opType === 'BatchNormalization' ? withAttributes(node, { epsilon: float(0.1) }) : node,
    ),
  },
});

/** The network under the engine; null where the engine has no rule for one of its operators. */
function networkOf(plan: NetPlan): Network | null {
  try {
    return createNetwork(torch, withEpsilon(randomNet({ ...plan, dynamic: true })), plan.options);
  } catch (error) {
    if (error instanceof UserError && ['E_NO_FORWARD', 'E_FIXED_BATCH', 'E_INPUTS'].includes(error.code)) return null;
    throw error;
  }
}

test('masks of 0 and 1 at the mask points are the cut, and zeroed columns, in evaluation and in training mode', async () => {
  const counts = { nets: 0, trained: 0 };
  await holds(200, async ({ plan }) => {
    counts.nets++;
    const network = networkOf(plan);
    if (!network) return;
    counts.trained++;
    const { coupling } = network;
    const random = stream(plan.seed, 'masks');
    const kept = randomPlan(coupling, random);
    const w = new Float32Array(coupling.channels);
    kept.forEach((channels, g) => {
      for (const channel of channels) w[coupling.offsets[g] + channel] = 1;
    });
    network.setMask(w);
    network.setKept(kept);
    const zeroed = createNetwork(torch, zeroConsumers(coupling, kept), plan.options);
    const [, ...lengths] = coupling.graph.types.get(coupling.graph.inputs[0])!.shape as number[];
    const shape = [batch, ...lengths];
    const images = Float32Array.from(
      normals(
        random,
        shape.reduce((a, b) => a * b, 1),
      ),
    );
    for (const training of [false, true]) {
      torch.scope(() => {
        const x = torch.tensor(images, shape);
        const run = (view: (typeof network)['soft']) => view(x, training).map(output => torch.values(output));
        const [soft, hard, wanted] = [network.soft, network.hard, zeroed.dense].map(run);
        wanted.forEach((output, i) => {
          expectClose(soft[i], output, `output ${i} of the soft view, training: ${training}`, 1e-4);
          expectClose(hard[i], output, `output ${i} of the hard view, training: ${training}`, 1e-4);
        });
      });
    }
  });
  expect(counts.trained).toBeGreaterThan(0.5 * counts.nets - 10);
});
