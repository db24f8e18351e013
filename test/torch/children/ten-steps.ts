// Ten training steps with whatever libtorch is found; prints version, origin and the losses.
import { openEngine } from '../../../src/torch/index.ts';
import { adamw } from '../../../src/torch/optim.ts';
import { fill } from '../fill.ts';

const torch = await openEngine({ threads: 1, setup: false });
const w = torch.keep(torch.requiresGrad(torch.tensor(fill(3 * 5, 1), [3, 5])));
const optimizer = adamw(torch, [w]);
const losses = Array.from({ length: 10 }, () =>
  torch.scope(() => {
    const x = torch.tensor(fill(4 * 5, 2), [4, 5]);
    const labels = torch.tensor(new BigInt64Array([0n, 1n, 2n, 1n]), [4]);
    const loss = torch.op('cross_entropy_loss')(torch.op('linear')(x, w), labels);
    optimizer.step(torch.grad(loss, [w]), 0.1);
    return torch.item(loss);
  }),
);
process.stdout.write(`${JSON.stringify({ version: torch.version, libtorch: torch.libtorch, losses })}\n`);
