import type { Tensor as EngineTensor } from '../graph/engine.ts';
import type { Torch } from './torch.ts';

/** Updates a list of parameters in place. */
export interface Optimizer {
  /**
   * One update. A parameter whose gradient is null is left as it is, its state too.
   * @param gradients one for each parameter, in the same order
   */
  step(gradients: readonly (EngineTensor | null)[], learningRate: number): void;
  /** What has to be saved to go on later, by name (`momentum.3`); the tensors belong to the optimiser. */
  state(): Record<string, EngineTensor>;
  /** Takes over, by copy, what `state` gave. @throws RangeError when a tensor is missing or has another shape */
  load(state: Readonly<Record<string, EngineTensor>>): void;
  /** Frees the state. */
  free(): void;
}

export interface SgdOptions {
  readonly momentum?: number;
  readonly weightDecay?: number;
  readonly nesterov?: boolean;
}

export interface AdamwOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  readonly weightDecay?: number;
}

/**
 * Stochastic gradient descent as PyTorch's `SGD` (dampening 0): d = g + weightDecay p; b = momentum b + d;
 * p -= learningRate (nesterov ? d + momentum b : b).
 */
export function sgd(torch: Torch, parameters: readonly EngineTensor[], options: SgdOptions = {}): Optimizer {
  const { momentum = 0, weightDecay = 0, nesterov = false } = options;
  const buffers = momentum === 0 ? [] : zerosLike(torch, parameters);
  const named = Object.fromEntries(buffers.map((buffer, i) => [`momentum.${i}`, buffer]));
  const foreach = (name: string) => torch.ops(`_foreach_${name}`);

  return {
    step: (gradients, learningRate) =>
      update(torch, parameters, gradients, present => {
        const p = present.map(i => parameters[i]);
        let d = present.map(i => gradients[i]!);
        if (weightDecay !== 0) d = foreach('add.List')(d, p, weightDecay);
        if (momentum !== 0) {
          const b = present.map(i => buffers[i]);
          foreach('mul_.Scalar')(b, momentum);
          foreach('add_.List')(b, d, 1);
          d = nesterov ? foreach('add.List')(d, b, momentum) : b;
        }
        foreach('add_.List')(p, d, -learningRate);
      }),
    state: () => named,
    load: state => restore(torch, named, state),
    free: () => torch.free(...buffers),
  };
}

/**
 * AdamW (Loshchilov and Hutter, ICLR 2019) as PyTorch's: p *= 1 - learningRate weightDecay; m and v the moving averages
 * of g and g²; p -= learningRate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon), t counted for each parameter.
 */
export function adamw(torch: Torch, parameters: readonly EngineTensor[], options: AdamwOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0.01 } = options;
  const first = zerosLike(torch, parameters);
  const second = zerosLike(torch, parameters);
  const steps = torch.keep(torch.tensor(new Float64Array(parameters.length), [parameters.length]));
  const counts = new Float64Array(parameters.length);
  const named: Record<string, EngineTensor> = { steps };
  for (const i of parameters.keys()) Object.assign(named, { [`first.${i}`]: first[i], [`second.${i}`]: second[i] });
  const foreach = (name: string) => torch.ops(`_foreach_${name}`);

  return {
    step: (gradients, learningRate) =>
      update(torch, parameters, gradients, present => {
        const p = present.map(i => parameters[i]);
        const g = present.map(i => gradients[i]!);
        const m = present.map(i => first[i]);
        const v = present.map(i => second[i]);
        const t = present.map(i => ++counts[i]);
        if (weightDecay !== 0) foreach('mul_.Scalar')(p, 1 - learningRate * weightDecay);
        // libtorch 1.13 has no lerp for lists; the averages must round as PyTorch's do.
        if (torch.has('_foreach_lerp_.Scalar')) foreach('lerp_.Scalar')(m, g, 1 - beta1);
        else for (const [i, average] of m.entries()) torch.op('lerp_.Scalar')(average, g[i], 1 - beta1);
        foreach('mul_.Scalar')(v, beta2);
        foreach('addcmul_.Scalar')(v, g, g, 1 - beta2);
        const denominator = foreach('sqrt')(v);
        foreach('div_.ScalarList')(
          denominator,
          t.map(n => Math.sqrt(1 - beta2 ** n)),
        );
        foreach('add_.Scalar')(denominator, epsilon);
        const sizes = t.map(n => -learningRate / (1 - beta1 ** n));
        foreach('addcdiv_.ScalarList')(p, m, denominator, sizes);
      }),
    state: () => {
      torch.write(steps, counts);
      return named;
    },
    load: state => {
      restore(torch, named, state);
      counts.set(torch.scope(() => torch.read(torch.to(torch.to(steps, 'float64'), 'cpu'))) as Float64Array);
    },
    free: () => torch.free(...Object.values(named)),
  };
}

/** State in the parameters' own memory order, so that updates run over both in one pass. */
const zerosLike = (torch: Torch, parameters: readonly EngineTensor[]) =>
  parameters.map(parameter => torch.keep(torch.op('zeros_like')(torch.detach(parameter))));

function update(
  torch: Torch,
  parameters: readonly EngineTensor[],
  gradients: readonly (EngineTensor | null)[],
  run: (present: readonly number[]) => void,
): void {
  if (gradients.length !== parameters.length) {
    throw new RangeError(`${parameters.length} parameters need as many gradients, got ${gradients.length}`);
  }
  const present = [...gradients.keys()].filter(i => gradients[i] !== null);
  if (present.length > 0) torch.noGrad(() => torch.scope(() => run(present)));
}

function restore(
  torch: Torch,
  own: Readonly<Record<string, EngineTensor>>,
  saved: Readonly<Record<string, EngineTensor>>,
): void {
  for (const [name, tensor] of Object.entries(own)) {
    if (String(saved[name]?.shape) !== String(tensor.shape)) {
      throw new RangeError(
        `optimiser state '${name}' needs shape [${tensor.shape}], got [${saved[name]?.shape ?? 'none'}]`,
      );
    }
  }
  torch.noGrad(() =>
    torch.scope(() => {
      for (const [name, tensor] of Object.entries(own)) torch.op('copy_')(tensor, saved[name]);
    }),
  );
}
