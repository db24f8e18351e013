import { beforeAll, describe, expect, test } from 'vitest';
import { DataType, type OnnxTensor, tensorOf } from '../../src/onnx/index.ts';
import { openModel, type RuntimeTensor } from '../../src/runtime/session.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { stream } from '../../src/util/random.ts';
import { sizeOf } from '../torch/fill.ts';
import { distance, engineTensor } from './cases.ts';
import { forward, type NodeUnderTest, nodeGraph } from './node.ts';

/** A form of a node. */
export type Variant = Omit<NodeUnderTest, 'op'> & {
  /** What real inputs are drawn by; normal by default. */
  readonly draw?: 'uniform';
};

export const int64 = (...values: number[]): OnnxTensor =>
  tensorOf('', BigInt64Array.from(values, BigInt), [values.length]);
export const int32 = (...values: number[]): OnnxTensor => tensorOf('', Int32Array.from(values), [values.length]);
export const scalar = (value: number): OnnxTensor => tensorOf('', Float32Array.of(value), []);
export const float32 = (...values: number[]): OnnxTensor => tensorOf('', Float32Array.from(values), [values.length]);

const isShape = (input: Variant['inputs'][number]): input is readonly number[] => Array.isArray(input);
const title = ({ inputs, attributes, opset = 17 }: Variant) =>
  `opset ${opset} ${inputs.map(x => (isShape(x) ? `[${x}]` : x ? 'constant' : '-')).join(' ')} ${Object.entries(
    attributes ?? {},
  )
    .map(([name, value]) => `${name}=${typeof value === 'object' && 'value' in value ? value.value : value}`)
    .join(' ')}`;

/** Numbers for an input: drawn for real ones, of -3 to 3 for integers. */
function filled(node: NodeUnderTest, shape: readonly number[], draw: Variant['draw'], seed: string): OnnxTensor {
  const random = stream(1, seed);
  const length = sizeOf(shape);
  const type = node.elemType ?? DataType.FLOAT;
  if (type === DataType.BOOL)
    return tensorOf(
      '',
      Array.from({ length }, () => random.int(2)),
      shape,
      type,
    );
  if (type !== DataType.FLOAT)
    return tensorOf(
      '',
      Array.from({ length }, () => random.int(7) - 3),
      shape,
      type,
    );
  const number = draw === 'uniform' ? () => random.uniform() : random.normal;
  return tensorOf('', Float32Array.from({ length }, number), shape);
}

const runtimeTypes: Readonly<Record<number, RuntimeTensor['type']>> = {
  [DataType.FLOAT]: 'float32',
  [DataType.BOOL]: 'bool',
  [DataType.INT32]: 'int32',
  [DataType.INT64]: 'int64',
};

const runtimeTensor = (torch: Torch, tensor: OnnxTensor): RuntimeTensor => {
  const type = runtimeTypes[tensor.dataType];
  const read = torch.scope(() => torch.read(engineTensor(torch, tensor)));
  const data = type === 'int32' ? Int32Array.from(read as BigInt64Array, Number) : read;
  return { type, shape: tensor.dims, data } as RuntimeTensor;
};

/** Each form of each operator: shapes and values under the engine are those of ONNX Runtime. */
export function matchesRuntime(variants: Readonly<Record<string, readonly Variant[]>>): void {
  let torch: Torch;
  beforeAll(async () => {
    torch = await openEngine({ threads: 1 });
  });

  describe.each(Object.entries(variants))('%s gives what ONNX Runtime gives', (op, list) => {
    test.each(list.map(variant => [title(variant), variant] as const))('%s', async (name, variant) => {
      const node: NodeUnderTest = { op, ...variant };
      const feeds = variant.inputs.flatMap((input, i) =>
        isShape(input) ? [{ i, tensor: filled(node, input, variant.draw, `${op} ${name} ${i}`) }] : [],
      );
      const graph = nodeGraph(node);
      const session = await openModel(graph.model, { optimize: 'none' });
      const expected = await session.run(
        Object.fromEntries(feeds.map(({ i, tensor }) => [`x${i}`, runtimeTensor(torch, tensor)])),
      );
      await session.dispose();
      torch.scope(() => {
        const found = forward(
          torch,
          node,
          feeds.map(({ tensor }) => engineTensor(torch, tensor)),
        );
        for (const [i, output] of graph.outputs.entries()) {
          const { type, shape, data } = expected[output];
          const { elemType, shape: worked } = graph.types.get(output)!;
          expect(worked).toEqual([...shape]);
          expect(runtimeTypes[elemType] ?? type).toBe(type);
          expect(found[i].shape).toEqual([...shape]);
          expect(distance(torch.values(found[i]), Float32Array.from(data as ArrayLike<number>, Number))).toBeLessThan(
            1e-5,
          );
        }
      });
    });
  });
}
