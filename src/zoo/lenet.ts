import { defaultBias, defaultWeight } from './init.ts';
import { type Activation, conv, flatten, linear, maxPool, type Net, relu } from './layers.ts';
import type { Family, Network, NetworkOptions } from './network.ts';

/**
 * LeNet-5 in its usual modern variant: ReLU and max pooling instead of tanh and trainable averages, every map of the
 * second convolution connected to all of the first, a linear head instead of radial basis functions. Images below 32
 * pixels are padded by 2 on each side, as the paper put 28x28 digits into 32x32. PyTorch's default initialisation.
 */
function build(net: Net, x: Activation, { classes, size }: NetworkOptions): Activation {
  const convolution = (x: Activation, module: string, out: number, pad: number) =>
    conv(net, x, module, { out, kernel: 5, pad, weight: defaultWeight, bias: defaultBias(25 * x.shape[0]) });
  const dense = (x: Activation, module: string, out: number, output?: string) =>
    linear(net, x, module, { out, weight: defaultWeight, bias: defaultBias(x.shape[0]), output });

  x = relu(net, convolution(x, 'conv1', 6, Math.max(...size) < 32 ? 2 : 0), 'relu1');
  x = maxPool(net, x, 'pool1', { kernel: 2, stride: 2 });
  x = relu(net, convolution(x, 'conv2', 16, 0), 'relu2');
  x = flatten(net, maxPool(net, x, 'pool2', { kernel: 2, stride: 2 }));
  x = relu(net, dense(x, 'fc1', 120), 'relu3');
  x = relu(net, dense(x, 'fc2', 84), 'relu4');
  return dense(x, 'fc3', classes, 'logits');
}

const lenet5: Network = {
  name: 'lenet5',
  description: 'LeNet-5 with ReLU and max pooling: two 5x5 convolutions and three linear layers',
  paper:
    'Gradient-Based Learning Applied to Document Recognition, LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 1998',
  published: { input: [1, 28, 28], classes: 10 },
  takes: [],
  smallest: () => 12,
  build,
};

export const lenet: Family = {
  names: [lenet5.name],
  find: name => (name === lenet5.name ? lenet5 : undefined),
};
