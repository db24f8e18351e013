import { join as joinPath } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import {
  attributesOf,
  changeNode,
  DataType,
  elemTypeOf,
  float,
  floats,
  GraphBuilder,
  makeNode,
  type OnnxTensor,
  parseModel,
  shapeOf,
  tensorOf,
  valueInfo,
  withAttributes,
  withShape,
  writeModel,
} from '../../src/onnx/index.ts';
import { AttributeProto_AttributeType as AttributeType, type NodeProto } from '../../src/onnx/onnx_pb.ts';
import { encoded, temporaryFolder } from './support.ts';

const folder = temporaryFolder();

/** A node written and read again. */
function throughFile(node: NodeProto): NodeProto {
  const model = new GraphBuilder().model();
  return parseModel(encoded({ ...model, graph: { ...model.graph, nodes: [node] } })).graph.nodes[0];
}

describe('GraphBuilder', () => {
  it('makes models that ONNX Runtime runs, data outside included', async () => {
    const g = new GraphBuilder({ name: 'net', opset: 17 });
    const x = g.input('x', ['N', 2]);
    const w = g.initializer('w', Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]);
    const sum = g.node('MatMul', [x, w]);
    const [left, right] = g.node(
      'Split',
      [sum, g.initializer('sizes', [1, 2], [2], DataType.INT64)],
      { axis: 1 },
      { outputs: 2 },
    );
    const leaky = g.node('LeakyRelu', [left], { alpha: float(1) });
    const branch = (name: string, op: string) => {
      const b = new GraphBuilder({ name });
      b.output(b.node(op, [right, right], {}, { output: name }), ['N', 2]);
      return b.graphProto();
    };
    const p = g.input('p', [], DataType.BOOL);
    const chosen = g.node('If', [p], { then_branch: branch('added', 'Add'), else_branch: branch('product', 'Mul') });
    g.output(g.node('Concat', [leaky, chosen], { axis: -1 }, { output: 'y' }), ['N', 3]);
    for (const options of [{}, { externalThreshold: 20 }]) {
      const path = joinPath(folder, 'net.onnx');
      writeModel(g.model({ metadata: { author: 'test' } }), path, options);
      const session = await InferenceSession.create(path, { intraOpNumThreads: 1, interOpNumThreads: 1 });
      // [1, -1] w = [-3, -3, -3]
      for (const [then, expected] of [
        [1, [-3, -6, -6]],
        [0, [-3, 9, 9]],
      ] as const) {
        const feeds = { x: new Tensor('float32', [1, -1], [1, 2]), p: new Tensor('bool', [then], []) };
        const { y } = await session.run(feeds);
        expect([...(y.data as Float32Array)]).toEqual(expected);
      }
      await session.release();
    }
  });

  it('names nodes and outputs, and takes names', () => {
    const g = new GraphBuilder();
    expect(g.node('Relu', ['x'])).toBe('Relu_0_output');
    expect(g.node('Relu', ['x'], {}, { name: 'act' })).toBe('act_output');
    expect(g.node('Relu', ['x'], {}, { output: 'y' })).toBe('y');
    expect(g.node('Split', ['x'], {}, { name: 's', outputs: 2 })).toEqual(['s_output_0', 's_output_1']);
    expect(g.node('LSTM', ['x'], {}, { outputs: ['', 'h'] })).toEqual(['', 'h']);
    expect(g.graph().nodes.map(node => node.name)).toEqual(['Relu_0', 'act', 'Relu_2', 's', 'LSTM_4']);
  });
});

