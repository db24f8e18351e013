import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { installWheel, instructions, unpackWheel, wheels } from '../../src/torch/install.ts';
import { cachedRoot } from '../../src/torch/locate.ts';
import { child } from './child.ts';
import { files, libtorchFiles, temporary, zip } from './fake.ts';

const quiet = { say: () => {}, onProgress: () => {} };
const before = { cache: process.env.XDG_CACHE_HOME, path: process.env.PATH };
beforeEach(() => {
  process.env.XDG_CACHE_HOME = temporary();
});
afterEach(() => {
  if (before.cache === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before.cache;
  process.env.PATH = before.path;
});

/** A wheel of `torch` with what is needed and much that is not. */
const wheel = () =>
  zip({
    'torch/__init__.py': 'print("never")',
    'torch/version.py': "__version__ = '2.13.0+cpu'",
    ...Object.fromEntries(Object.entries(libtorchFiles('2.13.0')).map(([name, text]) => [`torch/${name}`, text])),
    'torch/share/cmake/Torch/TorchConfig.cmake': 'cmake',
    'torch/test/thing': 'x',
    'torch/bin/protoc': 'x',
    'functorch/__init__.py': '',
  });

test('only libraries, headers, cmake files and the version are unzipped, with progress', async () => {
  const folder = temporary();
  writeFileSync(join(folder, 'torch.whl'), wheel());
  const seen: [number, number | null][] = [];
  await unpackWheel(join(folder, 'torch.whl'), join(folder, 'torch'), {
    onProgress: ({ done, total }) => seen.push([done, total]),
  });
  expect(readdirSync(join(folder, 'torch')).sort()).toEqual(['include', 'lib', 'share', 'version.py']);
  expect(readFileSync(join(folder, 'torch/version.py'), 'utf8')).toBe("__version__ = '2.13.0+cpu'");
  const total = seen[0][1];
  expect(seen.at(-1)).toEqual([total, total]);
});

test('an archive that is cut off is an error', async () => {
  const folder = temporary();
  writeFileSync(join(folder, 'torch.whl'), wheel().subarray(0, 200));
  await expect(unpackWheel(join(folder, 'torch.whl'), join(folder, 'torch'), quiet)).rejects.toThrow();
});

test.runIf(process.platform === 'linux')(
  'a wheel that pip fetched with another SHA-256 is not used',
  async () => {
    // A python3 that answers as pip does and "downloads" our small wheel; no network is there to fall back on.
    const folder = temporary();
    writeFileSync(join(folder, 'fake.whl'), wheel());
    const script = `#!/bin/sh
case "$*" in
  *"pip download"*) while [ "$1" != "-d" ]; do shift; done; cp ${folder}/fake.whl "$2/torch-2.13.0.whl" ;;
esac
`;
    files(folder, { 'bin/python3': script });
    const { chmodSync } = await import('node:fs');
    chmodSync(join(folder, 'bin/python3'), 0o755);
    process.env.PATH = `${join(folder, 'bin')}:${process.env.PATH}`;
    const said: string[] = [];
    const realFetch = globalThis.fetch;
    globalThis.fetch = () => Promise.reject(new Error('offline'));
    try {
      const report = { say: (message: string) => said.push(message), onProgress: () => {} };
      if (process.arch === 'x64') {
        await expect(installWheel(report)).rejects.toMatchObject({ code: 'E_LIBTORCH_SETUP', fix: instructions() });
        expect(said.join('\n')).toMatch(/is not the official wheel, by its SHA-256/);
        expect(existsSync(cachedRoot())).toBe(false);
        // Nothing half-done stays behind.
        expect(readdirSync(join(cachedRoot(), '..'))).toEqual([]);
      } else {
        // Without a known sum, pip's own check against its index is what there is.
        expect(await installWheel(report)).toMatchObject({ kind: 'cache', version: '2.13.0' });
      }
    } finally {
      globalThis.fetch = realFetch;
    }
  },
  60_000,
);

test('what is there already is taken as it is', async () => {
  files(cachedRoot(), libtorchFiles('2.13.0'));
  expect(await installWheel(quiet)).toMatchObject({ root: cachedRoot(), kind: 'cache', version: '2.13.0' });
});

test('the pinned wheel of x86-64 is named by its SHA-256', () => {
  expect(wheels['linux-x64'].sha256).toMatch(/^[0-9a-f]{64}$/);
  expect(wheels['linux-x64'].url).toMatch(/^https:\/\/download\.pytorch\.org\/.*torch-2\.13\.0%2Bcpu-cp311/);
});

test('the lock lets one process in at a time, and takes over from one that was killed', async () => {
  const folder = temporary();
  writeFileSync(join(folder, 'count'), '0');
  // Left by a process number that no system gives out.
  const { hostname } = await import('node:os');
  writeFileSync(join(folder, 'lock'), JSON.stringify({ host: hostname(), pid: 2 ** 30 }));
  const runs = await Promise.all([1, 2, 3].map(() => child('lock', { S2H_TEST_FOLDER: folder })));
  for (const { ok, output } of runs) expect(ok, output).toBe(true);
  expect(readFileSync(join(folder, 'count'), 'utf8')).toBe('30');
  expect(existsSync(join(folder, 'lock'))).toBe(false);
});
