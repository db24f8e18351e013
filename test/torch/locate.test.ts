import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  describe as describeLibtorch,
  type Libtorch,
  locate,
  locateSystem,
  type Places,
  supported,
} from '../../src/torch/locate.ts';
import { candidates, loadLibtorch } from '../../src/torch/setup.ts';
import { UserError } from '../../src/util/errors.ts';
import { files, libtorchFiles, temporary } from './fake.ts';

const quiet = { say: () => {}, onProgress: () => {} };

/** Folders with a libtorch of the given version for each place that is named. */
function places(versions: { env?: string; python?: string; cache?: string; system?: string }): Places {
  const at = (version: string | undefined, root = temporary()) =>
    version === undefined ? root : files(root, libtorchFiles(version));
  const root = temporary();
  at(versions.system, join(root, 'usr'));
  const python = versions.python === undefined ? undefined : at(versions.python);
  return {
    env: versions.env === undefined ? {} : { LIBTORCH: at(versions.env) },
    root,
    cached: at(versions.cache),
    python: async () => ({ root: python, folders: [] }),
  };
}

async function all(found: AsyncIterable<Libtorch>): Promise<string[]> {
  const list: string[] = [];
  for await (const { kind, version } of found) list.push(`${kind} ${version}`);
  return list;
}

test('the order is LIBTORCH alone, else Python, cache, system', async () => {
  const everywhere = { python: '2.6.0', cache: '2.13.0', system: '1.13.0' };
  expect(await all(candidates(places({ env: '2.5.1', ...everywhere }), false, quiet))).toEqual(['LIBTORCH 2.5.1']);
  expect(await all(candidates(places(everywhere), false, quiet))).toEqual([
    'python 2.6.0',
    'cache 2.13.0',
    'system 1.13.0',
  ]);
  expect(await all(candidates(places({ system: '1.13.0' }), false, quiet))).toEqual(['system 1.13.0']);
  expect(await all(candidates(places({}), false, quiet))).toEqual([]);
});

test('versions from 1.13 to 2.13 are taken', () => {
  for (const version of ['1.13.0', '1.13.1', '2.0.0', '2.6.0', '2.13.9']) expect(supported(version)).toBe(true);
  for (const version of ['0.4.1', '1.12.1', '1.14.0', '2.14.0', '3.0.0']) expect(supported(version)).toBe(false);
});

test("a Python's torch of another version is passed over, and that is said", async () => {
  const said: string[] = [];
  const found = await all(locate(places({ python: '1.12.1', cache: '2.13.0' }), message => said.push(message)));
  expect(found).toEqual(['cache 2.13.0']);
  expect(said).toEqual([expect.stringMatching(/libtorch 1\.12\.1 in .* is passed over: versions 1\.13 to 2\.13/)]);
});

test('a LIBTORCH that cannot be used is an error, not a reason to look elsewhere', async () => {
  const other = places({ cache: '2.13.0' });
  const wrong = { ...other, env: { LIBTORCH: temporary() } };
  await expect(all(locate(wrong, () => {}))).rejects.toMatchObject({ code: 'E_LIBTORCH' });
  const old = places({ env: '1.5.0', cache: '2.13.0' });
  await expect(all(locate(old, () => {}))).rejects.toThrow(/LIBTORCH names libtorch 1\.5\.0; 1\.13 to 2\.13/);
});

test('LIBTORCH may name the folder above torch', async () => {
  const root = temporary();
  files(join(root, 'torch'), libtorchFiles('2.13.0'));
  const found = await all(locate({ ...places({}), env: { LIBTORCH: root } }, () => {}));
  expect(found).toEqual(['LIBTORCH 2.13.0']);
});

test('a folder without headers, or without the library, is none', () => {
  const { [Object.keys(libtorchFiles('2.13.0'))[0]]: _, ...headersOnly } = libtorchFiles('2.13.0');
  expect(describeLibtorch(files(temporary(), headersOnly), 'python')).toBeUndefined();
  const root = temporary();
  mkdirSync(join(root, 'lib'));
  expect(describeLibtorch(root, 'python')).toBeUndefined();
  expect(describeLibtorch(join(root, 'nowhere'), 'python')).toBeUndefined();
});

test("the system's library is found in Debian's folder for the architecture", () => {
  if (process.platform !== 'linux') return;
  const root = temporary();
  files(join(root, 'usr'), {
    'lib/aarch64-linux-gnu/libtorch_cpu.so': 'library',
    'include/torch/csrc/api/include/torch/version.h': Object.values(libtorchFiles('1.13.0'))[1],
  });
  expect(locateSystem({ root }, () => {})).toEqual([
    {
      root: join(root, 'usr'),
      kind: 'system',
      version: '1.13.0',
      lib: join(root, 'usr/lib/aarch64-linux-gnu'),
      include: join(root, 'usr/include'),
    },
  ]);
});

test('without leave to set anything up, none is an error that says what to type', async () => {
  const before = process.env.XDG_CACHE_HOME;
  process.env.XDG_CACHE_HOME = temporary();
  try {
    const error = await loadLibtorch(false, quiet, places({})).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(UserError);
    expect(error).toMatchObject({ code: 'E_NO_SETUP' });
    if (process.platform === 'linux')
      expect((error as UserError).fix).toMatch(/pip download .*torch==2\.13\.0.*LIBTORCH=/);
  } finally {
    if (before === undefined) delete process.env.XDG_CACHE_HOME;
    else process.env.XDG_CACHE_HOME = before;
  }
});
