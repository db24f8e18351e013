import { existsSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Dataset } from '../data/dataset.ts';
import { readPreprocessing } from '../data/preprocess.ts';
import type { Graph } from '../graph/graph.ts';
import { type OnnxModel, readModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import { type Coupling, type CouplingOptions, coupleGraph } from '../prune/groups.ts';
import { unsharedGraph } from '../rewrite/unshare.ts';
import { UserError } from '../util/errors.ts';
import { buildNetwork } from '../zoo/index.ts';
import { flagOf } from './command.ts';

/** Whether a model argument means a file rather than a named architecture. */
export const isFile = (model: string): boolean =>
  /\.onnx$/i.test(model) || model.includes('/') || (existsSync(model) && statSync(model).isFile());

/** A short name for runs and reports. */
export const modelName = (model: string): string => basename(model).replace(/\.onnx$/i, '');

/**
 * A named architecture for a data set.
 * @param size what the network is fed: [height, width]
 */
export function namedModel(
  name: string,
  dataset: Dataset,
  fed: { readonly size: readonly [number, number]; readonly channels: number },
  options: { readonly seed: number; readonly width?: number; readonly shortcut?: 'A' | 'B' },
): OnnxModel {
  return buildNetwork(name, { classes: dataset.classes.length, channels: fed.channels, size: fed.size, ...options });
}

/**
 * What says nothing of a network that is built here, with weights drawn at random, normalised, its input NCHW.
 * @throws UserError E_OPTION (usage); those of the file of a preprocessing
 */
export function refuseForNamed(given: {
  readonly untrained?: boolean;
  readonly keepFolded?: boolean;
  readonly layout?: 'nchw' | 'nhwc';
  readonly preprocessing?: string;
}): void {
  const idle = (['untrained', 'keepFolded'] as const).find(key => given[key]);
  if (idle) {
    throw new UserError('E_OPTION', `${flagOf(idle)} does nothing here: it belongs to a model that is a file.`, {
      fix: 'Leave it out: a named architecture is built anew.',
      usage: true,
    });
  }
  const stated = given.preprocessing === undefined ? undefined : readPreprocessing(given.preprocessing).layout;
  if ((given.layout ?? stated) !== 'nhwc') return;
  throw new UserError('E_OPTION', '--layout nhwc is for files, and the model is a named architecture.', {
    fix: 'Leave it out: networks that are built here take NCHW.',
    usage: true,
  });
}

/** A model file, its constants given to one user each, and its coupled channels. */
export function openModel(path: string): { model: OnnxModel; graph: Graph; coupling: Coupling } {
  return coupled(readModel(path));
}

export function coupled(
  read: OnnxModel,
  options: CouplingOptions = {},
): { model: OnnxModel; graph: Graph; coupling: Coupling } {
  const graph = unsharedGraph(read, operators);
  return { model: graph.model, graph, coupling: coupleGraph(graph, options) };
}

/** What a model tells about its image input and its classes. @throws UserError E_INPUTS, E_NOT_A_CLASSIFIER */
export function interfaceOf(graph: Graph): { inputShape: (number | null)[]; outputs: number | undefined } {
  if (graph.inputs.length !== 1) {
    throw new UserError(
      'E_INPUTS',
      `This network has ${graph.inputs.length} inputs (${graph.inputs.join(', ')}), not one of images.`,
      {
        where: graph.model.path,
      },
    );
  }
  const shape = graph.types.get(graph.inputs[0])?.shape ?? [];
  const scores = graph.types.get(graph.outputs[0])?.shape;
  if (scores?.slice(2).some(dim => dim !== 1)) {
    throw new UserError(
      'E_NOT_A_CLASSIFIER',
      `The output '${graph.outputs[0]}' has ${scores.length} axes (${scores.join('x')}); class scores have two.`,
      { where: graph.model.path, fix: 'Only image classifiers can be trained and measured.' },
    );
  }
  const classes = scores?.[1];
  return {
    inputShape: shape.map(dim => (typeof dim === 'number' ? dim : null)),
    outputs: typeof classes === 'number' ? classes : undefined,
  };
}
