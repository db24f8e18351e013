import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  bytesOf,
  changeNode,
  DataType,
  elemTypeOf,
  floats,
  GraphBuilder,
  makeNode,
  type OnnxModel,
  type OnnxTensor,
  parseModel,
  readModel,
  shapeOf,
  tensorOf,
  valueInfo,
} from '../../src/onnx/index.ts';
import { encodeTyped } from '../../src/onnx/typed-fields.ts';
import { bytesField, integerField, join as joined, textField, walk, whole } from '../../src/onnx/wire.ts';
import { codeOf, encoded, fileOf, folder, run, smallNet } from './support.ts';

/** Cuts a file to half of its parameters, certified unless the runtime cannot run it. */
async function cutOf(path: string, ...more: string[]): Promise<OnnxModel> {
  const small = join(folder(), 'small.onnx');
  const told = await run('cut', path, '--params', '0.6', '-o', small, ...more);
  expect([told.err, codeOf(told), told.code]).toEqual([expect.anything(), '', 0]);
  return readModel(small);
}

const named = ({ graph }: OnnxModel, name: string): OnnxTensor =>
  graph.initializers.find(tensor => tensor.name === name)!;

/** The small net in another type of real numbers. */
function typed(elemType: number, storage: 'raw' | 'typed'): OnnxModel {
  const model = smallNet();
  const { graph } = model;
  return {
    ...model,
    graph: {
      ...graph,
      inputs: [valueInfo('X', elemType, ['N', 3, 8, 8])],
      outputs: [valueInfo('Y', elemType, ['N', 4])],
      initializers: graph.initializers.map(tensor => {
        const raw = tensorOf(tensor.name, [...floats(tensor)], tensor.dims, elemType);
        return storage === 'raw'
          ? raw
          : { ...raw, data: { storage: 'typed', fields: encodeTyped(elemType, bytesOf(raw)) } as const };
      }),
    },
  };
}

test.each([
  ['FLOAT', 'raw'],
  ['FLOAT', 'typed'],
  ['FLOAT16', 'raw'],
  ['FLOAT16', 'typed'],
  ['DOUBLE', 'raw'],
  ['DOUBLE', 'typed'],
  ['BFLOAT16', 'raw'],
  ['BFLOAT16', 'typed'],
] as const)('%s in %s fields stays what it is', async (type, storage) => {
  const model = typed(DataType[type], storage);
  // ONNX Runtime has no convolution of bfloat16, and none of double.
  const more = type === 'BFLOAT16' || type === 'DOUBLE' ? ['--no-verify'] : [];
  const cut = await cutOf(fileOf(model), ...more);
  const [before, after] = [named(parseModel(encoded(model)), 'w'), named(cut, 'w')];
  expect([after.dataType, after.data.storage]).toEqual([DataType[type], storage]);
  expect(after.dims[0]).toBeLessThan(8);
  expect(elemTypeOf(cut.graph.inputs[0])).toBe(DataType[type]);
  // Every row is one of the file's, bit for bit.
  const rows = (tensor: OnnxTensor) => {
    const bytes = Buffer.from(bytesOf(tensor));
    const size = bytes.length / tensor.dims[0];
    return Array.from({ length: tensor.dims[0] }, (_, i) => bytes.subarray(i * size, (i + 1) * size).toString('hex'));
  };
  const all = rows(before);
  for (const row of rows(after)) expect(all).toContain(row);
});

test.each(Array.from({ length: 20 }, (_, i) => i + 7))('opset %i', async opset => {
  const cut = await cutOf(fileOf(smallNet({}, opset, opset < 20 ? 8 : 10)));
  expect(cut.opsets).toEqual(new Map([['', opset]]));
});

test.each([3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13])('IR version %i', async irVersion => {
  const model = smallNet({}, 10, irVersion);
  const { graph } = model;
  const listed =
    irVersion < 4 ? graph.initializers.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims)) : [];
  const cut = await cutOf(fileOf({ ...model, graph: { ...graph, inputs: [...graph.inputs, ...listed] } }));
  expect(cut.irVersion).toBe(irVersion);
  expect(cut.graph.inputs.map(({ name }) => name)).toEqual(irVersion < 4 ? ['X', 'w', 'v', 'c'] : ['X']);
  // Declarations of what was cut follow.
  for (const info of cut.graph.inputs.slice(1)) expect(shapeOf(info)).toEqual(named(cut, info.name).dims);
});

