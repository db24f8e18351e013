import { type MethodFactory, phaseAt } from '../train/method.ts';

/**
 * Differentiable mask pruning: the soft network alone, cut at the end (docs/method.md, Methods). The control whose
 * discretization gap S2HPruner closes: theta and u learn from L, u from R; nothing ever runs the hard network.
 */
export const dmp: MethodFactory = ({ torch, network, objective, search: found, settings, steps, optimize }) => {
  const search = found!;
  const theta = network.parameters;
  const phases = [
    { name: 'warm-up', start: 0 },
    { name: 'search', start: Math.round(settings.searchFrom * steps) },
    { name: 'finish', start: Math.round(settings.searchUntil * steps) },
  ];

  return {
    phases,
    views: ['soft', 'hard'],

    step(x, target, step, learningRate) {
      if (step === phases[1].start) search.sort(network.values);
      if (step === phases[2].start) search.freeze();
      const moving = phaseAt(phases, step).name === 'search';
      const masks = search.masks();
      network.setMask(masks.w);
      network.setKept(masks.kept);
      network.forget();

      const L = objective.loss(network.soft(x, true), target);
      const gL = torch.grad(L, moving ? [...theta, network.mask] : theta);
      optimize(gL.slice(0, theta.length), learningRate);

      const R = search.resource(masks);
      if (moving) {
        const dw = gL[theta.length];
        const toMask = search.toLogits(masks, dw ? torch.values(dw) : new Float32Array(network.mask.shape[0]));
        search.move(
          { gL: toMask, gG: toMask.map(g => g.map(() => 0)), gR: R.gradient },
          R.ratio,
          settings.maskLearningRate,
        );
      }
      return { L: torch.item(L), R: R.value, ratio: R.ratio };
    },

    result() {
      search.freeze();
      const { w, kept } = search.masks();
      network.setMask(w);
      network.setKept(kept);
      network.forget();
      return kept;
    },
  };
};
