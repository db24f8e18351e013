import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join as joinPath } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  attributesOf,
  bytesOf,
  floats,
  GraphBuilder,
  gatherAxes,
  makeNode,
  type OnnxModel,
  type OnnxTensor,
  parseModel,
  protoFromTensor,
  readModel,
  tensorOf,
  writeModel,
} from '../../src/onnx/index.ts';
import { codeOf, encoded, ramp, temporaryFolder, threeConvs } from './support.ts';

const folder = temporaryFolder();
let number = 0;
/** A path in a folder of its own. */
const place = (name = 'model.onnx') => {
  const own = joinPath(folder, String(number++));
  mkdirSync(own);
  return joinPath(own, name);
};
const withInitializers = (model: OnnxModel, change: (tensor: OnnxTensor) => OnnxTensor): OnnxModel => ({
  ...model,
  graph: { ...model.graph, initializers: model.graph.initializers.map(change) },
});
const weights = (model: OnnxModel) =>
  model.graph.initializers.map(tensor => [tensor.name, tensor.dims, [...floats(tensor)]]);
const entriesOf = (tensor: OnnxTensor) =>
  tensor.data.storage === 'external' ? tensor.data.entries : new Map<string, string>();

/** A file whose weights lie outside, as another program might have written it. */
function foreign(
  path: string,
  layout: (
    index: number,
    bytes: Uint8Array,
  ) => { location?: string; offset?: string; length?: string; more?: [string, string][] },
  data: (contents: Uint8Array[]) => Uint8Array | null,
): OnnxModel {
  const model = threeConvs();
  const contents = model.graph.initializers.map(bytesOf);
  const files = { folder: '', stamps: new Map() };
  let index = 0;
  const moved = withInitializers(model, tensor => {
    const { location = 'weights.bin', offset, length, more = [] } = layout(index, contents[index]);
    index++;
    const entries = new Map([['location', location], ...more]);
    if (offset !== undefined) entries.set('offset', offset);
    if (length !== undefined) entries.set('length', length);
    return { ...tensor, data: { storage: 'external', entries, files, bytes: null } };
  });
  writeFileSync(path, encoded(moved));
  const bytes = data(contents);
  if (bytes) writeFileSync(joinPath(path, '..', 'weights.bin'), bytes);
  return model;
}

/** Offsets of contents that lie one after the other behind a prefix. */
const sequence = (prefix: number) => {
  let at = prefix;
  return (_: number, bytes: Uint8Array) => {
    const offset = String(at);
    at += bytes.length;
    return { offset, length: String(bytes.length) };
  };
};
const behind = (prefix: number) => (contents: Uint8Array[]) =>
  Buffer.concat([new Uint8Array(prefix).fill(7), ...contents]);

