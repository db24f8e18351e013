import {
  closeSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { bytesOf, GraphBuilder, readModel } from '../../src/onnx/index.ts';
import { codeOf, fileOf, folder, run } from './support.ts';

const gib = 2 ** 30;
const disk = statfsSync(tmpdir());
// What is cut is not sparse any more: a quarter of a gibibyte is written.
const hasRoom = process.platform === 'linux' && disk.bavail * disk.bsize > 2 * gib;

const rows = 64;
const shape = [64, 384, 384];
const columns = 64 * 384 * 384;

/** X [N, 64, 384, 384] > Conv to [N, 64, 1, 1] > Relu > Conv to 4. The first weight has 2.25 GiB, nearly all of it holes. */
function sparseFile(): string {
  const at = folder();
  const files = { folder: at, stamps: new Map() };
  const g = new GraphBuilder({ name: 'large' });
  const weight = (name: string, dims: number[], offset: number): string => {
    const length = 4 * dims.reduce((a, b) => a * b, 1);
    const entries = new Map(Object.entries({ location: 'weights.bin', offset: `${offset}`, length: `${length}` }));
    return g.tensor({ name, dataType: 1, dims, data: { storage: 'external', entries, files, bytes: null }, rest: [] });
  };
  const x = g.input('X', ['N', ...shape]);
  const h = g.node('Relu', [g.node('Conv', [x, weight('w', [rows, ...shape], 0)])]);
  g.output(g.node('Conv', [h, weight('v', [4, rows, 1, 1], 4 * rows * columns)]), ['N', 4, 1, 1]);
  const file = openSync(join(at, 'weights.bin'), 'w');
  ftruncateSync(file, 4 * rows * columns + 4 * 4 * rows);
  const put = (value: number, element: number) =>
    writeSync(file, new Uint8Array(Float32Array.of(value).buffer), 0, 4, 4 * element);
  // Row i of the first weight ends in i, and so does column i of the second.
  for (let i = 0; i < rows; i++) {
    put(i, (i + 1) * columns - 1);
    for (let o = 0; o < 4; o++) put(i, rows * columns + o * rows + i);
  }
  closeSync(file);
  return fileOf(g.model(), 'model.onnx', at);
}

const resident = (key: string) =>
  1024 * Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]);

test.skipIf(!hasRoom)('weights of more than 2 GiB are cut and written without ever being in memory', async () => {
  const path = sparseFile();
  const [small, plan] = ['small.onnx', 'plan.json'].map(name => join(folder(), name));
  writeFileSync('/proc/self/clear_refs', '5');
  const before = resident('VmRSS');
  expect(codeOf(await run('inspect', path))).toBe('');
  expect(
    codeOf(
      await run('cut', path, '--params', '0.12', '--criterion', 'random', '-o', small, '--plan', plan, '--no-verify'),
    ),
  ).toBe('');
  expect(resident('VmHWM') - before).toBeLessThan(250e6);

  const [{ kept }] = JSON.parse(readFileSync(plan, 'utf8')).groups as { kept: number[] }[];
  const [w, v] = readModel(small).graph.initializers;
  expect([w.dims, v.dims]).toEqual([
    [kept.length, ...shape],
    [4, kept.length, 1, 1],
  ]);
  expect([...new Float32Array(bytesOf(v).slice().buffer)]).toEqual([...kept, ...kept, ...kept, ...kept]);
  expect(statSync(`${small}.data`).size).toBeLessThan(4 * kept.length * columns + 8192);
  const bytes = bytesOf(w);
  const last = new DataView(bytes.buffer, bytes.byteOffset);
  expect(kept.map((_, i) => last.getFloat32(4 * ((i + 1) * columns - 1), true))).toEqual(kept);
  expect(readdirSync(dirname(small)).sort()).toEqual(['small.onnx', 'small.onnx.data']);
});
