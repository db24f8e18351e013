import { defaultBias, defaultWeight, kaimingNormal } from './init.ts';
import {
  type Activation,
  add,
  batchNorm,
  conv,
  globalAveragePool,
  linear,
  type Net,
  paddedShortcut,
  relu,
} from './layers.ts';
import type { Family, Network, NetworkOptions } from './network.ts';

/** Two 3x3 convolutions and a shortcut. */
function block(net: Net, x: Activation, name: string, out: number, stride: number, shortcut: 'A' | 'B'): Activation {
  const convolution = (x: Activation, module: string, kernel: number, stride: number) =>
    conv(net, x, `${name}.${module}`, { out, kernel, stride, pad: (kernel - 1) / 2, weight: kaimingNormal });

  let y = batchNorm(net, convolution(x, 'conv1', 3, stride), `${name}.bn1`);
  y = relu(net, y, `${name}.relu`);
  y = batchNorm(net, convolution(y, 'conv2', 3, 1), `${name}.bn2`);
  if (stride > 1)
    x =
      shortcut === 'A'
        ? paddedShortcut(net, x, `${name}.shortcut`, out)
        : batchNorm(net, convolution(x, 'downsample.0', 1, stride), `${name}.downsample.1`);
  return relu(net, add(net, y, x, name), `${name}.relu_1`);
}

/**
 * The ResNet for small images: a 3x3 stem and three stages of n blocks with 1, 2 and 4 times `width` channels, the
 * second and third at half the resolution of the one before. Convolutions are initialised with He's normal, the linear
 * layer with PyTorch's default.
 */
function build(blocks: number, net: Net, x: Activation, options: NetworkOptions): Activation {
  const { classes, width = 16, shortcut = 'B' } = options;
  x = conv(net, x, 'conv1', { out: width, kernel: 3, pad: 1, weight: kaimingNormal });
  x = relu(net, batchNorm(net, x, 'bn1'), 'relu');
  for (let stage = 0; stage < 3; stage++)
    for (let i = 0; i < blocks; i++)
      x = block(net, x, `layer${stage + 1}.${i}`, width << stage, stage > 0 && i === 0 ? 2 : 1, shortcut);
  x = globalAveragePool(net, x, 'avgpool');
  const bias = defaultBias(x.shape[0]);
  return linear(net, x, 'fc', { out: classes, weight: defaultWeight, bias, output: 'logits' });
}

function network(depth: number): Network {
  const blocks = (depth - 2) / 6;
  return {
    name: `resnet${depth}`,
    description: `ResNet-${depth} for CIFAR: three stages of ${blocks} basic ${blocks > 1 ? 'blocks' : 'block'}`,
    paper:
      'Deep Residual Learning for Image Recognition, He, Zhang, Ren, Sun, CVPR 2016, arXiv 1512.03385, section 4.2',
    published: { input: [3, 32, 32], classes: 10 },
    takes: ['width', 'shortcut'],
    smallest: () => 4,
    build: (net, x, options) => build(blocks, net, x, options),
  };
}

export const resnetCifar: Family = {
  names: [8, 20, 32, 44, 56, 110].map(depth => `resnet${depth}`),
  pattern: 'resnet<6n+2>',
  find(name) {
    const depth = Number(/^resnet([1-9]\d{0,3})$/.exec(name)?.[1]);
    return depth >= 8 && (depth - 2) % 6 === 0 ? network(depth) : undefined;
  },
};
