import { createWriteStream, existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Entry } from 'yauzl';
import { cacheFolder } from '../util/cache.ts';
import { download } from '../util/download.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { makeFolders } from '../util/folders.ts';
import { sha256File } from '../util/hash.ts';
import { activePython, cachedRoot, describe, type Libtorch, pinnedVersion } from './locate.ts';
import { withLock } from './lock.ts';
import { lastLine, run } from './run.ts';

/** `done` and `total` in bytes; `total` is null while it is not known. */
export interface SetupProgress {
  readonly what: string;
  readonly done: number;
  readonly total: number | null;
}

export interface SetupReport {
  /** Told in one sentence what is done and why. */
  readonly say: (message: string) => void;
  readonly onProgress: (progress: SetupProgress) => void;
}

/** The official wheel for one kind of machine. */
export interface Wheel {
  /** For `pip download`. */
  readonly requirement: string;
  readonly pipPlatform: string;
  /** PyTorch's own index, for builds that are not on PyPI. */
  readonly index?: string;
  /** Where to fetch it without pip; only with the sum to check it by. */
  readonly url?: string;
  readonly sha256?: string;
}

const cpuIndex = 'https://download.pytorch.org/whl/cpu';

/** CPU builds of {@link pinnedVersion}: on PyPI for macOS, else on PyTorch's own index (PyPI's wheels need CUDA). */
export const wheels: Readonly<Record<string, Wheel>> = {
  'linux-x64': {
    requirement: `torch==${pinnedVersion}+cpu`,
    pipPlatform: 'manylinux_2_28_x86_64',
    index: cpuIndex,
    url: `${cpuIndex}/torch-${pinnedVersion}%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl`,
    sha256: '6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b',
  },
  'linux-arm64': { requirement: `torch==${pinnedVersion}+cpu`, pipPlatform: 'manylinux_2_28_aarch64', index: cpuIndex },
  'darwin-arm64': { requirement: `torch==${pinnedVersion}`, pipPlatform: 'macosx_14_0_arm64' },
};

export const wheelHere = (): Wheel | undefined => wheels[`${process.platform}-${process.arch}`];

const pipArguments = (wheel: Wheel, folder: string): string[] => [
  ...['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--disable-pip-version-check'],
  ...['--python-version', '3.11', '--implementation', 'cp', '--abi', 'cp311', '--platform', wheel.pipPlatform],
  ...(wheel.index ? ['--extra-index-url', wheel.index] : []),
  ...['-d', folder, wheel.requirement],
];

/** What to type, for someone who sets libtorch up by hand. */
export function instructions(): string {
  const wheel = wheelHere();
  if (!wheel) {
    return `There is no official build for ${process.platform} ${process.arch}: set LIBTORCH to the folder of one of your own.`;
  }
  const pip = ['python3', ...pipArguments(wheel, '.')].join(' ');
  const apt = process.platform === 'linux' ? '; or install the package libtorch-dev (Debian, Ubuntu)' : '';
  return (
    `On a machine with network: "${pip}", then here "unzip torch-${pinnedVersion}*.whl 'torch/*' -d libtorch" and ` +
    `LIBTORCH=$PWD/libtorch/torch; or activate a Python environment that has torch 1.13 to 2.13${apt}.`
  );
}

/**
 * Puts the pinned libtorch into the cache: the official wheel, fetched by pip (through the user's own mirrors) or over
 * https, and unzipped. No root, and no Python when it runs. Two processes may do this at once.
 * @throws UserError E_LIBTORCH_SETUP when no way worked
 */
