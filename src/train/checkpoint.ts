import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Tensor } from '../graph/engine.ts';
import type { Optimizer } from '../torch/optim.ts';
import type { Torch } from '../torch/index.ts';
import { writeAtomic } from '../util/atomic.ts';
import { UserError } from '../util/errors.ts';
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

const pointerSchema = z.object({
  format: z.literal('s2h-checkpoint/1'),
  /** Steps that are done. */
  step: z.int().nonnegative(),
  file: z.string(),
  sha256: z.string(),
  /** Seconds of training so far, and images seen in them. */
  seconds: z.number(),
  images: z.number(),
});

/** `checkpoint.json`: names the newest checkpoint, with its hash. */
export type CheckpointPointer = z.infer<typeof pointerSchema>;

/** Write the state after `step` steps; the pointer is renamed into place last, and the last two checkpoints are kept. */
export function saveCheckpoint(directory: string, trainee: Trainee, progress: { step: number; seconds: number; images: number }): void {
  const chunks = encodeSafetensors(tensorsOf(trainee));
  const file = `checkpoint-${progress.step}.safetensors`;
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  writeAtomic(join(directory, file), chunks);
  const pointer: CheckpointPointer = { format: 's2h-checkpoint/1', ...progress, file, sha256: hash.digest('hex') };
  writeAtomic(join(directory, 'checkpoint.json'), `${JSON.stringify(pointer, null, 2)}\n`);
  for (const old of checkpoints(directory).slice(0, -2)) rmSync(join(directory, old), { force: true });
}

/** Checkpoint files, the oldest first. */
function checkpoints(directory: string): string[] {
  const stepOf = (file: string) => Number(/^checkpoint-(\d+)\.safetensors$/.exec(file)?.[1] ?? Number.NaN);
  return readdirSync(directory)
    .filter(file => !Number.isNaN(stepOf(file)))
    .sort((a, b) => stepOf(a) - stepOf(b));
}

/**
 * The newest checkpoint of a run; null before the first.
 * @throws UserError E_CHECKPOINT when it is damaged
 */
export function newestCheckpoint(directory: string): CheckpointPointer | null {
  const path = join(directory, 'checkpoint.json');
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
  if (!parsed.success) return refuse('The checkpoint list is malformed.');
  const file = join(directory, parsed.data.file);
  if (!existsSync(file)) return refuse(`The checkpoint ${parsed.data.file} is missing.`);
  const hash = createHash('sha256').update(readFileSync(file)).digest('hex');
  if (hash !== parsed.data.sha256) return refuse(`The checkpoint ${parsed.data.file} is damaged.`);
  return parsed.data;
}

/** Put a run back to where a checkpoint was taken. */
export function loadCheckpoint(directory: string, pointer: CheckpointPointer, trainee: Trainee): void {
  const { torch, network, optimizer, search } = trainee;
  const { tensors } = readSafetensors(join(directory, pointer.file));
  const data = (name: string) => {
    const tensor = tensors[name];
    if (!tensor) throw new UserError('E_CHECKPOINT', `The checkpoint lacks '${name}'.`, { where: join(directory, pointer.file) });
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
    for (const [name, tensor] of stateTensors(trainee)) torch.write(tensor, Float32Array.from(data(name) as Float32Array));
  });
  torch.scope(() => {
    const state: Record<string, Tensor> = {};
    for (const [name, tensor] of Object.entries(optimizer.state())) {
      state[name] = torch.tensor(Float32Array.from(data(`optimizer/${name}`) as Float32Array), tensor.shape);
    }
    optimizer.load(state);
  });
  network.met.set(data('network/met') as Uint8Array);
  network.reload();
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
  tensors['network/met'] = { dtype: 'U8', shape: [network.met.length], data: network.met.slice() };
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
