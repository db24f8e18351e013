import { constant, kaimingNormal, normal } from './init.ts';
import {
  type Activation,
  adaptiveAveragePool,
  batchNorm,
  conv,
  dropout,
  flatten,
  globalAveragePool,
  linear,
  maxPool,
  type Net,
  relu,
} from './layers.ts';
import type { Family, Network, NetworkOptions } from './network.ts';
import { type Form, formFor, publishedFor, splitForm } from './stem.ts';

/** 3x3 convolutions of each stage. */
const architectures = new Map<string, readonly number[]>([
  ['vgg11-bn', [1, 1, 2, 2, 2]],
  ['vgg13-bn', [2, 2, 2, 2, 2]],
  ['vgg16-bn', [2, 2, 3, 3, 3]],
  ['vgg19-bn', [2, 2, 4, 4, 4]],
]);

/** Channels of each stage in units of the first. */
const widening = [1, 2, 4, 8, 8];

/**
 * torchvision's VGG with batch normalisation: every stage ends in 2x2 max pooling. The ImageNet form pools to 7x7 and
 * has three linear layers with dropout; the CIFAR form takes the mean and has one linear layer. Initialised as
 * torchvision does: convolutions with He's normal (fan_out), linear weights normal with deviation 0.01, biases 0.
 */
function build(stages: readonly number[], form: Form, net: Net, x: Activation, options: NetworkOptions): Activation {
  const { classes, width = 64 } = options;
  const dense = (x: Activation, module: string, out: number, output?: string) =>
    linear(net, x, module, { out, weight: normal(0.01), bias: constant(0), output });

  let layer = 0;
  const next = () => `features.${layer++}`;
  for (const [stage, count] of stages.entries()) {
    const out = widening[stage] * width;
    for (let i = 0; i < count; i++) {
      x = conv(net, x, next(), { out, kernel: 3, pad: 1, weight: kaimingNormal, bias: constant(0) });
      x = relu(net, batchNorm(net, x, next()), next());
    }
    x = maxPool(net, x, next(), { kernel: 2, stride: 2 });
  }
  if (form === 'cifar') return dense(globalAveragePool(net, x, 'avgpool'), 'classifier', classes, 'logits');
  x = flatten(net, adaptiveAveragePool(net, x, 'avgpool', 7));
  for (const i of [0, 3])
    x = dropout(net, relu(net, dense(x, `classifier.${i}`, 4096), `classifier.${i + 1}`), `classifier.${i + 2}`);
  return dense(x, 'classifier.6', classes, 'logits');
}

function network(name: string, base: string, stages: readonly number[], form: Form | undefined): Network {
  const head = {
    cifar: 'one linear layer',
    imagenet: 'three linear layers',
    open: 'three linear layers, or one up to 64 pixels',
  }[form ?? 'open'];
  return {
    name,
    description: `VGG-${/\d+/.exec(base)} with batch normalisation: stages of ${stages.join(', ')} convolutions; ${head}`,
    paper:
      'Very Deep Convolutional Networks for Large-Scale Image Recognition, Simonyan, Zisserman, ICLR 2015, arXiv 1409.1556',
    published: publishedFor(form),
    takes: ['width'],
    smallest: () => 32,
    build: (net, x, options) => build(stages, form ?? formFor(options.size), net, x, options),
  };
}

export const vgg: Family = {
  names: ['vgg11-bn', 'vgg16-bn', 'vgg19-bn'].flatMap(name => [name, `${name}-cifar`, `${name}-imagenet`]),
  pattern: 'vgg13-bn',
  find(name) {
    const [base, form] = splitForm(name);
    const stages = architectures.get(base);
    return stages && network(name, base, stages, form);
  },
};
