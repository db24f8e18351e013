import { UserError } from '../util/errors.ts';
import { allowedThreads, type ThreadLimit } from '../util/threads.ts';
import type { Native } from './native.ts';

/** What is asked for; `auto` takes a GPU where there is one. */
export type DeviceChoice = 'cpu' | 'cuda' | 'auto';

/** The device to compute on. @throws UserError E_NO_CUDA */
export function chooseDevice(choice: DeviceChoice, native: Pick<Native, 'gpus' | 'version'>): 'cpu' | 'cuda' {
  if (choice === 'cpu') return 'cpu';
  if (native.gpus() > 0) return 'cuda';
  if (choice === 'auto') return 'cpu';
  throw new UserError('E_NO_CUDA', `libtorch ${native.version()} finds no CUDA device.`, {
    fix: 'Activate a Python environment whose torch sees the GPU (or set LIBTORCH to a CUDA build), or use the CPU.',
    usage: true,
  });
}

/** The number of threads that is used, and why. */
export function chooseThreads(asked?: number): ThreadLimit {
  if (asked === undefined) return allowedThreads();
  if (!Number.isInteger(asked) || asked < 1 || asked > 1024) {
    throw new UserError('E_THREADS', `The number of threads must be from 1 to 1024, not ${asked}.`, { usage: true });
  }
  return { threads: asked, why: 'asked for' };
}
