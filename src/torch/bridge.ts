import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '../util/cache.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { makeFolders } from '../util/folders.ts';
import { type Libtorch, libraryName } from './locate.ts';
import { withLock } from './lock.ts';
import type { Native } from './native.ts';
import { aptInstall, run } from './run.ts';

const require = createRequire(import.meta.url);
const sources = fileURLToPath(new URL('../../native/', import.meta.url));

/** One compiler call that makes the bridge, without the compiler's name and the output file. */
export function compilerArguments({ root, include, lib }: Libtorch): string[] {
  const { include_dir: nodeHeaders } = require('node-api-headers') as { include_dir: string };
  const mac = process.platform === 'darwin';
  const cuda = existsSync(join(lib, libraryName('torch_cuda')));
  return [
    ...[
      '-std=c++20',
      '-O3',
      // Two places that work out the same number have to come to the same one.
      '-ffp-contract=off',
      '-fno-trapping-math',
      '-fPIC',
      '-fvisibility=hidden',
      '-w',
      '-DNAPI_VERSION=8',
      `-D_GLIBCXX_USE_CXX11_ABI=${abi(root, lib)}`,
    ],
    ...(mac ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared']),
    ...[nodeHeaders, include, join(include, 'torch/csrc/api/include')].map(folder => `-I${folder}`),
    join(sources, 'addon.cc'),
    join(sources, 'batch_norm_relu.cc'),
    ...[`-L${lib}`, `-Wl,-rpath,${lib}`, '-ltorch_cpu', '-lc10'],
    // Nothing here names a symbol of the CUDA library: it registers its operators when it is loaded.
    ...(cuda ? ['-Wl,--no-as-needed', '-ltorch_cuda', '-lc10_cuda'] : []),
  ];
}

/** Which string layout libtorch was compiled with (libstdc++'s old one in CPU wheels before 2.7). */
function abi(root: string, lib: string): string {
  const folders = [join(root, 'share/cmake/Torch'), join(lib, 'cmake/Torch'), join(root, 'lib/cmake/Torch')];
  const config = folders.map(folder => join(folder, 'TorchConfig.cmake')).find(existsSync);
  return (config && /_GLIBCXX_USE_CXX11_ABI=(\d)/.exec(readFileSync(config, 'utf8'))?.[1]) || '1';
}

/** Where the bridge for this libtorch is kept: named by everything that goes into it. */
function bridgePath(libtorch: Libtorch, args: readonly string[]): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(sources).sort()) hash.update(name).update(readFileSync(join(sources, name)));
  const { size, mtimeMs } = statSync(join(libtorch.lib, libraryName('torch_cpu')));
  // Where this checkout lies makes no difference.
  const general = args.filter(arg => !arg.startsWith(sources) && !arg.includes('node-api-headers'));
  hash.update(JSON.stringify([libtorch.version, size, mtimeMs, process.platform, process.arch, general]));
  return cacheFolder('bridge', hash.digest('hex').slice(0, 32), 'bridge.node');
}

/**
 * The addon for a libtorch, compiled once (about half a minute and 0.9 GB) and kept in the cache.
 * @param setup whether a missing compiler may be installed
 * @throws UserError E_NO_COMPILER, E_BRIDGE_BUILD (with the compiler's first error), E_BRIDGE_LOAD
 */
export async function loadBridge(libtorch: Libtorch, setup: boolean, say: (message: string) => void): Promise<Native> {
  const args = compilerArguments(libtorch);
  const path = bridgePath(libtorch, args);
  if (!existsSync(path)) {
    await withLock(
      `${dirname(path)}.lock`,
      () => say('Waiting for another process that is compiling the bridge.'),
      async () => {
        if (!existsSync(path)) await compile(libtorch, args, path, setup, say);
      },
    );
  }
  // libgomp reads them once, when it is loaded. Its default spins so long that a busy machine is many times slower; not
  // at all costs a free one a tenth (docs/performance.md).
  if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= '10000';
  process.env.OMP_WAIT_POLICY ??= 'passive';
  try {
    return require(path) as Native;
  } catch (error) {
    throw new UserError('E_BRIDGE_LOAD', `libtorch ${libtorch.version} could not be loaded: ${messageOf(error)}.`, {
      where: libtorch.root,
      fix: `Choose another libtorch (LIBTORCH), or remove ${dirname(path)} to have the bridge compiled anew.`,
      cause: error,
    });
  }
}

async function compile(
  libtorch: Libtorch,
  args: readonly string[],
  path: string,
  setup: boolean,
  say: (message: string) => void,
): Promise<void> {
  const compiler = await findCompiler(setup, say);
  say(`Compiling the bridge to libtorch ${libtorch.version}, once (about half a minute).`);
  makeFolders(dirname(path));
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    const { ok, output } = await run(compiler, [...args, '-o', temporary]);
    if (!ok) {
      const first = /^.*\b(?:fatal )?error: .*$/m.exec(output)?.[0] ?? output.trim().split('\n').at(-1) ?? '';
      throw new UserError('E_BRIDGE_BUILD', `The bridge to libtorch ${libtorch.version} did not compile: ${first}.`, {
        where: libtorch.root,
        fix: `The compiler was ${compiler}; g++ 11 or later, or clang 14 or later, is needed (CXX chooses one).`,
        cause: new Error(output.slice(0, 20_000)),
      });
    }
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

async function findCompiler(setup: boolean, say: (message: string) => void): Promise<string> {
  const search = async () => {
    for (const name of [process.env.CXX, 'g++', 'clang++', 'c++']) {
      if (name && (await run(name, ['--version'])).ok) return name;
    }
    return undefined;
  };
  const found = (await search()) ?? (setup && (await aptInstall(['g++'], say)) ? await search() : undefined);
  if (found) return found;
  const install =
    process.platform === 'darwin' ? 'xcode-select --install' : "apt-get install g++ (or your system's C++ compiler)";
  throw new UserError(
    'E_NO_COMPILER',
    'There is no C++ compiler, which the bridge to libtorch is compiled with once.',
    {
      fix: `Install one: ${install}.`,
    },
  );
}
