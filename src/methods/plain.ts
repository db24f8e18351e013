import type { MethodFactory } from '../train/method.ts';

/** Plain training of the network as it is: the honest starting point, and the finish of a found network. */
export const plain: MethodFactory = ({ torch, network, objective, optimize }) => ({
  phases: [{ name: 'train', start: 0 }],
  views: () => ['dense'],

  step(x, target, _step, learningRate) {
    const L = objective.loss(network.dense(x, true), target);
    optimize(torch.grad(L, network.parameters), learningRate);
    return { L: torch.item(L) };
  },

  result: () => null,
});
