import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test as everywhere, expect } from 'vitest';
import { DataType, GraphBuilder, type OnnxModel, type OnnxTensor, tensorOf } from '../../src/onnx/index.ts';
import { encodeTyped } from '../../src/onnx/typed-fields.ts';
import { bytesField, integerField, join as joined } from '../../src/onnx/wire.ts';
import { codeOf, fileOf, folder, run, smallNet } from './support.ts';

// Only Linux tells a process its peak, and from when.
const test = everywhere.skipIf(process.platform !== 'linux');

/** Memory of this process by the kernel's word, in bytes. */
const memory = (key: 'VmRSS' | 'VmHWM'): number =>
  1024 * Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** How far the memory of this process grows while something is done. */
async function growth(work: () => Promise<void>): Promise<number> {
  collect();
  // The kernel starts its high-water mark anew.
  writeFileSync('/proc/self/clear_refs', '5');
  const before = memory('VmRSS');
  await work();
  return memory('VmHWM') - before;
}

// First, while nothing that was freed can be used again.
test('the measure sees what is allocated', async () => {
  const grown = await growth(async () => {
    expect(Buffer.alloc(2 ** 27, 1).length).toBe(2 ** 27);
  });
  expect(grown).toBeGreaterThan(2 ** 25);
  expect(grown).toBeLessThan(2 ** 29);
});

const withTensor = (tensor: OnnxTensor): OnnxModel => {
  const model = smallNet();
  return { ...model, graph: { ...model.graph, initializers: [...model.graph.initializers, tensor] } };
};

/** `repeats` copies of a few bytes as a field of a graph. */
function repeated(number: number, part: Uint8Array, repeats: number): Uint8Array {
  const field = joined(bytesField(number, [part]));
  const body = new Uint8Array(field.length * repeats);
  for (let i = 0; i < repeats; i++) body.set(field, i * field.length);
  return joined([integerField(1, 8), ...bytesField(8, [integerField(2, 17)]), ...bytesField(7, [body])]);
}

/** A chain of Relu nodes on an input with a claimed length. */
function chain(nodes: number, length: number): OnnxModel {
  const g = new GraphBuilder({ name: 'chain' });
  let value = g.input('X', ['N', 3, length, 8]);
  for (let i = 0; i < nodes; i++)
    value = i % 2 ? g.node('Transpose', [value], { perm: [0, 1, 3, 2] }) : g.node('Relu', [value]);
  g.output(value);
  return g.model();
}

const million = 2 ** 20;
const small = new Uint8Array(4 * million).map((_, i) => i % 100);

test.each<[string, () => OnnxModel | Uint8Array]>([
  ['a length of a billion', () => chain(10, 2 ** 30)],
  ['a thousand axes of a million', () => chain(1000, million)],
  [
    'eight million small numbers, one to a byte',
    () =>
      withTensor({
        ...tensorOf('t', small, [4 * million], DataType.INT8),
        data: { storage: 'typed', fields: encodeTyped(DataType.INT8, small) },
      }),
  ],
  [
    'three million numbers that are a field each',
    () =>
      withTensor({
        ...tensorOf('t', new Float32Array(million), [million]),
        data: { storage: 'typed', fields: [single(million)] },
      }),
  ],
  ['millions of empty nodes', () => repeated(1, new Uint8Array(0), 2 * million)],
  ['millions of empty values', () => repeated(13, new Uint8Array(0), 2 * million)],
  ['millions of unknown fields', () => repeated(2000, new Uint8Array(0), 2 * million)],
  ['raw weights of 100 MB', () => withTensor(tensorOf('t', new Float32Array(25 * million), [25, million]))],
])('%s: inspect and cut take less than three times the file and 200 MB', async (_, make) => {
  const path = fileOf(make());
  const size = statSync(path).size;
  for (const argv of [
    ['inspect', path],
    ['cut', path, '--params', '0.9', '-o', join(folder(), 'small.onnx'), '--no-verify'],
  ]) {
    const grown = await growth(async () => {
      codeOf(await run(...argv));
    });

    expect(grown).toBeLessThan(3 * size + 200e6);
  }
});

/** Float elements that are fields of their own, as encoders wrote them that did not know packed ones. */
function single(count: number): Uint8Array {
  const bytes = new Uint8Array(5 * count);
  for (let i = 0; i < count; i++) bytes[5 * i] = 4 * 8 + 5;
  return bytes;
}
