import { defaultBias, defaultWeight, kaimingNormal } from './init.ts';
import { type Activation, add, batchNorm, conv, globalAveragePool, linear, maxPool, type Net, relu } from './layers.ts';
import type { Family, Network, NetworkOptions } from './network.ts';
import { type Form, formFor, publishedFor, splitForm } from './stem.ts';

interface Architecture {
  readonly block: 'basic' | 'bottleneck';
  /** Blocks of each stage. */
  readonly blocks: readonly number[];
}

const architectures = new Map<string, Architecture>([
  ['resnet18', { block: 'basic', blocks: [2, 2, 2, 2] }],
  ['resnet34', { block: 'basic', blocks: [3, 4, 6, 3] }],
  ['resnet50', { block: 'bottleneck', blocks: [3, 4, 6, 3] }],
  ['resnet101', { block: 'bottleneck', blocks: [3, 4, 23, 3] }],
  ['resnet152', { block: 'bottleneck', blocks: [3, 8, 36, 3] }],
]);

/**
 * Basic block (3x3, 3x3) or bottleneck (1x1, 3x3, 1x1 to four times the planes), with a projection where the shape
 * changes. The bottleneck's stride is in its 3x3 convolution, as in torchvision.
 */
function block(
  net: Net,
  x: Activation,
  name: string,
  planes: number,
  stride: number,
  kind: Architecture['block'],
): Activation {
  const normalised = (x: Activation, conv_: string, bn: string, out: number, kernel: number, stride: number) =>
    batchNorm(
      net,
      conv(net, x, `${name}.${conv_}`, { out, kernel, stride, pad: (kernel - 1) / 2, weight: kaimingNormal }),
      `${name}.${bn}`,
    );
  const out = kind === 'basic' ? planes : 4 * planes;
  let y = x;
  if (kind === 'basic') {
    y = relu(net, normalised(y, 'conv1', 'bn1', planes, 3, stride), `${name}.relu`);
    y = normalised(y, 'conv2', 'bn2', planes, 3, 1);
  } else {
    y = relu(net, normalised(y, 'conv1', 'bn1', planes, 1, 1), `${name}.relu`);
    y = relu(net, normalised(y, 'conv2', 'bn2', planes, 3, stride), `${name}.relu_1`);
    y = normalised(y, 'conv3', 'bn3', out, 1, 1);
  }
  if (stride > 1 || x.shape[0] !== out) x = normalised(x, 'downsample.0', 'downsample.1', out, 1, stride);
  return relu(net, add(net, y, x, name), `${name}.relu_${kind === 'basic' ? 1 : 2}`);
}

/**
 * torchvision's ResNet, and its CIFAR form, in which a 3x3 convolution of stride 1 without pooling is the stem.
 * Convolutions are initialised with He's normal (fan_out), the linear layer with PyTorch's default.
 */
function build({ block: kind, blocks }: Architecture, form: Form, net: Net, x: Activation, options: NetworkOptions) {
  const { classes, width = 64 } = options;
  const stem = form === 'cifar' ? { kernel: 3, stride: 1, pad: 1 } : { kernel: 7, stride: 2, pad: 3 };
  x = conv(net, x, 'conv1', { out: width, ...stem, weight: kaimingNormal });
  x = relu(net, batchNorm(net, x, 'bn1'), 'relu');
  if (form === 'imagenet') x = maxPool(net, x, 'maxpool', { kernel: 3, stride: 2, pad: 1 });
  for (const [stage, count] of blocks.entries())
    for (let i = 0; i < count; i++)
      x = block(net, x, `layer${stage + 1}.${i}`, width << stage, stage > 0 && i === 0 ? 2 : 1, kind);
  x = globalAveragePool(net, x, 'avgpool');
  const bias = defaultBias(x.shape[0]);
  return linear(net, x, 'fc', { out: classes, weight: defaultWeight, bias, output: 'logits' });
}

function network(name: string, base: string, architecture: Architecture, form: Form | undefined): Network {
  const { block: kind, blocks } = architecture;
  const stem = {
    cifar: '3x3 stem',
    imagenet: '7x7 stem and max pooling',
    open: '7x7 stem and max pooling, or a 3x3 stem up to 64 pixels',
  }[form ?? 'open'];
  return {
    name,
    description: `ResNet-${base.slice('resnet'.length)}: stages of ${blocks.join(', ')} ${kind} blocks; ${stem}`,
    paper: 'Deep Residual Learning for Image Recognition, He, Zhang, Ren, Sun, CVPR 2016, arXiv 1512.03385',
    published: publishedFor(form),
    takes: ['width'],
    smallest: size => ((form ?? formFor(size)) === 'imagenet' ? 32 : 8),
    build: (net, x, options) => build(architecture, form ?? formFor(options.size), net, x, options),
  };
}

export const resnet: Family = {
  names: ['resnet18', 'resnet34', 'resnet50'].flatMap(name => [name, `${name}-cifar`, `${name}-imagenet`]),
  pattern: 'resnet101, resnet152',
  find(name) {
    const [base, form] = splitForm(name);
    const architecture = architectures.get(base);
    return architecture && network(name, base, architecture, form);
  },
};