test('names, metadata, dynamic axes, doc strings and unknown fields stay; the metadata say what was done', async () => {
  const unknown = (number: number) =>
    joined([...bytesField(number, [Buffer.from('kept as it is')]), integerField(number + 1, 7)]);
  const model = { ...smallNet(), metadata: new Map([['author', 'someone']]) };
  const nodes = model.graph.nodes.map((node, i) => changeNode(node, { name: `node ${i}` }));
  const bytes = encoded({ ...model, graph: { ...model.graph, nodes } });
  // An unknown field behind every tensor and node, one in the graph, one in the model.
  const file = { base: 0 };
  const grown = walk(bytes, file).map(field => {
    if (field.number !== 7) return whole(field);
    const inner = walk(field.bytes, file, field.start, field.end).map(part =>
      part.number === 1 || part.number === 5
        ? joined(bytesField(part.number, [part.bytes.subarray(part.start, part.end), unknown(2000)]))
        : whole(part),
    );
    return joined(bytesField(7, [...inner, textField(10, 'about the graph'), unknown(3000)]));
  });
  const path = fileOf(joined([...grown, textField(6, 'about the model'), unknown(4000)]));
  const cut = await cutOf(path);
  const text = Buffer.from(encoded(cut)).toString('latin1');
  const count = (part: string) => text.split(part).length - 1;
  expect(count('kept as it is')).toBe(nodes.length + 3 + 2);
  expect([count('about the graph'), count('about the model')]).toEqual([1, 1]);
  expect(cut.graph.nodes.map(({ name }) => name)).toEqual(nodes.map(({ name }) => name));
  expect(cut.graph.inputs.map(info => [info.name, shapeOf(info)])).toEqual([['X', ['N', 3, 8, 8]]]);
  expect(cut.graph.outputs.map(info => [info.name, shapeOf(info)])).toEqual([['Y', ['N', 4]]]);
  expect(cut.metadata.get('author')).toBe('someone');
  expect(JSON.parse(cut.metadata.get('s2h')!)).toMatchObject({
    role: 'cut',
    budget: { resource: 'params', value: 0.6 },
  });
});

test('weights in Constant nodes are cut there', async () => {
  const model = smallNet();
  const { graph } = model;
  const constants = graph.initializers.map(tensor => makeNode('Constant', [], [tensor.name], { value: tensor }));
  const cut = await cutOf(
    fileOf({ ...model, graph: { ...graph, nodes: [...constants, ...graph.nodes], initializers: [] } }),
  );
  expect(cut.graph.initializers).toEqual([]);
  expect(encoded(cut).length).toBeLessThan(encoded(model).length);
});

test('sparse weights are a wall', async () => {
  const g = new GraphBuilder({ name: 'sparse' });
  const x = g.input('X', ['N', 3]);
  g.output(
    g.node('MatMul', [
      g.node('Relu', [g.node('MatMul', [x, 'w'])]),
      g.initializer('v', new Float32Array(32).fill(0.5), [8, 4]),
    ]),
    ['N', 4],
  );
  const graph = walk(encoded(g.model()), { base: 0 });
  const dense = joined([
    integerField(1, 8),
    integerField(2, 1),
    textField(8, 'w'),
    ...bytesField(9, [new Uint8Array(Float32Array.of(5, 6, 7, 8, 9, 1, 2, 3).buffer)]),
  ]);
  const indices = joined([
    integerField(1, 8),
    integerField(2, 7),
    ...bytesField(9, [new Uint8Array(BigInt64Array.from([0, 3, 6, 9, 12, 15, 18, 23], BigInt).buffer)]),
  ]);
  const sparse = joined([
    ...bytesField(1, [dense]),
    ...bytesField(2, [indices]),
    integerField(3, 3),
    integerField(3, 8),
  ]);
  const bytes = joined(
    graph.map(field =>
      field.number === 7
        ? joined(bytesField(7, [field.bytes.subarray(field.start, field.end), ...bytesField(15, [sparse])]))
        : whole(field),
    ),
  );
  const told = await run('inspect', fileOf(bytes));
  expect(codeOf(told)).toBe('');
  expect(codeOf(await run('cut', fileOf(bytes), '--params', '0.5', '-o', join(folder(), 'x.onnx')))).toMatch(/^E_/);
});

