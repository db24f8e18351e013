import type { Tensor } from '../graph/engine.ts';
import type { Torch } from '../torch/index.ts';

/** An engine that remembers what was kept through it. */
export interface OwnedEngine {
  readonly torch: Torch;
  /** Free all that was kept and is not freed yet. */
  free(): void;
}

/** The engine for one run: when the run is over, nothing of it stays in memory. */
export function ownedEngine(engine: Torch): OwnedEngine {
  const kept = new Set<Tensor>();
  const own: Pick<Torch, 'keep' | 'free'> = {
    keep(tensor) {
      kept.add(tensor);
      return engine.keep(tensor);
    },
    free(...tensors) {
      for (const tensor of tensors) kept.delete(tensor);
      engine.free(...tensors);
    },
  };
  return {
    // Everything else, getters included, is the engine's own.
    torch: Object.assign(Object.create(engine) as Torch, own),
    free() {
      engine.free(...kept);
      kept.clear();
    },
  };
}

/** Runs `run`; of the tensors that it makes and keeps, none is left afterwards. */
export function withOwned<T>(engine: Torch, run: (torch: Torch) => T): T {
  const owned = ownedEngine(engine);
  try {
    return engine.scope(() => run(owned.torch));
  } finally {
    owned.free();
  }
}
