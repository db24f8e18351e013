// Every width from 1 to 33: a strided 1x1 convolution in channels_last, written as a slice and a convolution with
// stride 1, forward and backward, against float64. Prints the largest error.
import { openEngine, type Tensor } from '../../../src/torch/index.ts';
import { stream } from '../../../src/util/random.ts';
import { relativeError } from '../fill.ts';

const torch = await openEngine({ threads: 1, setup: false });
const slice = torch.op('slice.Tensor');
const convolution = torch.op('convolution');

/** y and the gradients of x and w for the gradient `seed` of y. */
function run(x: Tensor, w: Tensor, stride: number, seed: Tensor, direct: boolean): Tensor[] {
  const sparse = direct ? x : slice(slice(x, 2, 0, null, stride), 3, 0, null, stride);
  const step = direct ? stride : 1;
  const y = convolution(sparse, w, null, [step, step], [0, 0], [1, 1], false, [0, 0], 1);
  return [y, ...torch.grad(y, [x, w], { outputsGrad: [seed] }).map(gradient => gradient!)];
}

const random = stream(1, 'strided');
const normal = (length: number) => Float32Array.from({ length }, random.normal);

let worst = 0;
for (let width = 1; width <= 33; width++) {
  for (const [out, stride] of [
    [width, 2],
    [16, 2],
    [5, 3],
  ]) {
    torch.scope(() => {
      const [n, size] = [4, 9];
      const small = Math.ceil(size / stride);
      const data = [n * width * size * size, out * width, n * out * small * small].map(normal);
      const shapes = [
        [n, width, size, size],
        [out, width, 1, 1],
        [n, out, small, small],
      ];
      const leaves = (make: (i: number) => Tensor) => [0, 1].map(i => torch.requiresGrad(torch.detach(make(i))));
      const [x, w] = leaves(i => torch.channelsLast(torch.tensor(data[i], shapes[i])) as Tensor);
      const seed = torch.channelsLast(torch.tensor(data[2], shapes[2])) as Tensor;
      const found = run(x, w, stride, seed, false);
      // ATen's own float64 kernel: oneDNN has none.
      const [x64, w64] = leaves(i => torch.tensor(Float64Array.from(data[i]), shapes[i]));
      const expected = run(x64, w64, stride, torch.tensor(Float64Array.from(data[2]), shapes[2]), true);
      for (const [i, t] of found.entries()) {
        worst = Math.max(worst, relativeError(torch.values(t), torch.values(expected[i])));
      }
    });
  }
}
process.stdout.write(`${JSON.stringify({ worst, live: torch.liveTensors() })}\n`);