describe('external data', () => {
  it('is read from ranges, with or without offset and length', () => {
    const path = place();
    const original = foreign(path, sequence(0), behind(0));
    expect(weights(readModel(path))).toEqual(weights(original));
    const single = place();
    const lone = foreign(
      single,
      i => (i === 0 ? {} : { location: `other${i}.bin` }),
      contents => contents[0],
    );
    expect(floats(readModel(single).graph.initializers[0])).toEqual(floats(lone.graph.initializers[0]));
  });

  it('stays outside when written, only referenced bytes, aligned, in one file beside the model', () => {
    const [path, out] = [place(), place('out.onnx')];
    const original = foreign(path, sequence(2 ** 20), behind(2 ** 20));
    const files = writeModel(readModel(path), out);
    expect(files.map(file => basename(file))).toEqual(['out.onnx', 'out.onnx.data']);
    const again = readModel(out);
    expect(weights(again)).toEqual(weights(original));
    const entries = again.graph.initializers.map(entriesOf);
    expect(new Set(entries.map(e => e.get('location')))).toEqual(new Set(['out.onnx.data']));
    expect(entries.map(e => Number(e.get('offset')) % 64)).toEqual(entries.map(() => 0));
    const last = entries[entries.length - 1];
    expect(readFileSync(`${out}.data`).length).toBe(Number(last.get('offset')) + Number(last.get('length')));
    expect(readFileSync(`${out}.data`).length).toBeLessThan(2 ** 14);
  });

  it('gives the same bytes when written twice, and over the file it came from', () => {
    const [path, out] = [place('a.onnx'), place('a.onnx')];
    foreign(path, sequence(100), behind(100));
    const cut = (model: OnnxModel) =>
      withInitializers(model, t => (t.name === 'w1' ? gatherAxes(t, new Map([[1, [0, 5]]])) : t));
    const expected = weights(cut(readModel(path)));
    const contents = () => [readFileSync(out), readFileSync(`${out}.data`)];
    writeModel(cut(readModel(path)), out);
    const first = contents();
    writeModel(cut(readModel(path)), out);
    expect(contents()).toEqual(first);
    writeModel(cut(readModel(path)), path);
    expect([readFileSync(path), readFileSync(`${path}.data`)]).toEqual(first);
    writeModel(readModel(out), out);
    expect(contents()).toEqual(first);
    expect(weights(readModel(out))).toEqual(expected);
  });

  it('serves two tensors from one range, also when only one of them is cut', () => {
    const [path, out] = [place(), place()];
    const range = (i: number, bytes: Uint8Array) => ({ offset: String(3000 * i), length: String(bytes.length) });
    foreign(path, range, () => new Uint8Array(Float32Array.from({ length: 4096 }, (_, i) => i % 97).buffer));
    const model = readModel(path);
    const [w0, , w1] = model.graph.initializers;
    const twin = { ...w0, name: 'twin' };
    const cut = gatherAxes(w0, new Map([[0, [6, 1]]]));
    const changed = { ...model, graph: { ...model.graph, initializers: [cut, twin, w1, { ...w1, name: 'w1b' }] } };
    writeModel(changed, out);
    const again = readModel(out).graph.initializers;
    expect(again.map(t => [...floats(t)])).toEqual([cut, w0, w1, w1].map(t => [...floats(t)]));
    expect(entriesOf(again[2])).toEqual(entriesOf(again[3]));
  });

  it('keeps a checksum with the bytes it belongs to, and drops it with others', () => {
    const [path, out] = [place(), place()];
    const place0 = sequence(0);
    foreign(path, (i, bytes) => ({ ...place0(i, bytes), more: [['checksum', `sha-${i}`]] }), behind(0));
    writeModel(
      withInitializers(readModel(path), t => (t.name === 'w1' ? gatherAxes(t, new Map([[0, [1]]])) : t)),
      out,
    );
    const sums = readModel(out).graph.initializers.map(t => entriesOf(t).get('checksum'));
    expect(sums).toEqual(['sha-0', 'sha-1', undefined, 'sha-3', 'sha-4', 'sha-5']);
  });

  it('is noticed when it was replaced after the model was read', () => {
    const path = place('a.onnx');
    foreign(path, sequence(0), behind(0));
    const model = readModel(path);
    utimesSync(joinPath(path, '..', 'weights.bin'), 1, 1);
    expect(() => floats(model.graph.initializers[0])).toThrow(/has changed since the model was read/);
  });

  it('is written for raw tensors from a size on', () => {
    const out = place();
    const model = threeConvs();
    writeModel(model, out, { externalThreshold: 100 });
    const again = readModel(out);
    expect(again.graph.initializers.map(t => t.data.storage)).toEqual([
      'external',
      'raw',
      'external',
      'raw',
      'external',
      'raw',
    ]);
    expect(weights(again)).toEqual(weights(model));
  });

  it('starts on a page for tensors of a mebibyte', () => {
    const out = place();
    const [small, large] = [tensorOf('s', ramp(10, 0), [10]), tensorOf('l', ramp(2 ** 18, 1), [2 ** 18])];
    const model = threeConvs();
    const changed = { ...model, graph: { ...model.graph, initializers: [small, large, { ...small, name: 's2' }] } };
    writeModel(changed, out, { externalThreshold: 1 });
    const again = readModel(out).graph.initializers;
    // Equal contents in one array are written once.
    expect(again.map(t => entriesOf(t).get('offset'))).toEqual(['0', '4096', '0']);
    expect(Buffer.compare(bytesOf(again[1]), bytesOf(large))).toBe(0);
  });

  it('is followed into attributes and sub-graphs', () => {
    const [path, out] = [place(), place()];
    writeFileSync(joinPath(path, '..', 'weights.bin'), new Uint8Array(Float32Array.of(0, 1, 2, 3).buffer));
    const entries = new Map([
      ['location', 'weights.bin'],
      ['offset', '4'],
      ['length', '8'],
    ]);
    const base = tensorOf('v', new Float32Array(2), [2]);
    const value: OnnxTensor = { ...base, data: { storage: 'external', entries, files: null, bytes: null } };
    const model = threeConvs();
    const inner = parseModel(encoded(model)).graph;
    const body = { ...inner, nodes: [makeNode('Constant', [], ['c'], { value })], initializers: [] };
    const nested = makeNode('If', ['p'], ['o'], { then_branch: graphMessage(body.nodes, value) });
    const nodes = [makeNode('Constant', [], ['k'], { value }), nested];
    writeFileSync(path, encoded({ ...model, graph: { ...model.graph, nodes, initializers: [] } }));
    writeModel(readModel(path), out);
    rmSync(path);
    const [constant, conditional] = readModel(out).graph.nodes;
    expect([...floats(attributesOf(constant).get('value') as OnnxTensor)]).toEqual([1, 2]);
    const branch = attributesOf(conditional).get('then_branch');
    if (typeof branch !== 'object' || !('initializer' in branch)) throw new Error('no branch');
    expect(readFileSync(`${out}.data`).length).toBe(8);
    expect(branch.initializer[0].externalData.map(e => [e.key, e.value])).toContainEqual(['offset', '0']);
    expect(attributesOf(branch.node[0]).get('value')).toMatchObject({ data: { storage: 'external' } });
  });
});

