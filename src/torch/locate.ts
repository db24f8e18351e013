import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from '../util/cache.ts';
import { UserError } from '../util/errors.ts';
import type { LibtorchOrigin } from './torch.ts';

/** A libtorch that the bridge can be built against. */
export interface Libtorch extends LibtorchOrigin {
  /** `2.13.0` */
  readonly version: string;
  /** Folder of libtorch_cpu. */
  readonly lib: string;
  /** Folder that holds `ATen` and `torch`. */
  readonly include: string;
}

/** The version that is set up where none is found. */
export const pinnedVersion = '2.13.0';

/** Where an installation of {@link pinnedVersion} is kept. */
export const cachedRoot = (): string =>
  cacheFolder('libtorch', `${pinnedVersion}-cpu-${process.platform}-${process.arch}`);

/** Where to look; tests put their own folders here. */
export interface Places {
  readonly env: NodeJS.ProcessEnv;
  /** Folder that stands for `/`. */
  readonly root: string;
  readonly cached: string;
  readonly python: () => Promise<PythonTorch>;
}

/**
 * The libtorchs that are there already, best first: LIBTORCH alone where it is set, else the active Python's torch (it
 * may be a CUDA build) and our cache.
 * @param say told why something that was found is passed over
 * @throws UserError E_LIBTORCH when LIBTORCH is set and holds none that can be used
 */
export async function* locate(places: Places, say: (message: string) => void): AsyncGenerator<Libtorch> {
  if (places.env.LIBTORCH) {
    yield demanded(places.env.LIBTORCH);
    return;
  }
  const { root } = await places.python();
  yield* usable(root, 'python', say);
  yield* usable(places.cached, 'cache', say);
}

/** The system's own package (Debian's and Ubuntu's libtorch-dev), if there. */
export const locateSystem = (places: Pick<Places, 'root'>, say: (message: string) => void): Libtorch[] =>
  usable(join(places.root, 'usr'), 'system', say);

function demanded(root: string): Libtorch {
  const found = describe(root, 'LIBTORCH') ?? describe(join(root, 'torch'), 'LIBTORCH');
  const fix =
    "Give the folder that holds lib/ and include/ (an unzipped libtorch, or a Python's site-packages/torch), or unset LIBTORCH.";
  if (!found) throw new UserError('E_LIBTORCH', 'LIBTORCH names a folder without libtorch.', { where: root, fix });
  if (!supported(found.version)) {
    throw new UserError('E_LIBTORCH', `LIBTORCH names libtorch ${found.version}; 1.13 to 2.13 can be used.`, {
      where: root,
      fix,
    });
  }
  return found;
}

function usable(root: string | undefined, kind: Libtorch['kind'], say: (message: string) => void): Libtorch[] {
  const found = root === undefined ? undefined : describe(root, kind);
  if (!found) return [];
  if (supported(found.version)) return [found];
  say(`libtorch ${found.version} in ${root} is passed over: versions 1.13 to 2.13 can be used.`);
  return [];
}

/** Versions that the one source of the bridge is written for. */
export function supported(version: string): boolean {
  const [major, minor] = version.split('.').map(Number);
  return (major === 1 && minor === 13) || (major === 2 && minor <= 13);
}

/** What lies in a folder, or undefined when libraries, headers or version are missing. */
export function describe(root: string, kind: Libtorch['kind']): Libtorch | undefined {
  const include = join(root, 'include');
  const version = headerVersion(include);
  const lib = [join(root, 'lib'), ...triplets(join(root, 'lib')), join(root, 'lib64')].find(folder =>
    existsSync(join(folder, libraryName('torch_cpu'))),
  );
  return version && lib ? { root, kind, version, lib, include } : undefined;
}

/** `libtorch_cpu.so` or `.dylib` */
export const libraryName = (name: string): string => `lib${name}.${process.platform === 'darwin' ? 'dylib' : 'so'}`;

/** Debian's folders for one architecture, `/usr/lib/x86_64-linux-gnu`. */
function triplets(lib: string): string[] {
  return existsSync(lib)
    ? readdirSync(lib)
        .filter(name => /^[a-z0-9_]+-linux-gnu/.test(name))
        .map(name => join(lib, name))
    : [];
}

function headerVersion(include: string): string | undefined {
  for (const header of ['torch/headeronly/version.h', 'torch/csrc/api/include/torch/version.h']) {
    const path = join(include, header);
    if (!existsSync(path)) continue;
    const text = readFileSync(path, 'utf8');
    const parts = ['MAJOR', 'MINOR', 'PATCH'].map(part => new RegExp(`TORCH_VERSION_${part} (\\d+)`).exec(text)?.[1]);
    if (parts.every(part => part !== undefined)) return parts.join('.');
  }
  return undefined;
}

/** The first `python3` (or `python`) of the PATH. */
export function activePython(env: NodeJS.ProcessEnv = process.env): string | undefined {
  for (const name of ['python3', 'python']) {
    for (const folder of (env.PATH ?? '').split(delimiter)) {
      const path = join(folder, name);
      if (folder && existsSync(path)) return path;
    }
  }
  return undefined;
}

/** What the active Python says: where its torch lies, if it has one, and the folders it imports from. */
export interface PythonTorch {
  readonly root?: string;
  readonly folders: readonly string[];
}

/** Asks Python where its torch lies, which takes a fraction of the time of importing it. */
export async function pythonTorch(): Promise<PythonTorch> {
  const python = activePython();
  if (!python) return { folders: [] };
  const script = [
    'import sys',
    'sys.path = [p for p in sys.path if p]', // what happens to lie in the current folder is not asked
    'import importlib.util, json, os',
    'spec = importlib.util.find_spec("torch")',
    'root = list(spec.submodule_search_locations or []) if spec else []',
    'print(json.dumps([root[:1], [p for p in sys.path if os.path.isdir(p)]]))',
  ];
  try {
    const { stdout } = await promisify(execFile)(python, ['-c', script.join('\n')], { timeout: 30_000 });
    const [[root], folders] = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as [string[], string[]];
    return { root, folders };
  } catch {
    return { folders: [] }; // a Python that does not start has no torch to offer
  }
}

/** What the search depends on besides the folders of {@link PythonTorch}. */
export function environmentKey(env: NodeJS.ProcessEnv = process.env): string {
  const names = ['VIRTUAL_ENV', 'CONDA_PREFIX', 'PYENV_VERSION', 'PYTHONPATH', 'PYTHONHOME'];
  const python = activePython(env);
  return JSON.stringify([...names.map(name => env[name] ?? ''), python ? stamp(realpathSync(python)) : '']);
}

/** A path with the time of its last change: installing a package changes that of Python's folder. */
export const stamp = (path: string): string => `${path}@${existsSync(path) ? statSync(path).mtimeMs : 'none'}`;
