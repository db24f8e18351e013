import { expect, test } from 'vitest';
import {
  type AttributeInput,
  DataType,
  GraphBuilder,
  makeNode,
  type NodeProto,
  type OnnxModel,
  type OnnxTensor,
  parseModel,
  tensorOf,
  valueInfo,
} from '../../src/onnx/index.ts';
import { bytesField, integerField, join, textField, varint } from '../../src/onnx/wire.ts';
import { codeOf } from '../onnx/support.ts';
import { analyse, codesOf, couplingOf, fileOf, normal, smallNet } from './support.ts';

const withNodes = (change: (nodes: NodeProto[]) => NodeProto[]): OnnxModel => {
  const model = smallNet();
  return { ...model, graph: { ...model.graph, nodes: change([...model.graph.nodes]) } };
};
const withInitializers = (change: (tensors: OnnxTensor[]) => OnnxTensor[]): OnnxModel => {
  const model = smallNet();
  return { ...model, graph: { ...model.graph, initializers: change([...model.graph.initializers]) } };
};
const identity = (from: string, to: string) => makeNode('Identity', [from], [to], {}, { name: `${from} to ${to}` });

/** A net with one node between the convolution and the rest. */
function between(
  op: string,
  attributes: Record<string, AttributeInput> = {},
  more: readonly OnnxTensor[] = [],
  outputs = 1,
): OnnxModel {
  const g = new GraphBuilder({ name: 'between' });
  const x = g.input('X', ['N', 3, 8, 8]);
  const h = g.node('Conv', [x, g.initializer('w', normal('w', 8 * 27), [8, 3, 3, 3])], { pads: [1, 1, 1, 1] });
  const [y] = g.node(op, [h, ...more.map(tensor => g.tensor(tensor))], attributes, { outputs, name: 'odd' });
  g.output(y);
  return g.model();
}

const int64s = (name: string, values: readonly (number | bigint)[]): OnnxTensor =>
  tensorOf(name, BigInt64Array.from(values, BigInt), [values.length]);
const windows = { kernel_shape: [2, 2] };

test.each<[string, OnnxModel, RegExp]>([
  ['a cycle', withNodes(nodes => [...nodes, identity('b', 'a'), identity('a', 'b')]), /cycle/],
  ['a node that reads itself', withNodes(nodes => [...nodes, identity('a', 'a')]), /cycle/],
  ['a value with two producers', withNodes(nodes => [...nodes, identity('X', 'h')]), /two producers/],
  ['a value that nothing makes', withNodes(nodes => [...nodes, identity('nowhere', 'a')]), /nothing makes/],
  ['an output that nothing makes', withNodes(nodes => nodes.slice(0, -1)), /Nothing makes/],
  ['the same initializer twice', withInitializers(tensors => [...tensors, tensors[0]]), /two producers/],
])('%s is an error that says so', (_, model, what) => {
  expect(analyse(() => model)).toBe('E_GRAPH');
  expect(() => couplingOf(model)).toThrow(what);
});

test('an input that is listed twice, or that a node makes, is an error', () => {
  const model = smallNet();
  const twice = { ...model, graph: { ...model.graph, inputs: [...model.graph.inputs, ...model.graph.inputs] } };
  expect(analyse(() => twice)).toBe('E_GRAPH');
  expect(analyse(() => withNodes(nodes => [...nodes, identity('h', 'X')]))).toBe('E_GRAPH');
});

test.each<[string, readonly (number | string)[]]>([
  ['products past 2^53', [2 ** 30, 2 ** 30, 8, 8]],
  ['lengths past 2^53', [1, 3, 2 ** 60, 8]],
  ['hundreds of axes', Array<number>(300).fill(1)],
])('an input with %s is an error', (_, shape) => {
  const model = smallNet();
  const inputs = [valueInfo('X', DataType.FLOAT, shape)];
  expect(analyse(() => ({ ...model, graph: { ...model.graph, inputs } }))).toBe('E_GRAPH');
});

