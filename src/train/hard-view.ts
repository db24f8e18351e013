import type { Tensor } from '../graph/engine.ts';
import { buildGraph } from '../graph/graph.ts';
import { byteSize, elementCount, gatherAxes } from '../onnx/index.ts';
import { cutModel } from '../prune/cut.ts';
import type { Coupling } from '../prune/groups.ts';
import { type KeptChannels, keptIndices } from '../prune/plan.ts';
import type { Torch } from '../torch/index.ts';
import { compile, type Program } from './program.ts';

/** Running statistics by buffer name. Each view has its own (docs/method.md, Views). */
export type Statistics = ReadonlyMap<string, Tensor>;

/** The hard network: the cut graph, its parameters gathered at every run, its statistics compact in between. */
export interface HardView {
  /** Channels that it has had at some time: their statistics are its own. */
  readonly met: Uint8Array;
  kept(): KeptChannels;
  setKept(next: KeptChannels): void;
  /** Copy the compact statistics back to full width. */
  flush(): void;
  /** Let go of the compact view without copying anything back. */
  reload(): void;
  /** Let go of it and of all statistics of its own. */
  forget(): void;
  /** Build the compact view if it is not there. */
  prepare(): void;
  run(images: Tensor, training: boolean): Tensor[];
}

/**
 * A hard view over full-width tensors; it is rebuilt only when a kept set changes.
 * @param outputs values to compute
 * @param bound constants that the graph is run with: `trainable` parameters, then buffers
 * @param full the parameters, at full width
 */
export function createHardView(
  torch: Torch,
  coupling: Coupling,
  outputs: readonly string[],
  bound: readonly string[],
  trainable: number,
  full: readonly Tensor[],
  statistics: { readonly soft: Statistics; readonly hard: Statistics },
): HardView {
  const select = torch.op('index_select');
  const copy = torch.op('index_copy_');
  const everything = coupling.groups.map(group => Array.from({ length: group.size }, (_, i) => i));
  const met = new Uint8Array(coupling.channels);
  let kept: KeptChannels = everything;
  let program: Program | null = null;
  let gathers: (readonly { axis: number; index: Tensor; channels: Int32Array }[])[] = [];
  let compact: Tensor[] = [];
  const bufferNames = bound.slice(trainable);
  const given = new Set(bound);
  /** What is bound is gathered here at every run: of that the cut graph needs the shapes only. */
  const shorten: typeof gatherAxes = (tensor, indices) =>
    (given.has(tensor.name) ? shapesOnly : gatherAxes)(tensor, indices);

  /** Let go of the compact view, its statistics copied back. */
  const flush = () => {
    if (!program) return;
    torch.noGrad(() =>
      torch.scope(() => {
        bufferNames.forEach((name, i) => {
          const target = statistics.hard.get(name)!;
          const [gather] = gathers[trainable + i];
          if (gather) copy(target, gather.axis, gather.index, compact[i]);
          else torch.op('copy_')(target, compact[i]);
        });
      }),
    );
  };
  const drop = () => {
    torch.free(...gathers.flat().map(({ index }) => index), ...compact, ...(program?.constants ?? []));
    gathers = [];
    compact = [];
    program = null;
  };
  const build = () => {
    const indices = keptIndices(coupling, kept);
    const cut = buildGraph(cutModel(coupling, kept, shorten), coupling.graph.operators);
    gathers = bound.map(name => {
      const dims = coupling.graph.tensors.get(name)!.dims;
      return dims.flatMap((_, axis) => {
        const left = indices({ value: name, axis });
        if (!left) return [];
        const index = torch.keep(torch.tensor(BigInt64Array.from(left, BigInt), [left.length]));
        return [{ axis, index, channels: coupling.channelsOf({ value: name, axis })! }];
      });
    });
    meetChannels();
    compact = torch.noGrad(() =>
      bufferNames.map((name, i) => torch.keep(gathered(statistics.hard.get(name)!, trainable + i, true))),
    );
    program = compile(cut, torch, outputs, bound);
    for (const constant of program.constants) torch.keep(constant);
  };
  const gathered = (tensor: Tensor, which: number, own = false): Tensor => {
    const steps = gathers[which];
    if (steps.length === 0) return own ? torch.op('clone')(tensor) : tensor;
    return steps.reduce((shorter, { axis, index }) => select(shorter, axis, index), tensor);
  };
  /** What the hard view meets for the first time, a channel or all that is no channel, takes the soft view's statistics. */
  const meetChannels = () => {
    const first = coupling.channels > 0 && !met.includes(1);
    const fresh = new Uint8Array(coupling.channels);
    kept.forEach((channels, group) => {
      for (const channel of channels) {
        const number = coupling.offsets[group] + channel;
        if (!met[number]) fresh[number] = met[number] = 1;
      }
    });
    if (!fresh.includes(1)) return;
    for (const name of bufferNames) {
      const channels = coupling.channelsOf({ value: name, axis: 0 });
      const takes = (i: number) => (channels && channels[i] >= 0 ? fresh[channels[i]] === 1 : first);
      const target = statistics.hard.get(name)!;
      const values = torch.values(target);
      const soft = torch.values(statistics.soft.get(name)!);
      const taken = values.map((value, i) => (takes(i) ? soft[i] : value));
      torch.noGrad(() => torch.write(target, taken));
    }
  };

  return {
    met,
    kept: () => kept,
    flush,
    setKept(next: KeptChannels) {
      if (
        program &&
        next.every((channels, g) => channels.length === kept[g].length && channels.every((c, i) => c === kept[g][i]))
      )
        return;
      flush();
      drop();
      kept = next;
    },
    reload: drop,
    forget() {
      met.fill(0);
      drop();
    },
    prepare() {
      if (!program) build();
    },
    run(images: Tensor, training: boolean): Tensor[] {
      if (!program) build();
      const tensors = bound.map((_, i) => (i < trainable ? gathered(full[i], i) : compact[i - trainable]));
      return program!.run([images], tensors, { training });
    },
  };
}

/** A shortened constant without its content. */
const shapesOnly: typeof gatherAxes = (tensor, indices) => {
  const dims = tensor.dims.map((length, axis) => indices.get(axis)?.length ?? length);
  const size = elementCount({ ...tensor, dims }) * (byteSize(tensor.dataType) ?? 0);
  return { ...tensor, dims, data: { storage: 'raw', bytes: new Uint8Array(blank(size), 0, size) } };
};

let zeros = new ArrayBuffer(0);
function blank(bytes: number): ArrayBuffer {
  if (zeros.byteLength < bytes) zeros = new ArrayBuffer(bytes);
  return zeros;
}