function graphMessage(nodes: readonly ReturnType<typeof makeNode>[], value: OnnxTensor) {
  const graph = new GraphBuilder({ name: 'body' }).graphProto();
  return { ...graph, node: [...nodes], initializer: [protoFromTensor(value)] };
}

describe('files of strangers', () => {
  const read = (location: string, prepare: (folder: string) => void = () => {}) => {
    const path = place();
    foreign(
      path,
      i => ({ location: i === 0 ? location : `other${i}.bin` }),
      () => null,
    );
    prepare(joinPath(path, '..'));
    return codeOf(() => floats(readModel(path).graph.initializers[0]));
  };

  it.each(['/etc/passwd', '../model.onnx', 'a/../../b', 'C:\\x', '\\\\host\\x', '..\\x', '', 'a\0b'])(
    'may not name %j',
    location => {
      expect(read(location)).toBe('E_EXTERNAL_DATA');
    },
  );

  it('may not reach outside by links, name folders or pipes, or what is missing', () => {
    expect(read('link', at => symlinkSync('/etc/hostname', joinPath(at, 'link')))).toBe('E_EXTERNAL_DATA');
    expect(read('l/hostname', at => symlinkSync('/etc', joinPath(at, 'l')))).toBe('E_EXTERNAL_DATA');
    expect(read('d', at => mkdirSync(joinPath(at, 'd')))).toBe('E_EXTERNAL_DATA');
    expect(read('p', at => execFileSync('mkfifo', [joinPath(at, 'p')]))).toBe('E_EXTERNAL_DATA');
    expect(read('gone.bin')).toBe('E_EXTERNAL_DATA');
  });

  it('may use folders, but no links and no second names of a file', () => {
    const bytes = bytesOf(threeConvs().graph.initializers[0]);
    const prepare = (at: string) => {
      mkdirSync(joinPath(at, 'sub'));
      writeFileSync(joinPath(at, 'sub', 'w'), bytes);
      symlinkSync(joinPath('sub', 'w'), joinPath(at, 'link'));
      symlinkSync('sub', joinPath(at, 'folder'));
    };
    const linked = (at: string) => {
      writeFileSync(joinPath(at, 'w'), bytes);
      linkSync(joinPath(at, 'w'), joinPath(at, 'twin'));
    };
    expect(read('sub/w', prepare)).toBe('no error');
    expect(read('link', prepare)).toBe('E_EXTERNAL_DATA');
    expect(read('folder/w', prepare)).toBe('E_EXTERNAL_DATA');
    expect(read('twin', linked)).toBe('E_EXTERNAL_DATA');
  });

  it.each([
    ['0', '1'],
    ['999999', '864'],
    ['-4', '864'],
    ['1e3', '864'],
    ['9007199254740993', '864'],
    ['0', '99999999999999999999'],
    ['x', ''],
  ])('may not give the range %j, %j', (offset, length) => {
    const path = place();
    foreign(path, i => (i === 0 ? { offset, length } : { location: `other${i}.bin` }), behind(0));
    const model = readModel(path);
    expect(codeOf(() => floats(model.graph.initializers[0]))).toBe('E_EXTERNAL_DATA');
    expect(codeOf(() => writeModel(model, place()))).toBe('E_EXTERNAL_DATA');
  });

  it('need a path to have a folder', () => {
    const path = place();
    foreign(path, sequence(0), behind(0));
    const model = parseModel(readFileSync(path));
    expect(codeOf(() => floats(model.graph.initializers[0]))).toBe('E_TENSOR_DATA');
  });
});
