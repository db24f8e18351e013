import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { writeAtomic } from '../util/atomic.ts';
import { cacheFolder } from '../util/cache.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { makeFolders } from '../util/folders.ts';
import { loadBridge } from './bridge.ts';
import { installWheel, instructions, type SetupReport } from './install.ts';
import {
  cachedRoot,
  describe,
  environmentKey,
  type Libtorch,
  locate,
  locateSystem,
  type Places,
  pythonTorch,
  stamp,
} from './locate.ts';
import type { Native } from './native.ts';
import { aptInstall } from './run.ts';

/** A libtorch with the bridge to it loaded. */
export interface Loaded {
  readonly native: Native;
  readonly libtorch: Libtorch;
}

/** The choice made last time, and what it depended on. */
interface Choice {
  readonly key: string;
  readonly folders: readonly string[];
  readonly libtorch: Libtorch;
}

const choicePath = () => cacheFolder('engine.json');

/**
 * Finds libtorch, or sets it up, and loads the bridge: LIBTORCH, the active Python's torch, our cache, the official
 * wheel, the system's libtorch, apt-get. The next start takes the same one again without searching, as long as the
 * environment is the same.
 * @param setup whether anything may be downloaded or installed
 * @throws UserError E_NO_SETUP (there is none and `setup` is false), E_LIBTORCH, E_LIBTORCH_SETUP, or of the bridge
 */
export async function loadLibtorch(setup: boolean, report: SetupReport, places = defaultPlaces()): Promise<Loaded> {
  const remembered = recall(places.env);
  if (remembered) return { native: await loadBridge(remembered, setup, report.say), libtorch: remembered };
  let folders: readonly string[] = [];
  const python = async () => {
    const answer = await places.python();
    folders = answer.folders;
    return answer;
  };
  const loaded = await firstThatLoads(candidates({ ...places, python }, setup, report), setup, report.say);
  if (!loaded) {
    throw new UserError('E_NO_SETUP', 'There is no libtorch (1.13 to 2.13) here, and setting one up was not allowed.', {
      fix: `Allow it (without --no-setup), or: ${instructions()}`,
    });
  }
  // Without leave to set anything up the system's may be second best: it is not held on to.
  if (!places.env.LIBTORCH && (setup || loaded.libtorch.kind !== 'system')) {
    remember({ key: environmentKey(places.env), folders: folders.map(stamp), libtorch: loaded.libtorch });
  }
  return loaded;
}

/** The usual places. */
export const defaultPlaces = (): Places => ({ env: process.env, root: '/', cached: cachedRoot(), python: pythonTorch });

/** Every libtorch that can be had, best first; asking for the next one may install it. */
export async function* candidates(places: Places, setup: boolean, report: SetupReport): AsyncGenerator<Libtorch> {
  yield* locate(places, report.say);
  if (places.env.LIBTORCH) return;
  let failed: unknown;
  if (setup) {
    try {
      yield await installWheel(report);
    } catch (error) {
      failed = error;
      report.say(messageOf(error));
    }
  }
  yield* locateSystem(places, report.say);
  if (!setup) return;
  // Debian only recommends OpenBLAS; the reference BLAS is 15 to 20 times slower in linear layers.
  if (await aptInstall(['libtorch-dev', 'libopenblas0'], report.say)) yield* locateSystem(places, report.say);
  if (failed) throw failed;
}

/** A libtorch that does not load (an incomplete CUDA installation, say) gives way to the next, unless it was asked for. */
async function firstThatLoads(
  found: AsyncIterable<Libtorch>,
  setup: boolean,
  say: (message: string) => void,
): Promise<Loaded | undefined> {
  for await (const libtorch of found) {
    try {
      return { native: await loadBridge(libtorch, setup, say), libtorch };
    } catch (error) {
      const final = libtorch.kind !== 'python' || (error instanceof UserError && error.code === 'E_NO_COMPILER');
      if (final) throw error;
      say(`${messageOf(error)} Looking for another.`);
    }
  }
  return undefined;
}

function recall(env: NodeJS.ProcessEnv): Libtorch | undefined {
  if (env.LIBTORCH) return undefined;
  try {
    const choice = JSON.parse(readFileSync(choicePath(), 'utf8')) as Choice;
    const same = choice.key === environmentKey(env) && choice.folders.every(folder => stamp(pathOf(folder)) === folder);
    const { root, kind, version } = choice.libtorch;
    const found = same ? describe(root, kind) : undefined;
    return found?.version === version ? found : undefined;
  } catch {
    return undefined; // none yet, or written by another version
  }
}

const pathOf = (stamped: string) => stamped.slice(0, stamped.lastIndexOf('@'));

function remember(choice: Choice): void {
  try {
    makeFolders(dirname(choicePath()));
    writeAtomic(choicePath(), JSON.stringify(choice));
  } catch {
    // A cache that cannot be written costs the next start a search, nothing else.
  }
}
