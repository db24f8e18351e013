import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { runtimeVersion } from '../runtime/session.ts';
import type { Torch } from '../torch/index.ts';
import { cacheFolder } from '../util/cache.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { allowedThreads, type ThreadLimit } from '../util/threads.ts';

/** Something missing or slow: what, what it costs, and what to do. Three sentences. */
export interface Finding {
  readonly what: string;
  readonly cost: string;
  readonly fix: string;
}

/** What this machine has of what s2hpruner can use. null: not there, or not known. */
export interface Diagnosis {
  readonly node: { readonly version: string; readonly platform: string; readonly arch: string };
  /** npm packages that are optional. */
  readonly packages: readonly { readonly name: string; readonly version: string | null }[];
  readonly libtorch: { readonly version: string; readonly kind: string; readonly root: string } | null;
  readonly compiler: { readonly command: string; readonly version: string } | null;
  /** Speed of a 512 x 512 x 512 matrix product in float32; 1 multiply-accumulate is 2 FLOP. */
  readonly blas: { readonly gflops: number; readonly threads: number } | null;
  readonly threads: ThreadLimit;
  /** Vector extensions of the processor that matter: avx2, avx512f, avx512_bf16, amx_bf16. */
  readonly cpu: { readonly model: string; readonly features: readonly string[] };
  readonly device: 'cpu' | 'cuda' | null;
  readonly cache: { readonly folder: string; readonly bytes: number };
  readonly findings: readonly Finding[];
}

/** Looks around without installing or building anything. */
export async function diagnose(): Promise<Diagnosis> {
  const findings: Finding[] = [];
  const packages = [await onnxRuntime(findings), await sharp(findings)];
  const compiler = await findCompiler(findings);
  const torch = await openTorch(findings);
  const blas = torch && (await measureBlas(findings));
  return {
    node: { version: process.version, platform: process.platform, arch: process.arch },
    packages,
    libtorch: torch && { version: torch.version, kind: torch.libtorch.kind, root: torch.libtorch.root },
    compiler,
    blas,
    threads: allowedThreads(),
    cpu: processor(findings),
    device: torch?.device ?? null,
    cache: { folder: cacheFolder(), bytes: sizeOf(cacheFolder()) },
    findings,
  };
}

async function onnxRuntime(findings: Finding[]) {
  const name = 'onnxruntime-node';
  try {
    return { name, version: await runtimeVersion() };
  } catch (error) {
    findings.push(
      findingOf(error, {
        cost: 'Without it eval, verify and bench do not work, and a run cannot prove its result.',
        fix: 'Install it: npm install onnxruntime-node',
      }),
    );
    return { name, version: null };
  }
}

async function sharp(findings: Finding[]) {
  const name = 'sharp';
  try {
    const { default: library } = await import('sharp');
    return { name, version: library.versions.sharp ?? null };
  } catch (error) {
    findings.push({
      what: `The npm package sharp is missing or does not load (${messageOf(error).split('\n')[0]}).`,
      cost: 'Without it folders of images cannot be read; MNIST and CIFAR can.',
      fix: 'Install it: npm install sharp',
    });
    return { name, version: null };
  }
}

async function findCompiler(findings: Finding[]) {
  for (const command of [process.env.CXX, 'c++', 'g++', 'clang++']) {
    if (!command) continue;
    try {
      const { stdout } = await promisify(execFile)(command, ['--version']);
      return { command, version: stdout.split('\n')[0] };
    } catch {
      // not this one
    }
  }
  findings.push({
    what: 'There is no C++ compiler.',
    cost: 'The bridge to libtorch is built once with it; without it nothing can be trained.',
    fix: process.platform === 'darwin' ? 'Run: xcode-select --install' : 'On Debian and Ubuntu: apt-get install g++',
  });
  return null;
}

async function openTorch(findings: Finding[]): Promise<Torch | null> {
  try {
    const { openEngine } = await import('../torch/index.ts');
    return await openEngine({ setup: false });
  } catch (error) {
    findings.push(
      findingOf(error, {
        cost: 'Without libtorch and the bridge to it nothing can be trained; everything else works.',
        fix: 'prune and train set both up when they start.',
      }),
    );
    return null;
  }
}

function findingOf(error: unknown, { cost, fix }: { cost: string; fix: string }): Finding {
  if (!(error instanceof UserError)) return { what: messageOf(error), cost, fix };
  return { what: error.where ? `${error.what} (${error.where})` : error.what, cost, fix: error.fix ?? fix };
}

/** The best of ten products, after one to warm up, so that another process cannot make a good BLAS look bad. */
async function measureBlas(findings: Finding[]): Promise<Diagnosis['blas']> {
  const { openEngine } = await import('../torch/index.ts');
  const torch = await openEngine({ setup: false, device: 'cpu' });
  const n = 512;
  const seconds = torch.noGrad(() =>
    torch.scope(() => {
      const matrix = torch.tensor(
        Float32Array.from({ length: n * n }, (_, i) => (i % 7) - 3),
        [n, n],
      );
      const multiply = () => {
        const start = performance.now();
        torch.free(torch.op('mm')(matrix, matrix));
        return (performance.now() - start) / 1000;
      };
      multiply();
      return Math.min(...Array.from({ length: 10 }, multiply));
    }),
  );
  const gflops = Math.round((2 * n ** 3) / seconds / 1e9);
  if (gflops < referenceBlasGflops) findings.push(slowBlas);
  return { gflops, threads: torch.threads };
}

/** The reference BLAS reaches 8 GFLOP/s, every other one 40 and more with a single thread. */
const referenceBlasGflops = 20;

const slowBlas: Finding = {
  what: 'libtorch multiplies matrices slowly: this looks like the reference BLAS.',
  cost: 'Linear layers and transformers train up to 30 times slower than they could; convolutions do not.',
  fix: 'On Debian and Ubuntu: apt-get install libopenblas0-openmp, or unset LIBTORCH to use the libtorch that s2hpruner fetches.',
};

function processor(findings: Finding[]): Diagnosis['cpu'] {
  const model = cpus()[0]?.model ?? 'unknown';
  if (process.platform !== 'linux' || process.arch !== 'x64') return { model, features: [] };
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1].split(/\s+/));
  const features = ['avx2', 'avx512f', 'avx512_bf16', 'amx_bf16'].filter(flag => flags.has(flag));
  if (!features.includes('avx512f')) {
    const cost = 'Training takes up to three times as long as with it, and bfloat16 does not pay.';
    findings.push({ what: 'The processor has no AVX-512.', cost, fix: '' });
  }
  return { model, features };
}

/** Bytes of all files below a folder; 0 when there is none. */
function sizeOf(folder: string): number {
  if (!existsSync(folder)) return 0;
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
  return files.reduce(
    (sum, file) => sum + (statSync(join(file.parentPath, file.name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}
