import { lasting, type MethodFactory, phaseAt, searchPhases } from '../train/method.ts';
import { maskShare } from '../train/schedule.ts';
import { alone } from './alone.ts';
import { landed } from './landed.ts';

/**
 * Differentiable mask pruning: the soft network alone, cut at the end (docs/method.md, Methods). The control whose
 * discretization gap S2HPruner closes: theta and u learn from L, u from R; nothing ever runs the hard network.
 */
export const dmp: MethodFactory = context => {
  const { torch, network, objective, settings, steps, optimize } = context;
  const search = context.search!;
  const theta = network.parameters;
  const phases = searchPhases(settings, steps);
  const [, searching, freezing, finishing] = phases;
  const finish = alone(context, finishing.start);
  const maskRate = (step: number) =>
    settings.maskLearningRate *
    settings.maskEvery *
    maskShare(settings.maskSchedule, step, searching.start, freezing.start);

  return {
    phases: lasting(phases, steps),
    views: step => (step < finishing.start ? ['soft', 'hard'] : ['hard']),

    step(x, target, step, learningRate) {
      if (step === searching.start) search.sort(network.values);
      if (step === freezing.start) search.freeze();
      if (step >= finishing.start) return finish(x, target, step, learningRate);
      const moving = phaseAt(phases, step) === searching && step % settings.maskEvery === 0;
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
        search.move({ gL: toMask, gG: toMask.map(g => g.map(() => 0)), gR: R.gradient }, R.ratio, maskRate(step));
      }
      return { L: torch.item(L), R: R.value, ratio: R.ratio };
    },

    result() {
      const kept = landed(context);
      // Once it has trained alone its statistics are its own.
      if (finishing.start >= steps) network.forget();
      return kept;
    },
  };
};
