import { GraphBuilder } from '../onnx/build.ts';
import type { OnnxModel } from '../onnx/model.ts';
import { UserError } from '../util/errors.ts';
import { nearest } from '../util/nearest.ts';
import { lenet } from './lenet.ts';
import { mlp } from './mlp.ts';
import type { Family, Network, NetworkDescription, NetworkOptions } from './network.ts';
import { resnet } from './resnet.ts';
import { resnetCifar } from './resnet-cifar.ts';
import { vgg } from './vgg.ts';
import { wideResnet } from './wide-resnet.ts';

export type { NetworkDescription, NetworkOptions } from './network.ts';

/** A name goes to the first family that knows it: resnet50 is torchvision's, not the CIFAR ResNet of depth 6 x 8 + 2. */
const families: readonly Family[] = [lenet, mlp, resnet, resnetCifar, wideResnet, vgg];

function findNetwork(name: string): Network {
  for (const family of families) {
    const network = family.find(name);
    if (network) return network;
  }
  const names = families.flatMap(family => family.names);
  const patterns = families.flatMap(family => family.pattern ?? []);
  const near = nearest(name, names);
  throw new UserError('E_UNKNOWN_MODEL', `There is no network '${name}'.`, {
    fix: `${near === undefined ? '' : `Did you mean ${near}? `}Networks: ${names.join(', ')}; also ${patterns.join(', ')}.`,
    usage: true,
  });
}

/**
 * What is known of a network without building it.
 * @throws UserError E_UNKNOWN_MODEL with the nearest name and all names
 */
export function describeNetwork(name: string): NetworkDescription {
  const { description, paper, published } = findNetwork(name);
  return { name, description, paper, published };
}

/** The networks to list; more can be built by pattern (`resnet14`, `wrn-22-6`, `mlp-64-64`). */
export const networks: readonly NetworkDescription[] = families.flatMap(family => family.names).map(describeNetwork);

/**
 * A freshly initialised network as an ONNX graph (opset 17) from `input` [N, channels, height, width] to `logits`
 * [N, classes], float32, batch normalisation kept. Initializers have torchvision's names (`layer1.0.conv1.weight`), so
 * a state_dict of the same network fits; equal options give equal files.
 * @throws UserError E_UNKNOWN_MODEL, with the nearest name and all names
 * @throws UserError E_MODEL_OPTION when an option is out of range or the network does not take it
 * @throws UserError E_INPUT_TOO_SMALL, with the smallest height and width
 */
export function buildNetwork(name: string, options: NetworkOptions): OnnxModel {
  const network = findNetwork(name);
  check(network, options);
  const { channels, size, classes, seed, initialise = true } = options;
  const graph = new GraphBuilder({ name, opset: 17, irVersion: 8 });
  const value = graph.input('input', ['N', channels, ...size]);
  const logits = network.build({ graph, seed, initialise }, { value, shape: [channels, ...size] }, options);
  graph.output(logits.value, ['N', classes]);
  return graph.model();
}

function check({ name, takes, smallest }: Network, options: NetworkOptions): void {
  const { classes, channels, size, seed, width, shortcut } = options;
  const refuse = (what: string, fix?: string) =>
    new UserError('E_MODEL_OPTION', what, { where: name, fix, usage: true });
  const counts = { classes, channels, 'image height': size[0], 'image width': size[1], width: width ?? 1 };
  for (const [what, value] of Object.entries(counts))
    if (!Number.isSafeInteger(value) || value < 1) throw refuse(`${what} must be a positive integer, not ${value}.`);
  if (!Number.isSafeInteger(seed)) throw refuse(`seed must be an integer, not ${seed}.`);
  if (![undefined, 'A', 'B'].includes(shortcut)) throw refuse(`shortcut must be A or B, not ${shortcut}.`);
  if (shortcut !== undefined && !takes.includes('shortcut'))
    throw refuse(`${name} takes no shortcut option.`, 'Leave it out; only the CIFAR ResNets (resnet20, ...) take it.');
  if (width !== undefined && !takes.includes('width'))
    throw refuse(
      `${name} takes no width option.`,
      'Leave it out; wrn-16-4 and mlp-64-64 have their widths in the name.',
    );
  const least = smallest(size);
  if (Math.min(...size) < least)
    throw new UserError('E_INPUT_TOO_SMALL', `Images of ${size.join('x')} are too small for ${name}.`, {
      fix: `The smallest height and width is ${least}.`,
      usage: true,
    });
}
