import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Tensor } from '../graph/engine.ts';
import type { Torch } from '../torch/index.ts';
import type { Optimizer } from '../torch/optim.ts';
import { writeAtomic } from '../util/atomic.ts';
import { UserError } from '../util/errors.ts';
import { sha256Files } from '../util/hash.ts';
import { encodeSafetensors, readSafetensors, type SafeTensor } from '../util/safetensors.ts';
import type { Network } from './network.ts';
import type { Search } from './search.ts';

/** Everything that changes during a run. */
export interface Trainee {
  readonly torch: Torch;
  readonly network: Network;
  readonly optimizer: Optimizer;
  readonly search: Search | null;
}

const checkpointSchema = z.object({
  /** Steps that are done. */
  step: z.int().nonnegative(),
  file: z.string().regex(/^checkpoint-\d+\.safetensors$/),
  sha256: z.string(),
  /** Seconds of training so far, and images seen in them. */
  seconds: z.number(),
  images: z.number(),
});

const pointerSchema = checkpointSchema.extend({
  format: z.literal('s2h-checkpoint/1'),
  /** The one before, for the case that the newest is damaged. */
  previous: checkpointSchema.nullable(),
});

/** One checkpoint of a run. */
export type Checkpoint = z.infer<typeof checkpointSchema>;

const pointerFile = 'checkpoint.json';

/**
 * Write the state after `step` steps. `checkpoint.json`, which names it with its hash, is renamed into place last, and
 * the checkpoint that was the newest is kept.
 * @throws UserError E_WRITE when the disk is full, E_NOT_FINITE for a state that holds NaN or infinity; what was saved
 *   before stays
 */
export function saveCheckpoint(
  directory: string,
  trainee: Trainee,
  progress: { step: number; seconds: number; images: number },
): void {
  const tensors = tensorsOf(trainee);
  refuseNotFinite(tensors, progress.step);
  const chunks = encodeSafetensors(tensors);
  const file = `checkpoint-${progress.step}.safetensors`;
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  const saved: Checkpoint = { ...progress, file, sha256: hash.digest('hex') };
  const before = readPointer(directory);
  const previous = before && (before.file === file ? before.previous : checkpointSchema.parse(before));
  writeAtomic(join(directory, file), chunks);
  writePointer(directory, saved, previous);
  for (const old of readdirSync(directory)) {
    const isNamed = old === file || old === previous?.file;
    if (!isNamed && /^checkpoint-\d+\.safetensors$/.test(old)) rmSync(join(directory, old), { force: true });
  }
}

function writePointer(
  directory: string,
  { step, file, sha256, seconds, images }: Checkpoint,
  previous: Checkpoint | null,
): void {
  const pointer = { format: 's2h-checkpoint/1', step, file, sha256, seconds, images, previous };
  writeAtomic(join(directory, pointerFile), `${JSON.stringify(pointer, null, 2)}\n`);
}

function refuseNotFinite(tensors: Readonly<Record<string, SafeTensor>>, step: number): void {
  for (const [name, { data }] of Object.entries(tensors)) {
    if (!(data instanceof Float32Array || data instanceof Float64Array) || allFinite(data)) continue;
    throw new UserError(
      'E_NOT_FINITE',
      `After step ${step} '${name}' holds numbers that are not finite: the training has diverged.`,
      {
        fix: 'Lower --lr; a network without normalisation needs a much smaller one. What was saved before is intact.',
      },
    );
  }
}

function allFinite(values: Float32Array | Float64Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return false;
  return true;
}

/** @throws UserError E_CHECKPOINT when it is damaged */
function readPointer(directory: string): z.infer<typeof pointerSchema> | null {
  const path = join(directory, pointerFile);
  if (!existsSync(path)) return null;
  const refuse = (what: string): never => {
    throw new UserError('E_CHECKPOINT', what, { where: path, fix: 'Start a new run.' });
  };
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return refuse('The checkpoint list is not JSON.');
  }
  const parsed = pointerSchema.safeParse(json);
  return parsed.success ? parsed.data : refuse('The checkpoint list is malformed.');
}

/** Whether a run has been saved at some time. */
export const hasCheckpoint = (directory: string): boolean => existsSync(join(directory, pointerFile));

/**
 * The newest checkpoint of a run that is whole; null before the first. Where the newest of all is damaged it is
 * forgotten.
 * @param say told when the newest is damaged and the one before is taken
 * @throws UserError E_CHECKPOINT when both are damaged
 */
export function newestCheckpoint(directory: string, say: (message: string) => void): Checkpoint | null {
  const pointer = readPointer(directory);
  if (!pointer) return null;
  const problems: string[] = [];
  for (const checkpoint of [pointer, pointer.previous]) {
    if (!checkpoint) continue;
    const problem = problemWith(directory, checkpoint);
    if (!problem) {
      if (problems.length) {
        writePointer(directory, checkpoint, null);
        say(`${problems.join(' ')} The run goes on from the one before, of step ${checkpoint.step}.`);
      }
      return checkpoint;
    }
    problems.push(problem);
  }
  throw new UserError('E_CHECKPOINT', problems.join(' '), { where: directory, fix: 'Start a new run.' });
}