/** Three convolutions with their weights outside, behind a prefix that nothing refers to. */
function threeConvs(at: string, prefix: number, shared: boolean): string {
  const g = new GraphBuilder({ name: 'three' });
  let value = g.input('X', ['N', 3, 8, 8]);
  const files = { folder: at, stamps: new Map() };
  const chunks: Uint8Array[] = [new Uint8Array(prefix).fill(7)];
  let end = prefix;
  const weight = (name: string, dims: number[], range: { offset: number } | null): string => {
    const size = dims.reduce((a, b) => a * b, 1);
    const offset = range?.offset ?? end;
    if (!range) {
      chunks.push(new Uint8Array(Float32Array.from({ length: size }, (_, i) => ((i * 7) % 5) - 2).buffer));
      end += 4 * size;
    }
    const entries = new Map(Object.entries({ location: 'weights.bin', offset: `${offset}`, length: `${4 * size}` }));
    return g.tensor({ name, dataType: 1, dims, data: { storage: 'external', entries, files, bytes: null }, rest: [] });
  };
  value = g.node('Relu', [g.node('Conv', [value, weight('w0', [8, 3, 1, 1], null)])]);
  const start = end;
  value = g.node('Relu', [g.node('Conv', [value, weight('w1', [8, 8, 1, 1], null)])]);
  // The same range once more; its rows reach the output, so only columns of it go.
  value = g.node('Conv', [value, weight('w2', [8, 8, 1, 1], shared ? { offset: start } : null)]);
  g.output(value, ['N', 8, 8, 8]);
  writeFileSync(join(at, 'weights.bin'), Buffer.concat(chunks));
  return fileOf(g.model(), 'model.onnx', at);
}

const cutInto = (path: string, out: string) => run('cut', path, '--params', '0.6', '-o', out);

test('B08 (a): cut twice to the same place gives the same bytes', async () => {
  const path = threeConvs(folder(), 0, false);
  const out = join(folder(), 'small.onnx');
  const contents = () => [readFileSync(out), readFileSync(`${out}.data`)].map(bytes => bytes.toString('hex'));
  expect(codeOf(await cutInto(path, out))).toBe('');
  const first = contents();
  expect(codeOf(await cutInto(path, out))).toBe('');
  expect(contents()).toEqual(first);
});

test('B08 (b): of a file that is half unreferenced only what is cut is written', async () => {
  const path = threeConvs(folder(), 2 ** 20, false);
  const out = join(folder(), 'small.onnx');
  expect(codeOf(await cutInto(path, out))).toBe('');
  const bytes = readModel(out).graph.initializers.reduce((sum, tensor) => sum + bytesOf(tensor).length, 0);
  expect(statSync(`${out}.data`).size).toBeLessThan(bytes + 3 * 64);
  expect(statSync(`${out}.data`).size).toBeGreaterThanOrEqual(bytes);
});

test('B08 (c): two initializers may share a range, of which the cut takes different parts', async () => {
  const path = threeConvs(folder(), 0, true);
  const out = join(folder(), 'small.onnx');
  expect(codeOf(await cutInto(path, out))).toBe('');
  const [w1, w2] = ['w1', 'w2'].map(name => named(readModel(out), name));
  expect(w1.dims[0]).toBe(w2.dims[1]);
  expect(w2.dims[0]).toBe(8);
  expect([w1, w2].map(tensor => tensor.data.storage)).toEqual(['external', 'external']);
});

test('B08 (d): the input is not overwritten, nor is its data', async () => {
  const at = folder();
  const path = threeConvs(at, 0, false);
  const before = readdirSync(at).map(name => readFileSync(join(at, name)).toString('hex'));
  expect(codeOf(await cutInto(path, path))).toBe('E_OVERWRITE');
  expect(codeOf(await cutInto(path, join(at, '.', 'model.onnx')))).toBe('E_OVERWRITE');
  expect(readdirSync(at).map(name => readFileSync(join(at, name)).toString('hex'))).toEqual(before);
});

test('external data in several files stay outside, in one file of our own', async () => {
  const at = folder();
  const model = smallNet();
  const files = { folder: at, stamps: new Map() };
  const initializers = model.graph.initializers.map((tensor, i) => {
    const location = i === 0 ? 'first.bin' : `sub/${i}.bin`;
    mkdirSync(join(at, 'sub'), { recursive: true });
    writeFileSync(join(at, location), bytesOf(tensor));
    return {
      ...tensor,
      data: { storage: 'external', entries: new Map([['location', location]]), files, bytes: null } as const,
    };
  });
  const path = fileOf({ ...model, graph: { ...model.graph, initializers } }, 'model.onnx', at);
  const out = join(folder(), 'small.onnx');
  const told = await cutInto(path, out);
  expect([told.err, codeOf(told)]).toEqual([expect.anything(), '']);
  const cut = readModel(out);
  expect(cut.graph.initializers.map(tensor => tensor.data.storage)).toEqual(['external', 'external', 'external']);
  expect(readdirSync(join(out, '..')).sort()).toEqual(['small.onnx', 'small.onnx.data']);
});