describe('attributes', () => {
  it('have the type that their value says', () => {
    const tensor = tensorOf('t', Float32Array.of(1), [1]);
    const graph = new GraphBuilder({ name: 'body' }).graphProto();
    const node = throughFile(
      makeNode('Any', ['x', '', 'y'], ['z'], {
        int: 3,
        big: 2n ** 63n - 1n,
        low: -(2n ** 63n),
        yes: true,
        real: 0.5,
        whole: float(2),
        text: 'größe',
        ints: [1, -1],
        none: [],
        reals: [1, 0.5],
        wholes: float([1, 2]),
        texts: ['a', ''],
        tensor,
        graph,
        tensors: [tensor],
        graphs: [graph],
        left: undefined,
      }),
    );
    expect(node.input).toEqual(['x', '', 'y']);
    expect(Object.fromEntries(node.attribute.map(a => [a.name, a.type]))).toEqual({
      int: AttributeType.INT,
      big: AttributeType.INT,
      low: AttributeType.INT,
      yes: AttributeType.INT,
      real: AttributeType.FLOAT,
      whole: AttributeType.FLOAT,
      text: AttributeType.STRING,
      ints: AttributeType.INTS,
      none: AttributeType.INTS,
      reals: AttributeType.FLOATS,
      wholes: AttributeType.FLOATS,
      texts: AttributeType.STRINGS,
      tensor: AttributeType.TENSOR,
      graph: AttributeType.GRAPH,
      tensors: AttributeType.TENSORS,
      graphs: AttributeType.GRAPHS,
    });
    const values = attributesOf(node);
    expect(attributesOf(node)).toBe(values);
    expect(Object.fromEntries([...values].slice(0, 12))).toEqual({
      int: 3,
      big: Number.MAX_SAFE_INTEGER,
      low: Number.MIN_SAFE_INTEGER,
      yes: 1,
      real: 0.5,
      whole: 2,
      text: 'größe',
      ints: [1, -1],
      none: [],
      reals: [1, 0.5],
      wholes: [1, 2],
      texts: ['a', ''],
    });
    expect([...floats(values.get('tensor') as OnnxTensor)]).toEqual([1]);
    expect(values.get('graph')).toMatchObject({ name: 'body' });
  });

  it('of a saturated integer go back to the end of int64', () => {
    const node = throughFile(makeNode('Slice', ['x'], ['y'], { ends: [2n ** 63n - 1n], starts: [-(2n ** 63n)] }));
    const values = attributesOf(node);
    const again = throughFile(
      withAttributes(node, { ends: values.get('ends') as number[], starts: values.get('starts') as number[] }),
    );
    expect(again.attribute.map(a => a.ints)).toEqual([[2n ** 63n - 1n], [-(2n ** 63n)]]);
  });

  it('change in place, keep their kind, and go', () => {
    const node = throughFile(makeNode('Op', ['x'], ['y'], { a: 1, alpha: 0.5, betas: [0.5], gone: 's' }));
    const changed = throughFile(
      withAttributes(node, { alpha: 2, betas: [1, 2], gone: undefined, added: 7, never: undefined }),
    );
    expect([...attributesOf(changed)]).toEqual([
      ['a', 1],
      ['alpha', 2],
      ['betas', [1, 2]],
      ['added', 7],
    ]);
    expect(changed.attribute.map(a => a.type)).toEqual([
      AttributeType.INT,
      AttributeType.FLOAT,
      AttributeType.FLOATS,
      AttributeType.INT,
    ]);
    expect(attributesOf(node).get('gone')).toBe('s');
  });

  it('without a stated type (IR version 1) are told by their field', () => {
    const node = makeNode('Op', [], [], { i: 3, f: 0.5, s: 'x', is: [1, 2], fs: [0.5], ss: ['a'] });
    for (const a of node.attribute) Reflect.deleteProperty(a, 'type');
    expect(Object.fromEntries(attributesOf(throughFile(node)))).toEqual({
      i: 3,
      f: 0.5,
      s: 'x',
      is: [1, 2],
      fs: [0.5],
      ss: ['a'],
    });
  });
});

it('changes inputs, outputs and names of a node', () => {
  const node = throughFile(makeNode('Add', ['a', 'b'], ['c'], { k: 1 }, { name: 'n', docString: 'd' }));
  const changed = throughFile(changeNode(node, { input: ['a', 'z'], name: 'm' }));
  expect(changed).toMatchObject({ opType: 'Add', input: ['a', 'z'], output: ['c'], name: 'm', docString: 'd' });
  expect(attributesOf(changed).get('k')).toBe(1);
});

describe('declarations', () => {
  it('say type and shape', () => {
    const info = valueInfo('x', DataType.FLOAT16, ['N', 3, null, 0]);
    expect(elemTypeOf(info)).toBe(DataType.FLOAT16);
    expect(shapeOf(info)).toEqual(['N', 3, null, 0]);
    expect(shapeOf(valueInfo('x', DataType.FLOAT, null))).toBeNull();
    expect(shapeOf(valueInfo('x', DataType.FLOAT, []))).toEqual([]);
    expect(shapeOf(valueInfo('x', DataType.FLOAT, [-1, '']))).toEqual([null, null]);
  });

  it('change their shape and keep what is said about axes that stay', () => {
    const info = valueInfo('x', DataType.FLOAT, ['N', 3]);
    const type = info.type?.value;
    if (type?.case !== 'tensorType') throw new Error('no tensor');
    for (const dim of type.value.shape?.dim ?? []) dim.denotation = 'SOMETHING';
    const changed = withShape(info, ['N', 2]);
    const now = changed.type?.value;
    if (now?.case !== 'tensorType') throw new Error('no tensor');
    expect(shapeOf(changed)).toEqual(['N', 2]);
    expect(shapeOf(info)).toEqual(['N', 3]);
    expect(now.value.shape?.dim.map(dim => dim.denotation)).toEqual(['SOMETHING', 'SOMETHING']);
  });
});
