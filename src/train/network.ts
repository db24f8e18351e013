import type { Tensor } from '../graph/engine.ts';
import { buildGraph } from '../graph/graph.ts';
import { floats, type OnnxModel, type OnnxTensor, withFloats } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import { buffersOf, parametersOf } from '../prune/cost.ts';
import { type Coupling, type CouplingOptions, coupleGraph } from '../prune/groups.ts';
import { type MaskPoint, maskPoints } from '../prune/mask-points.ts';
import type { KeptChannels } from '../prune/plan.ts';
import { freeBatch } from '../rewrite/batch.ts';
import { logitsOf } from '../rewrite/logits.ts';
import { unshare } from '../rewrite/unshare.ts';
import { withConstants } from '../rewrite/with-constants.ts';
import type { Torch } from '../torch/index.ts';
import { UserError } from '../util/errors.ts';
import { createHardView, type Statistics } from './hard-view.ts';
import { withoutEmptyAxes } from './images.ts';
import type { Precision } from './precision.ts';
import { compile } from './program.ts';

/**
 * One set of parameters under several views (docs/architecture.md): *dense* uses them as they are, *soft*
 * multiplies the mask at the mask points, *hard* runs the cut graph over gathered parameters.
 */
export interface Network {
  readonly model: OnnxModel;
  readonly coupling: Coupling;
  readonly points: readonly MaskPoint[];
  /** Names of the trainable tensors. */
  readonly names: readonly string[];
  /** theta: leaves that record gradients, in the order of `names`. */
  readonly parameters: readonly Tensor[];
  /** w by channel: a leaf that records gradients; write new masks with `setMask`. */
  readonly mask: Tensor;
  readonly statistics: { readonly soft: Statistics; readonly hard: Statistics };
  /** Outputs of the full-width network without masks, with the soft view's statistics; class scores have two axes. */
  dense(images: Tensor, training: boolean): Tensor[];
  /** Outputs of the soft network. */
  soft(images: Tensor, training: boolean): Tensor[];
  /** Outputs of the hard network at its compact size. */
  hard(images: Tensor, training: boolean): Tensor[];
  /** Remember the soft network as it is, for `taught`. */
  keepTeacher(): void;
  /** What was remembered: parameters, statistics and mask; null before. */
  readonly teacher: readonly Tensor[] | null;
  /** Outputs of the soft network that was remembered, in evaluation mode. */
  taught(images: Tensor): Tensor[];
  /** @param w one factor per channel of the prunable groups */
  setMask(w: ArrayLike<number>): void;
  /** Which channels the hard network has. */
  setKept(kept: KeptChannels): void;
  readonly kept: KeptChannels;
  /** Channels that the hard view has had at some time: their statistics are its own. */
  readonly met: Uint8Array;
  /** Copy the compact statistics back to full width. */
  flush(): void;
  /** After statistics were written from outside: take them over into the compact view. */
  reload(): void;
  /** For a hard view that nothing trains: all its statistics are the soft view's, as they are when it runs next. */
  forget(): void;
  /** Current values of a trainable tensor or of a hard-view statistic, in the file's order. */
  values(name: string): Float32Array;
  /** The file with the current parameters and the statistics of one view, at full width. */
  exported(view: 'soft' | 'hard'): OnnxModel;
}

export interface NetworkOptions extends CouplingOptions {
  readonly precision?: Precision;
}

/**
 * Bring a model under the engine.
 * @param options what of grouped convolutions and of attention may go; the precision of forward and backward passes in
 *   training mode (evaluation is always in float32)
 * @throws UserError E_NOTHING_TO_TRAIN, E_INPUTS, E_FIXED_BATCH, E_NO_FORWARD
 */