test('a tiny file that claims huge tensors is an error, whichever way it claims them', async () => {
  const huge = [2 ** 20, 2 ** 20, 2 ** 10];
  const claimed = (dims: readonly number[], data: OnnxTensor['data']) =>
    withInitializers(tensors => tensors.map((tensor, i) => (i === 0 ? { ...tensor, dims, data } : tensor)));
  const raw = { storage: 'raw', bytes: new Uint8Array(16) } as const;
  const typed = { storage: 'typed', fields: [] } as const;
  for (const dims of [huge, [2 ** 31, 3, 3, 3], [8, 3, 3, 4]]) {
    for (const data of [raw, typed])
      expect([dims, analyse(() => claimed(dims, data))]).toEqual([dims, 'E_TENSOR_DATA']);
  }
  expect(analyse(() => claimed([2 ** 30, 2 ** 30, 2 ** 30], raw))).toBe('E_TENSOR_DATA');
  const codes = await codesOf(fileOf(claimed(huge, raw)));
  expect(codes).toEqual({
    inspect: 'E_TENSOR_DATA',
    cut: 'E_TENSOR_DATA',
    verify: 'E_TENSOR_DATA',
    eval: expect.stringMatching(/E_/),
    bench: expect.stringMatching(/E_/),
  });
});

test.each<[string, OnnxModel]>([
  ['pads that no window has', between('MaxPool', { ...windows, pads: [0, 2 ** 40, 0, 0] })],
  ['negative strides', between('MaxPool', { ...windows, strides: [-1, 1] })],
  ['strides of zero', between('MaxPool', { ...windows, strides: [0, 0] })],
  ['too few strides', between('MaxPool', { ...windows, strides: [1] })],
  ['a window larger than what it slides over', between('MaxPool', { kernel_shape: [99, 99] })],
  ['an axis out of range', between('Concat', { axis: 9 })],
  ['an axis far below zero', between('Flatten', { axis: -7 })],
  ['a reduction over an axis out of range', between('ReduceMean', { axes: [7] })],
  ['a squeezed axis out of range', between('Squeeze', {}, [int64s('axes', [44])])],
  ['a shape with more axes than any', between('Reshape', {}, [int64s('to', Array<number>(200).fill(1))])],
  ['a shape past 2^53', between('Reshape', {}, [int64s('to', [2 ** 40, 2 ** 40])])],
  ['pads that come to more than 2^53', between('Pad', {}, [int64s('pads', [0, 0, 2 ** 50, 0, 0, 0, 2 ** 50, 0])])],
  ['group 0', between('Conv', { group: 0 }, [tensorOf('k', new Float32Array(8 * 8), [8, 8, 1, 1])])],
  ['a group that divides nothing', between('Conv', { group: 5 }, [tensorOf('k', new Float32Array(64), [8, 8, 1, 1])])],
  ['parts that do not add up', between('Split', { axis: 1 }, [int64s('parts', [3, 99])], 2)],
  ['parts of negative length', between('Split', { axis: 1 }, [int64s('parts', [-3, 11])], 2)],
  ['a perm that is none', between('Transpose', { perm: [0, 0, 1, 9] })],
  ['a perm that is too short', between('Transpose', { perm: [1, 0] })],
])('%s is an error that names the node', (_, model) => {
  expect(() => couplingOf(model)).toThrow(/'odd'/);
  expect(analyse(() => model)).toBe('E_GRAPH');
});

test.each<[string, OnnxModel]>([
  [
    'a slice by steps of zero',
    between(
      'Slice',
      {},
      ['s', 'e', 'a', 'd'].map((name, i) => int64s(name, [[0], [9], [1], [0]][i])),
    ),
  ],
  ['indices out of range', between('Gather', { axis: 1 }, [int64s('picked', [0, 99, 2 ** 40])])],
  ['a weight of another rank', between('Conv', {}, [tensorOf('k', new Float32Array(64), [64])])],
  ['an attribute of another type', between('Transpose', { perm: 'abc' })],
])('%s is an error or a wall, and nothing else', async (_, model) => {
  const codes = await codesOf(fileOf(model));
  expect(codes.inspect).toMatch(/^(E_GRAPH)?$/);
  // What ONNX Runtime does not load can be cut by nobody.
  for (const command of ['cut', 'verify', 'eval', 'bench']) expect(codes[command]).toMatch(/^E_/);
});

/** Constants that only arithmetic makes large. */
const bomb = (
  op: string,
  inputs: readonly OnnxTensor[],
  attributes: Record<string, AttributeInput> = {},
): OnnxModel => {
  const g = new GraphBuilder({ name: 'bomb' });
  const x = g.input('X', ['N', 3]);
  const large = g.node(
    op,
    inputs.map(tensor => g.tensor(tensor)),
    attributes,
  );
  g.output(g.node('Add', [x, g.node('ReduceMax', [large], { keepdims: 0 })]));
  return g.model();
};
const one = tensorOf('one', Float32Array.of(1), [1]);
const scalar = (name: string, value: number) => tensorOf(name, BigInt64Array.of(BigInt(value)), []);

