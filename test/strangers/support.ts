import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect } from 'vitest';
import { runCommandLine } from '../../src/cli/execute.ts';
import { commands } from '../../src/commands/index.ts';
import { buildGraph } from '../../src/graph/graph.ts';
import { encodeModel, GraphBuilder, type OnnxModel } from '../../src/onnx/index.ts';
import { join as joined } from '../../src/onnx/wire.ts';
import { operators } from '../../src/ops/index.ts';
import { costOf } from '../../src/prune/cost.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { type Coupling, coupleGraph } from '../../src/prune/groups.ts';
import { planOf } from '../../src/prune/plan.ts';
import { wallsOf } from '../../src/prune/walls.ts';
import { zeroConsumers } from '../../src/prune/zeroed.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { UserError } from '../../src/util/errors.ts';
import { stream } from '../../src/util/random.ts';

const base = mkdtempSync(join(tmpdir(), 's2h-strangers-'));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let count = 0;

/** A folder of its own, gone after the tests of the file. */
export function folder(): string {
  const path = join(base, String(count++));
  mkdirSync(path);
  return path;
}

/** A model as the bytes of a file. */
export const encoded = (model: OnnxModel): Uint8Array => joined(encodeModel(model));

/** Writes a model, or bytes, as they are, into a folder of its own. */
export function fileOf(content: OnnxModel | Uint8Array, name = 'model.onnx', into = folder()): string {
  const path = join(into, name);
  writeFileSync(path, content instanceof Uint8Array ? content : encoded(content));
  return path;
}

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A command line, run here. */
export async function run(...argv: string[]): Promise<Outcome> {
  const seen = { out: '', err: '' };
  const code = await runCommandLine(
    argv,
    commands,
    { name: 's2h', version: '0' },
    {
      out: text => {
        seen.out += text;
      },
      err: text => {
        seen.err += text;
      },
      isTerminal: false,
      columns: 100,
      color: false,
      now: Date.now,
      onInterrupt: () => {},
      exit: () => {},
    },
  );
  return { code, ...seen };
}

/** The code of the error that was told, '' without one; asserts that nothing was told in a way that it should not be. */
export function codeOf({ code, out, err }: Outcome): string {
  expect(err).not.toMatch(/internal error|\n\s+at /);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  expect(out + err).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  const told = /error\[(E_[A-Z_]+)\]/.exec(err)?.[1] ?? '';
  expect([0, 1, 2]).toContain(code);
  if (told) expect(code).not.toBe(0);
  return told;
}

/** What the five commands that take a stranger's file say of one: the codes of their errors. */
export async function codesOf(path: string, cut = 'a cut'): Promise<Record<string, string>> {
  const small = join(folder(), `${cut}.onnx`);
  const plan = `${small}.json`;
  writeFileSync(plan, '{"format":"s2h-plan/1","graph":"","groups":[]}');
  return {
    inspect: codeOf(await run('inspect', path)),
    cut: codeOf(await run('cut', path, '--params', '0.7', '-o', small)),
    verify: codeOf(await run('verify', path, path, '--plan', plan)),
    eval: codeOf(await run('eval', path, '--data', 'synthetic:classes=4,size=8,train=16,validation=8,test=8')),
    bench: codeOf(await run('bench', path, '--batch', '1', '--threads', '1', '--seconds', '0.01')),
  };
}

/** Everything that is done with a graph before it runs. A UserError is an answer, anything else is thrown. */
export function analyse(read: () => OnnxModel): string {
  try {
    const coupling = couplingOf(read());
    wallsOf(coupling);
    const full = coupling.groups.map(group => group.size);
    for (const resource of ['macs', 'params', 'size'] as const) costOf(coupling, resource).at(full);
    const kept = everySecond(coupling);
    encodeModel(cutModel(coupling, kept));
    planOf(coupling, kept);
    encodeModel(zeroConsumers(coupling, kept));
    return '';
  } catch (error) {
    if (error instanceof UserError) return error.code;
    throw error;
  }
}

export const couplingOf = (model: OnnxModel): Coupling => coupleGraph(buildGraph(unshare(model, operators), operators));

/** Channels 0, 2, 4 … of every group. */
export const everySecond = ({ groups }: Coupling): number[][] =>
  groups.map(({ size }) => Array.from({ length: size }, (_, i) => i).filter(i => i % 2 === 0));

type Packed = Record<string, { readonly model: string }>;

/** Models of the ONNX project by name. */
export function conformanceModels(): [string, Uint8Array][] {
  const file = readFileSync(new URL('../data/conformance/cases.json.gz', import.meta.url));
  const packed: Packed = JSON.parse(gunzipSync(file).toString());
  return Object.entries(packed).map(([name, { model }]) => [name, new Uint8Array(Buffer.from(model, 'base64'))]);
}

/** Normal numbers. */
export function normal(name: string, length: number): Float32Array {
  const random = stream(0, 'strangers', name);
  return Float32Array.from({ length }, () => random.normal() * 0.3);
}

/** What the names in the small network are. */
export interface Names {
  readonly input?: string;
  readonly weight?: string;
  readonly hidden?: string;
  readonly node?: string;
  readonly output?: string;
}

/** X [N, 3, 8, 8] > Conv 3>8 > Relu > GlobalAveragePool > Flatten > Gemm 8>4. */
export function smallNet(names: Names = {}, opset = 17, irVersion = 8): OnnxModel {
  const { input = 'X', weight = 'w', hidden = 'h', node = 'first', output = 'Y' } = names;
  const g = new GraphBuilder({ name: 'small', opset, irVersion });
  const x = g.input(input, ['N', 3, 8, 8]);
  const w = g.initializer(weight, normal('w', 8 * 27), [8, 3, 3, 3]);
  g.node('Conv', [x, w], { pads: [1, 1, 1, 1] }, { output: hidden, name: node });
  const pooled = g.node('GlobalAveragePool', [g.node('Relu', [hidden])]);
  const v = g.initializer('v', normal('v', 32), [4, 8]);
  const c = g.initializer('c', normal('c', 4), [4]);
  g.node('Gemm', [g.node('Flatten', [pooled]), v, c], { transB: 1 }, { output });
  g.output(output, ['N', 4]);
  return g.model();
}