export async function installWheel(report: SetupReport): Promise<Libtorch> {
  const root = cachedRoot();
  const waiting = () => report.say('Waiting for another process that is setting libtorch up.');
  return withLock(`${root}.lock`, waiting, async () => {
    const ready = describe(root, 'cache');
    if (ready) return ready;
    const wheel = wheelHere();
    if (!wheel) throw setupFailed(`There is no official libtorch for ${process.platform} ${process.arch}.`);
    clearLeftovers(root);
    const folder = mkdtempSync(`${root}.tmp-`);
    try {
      await unpackWheel(await fetchWheel(wheel, folder, report), join(folder, 'torch'), report);
      const unpacked = join(folder, 'torch');
      if (!describe(unpacked, 'cache')) throw setupFailed('The wheel holds no libtorch with headers.');
      renameSync(unpacked, root);
    } catch (error) {
      throw error instanceof UserError
        ? error
        : setupFailed(`libtorch could not be unpacked: ${messageOf(error)}.`, error);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    report.say(`libtorch ${pinnedVersion} is in ${root}.`);
    return describe(root, 'cache')!;
  });
}

/** What a killed installation left behind; only its holder of the lock comes here. */
function clearLeftovers(root: string): void {
  for (const name of readdirSync(dirname(root))) {
    const path = join(dirname(root), name);
    if (path === root || path.startsWith(`${root}.tmp-`)) rmSync(path, { recursive: true, force: true });
  }
}

async function fetchWheel(wheel: Wheel, folder: string, report: SetupReport): Promise<string> {
  const byPip = await pipDownload(wheel, folder, report);
  if (byPip) return byPip;
  try {
    const { url, sha256 } = await source(wheel);
    const path = cacheFolder('downloads', decodeURIComponent(url.slice(url.lastIndexOf('/') + 1)));
    report.say(`Fetching libtorch ${pinnedVersion} (CPU) from ${new URL(url).host}.`);
    if (!existsSync(path)) {
      const onProgress = (done: number, total: number | null) =>
        report.onProgress({ what: 'Download of libtorch', done, total });
      await download(url, path, { sha256, onProgress });
    }
    const moved = join(folder, 'torch.whl');
    renameSync(path, moved);
    return moved;
  } catch (error) {
    throw setupFailed(`libtorch could not be fetched: ${messageOf(error)}`, error);
  }
}

async function pipDownload(wheel: Wheel, folder: string, report: SetupReport): Promise<string | undefined> {
  const python = activePython();
  if (!python || !(await run(python, ['-m', 'pip', '--version'])).ok) return undefined;
  report.say(
    `Fetching libtorch ${pinnedVersion} (CPU, the official wheel, about 190 MB) with pip: none was found here.`,
  );
  const { ok, output } = await run(python, pipArguments(wheel, folder));
  const name = readdirSync(folder).find(file => file.endsWith('.whl'));
  if (!ok || !name) {
    report.say(`pip could not fetch it: ${lastLine(output)}`);
    return undefined;
  }
  const path = join(folder, name);
  // pip checks what its index tells; the sum that we know binds a mirror too.
  if (wheel.sha256 && (await sha256File(path)) !== wheel.sha256) {
    report.say(`What pip fetched (${name}) is not the official wheel, by its SHA-256: it is not used.`);
    return undefined;
  }
  return path;
}

/** Address and checksum of a wheel: known, or asked of PyPI. */
async function source(wheel: Wheel): Promise<{ url: string; sha256: string }> {
  if (wheel.url && wheel.sha256) return { url: wheel.url, sha256: wheel.sha256 };
  if (wheel.index) throw new Error('this platform needs a Python with pip for it');
  const response = await fetch(`https://pypi.org/pypi/torch/${pinnedVersion}/json`);
  if (!response.ok) throw new Error(`pypi.org answered with status ${response.status}`);
  const { urls } = (await response.json()) as {
    urls: { filename: string; url: string; digests: { sha256: string } }[];
  };
  const found = urls.find(file => file.filename.endsWith(`-cp311-cp311-${wheel.pipPlatform}.whl`));
  if (!found) throw new Error(`pypi.org has no wheel for ${wheel.pipPlatform}`);
  return { url: found.url, sha256: found.digests.sha256 };
}

/** What the engine needs of a wheel; the rest (Python code, tests, tools) is three times as many files. */
const isNeeded = (name: string): boolean =>
  /^torch\/(lib|include|share\/cmake)\/.*[^/]$|^torch\/version\.py$/.test(name) && !name.split('/').includes('..');

/** Unzips libraries, headers and cmake files of a wheel into `target`. */
export async function unpackWheel(
  path: string,
  target: string,
  { onProgress }: Pick<SetupReport, 'onProgress'>,
): Promise<void> {
  const { openPromise } = await import('yauzl'); // needed once in a machine's life
  const zip = await openPromise(path, { autoClose: false });
  const entries: Entry[] = [];
  for await (const entry of zip.eachEntry()) if (isNeeded(entry.fileName)) entries.push(entry);
  const total = entries.reduce((sum, entry) => sum + entry.uncompressedSize, 0);
  let done = 0;
  async function* counted(chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      yield chunk;
      onProgress({ what: 'Unpacking libtorch', done: (done += chunk.length), total });
    }
  }
  try {
    for (const entry of entries) {
      const file = join(target, entry.fileName.slice('torch/'.length));
      makeFolders(dirname(file));
      await pipeline(await zip.openReadStreamPromise(entry), counted, createWriteStream(file));
    }
  } finally {
    zip.close();
  }
}

const setupFailed = (what: string, cause?: unknown) =>
  new UserError('E_LIBTORCH_SETUP', what, { fix: instructions(), cause });
