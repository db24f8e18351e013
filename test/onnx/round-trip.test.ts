import { readdirSync, readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  attributesOf,
  changeNode,
  DataType,
  floats,
  ints,
  makeNode,
  parseModel,
  readModel,
  tensorOf,
  valueInfo,
  withAttributes,
  withData,
  withName,
} from '../../src/onnx/index.ts';
import { bytesField, fieldsIn, integerField, join, textField, walk } from '../../src/onnx/wire.ts';
import { corpus, encoded, here, reopened } from './support.ts';

const whole = () => parseModel(new Uint8Array(readFileSync(here('whole.onnx'))));

describe('an unchanged model', () => {
  it('gives the same bytes for every conformance model, as a whole and element by element', () => {
    const models = corpus();
    expect(models.length).toBe(467);
    for (const [name, bytes] of models) {
      const model = parseModel(bytes, name);
      for (const node of model.graph.nodes) attributesOf(node);
      expect(Buffer.compare(encoded(model), bytes), name).toBe(0);
      expect(Buffer.compare(encoded(reopened(model)), bytes), name).toBe(0);
    }
  });

  const folder = process.env.S2H_MODELS;
  if (folder)
    it('gives the same bytes for every model in S2H_MODELS', () => {
      const names = readdirSync(folder, { recursive: true }).map(String);
      for (const name of names.filter(n => n.endsWith('.onnx'))) {
        const path = joinPath(folder, name);
        expect(Buffer.compare(encoded(reopened(readModel(path))), readFileSync(path)), name).toBe(0);
      }
    });

  it('keeps functions, sparse initializers, annotations, documentation and unknown fields', () => {
    const unknown = [textField(900, 'later'), integerField(901, -1), join(bytesField(902, [new Uint8Array(300)]))];
    const original = new Uint8Array(readFileSync(here('whole.onnx')));
    // Behind every field of model and graph, and inside every node, initializer and input, stands one that is unknown.
    const inject = (bytes: Uint8Array, depth: number): Uint8Array => {
      const fields = walk(bytes, { base: 0 }).flatMap(field => {
        const known = [1, 5, 7, 11].includes(field.number) && field.type === 2 && depth < 2;
        const content = field.bytes.subarray(field.start, field.end);
        const kept = known
          ? bytesField(field.number, [inject(content, depth + 1)])
          : [bytes.subarray(field.from, field.end)];
        return [...kept, unknown[depth]];
      });
      return join([unknown[depth], ...fields]);
    };
    const bytes = inject(original, 0);
    const model = parseModel(bytes);
    expect(Buffer.compare(encoded(reopened(model)), bytes)).toBe(0);
    expect(model.graph.nodes.map(node => node.opType)).toEqual(['MatMul', 'Twice', 'If']);

    // What is built anew out of such an element keeps them too.
    const [matmul, ...rest] = model.graph.nodes;
    const [w] = model.graph.initializers;
    const changed = parseModel(
      encoded({
        ...model,
        graph: {
          ...model.graph,
          nodes: [changeNode(matmul, { input: ['x', 'v'] }), ...rest],
          initializers: [withName(w, 'v')],
        },
      }),
    );
    const count = (numbers: readonly { number: number }[]) => numbers.filter(field => field.number >= 900).length;
    const graph = changed.origin?.fields.find(field => field.number === 7);
    const inner = graph ? fieldsIn(graph, { base: 0 }) : [];
    const [first, tensor] = [1, 5].map(number => inner.filter(field => field.number === number)[0]);
    expect(count(changed.origin?.fields ?? [])).toBe(count(model.origin?.fields ?? []));
    expect(count(inner)).toBe(count(model.graph.origin ?? []));
    expect(count(fieldsIn(first, { base: 0 }))).toBeGreaterThan(3);
    expect(count(fieldsIn(tensor, { base: 0 }))).toBeGreaterThan(3);
    expect(changed.graph.nodes[0].docString).toBe('where it came from');
  });

  it('keeps lengths that were written longer than needed, and a graph that comes in two pieces', () => {
    const original = new Uint8Array(readFileSync(here('whole.onnx')));
    const fields = walk(original, { base: 0 });
    const graph = fields.find(field => field.number === 7);
    if (!graph) throw new Error('no graph');
    const content = original.subarray(graph.start, graph.end);
    const others = fields.filter(field => field !== graph).map(field => original.subarray(field.from, field.end));
    const { length } = content;
    const padded = Uint8Array.of(58, (length & 127) | 128, (length >> 7) | 128, 0x80, 0x00);
    const inner = fieldsIn(graph, { base: 0 });
    const half = inner[3].from - graph.start;
    const twice = [content.subarray(0, half), content.subarray(half)].map(part => join(bytesField(7, [part])));
    for (const bytes of [join([padded, content, ...others]), join([twice[0], ...others, twice[1]])]) {
      const model = parseModel(bytes);
      expect(Buffer.compare(encoded(model), bytes)).toBe(0);
      expect(parseModel(encoded(reopened(model))).graph.nodes.length).toBe(3);
    }
  });
});