export function createNetwork(torch: Torch, original: OnnxModel, options: NetworkOptions = {}): Network {
  const { precision = 'float32' } = options;
  const model = unshare(original, operators);
  const graph = buildGraph(freeBatch(model, operators), operators);
  if (graph.inputs.length !== 1) {
    throw new UserError(
      'E_INPUTS',
      `This network has ${graph.inputs.length} inputs (${graph.inputs.join(', ')}); training feeds one batch of images.`,
      {
        where: model.path,
      },
    );
  }
  const coupling = coupleGraph(graph, options);
  const points = maskPoints(coupling);
  const { outputs } = logitsOf(graph);
  const names = [...parametersOf(graph).keys()];
  if (names.length === 0) {
    throw new UserError(
      'E_NOTHING_TO_TRAIN',
      'No constant of this file is a weight, bias, scale or shift of an operator.',
      {
        where: model.path,
        fix: 'Weights that are inputs of the graph cannot be trained; export them as initializers.',
      },
    );
  }
  const bufferNames = [...buffersOf(graph).keys()];
  const load = (name: string): Tensor => {
    const tensor = graph.tensors.get(name)!;
    return torch.scope(() =>
      torch.keep(torch.channelsLast(torch.tensor(Float32Array.from(floats(tensor)), tensor.dims))),
    );
  };
  const parameters = names.map(name => torch.requiresGrad(load(name)));
  const statistics = {
    soft: new Map(bufferNames.map(n => [n, load(n)])),
    hard: new Map(bufferNames.map(n => [n, load(n)])),
  };
  const mask = torch.requiresGrad(
    torch.keep(torch.tensor(new Float32Array(coupling.channels + 1).fill(1), [coupling.channels + 1])),
  );

  const bound = [...names, ...bufferNames];
  const full = compile(graph, torch, outputs, bound, points);
  for (const constant of full.constants) torch.keep(constant);
  const softBound = [...parameters, ...statistics.soft.values()];
  const vectors = maskVectors(torch, coupling, points);
  const hard = createHardView(torch, coupling, outputs, bound, names.length, softBound, statistics);
  const layout = (images: Tensor) => torch.channelsLast(images);
  const scores = withoutEmptyAxes(torch);
  const inPrecision = (training: boolean, run: () => Tensor[]): Tensor[] =>
    (training && precision === 'bfloat16'
      ? torch.autocast('bfloat16', run).map(output => torch.to(output, 'float32'))
      : run()
    ).map(scores);
  let teacher: readonly Tensor[] | null = null;

  return {
    model,
    coupling,
    points,
    names,
    parameters,
    mask,
    statistics,
    dense: (images, training) => inPrecision(training, () => full.run([layout(images)], softBound, { training })),
    soft: (images, training) =>
      inPrecision(training, () => full.run([layout(images)], softBound, { training }, vectors(mask))),
    hard: (images, training) => inPrecision(training, () => hard.run(layout(images), training)),
    keepTeacher() {
      if (teacher) torch.free(...teacher);
      teacher = torch.noGrad(() => [...softBound, mask].map(tensor => torch.keep(torch.op('clone')(tensor))));
    },
    get teacher() {
      return teacher;
    },
    taught: images =>
      torch.noGrad(() =>
        full.run([layout(images)], teacher!.slice(0, -1), { training: false }, vectors(teacher!.at(-1)!)).map(scores),
      ),
    setMask(w) {
      const values = new Float32Array(coupling.channels + 1).fill(1);
      values.set(w);
      torch.noGrad(() => torch.write(mask, values));
    },
    setKept: hard.setKept,
    get kept() {
      return hard.kept();
    },
    met: hard.met,
    flush: hard.flush,
    reload: hard.reload,
    forget: hard.forget,
    values(name) {
      const index = names.indexOf(name);
      if (index < 0) hard.flush();
      return torch.values(index < 0 ? statistics.hard.get(name)! : parameters[index]);
    },
    exported(view) {
      if (view === 'hard') hard.prepare();
      hard.flush();
      const current = new Map<string, Tensor>([
        ...names.map((n, i) => [n, parameters[i]] as const),
        ...statistics[view],
      ]);
      const updated = (tensor: OnnxTensor) => {
        const value = current.get(tensor.name);
        return value ? withFloats(tensor, tensor.dims, torch.values(value)) : tensor;
      };
      return withConstants(model, graph, updated);
    },
  };
}

/** For every mask point its vector out of w; points with the same channels share one. */
function maskVectors(torch: Torch, coupling: Coupling, points: readonly MaskPoint[]): (mask: Tensor) => Tensor[] {
  const narrow = torch.op('narrow');
  const select = torch.op('index_select');
  const distinct = new Map<string, (mask: Tensor) => Tensor>();
  const keys = points.map(({ channels }) => {
    const key = channels.join();
    if (distinct.has(key)) return key;
    const first = channels[0];
    const consecutive = first >= 0 && channels.every((channel, i) => channel === first + i);
    // -1, an index that nothing masks, reads the factor 1 behind the last channel.
    const index = consecutive
      ? null
      : torch.keep(
          torch.tensor(
            BigInt64Array.from(channels, channel => BigInt(channel < 0 ? coupling.channels : channel)),
            [channels.length],
          ),
        );
    distinct.set(key, mask => (index ? select(mask, 0, index) : narrow(mask, 0, first, channels.length)));
    return key;
  });
  return mask => {
    const made = new Map([...distinct].map(([key, make]) => [key, make(mask)]));
    return keys.map(key => made.get(key)!);
  };
}
