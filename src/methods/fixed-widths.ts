import type { Admissible, Budget } from '../prune/budget.ts';
import type { Coupling } from '../prune/groups.ts';
import type { Method, MethodContext } from '../train/method.ts';
import { alone } from './alone.ts';

/** What widths are chosen from. */
export interface Choice {
  readonly coupling: Coupling;
  readonly budget: Budget;
  /** The counts that every group may have. */
  readonly admissible: Admissible;
  /** Current values of a weight. */
  values(name: string): Float32Array;
  readonly seed: number;
}

/**
 * A network cut before anything is trained, then trained alone as the finish of a search is: what a search has to beat.
 * Which channels stay is the order of the run (`--order`, L1 by default).
 * @param choose the number of channels of every group, within the budget
 */
export function fixedWidths(context: MethodContext, choose: (choice: Choice) => number[]): Method {
  const { network, settings } = context;
  const search = context.search!;
  const train = alone(context, 0);
  const { coupling } = network;
  const result = () => {
    if (!search.frozen) {
      const { values } = network;
      search.sort(values);
      const { budget, admissible } = search;
      search.fix(choose({ coupling, budget, admissible, values, seed: settings.seed }));
    }
    const { kept } = search.masks();
    network.setKept(kept);
    return kept;
  };
  return {
    phases: [{ name: 'finish', start: 0, alone: true }],
    views: () => ['hard'],
    step(x, target, step, learningRate) {
      result();
      return train(x, target, step, learningRate);
    },
    result,
  };
}
