import { chooseDevice, chooseThreads, type DeviceChoice } from './device.ts';
import type { SetupProgress } from './install.ts';
import { loadLibtorch } from './setup.ts';
import { type Binding, bind, createTorch, type Torch } from './torch.ts';

export { TorchError } from './errors.ts';
export type { SetupProgress } from './install.ts';
export type { Dtype } from './native.ts';
export { adamw, type Optimizer, sgd } from './optim.ts';
export { bestMs, matmulRate } from './probe.ts';
export { Tensor } from './tensor.ts';
export type { GradOptions, LibtorchOrigin, Torch } from './torch.ts';

export interface EngineOptions {
  /** Default: all that this process may use (`allowedThreads`). */
  readonly threads?: number;
  /** Default `auto`: a GPU where libtorch sees one. */
  readonly device?: DeviceChoice;
  /** Whether libtorch or a compiler may be downloaded or installed where they are missing; default true. */
  readonly setup?: boolean;
  /** Told in one sentence what is done during setup, and why. */
  readonly say?: (message: string) => void;
  readonly onProgress?: (progress: SetupProgress) => void;
}

let opening: Promise<Binding> | undefined;
const engines = new Map<'cpu' | 'cuda', Torch>();

/**
 * libtorch in this process. It is loaded once: opening it again gives the same engine, with the threads that are asked
 * for now, if any. The first time on a machine it is set up (about 190 MB) and the bridge to it compiled.
 * @throws UserError E_NO_SETUP, E_LIBTORCH, E_LIBTORCH_SETUP, E_NO_COMPILER, E_BRIDGE_BUILD, E_BRIDGE_LOAD, E_NO_CUDA, E_THREADS
 */
export async function openEngine(options: EngineOptions = {}): Promise<Torch> {
  const { threads } = chooseThreads(options.threads);
  const first = opening === undefined;
  opening ??= open(options);
  const binding = await opening;
  if (first || options.threads !== undefined) binding.native.setThreads(threads);
  const device = chooseDevice(options.device ?? 'auto', binding.native);
  const known = engines.get(device);
  if (known) return known;
  const torch = createTorch(binding, device);
  engines.set(device, torch);
  return torch;
}

async function open({ setup = true, say = () => {}, onProgress = () => {} }: EngineOptions): Promise<Binding> {
  try {
    const { native, libtorch } = await loadLibtorch(setup, { say, onProgress });
    return bind(native, { root: libtorch.root, kind: libtorch.kind });
  } catch (error) {
    opening = undefined; // so that a later call may try again
    throw error;
  }
}
