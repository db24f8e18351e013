import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { openEngine, type Tensor, type Torch } from '../../src/torch/index.ts';
import { adamw, type Optimizer, sgd } from '../../src/torch/optim.ts';
import { fill, relativeError } from './fill.ts';

const { optimizers: golden } = JSON.parse(readFileSync(new URL('golden.json', import.meta.url), 'utf8')) as {
  optimizers: Record<string, number[][]>;
};

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

/** As in golden.py. */
const make: Record<string, (parameters: Tensor[]) => Optimizer> = {
  sgd: p => sgd(torch, p),
  'sgd momentum': p => sgd(torch, p, { momentum: 0.9, weightDecay: 5e-4 }),
  'sgd nesterov': p => sgd(torch, p, { momentum: 0.9, weightDecay: 1e-2, nesterov: true }),
  adamw: p => adamw(torch, p, { beta1: 0.8, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.05 }),
  'adamw skip': p => adamw(torch, p, { weightDecay: 0.01 }),
};
const parametersAtStart = () => [
  torch.requiresGrad(torch.tensor(fill(6, 1), [2, 3])),
  torch.requiresGrad(torch.tensor(fill(4, 2), [4])),
];

function run(name: string, optimizer: Optimizer, from: number, to: number): void {
  for (let step = from; step < to; step++) {
    torch.scope(() => {
      const skipped = name.includes('skip') && step % 3 === 1;
      const gradients = [
        torch.tensor(fill(6, 3 + step), [2, 3]),
        skipped ? null : torch.tensor(fill(4, 4 + step), [4]),
      ];
      optimizer.step(gradients, 0.1 / (1 + step));
    });
  }
}

test('every optimiser of the golden file is tried', () => {
  expect(Object.keys(make).sort()).toEqual(Object.keys(golden).sort());
});

describe.each(Object.keys(make))('%s', name => {
  test("follows PyTorch's trajectory", () => {
    torch.scope(() => {
      const parameters = parametersAtStart();
      const optimizer = make[name](parameters);
      run(name, optimizer, 0, 12);
      for (const [i, p] of parameters.entries())
        expect(relativeError(torch.values(p), golden[name][i])).toBeLessThan(1e-6);
      optimizer.free();
    });
  });

  test('goes on bit for bit from a saved state', () => {
    torch.scope(() => {
      const straight = parametersAtStart();
      run(name, make[name](straight), 0, 12);

      const first = parametersAtStart();
      const before = make[name](first);
      run(name, before, 0, 5);
      const second = first.map(p => torch.requiresGrad(torch.op('clone')(torch.detach(p))));
      const after = make[name](second);
      after.load(before.state());
      before.free();
      run(name, after, 5, 12);
      expect(second.map(p => torch.values(p))).toEqual(straight.map(p => torch.values(p)));
    });
  });

  test('makes no tensor that outlives its step', () => {
    torch.scope(() => {
      const parameters = parametersAtStart();
      const optimizer = make[name](parameters);
      const before = torch.liveTensors();
      run(name, optimizer, 0, 3);
      expect(torch.liveTensors()).toBe(before);
    });
  });

  test('refuses a list of another length', () => {
    torch.scope(() => expect(() => make[name](parametersAtStart()).step([], 0.1)).toThrow(RangeError));
  });
});

test('a state that does not fit is refused by name', () => {
  torch.scope(() => {
    const optimizer = sgd(torch, parametersAtStart(), { momentum: 0.9 });
    expect(() => optimizer.load({ 'momentum.0': torch.zeros([2, 3]) })).toThrow(
      "'momentum.1' needs shape [4], got [none]",
    );
  });
});

test('nothing happens when no parameter has a gradient', () => {
  torch.scope(() => {
    const parameters = parametersAtStart();
    sgd(torch, parameters, { weightDecay: 1 }).step([null, null], 0.1);
    expect(torch.values(parameters[0])).toEqual(fill(6, 1));
  });
});
