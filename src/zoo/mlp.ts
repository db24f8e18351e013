import { defaultBias, defaultWeight } from './init.ts';
import { type Activation, flatten, linear, type Net, relu } from './layers.ts';
import type { Family, Network, NetworkOptions } from './network.ts';

/** LeNet-300-100, the multilayer perceptron of the pruning literature. */
const usual = [300, 100];

/** Linear layers with ReLU between them, over the flattened image. PyTorch's default initialisation. */
function build(hidden: readonly number[], net: Net, x: Activation, classes: number): Activation {
  const dense = (x: Activation, module: string, out: number, output?: string) =>
    linear(net, x, module, { out, weight: defaultWeight, bias: defaultBias(x.shape[0]), output });

  x = flatten(net, x);
  for (const [i, out] of hidden.entries()) x = relu(net, dense(x, `fc${i + 1}`, out), `relu${i + 1}`);
  return dense(x, `fc${hidden.length + 1}`, classes, 'logits');
}

function network(name: string, hidden: readonly number[]): Network {
  return {
    name,
    description: `multilayer perceptron with ${hidden.join(' and ')} hidden units`,
    paper:
      'Gradient-Based Learning Applied to Document Recognition, LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 1998',
    published: { input: [1, 28, 28], classes: 10 },
    takes: [],
    smallest: () => 1,
    build: (net: Net, x: Activation, { classes }: NetworkOptions) => build(hidden, net, x, classes),
  };
}

export const mlp: Family = {
  names: ['mlp'],
  pattern: 'mlp-<hidden>-<hidden>-...',
  find(name) {
    if (name === 'mlp') return network(name, usual);
    const hidden = /^mlp((?:-[1-9]\d{0,4})+)$/.exec(name)?.[1].slice(1).split('-').map(Number);
    return hidden && network(name, hidden);
  },
};