function problemWith(directory: string, { file, sha256 }: Checkpoint): string | undefined {
  const path = join(directory, file);
  if (!existsSync(path)) return `The checkpoint ${file} is missing.`;
  return sha256Files(path) === sha256 ? undefined : `The checkpoint ${file} is damaged.`;
}

/** Put a run back to where a checkpoint was taken. */
export function loadCheckpoint(directory: string, checkpoint: Checkpoint, trainee: Trainee): void {
  const { torch, network, optimizer, search } = trainee;
  const { tensors } = readSafetensors(join(directory, checkpoint.file));
  const data = (name: string) => {
    const tensor = tensors[name];
    if (!tensor)
      throw new UserError('E_CHECKPOINT', `The checkpoint lacks '${name}'.`, {
        where: join(directory, checkpoint.file),
      });
    return tensor.data;
  };
  if (search) {
    const counts = data('search/counts');
    search.load({
      u: search.state().u.map((_, i) => data(`search/u/${i}`) as Float64Array),
      ranks: search.state().ranks.map((_, i) => data(`search/rank/${i}`) as Int32Array),
      counts: counts.length ? Array.from(counts as Int32Array) : null,
    });
  }
  torch.noGrad(() => {
    for (const [name, tensor] of stateTensors(trainee))
      torch.write(tensor, Float32Array.from(data(name) as Float32Array));
  });
  torch.scope(() => {
    const state: Record<string, Tensor> = {};
    for (const [name, tensor] of Object.entries(optimizer.state())) {
      state[name] = torch.tensor(Float32Array.from(data(`optimizer/${name}`) as Float32Array), tensor.shape);
    }
    optimizer.load(state);
  });
  if (tensors['teacher/0']) {
    network.keepTeacher();
    torch.noGrad(() => {
      for (const [i, tensor] of network.teacher!.entries())
        torch.write(tensor, Float32Array.from(data(`teacher/${i}`) as Float32Array));
    });
  }
  network.met.set(data('network/met') as Uint8Array);
  network.reload();
  network.setMask((data('network/mask') as Float32Array).subarray(0, network.met.length));
  const kept = data('network/kept') as Uint8Array;
  const { groups, offsets } = network.coupling;
  network.setKept(
    groups.map(({ size }, g) => Array.from({ length: size }, (_, i) => i).filter(i => kept[offsets[g] + i] === 1)),
  );
}

/** Parameters and statistics by name. */
function stateTensors({ network }: Trainee): [string, Tensor][] {
  return [
    ...network.names.map((name, i): [string, Tensor] => [`theta/${name}`, network.parameters[i]]),
    ...[...network.statistics.soft].map(([name, t]): [string, Tensor] => [`soft/${name}`, t]),
    ...[...network.statistics.hard].map(([name, t]): [string, Tensor] => [`hard/${name}`, t]),
  ];
}

function tensorsOf(trainee: Trainee): Record<string, SafeTensor> {
  const { torch, network, optimizer, search } = trainee;
  network.flush();
  const float = (tensor: Tensor): SafeTensor => ({ dtype: 'F32', shape: tensor.shape, data: torch.values(tensor) });
  const tensors: Record<string, SafeTensor> = {};
  for (const [name, tensor] of stateTensors(trainee)) tensors[name] = float(tensor);
  for (const [name, tensor] of Object.entries(optimizer.state())) tensors[`optimizer/${name}`] = float(tensor);
  for (const [i, tensor] of (network.teacher ?? []).entries()) tensors[`teacher/${i}`] = float(tensor);
  tensors['network/met'] = { dtype: 'U8', shape: [network.met.length], data: network.met.slice() };
  tensors['network/kept'] = { dtype: 'U8', shape: [network.met.length], data: keptFlags(network) };
  tensors['network/mask'] = float(network.mask);
  if (search) {
    const { u, ranks, counts } = search.state();
    u.forEach((logits, i) => {
      tensors[`search/u/${i}`] = { dtype: 'F64', shape: [logits.length], data: logits };
      tensors[`search/rank/${i}`] = { dtype: 'I32', shape: [ranks[i].length], data: ranks[i] };
    });
    tensors['search/counts'] = { dtype: 'I32', shape: [counts?.length ?? 0], data: Int32Array.from(counts ?? []) };
  }
  return tensors;
}

/** 1 for every channel that the hard network has. */
function keptFlags({ coupling, kept, met }: Network): Uint8Array {
  const flags = new Uint8Array(met.length);
  kept.forEach((channels, g) => {
    for (const channel of channels) flags[coupling.offsets[g] + channel] = 1;
  });
  return flags;
}
