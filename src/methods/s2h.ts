import type { Tensor } from '../graph/engine.ts';
import { type Direction, lasting, type MethodFactory, phaseAt, searchPhases, weighted } from '../train/method.ts';
import { maskShare } from '../train/schedule.ts';
import { alone } from './alone.ts';
import { landed } from './landed.ts';

/**
 * S2HPruner: soft-to-hard distillation (Lin et al., NeurIPS 2024, arXiv 2410.07046), Algorithm 1.
 *
 * theta  all parameters, shared by the soft network f(x; theta, w) and the hard network f(x; theta, m)
 * u      one logit per admissible channel count of a group; w(u) relaxed masks, m(u) binary ones
 * s, h   outputs of the soft and the hard network
 * L      task loss of s; G gap between s and h; R distance of the cost from the budget
 *
 * theta learns from L through the soft network and from G through the hard one; u learns from L and G through the soft
 * network, and from R. G never reaches theta through the soft network ("decoupled"), unless a route says so.
 */
export const s2h: MethodFactory = context => {
  const { torch, network, objective, settings, steps, optimize } = context;
  const search = context.search!;
  const theta = network.parameters;
  const { routes, lossCoefficient: beta, gapCoefficient: gamma } = settings;
  const { grad, detach } = torch;
  const phases = searchPhases(settings, steps);
  const [, searching, freezing, finishing] = phases;
  const finish = alone(context, finishing.start);
  const maskRate = (step: number) =>
    settings.maskLearningRate *
    settings.maskEvery *
    maskShare(settings.maskSchedule, step, searching.start, freezing.start);
  const all = (tensors: readonly Tensor[]) => tensors.map(detach);
  const none = theta.map(() => null);
  /** Gradients of a loss on the routes that are open: to theta, and to w. */
  const routed = (loss: Tensor, toTheta: boolean, toMask: boolean, retain = false) => {
    const leaves = [...(toTheta ? theta : []), ...(toMask ? [network.mask] : [])];
    const gradients = leaves.length ? grad(loss, leaves, { retain }) : [];
    return { theta: toTheta ? gradients.slice(0, theta.length) : none, mask: toMask ? gradients.at(-1)! : null };
  };
  /** G, a divergence between the two networks; the one that is taught is not detached. */
  const gap = (direction: Direction, s: readonly Tensor[], h: readonly Tensor[]) =>
    direction === 'soft-hard' ? objective.gap(s, h) : objective.gap(h, s);

  return {
    phases: lasting(phases, steps),
    views: step => (step < finishing.start ? ['soft', 'hard'] : ['hard']),

    step(x, target, step, learningRate) {
      if (step === searching.start) search.sort(network.values);
      if (step === freezing.start) search.freeze();
      if (step >= finishing.start) return finish(x, target, step, learningRate);
      const moving = phaseAt(phases, step) === searching && step % settings.maskEvery === 0;
      const throughSoft = routes.weightsThroughSoft ?? (moving ? routes.masksThroughSoft : null);

      const masks = search.masks(); // w, m, E, c
      network.setMask(masks.w);
      network.setKept(masks.kept);

      // Soft network: the task.
      const s = network.soft(x, true);
      const L = objective.loss(s, target);
      const gL = routed(L, routes.lossToWeights, moving && routes.lossToMasks, throughSoft !== null);

      // Hard network: taught by the soft one.
      const h = network.hard(x, true);
      const G = gap(routes.weightsThroughHard ?? 'soft-hard', all(s), h);
      const gGhard = routed(G, routes.weightsThroughHard !== null, false);

      // The gap through the soft network: to the masks, and to theta only where route 4 is open.
      const gGsoft = throughSoft
        ? routed(
            gap(throughSoft, s, all(h)),
            routes.weightsThroughSoft !== null,
            moving && routes.masksThroughSoft !== null,
          )
        : { theta: none, mask: null };

      // theta <- O(theta, beta gL + gamma gG)
      const gG = weighted(torch, 1, gGhard.theta, 1, gGsoft.theta);
      optimize(weighted(torch, beta, gL.theta, gamma * routes.coefficient, gG), learningRate);

      // u <- u - lambda_w fuse(gL, gG, gR)
      const R = search.resource(masks);
      if (moving) {
        const toLogits = (dw: Tensor | null, by: number) =>
          search
            .toLogits(masks, dw ? torch.values(dw) : new Float32Array(network.mask.shape[0]))
            .map(g => g.map(v => by * v));
        const gradients = {
          gL: toLogits(gL.mask, 1),
          gG: toLogits(gGsoft.mask, routes.coefficient),
          gR: routes.resourceToMasks ? R.gradient : R.gradient.map(g => g.map(() => 0)),
        };
        search.move(gradients, R.ratio, maskRate(step));
      }
      return { L: torch.item(L), G: torch.item(G), R: R.value, ratio: R.ratio };
    },

    result: () => landed(context),
  };
};
