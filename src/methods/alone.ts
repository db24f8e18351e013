import type { Tensor } from '../graph/engine.ts';
import type { MethodContext, StepReport } from '../train/method.ts';
import type { Target } from '../train/objective.ts';

/**
 * Training the compact hard network alone: the finish of a search, and all there is to a network whose widths are given.
 * theta learns from L(h) and, where there is a fixed teacher t, from its answers at a temperature T (Hinton et al., 2015,
 * arXiv 1503.02531): alpha L(h) + (1 - alpha) T^2 G_T(t, h).
 * @param start the first step of it
 */
export function alone(
  { torch, network, objective, search, settings, optimize }: MethodContext,
  start: number,
): (x: Tensor, target: Target, step: number, learningRate: number) => StepReport {
  const { teacher, labelWeight: alpha, teacherTemperature: T } = settings;
  const times = torch.op('mul.Scalar');
  const plus = torch.op('add.Tensor');

  return (x, target, step, learningRate) => {
    if (step === start) {
      const { w, kept } = search!.masks();
      network.setMask(w);
      network.setKept(kept);
      if (teacher === 'soft') network.keepTeacher();
    }
    const t = teacher === 'soft' ? network.taught(x) : teacher === 'original' ? target.teacher : null;
    const h = network.hard(x, true);
    const L = objective.loss(h, target);
    if (!t) {
      optimize(torch.grad(L, network.parameters), learningRate);
      return { L: torch.item(L) };
    }
    const G = objective.gap(t, h, T);
    const both = plus(times(L, alpha), times(G, (1 - alpha) * T * T));
    optimize(torch.grad(both, network.parameters), learningRate);
    return { L: torch.item(L), G: torch.item(G) };
  };
}
