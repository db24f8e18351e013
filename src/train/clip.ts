import type { Tensor } from '../graph/engine.ts';
import type { Torch } from '../torch/index.ts';

/**
 * Gradients scaled so that their norm over all parameters is at most `limit` (Pascanu et al., ICML 2013), as PyTorch's
 * `clip_grad_norm_`. Networks without normalisation need it: one steep step ends them. So do classifiers that read
 * flattened features: nothing bounds those, and a trained network may have large ones.
 */
export function clipped(torch: Torch, gradients: readonly (Tensor | null)[], limit: number): (Tensor | null)[] {
  const present = gradients.filter(g => g !== null);
  if (present.length === 0) return [...gradients];
  const norms = present.map(g => torch.op('linalg_vector_norm')(g));
  const norm = torch.item(torch.op('linalg_vector_norm')(torch.op('stack')(norms)));
  if (!(norm > limit)) return [...gradients];
  const multiply = torch.op('mul.Scalar');
  return gradients.map(g => g && multiply(g, limit / (norm + 1e-6)));
}
