import { constant, defaultWeight, kaimingNormal } from './init.ts';
import { type Activation, add, batchNorm, conv, globalAveragePool, linear, type Net, relu } from './layers.ts';
import type { Family, Network, NetworkOptions } from './network.ts';

/**
 * Pre-activation block: normalisation and ReLU come before each 3x3 convolution. Where the number of channels changes,
 * the 1x1 shortcut reads the first ReLU too; elsewhere the block's input is added as it is.
 */
function block(net: Net, x: Activation, name: string, out: number, stride: number): Activation {
  const convolution = (x: Activation, module: string, kernel: number, stride: number) =>
    conv(net, x, `${name}.${module}`, { out, kernel, stride, pad: (kernel - 1) / 2, weight: kaimingNormal });

  const active = relu(net, batchNorm(net, x, `${name}.bn1`), `${name}.relu`);
  let y = convolution(active, 'conv1', 3, stride);
  y = relu(net, batchNorm(net, y, `${name}.bn2`), `${name}.relu_1`);
  y = convolution(y, 'conv2', 3, 1);
  return add(net, y, x.shape[0] === out ? x : convolution(active, 'downsample', 1, stride), name);
}

/**
 * A stem of 16 channels and three stages of n blocks with 16, 32 and 64 times `widen` channels. As in the authors' code:
 * no dropout, convolutions with He's normal (fan_out), the linear layer's weight PyTorch's default and its bias 0.
 */
function build(blocks: number, widen: number, net: Net, x: Activation, { classes }: NetworkOptions): Activation {
  x = conv(net, x, 'conv1', { out: 16, kernel: 3, pad: 1, weight: kaimingNormal });
  for (let stage = 0; stage < 3; stage++)
    for (let i = 0; i < blocks; i++)
      x = block(net, x, `layer${stage + 1}.${i}`, (16 * widen) << stage, stage > 0 && i === 0 ? 2 : 1);
  x = relu(net, batchNorm(net, x, 'bn1'), 'relu');
  x = globalAveragePool(net, x, 'avgpool');
  return linear(net, x, 'fc', { out: classes, weight: defaultWeight, bias: constant(0), output: 'logits' });
}

function network(name: string, depth: number, widen: number): Network {
  const blocks = (depth - 4) / 6;
  return {
    name,
    description: `Wide ResNet-${depth}-${widen}: three stages of ${blocks} pre-activation ${blocks > 1 ? 'blocks' : 'block'}, ${widen} times as wide`,
    paper: 'Wide Residual Networks, Zagoruyko, Komodakis, BMVC 2016, arXiv 1605.07146',
    published: { input: [3, 32, 32], classes: 10 },
    takes: [],
    smallest: () => 4,
    build: (net, x, options) => build(blocks, widen, net, x, options),
  };
}

export const wideResnet: Family = {
  names: ['wrn-16-4', 'wrn-16-8', 'wrn-28-10', 'wrn-40-4'],
  pattern: 'wrn-<6n+4>-<width> (also as wide-resnet-<6n+4>-<width>)',
  find(name) {
    const [, depth, widen] = (/^(?:wrn|wide-resnet)-([1-9]\d{0,3})-([1-9]\d{0,2})$/.exec(name) ?? []).map(Number);
    return depth >= 10 && (depth - 4) % 6 === 0 ? network(name, depth, widen) : undefined;
  },
};
