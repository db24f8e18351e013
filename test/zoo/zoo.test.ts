import { describe, expect, test } from 'vitest';
import { floats } from '../../src/onnx/elements.ts';
import { UserError } from '../../src/util/errors.ts';
import { buildNetwork, describeNetwork, networks } from '../../src/zoo/index.ts';
import { asPublished, floatsOf } from './models.ts';

const cifar = { classes: 10, channels: 3, size: [32, 32], seed: 7 } as const;

const valuesByName = (name: string, options: Parameters<typeof buildNetwork>[1]) =>
  new Map(floatsOf(buildNetwork(name, options)).map(tensor => [tensor.name, floats(tensor)]));

function errorOf(act: () => unknown): UserError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return error as UserError;
  }
  throw new Error('nothing was thrown');
}

describe('initialisation', () => {
  test('equal seeds give equal parameters, other seeds others', () => {
    const first = valuesByName('resnet8', cifar);
    expect(valuesByName('resnet8', cifar)).toEqual(first);
    const other = valuesByName('resnet8', { ...cifar, seed: 8 });
    expect(other.get('conv1.weight')).not.toEqual(first.get('conv1.weight'));
  });

  test('a parameter depends on seed and name, not on what else is in the network', () => {
    const [small, large] = ['resnet8', 'resnet20'].map(name => valuesByName(name, cifar));
    expect(large.get('layer2.0.conv1.weight')).toEqual(small.get('layer2.0.conv1.weight'));
    expect(large.get('layer3.0.conv2.weight')).not.toEqual(large.get('layer3.1.conv2.weight'));
  });

  test('without it, parameters are zero and the graph is the same', () => {
    const full = buildNetwork('resnet8', cifar);
    const bare = buildNetwork('resnet8', { ...cifar, initialise: false });
    expect(bare.graph.nodes).toEqual(full.graph.nodes);
    expect(floatsOf(bare).every(tensor => floats(tensor).every(value => value === 0))).toBe(true);
  });

  /** Mean and standard deviation in units of the expected deviation; tolerances are five standard errors. */
  function expectDistribution(values: Float32Array, deviation: number, kind: 'normal' | 'uniform') {
    const n = values.length;
    const mean = values.reduce((a, b) => a + b, 0) / n / deviation;
    const square = values.reduce((a, b) => a + b * b, 0) / n / deviation ** 2;
    const excess = kind === 'normal' ? 2 : 0.8; // variance of x^2 for variance 1
    expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(n));
    expect(Math.abs(square - 1)).toBeLessThan(5 * Math.sqrt(excess / n));
    const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) / deviation;
    if (kind === 'uniform') expect(largest).toBeLessThanOrEqual(Math.sqrt(3) * (1 + 1e-6));
    else expect(largest).toBeGreaterThan(3);
  }

  test("ResNet: He's normal by fan_out, PyTorch's uniform, identity normalisation", () => {
    const values = valuesByName('resnet20', { ...cifar, classes: 100 });
    expectDistribution(values.get('layer3.0.conv1.weight')!, Math.sqrt(2 / (9 * 64)), 'normal');
    expectDistribution(values.get('layer3.0.downsample.0.weight')!, Math.sqrt(2 / 64), 'normal');
    expectDistribution(values.get('fc.weight')!, 1 / Math.sqrt(3 * 64), 'uniform');
    expectDistribution(values.get('fc.bias')!, 1 / Math.sqrt(3 * 64), 'uniform');
    for (const [name, value] of [
      ['weight', 1],
      ['bias', 0],
      ['running_mean', 0],
      ['running_var', 1],
    ] as const)
      expect(values.get(`layer2.1.bn2.${name}`)!.every(x => x === value)).toBe(true);
  });

  test("VGG: torchvision's, with small linear weights and no bias", () => {
    const values = valuesByName('vgg11-bn', { ...cifar, classes: 20, width: 16 });
    expectDistribution(values.get('features.11.weight')!, Math.sqrt(2 / (9 * 64)), 'normal');
    expectDistribution(values.get('classifier.weight')!, 0.01, 'normal');
    for (const name of ['features.11.bias', 'classifier.bias'])
      expect(values.get(name)!.every(x => x === 0)).toBe(true);
  });

  test("LeNet-5 and wide ResNets: PyTorch's uniform by fan_in; a wide ResNet's bias is 0", () => {
    const lenet = valuesByName('lenet5', cifar);
    expectDistribution(lenet.get('conv2.weight')!, 1 / Math.sqrt(3 * 150), 'uniform');
    expectDistribution(lenet.get('fc1.weight')!, 1 / Math.sqrt(3 * 400), 'uniform');
    expectDistribution(lenet.get('fc1.bias')!, 1 / Math.sqrt(3 * 400), 'uniform');
    const wide = valuesByName('wrn-10-2', cifar);
    expectDistribution(wide.get('layer2.0.downsample.weight')!, Math.sqrt(2 / 64), 'normal');
    expectDistribution(wide.get('fc.weight')!, 1 / Math.sqrt(3 * 128), 'uniform');
    expect([...wide.get('fc.bias')!]).toEqual(Array(10).fill(0));
  });
});

