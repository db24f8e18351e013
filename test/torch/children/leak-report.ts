// One tensor is forgotten, one freed by hand, one by a scope: one report.
import { openEngine } from '../../../src/torch/index.ts';

const torch = await openEngine({ threads: 1, setup: false });
function forgetful(): void {
  torch.zeros([1]);
}
forgetful();
torch.free(torch.zeros([1]));
torch.scope(() => {
  torch.zeros([1]);
});
for (let i = 0; i < 20; i++) {
  globalThis.gc?.();
  await new Promise(resolve => setTimeout(resolve, 5));
}