test.each<[string, OnnxModel]>([
  ['ConstantOfShape', bomb('ConstantOfShape', [int64s('to', [2 ** 20, 2 ** 18])])],
  ['Expand', bomb('Expand', [one, int64s('to', [2 ** 20, 2 ** 18])])],
  ['Tile', bomb('Tile', [one, int64s('times', [2 ** 38])])],
  ['Range', bomb('Range', [scalar('from', 0), scalar('to', 2 ** 38), scalar('step', 1)])],
  [
    'OneHot',
    bomb('OneHot', [int64s('at', [1, 2]), scalar('depth', 2 ** 38), tensorOf('v', Float32Array.of(0, 1), [2])]),
  ],
  ['EyeLike', bomb('EyeLike', [tensorOf('like', new Float32Array(1), [1, 1])])],
  ['Pad', bomb('Pad', [one, int64s('pads', [2 ** 37, 2 ** 37])])],
  [
    'Resize',
    bomb('Resize', [one, tensorOf('roi', new Float32Array(0), [0]), tensorOf('s', Float32Array.of(2 ** 38), [1])]),
  ],
])('constants that %s would blow up are not computed', (_, model) => {
  const before = process.memoryUsage().rss;
  const start = performance.now();
  expect(analyse(() => model)).toMatch(/^(|E_GRAPH|E_NOTHING_TO_PRUNE)$/);
  expect(process.memoryUsage().rss - before).toBeLessThan(150e6);
  expect(performance.now() - start).toBeLessThan(10_000);
});

test('doubling a constant a hundred times costs nothing', () => {
  const g = new GraphBuilder({ name: 'doubling' });
  const x = g.input('X', ['N', 3]);
  let value = g.tensor(int64s('start', [1, 2, 3, 4]));
  for (let i = 0; i < 45; i++) value = g.node('Concat', [value, value], { axis: 0 });
  g.output(g.node('Add', [x, g.node('Cast', [g.node('ReduceMax', [value], { keepdims: 0 })], { to: 1 })]));
  expect(analyse(() => g.model())).toBe('');
});

test.each([10, 30, 100, 1000, 20_000])(
  'sub-graphs may be nested %i deep',
  async depth => {
    // graph { node { op_type: If, attribute { name, g: graph { … } } } }, from the innermost out.
    let graph: Uint8Array[] = [];
    let length = 0;
    for (let level = 0; level < depth; level++) {
      const heads: Uint8Array[] = [];
      for (const [number, own] of [
        [6, join([textField(1, 'then_branch'), integerField(20, 5)])],
        [5, join([textField(4, 'If'), textField(1, 'p'), textField(2, `o${level}`)])],
        [1, new Uint8Array(0)],
      ] as const) {
        const head = join([varint(number * 8 + 2), varint(length)]);
        heads.push(head, own);
        length += head.byteLength + own.byteLength;
      }
      graph.push(join([heads[4], heads[5], heads[3], heads[2], heads[1], heads[0]]));
    }
    graph = graph.reverse();
    const body = join([...graph, ...bytesField(11, [textField(1, 'p')])]);
    const bytes = join([integerField(1, 8), ...bytesField(8, [integerField(2, 17)]), ...bytesField(7, [body])]);
    const codes = await codesOf(fileOf(bytes));
    expect(codes.bench).toMatch(/^E_/);
    if (depth >= 1000) for (const code of Object.values(codes)) expect(code).toBe('E_ONNX_CORRUPT');
  },
  60_000,
);

test('hundreds of thousands of empty nodes are an error before they take up memory', () => {
  const nodes = (count: number) => {
    const graph = Buffer.alloc(2 * count);
    for (let i = 0; i < count; i++) graph[2 * i] = 0x0a;
    return join([integerField(1, 8), ...bytesField(7, [graph])]);
  };
  expect(parseModel(nodes(1000)).graph.nodes.length).toBe(1000);
  expect(codeOf(() => parseModel(nodes(300_001)))).toBe('E_GRAPH_SIZE');
});