describe('a changed model', () => {
  it('differs only in what was changed', () => {
    const model = whole();
    const bytes = encoded(model);
    const [w] = model.graph.initializers;
    const other = withData(w, [2, 2], new Uint8Array(Float32Array.of(9, 8, 7, 6).buffer));
    const changed = encoded({ ...model, graph: { ...model.graph, initializers: [other] } });
    // The same length, and the 16 bytes of the weight are the only difference (small floats share some of them).
    expect(changed.length).toBe(bytes.length);
    const differing = [...bytes.keys()].filter(i => bytes[i] !== changed[i]);
    const again = parseModel(changed);
    expect([...floats(again.graph.initializers[0])]).toEqual([9, 8, 7, 6]);
    expect(differing.length).toBeGreaterThan(0);
    expect(differing[differing.length - 1] - differing[0]).toBeLessThan(40);
  });

  it('honours metadata, opsets, functions, IR version and the graph name', () => {
    const model = whole();
    const metadata = new Map([...model.metadata].filter(([key]) => key !== 'labels')).set('new', 'ä');
    const opsets = new Map(model.opsets).set('', 18).set('com.microsoft', 1);
    const changed = { ...model, irVersion: 9, metadata, opsets, functions: new Set<string>() };
    const again = parseModel(encoded({ ...changed, graph: { ...model.graph, name: 'other' } }));
    expect(model.functions).toEqual(new Set(['local::Twice']));
    expect([...again.metadata]).toEqual([...metadata]);
    expect([...again.opsets]).toEqual([...opsets]);
    expect(again.functions.size).toBe(0);
    expect(again.irVersion).toBe(9);
    expect(again.graph.name).toBe('other');
    expect(again.graph.sparseInitializers).toEqual(['s']);
    const numbers = (m: typeof again) => new Set(m.origin?.fields.map(field => field.number));
    expect(numbers(again)).toEqual(new Set([...numbers(model)].filter(number => number !== 25)));
  });

  it('honours nodes, inputs, outputs, values and initializers that were added, moved and removed', () => {
    const model = whole();
    const { graph } = model;
    const nodes = [...graph.nodes.slice(1), makeNode('Relu', ['y'], ['r']), graph.nodes[0]];
    const added = tensorOf('k', Float32Array.of(1, 2), [2]);
    const changed = {
      ...graph,
      nodes,
      initializers: [added, ...graph.initializers],
      inputs: graph.inputs.slice(1),
      // A declaration may move to another list.
      outputs: [...graph.outputs, graph.valueInfo[0], valueInfo('r', DataType.FLOAT, [null, 2])],
      valueInfo: [],
    };
    const again = parseModel(encoded({ ...model, graph: changed })).graph;
    expect(again.nodes.map(node => node.opType)).toEqual(['Twice', 'If', 'Relu', 'MatMul']);
    expect(again.initializers.map(tensor => tensor.name)).toEqual(['k', 'w']);
    expect(again.inputs.map(info => info.name)).toEqual(['p', 'w']);
    expect(again.outputs.map(info => info.name)).toEqual(['y', 'h', 'r']);
    expect(again.valueInfo).toEqual([]);
  });

  it('keeps the other attributes of a node bit for bit', () => {
    const model = whole();
    const conditional = model.graph.nodes[2];
    const changed = withAttributes(conditional, { extra: [1, 2] });
    const nodes = [...model.graph.nodes.slice(0, 2), changed];
    const again = parseModel(encoded({ ...model, graph: { ...model.graph, nodes } })).graph.nodes[2];
    expect(again.attribute.slice(0, 2)).toEqual(conditional.attribute);
    expect(attributesOf(again).get('extra')).toEqual([1, 2]);
  });
});

it('lists weights as inputs too where the file does, as files of IR version 3 must', () => {
  const { graph } = whole();
  expect(graph.inputs.map(info => info.name)).toEqual(['x', 'p', 'w']);
  expect(graph.initializers.map(tensor => tensor.name)).toEqual(['w']);
});

it('refuses a change in place, which writing would lose', () => {
  const model = whole();
  const [node] = model.graph.nodes;
  expect(() => node.input.push('z')).toThrow(TypeError);
  expect(() => Object.assign(node, { opType: 'Gemm' })).toThrow(TypeError);
  expect(() => Object.assign(model.graph.nodes[2].attribute[0], { name: 'z' })).toThrow(TypeError);
  expect(() => Object.assign(model.graph.inputs[0], { name: 'z' })).toThrow(TypeError);
});

it('reads and writes graphs and tensors with very many parts', () => {
  const model = whole();
  const nodes = Array.from({ length: 150_000 }, (_, i) => makeNode('Relu', [`v${i}`], [`v${i + 1}`]));
  const again = parseModel(encoded({ ...model, graph: { ...model.graph, nodes } }));
  expect(again.graph.nodes.length).toBe(150_000);
  expect(again.graph.nodes[149_999].output).toEqual(['v150000']);

  // Elements one by one, each with its own tag, as files without packing have them.
  const count = 200_000;
  const elements = join(Array.from({ length: count }, (_, i) => integerField(5, i)));
  const tensor = join([integerField(1, count), integerField(2, DataType.INT32), elements, textField(8, 'unpacked')]);
  const bytes = join(bytesField(7, bytesField(5, [tensor])));
  const unpacked = parseModel(bytes);
  const [t] = unpacked.graph.initializers;
  expect(ints(t)[count - 1]).toBe(count - 1);
  const changed = { ...unpacked, graph: { ...unpacked.graph, initializers: [withName(t, 'other')] } };
  expect(ints(parseModel(encoded(changed)).graph.initializers[0])[count - 1]).toBe(count - 1);
});