describe('the graph', () => {
  const nodeNames = (name: string, options = {}) =>
    buildNetwork(name, { ...cifar, ...options }).graph.nodes.map(node => node.name);

  test("nodes have the names of PyTorch's exporter", () => {
    expect(nodeNames('resnet8')).toEqual(
      expect.arrayContaining([
        '/conv1/Conv',
        '/bn1/BatchNormalization',
        '/layer1/layer1.0/relu_1/Relu',
        '/layer2/layer2.0/downsample/downsample.0/Conv',
        '/layer2/layer2.0/Add',
        '/fc/Gemm',
      ]),
    );
    expect(nodeNames('vgg11-bn-imagenet', { width: 1, initialise: false })).toEqual(
      expect.arrayContaining(['/features/features.0/Conv', '/classifier/classifier.2/Dropout']),
    );
  });

  test('the size decides between the CIFAR and the ImageNet form, unless the name does', () => {
    const pools = (name: string, size: readonly number[]) =>
      buildNetwork(name, {
        ...asPublished(name),
        size: size as [number, number],
        initialise: false,
        width: 4,
      }).graph.nodes.filter(node => node.opType === 'MaxPool').length;
    expect(pools('resnet18', [64, 64])).toBe(0);
    expect(pools('resnet18', [64, 65])).toBe(1);
    expect(pools('resnet18-cifar', [224, 224])).toBe(0);
    expect(pools('resnet18-imagenet', [32, 32])).toBe(1);
  });

  test('resnet50 is the bottleneck network, not the CIFAR one of depth 6 x 8 + 2', () => {
    expect(floatsOf(buildNetwork('resnet50', { ...cifar, initialise: false })).map(({ name }) => name)).toContain(
      'layer4.2.conv3.weight',
    );
  });

  test('shortcut A has neither projections nor parameters', () => {
    const names = nodeNames('resnet8', { shortcut: 'A' });
    expect(names.filter(name => name.includes('downsample'))).toEqual([]);
    expect(names.filter(name => name.endsWith('/Pad'))).toHaveLength(2);
  });

  test('names are unique', () => {
    for (const { name } of networks) {
      const { nodes, initializers } = buildNetwork(name, { ...asPublished(name), initialise: false }).graph;
      const values = [...nodes.flatMap(node => node.output), ...initializers.map(tensor => tensor.name)];
      expect(new Set(values).size).toBe(values.length);
      expect(new Set(nodes.map(node => node.name)).size).toBe(nodes.length);
    }
  });

  test('wide-resnet-D-K is wrn-D-K', () => {
    const [a, b] = ['wrn-10-1', 'wide-resnet-10-1'].map(name => buildNetwork(name, cifar));
    expect(b.graph.nodes).toEqual(a.graph.nodes);
  });
});

describe('what cannot be built is refused', () => {
  test('an unknown name, with the nearest and all others', () => {
    for (const [typed, meant] of [
      ['resnet21', 'resnet20'],
      ['VGG16_BN', 'vgg16-bn'],
      ['wrn-28-1O', 'wrn-28-10'],
      ['lenet', 'lenet5'],
    ]) {
      const error = errorOf(() => buildNetwork(typed, cifar));
      expect(error.code).toBe('E_UNKNOWN_MODEL');
      expect(error.fix).toContain(`Did you mean ${meant}?`);
      for (const { name } of networks) expect(error.fix).toContain(name);
    }
    for (const name of ['resnet2', 'resnet14x', 'wrn-28-0', 'wrn-27-10', 'mlp-0', 'mlp-', 'vgg12-bn', '', 'toString'])
      expect(errorOf(() => describeNetwork(name)).code).toBe('E_UNKNOWN_MODEL');
  });

  test('images that are too small, with the smallest size; that one works', () => {
    for (const [name, smallest] of [
      ['lenet5', 12],
      ['mlp', 1],
      ['resnet20', 4],
      ['resnet18', 8],
      ['resnet18-imagenet', 32],
      ['wrn-10-1', 4],
      ['vgg11-bn', 32],
    ] as const) {
      const build = (size: number) => buildNetwork(name, { ...cifar, size: [size, size], initialise: false });
      build(smallest);
      if (smallest === 1) continue;
      const error = errorOf(() => build(smallest - 1));
      expect(error.code).toBe('E_INPUT_TOO_SMALL');
      expect(error.fix).toContain(`${smallest}.`);
    }
    // The longer side asks for the ImageNet form, which the shorter one is too small for.
    const mixed = errorOf(() => buildNetwork('resnet18', { ...cifar, size: [16, 128] }));
    expect(mixed.code).toBe('E_INPUT_TOO_SMALL');
    expect(mixed.fix).toContain('32.');
  });

  test('options that are out of range or that the network does not take', () => {
    for (const [name, wrong] of [
      ['resnet8', { classes: 0 }],
      ['resnet8', { channels: 1.5 }],
      ['resnet8', { size: [32, Number.NaN] as [number, number] }],
      ['resnet8', { seed: 0.5 }],
      ['resnet8', { width: -4 }],
      ['resnet8', { shortcut: 'C' as 'A' }],
      ['resnet18', { shortcut: 'A' as const }],
      ['lenet5', { width: 8 }],
      ['wrn-16-4', { width: 8 }],
    ] as const)
      expect(errorOf(() => buildNetwork(name, { ...cifar, ...wrong })).code).toBe('E_MODEL_OPTION');
  });
});

test('every description says what it is and where it comes from', () => {
  for (const { name, description, paper } of networks) {
    expect(description.length, name).toBeGreaterThan(20);
    expect(paper, name).toMatch(/\d{4}/);
  }
});
