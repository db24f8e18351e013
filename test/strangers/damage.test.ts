import { expect, test } from 'vitest';
import {
  attributesOf,
  encodeModel,
  ints,
  type OnnxModel,
  parseModel,
  shapeOf,
  tensorOf,
  type ValueInfoProto,
  withAttributes,
  withShape,
} from '../../src/onnx/index.ts';
import { type Random, stream } from '../../src/util/random.ts';
import { analyse, conformanceModels, encoded, smallNet } from './support.ts';

const seed = Number(process.env.S2H_SEED ?? 1);
const models = [...conformanceModels(), ['small', encoded(smallNet())] as [string, Uint8Array]];

/** One case after the other until the time is over or there were enough; a failing one is told with how to get it again. */
function soak(name: string, cases: number, make: (random: Random) => () => OnnxModel): void {
  const end = performance.now() + 9000;
  const codes = new Map<string, number>();
  let done = 0;
  for (; done < cases && performance.now() < end; done++) {
    const random = stream(seed, name, done);
    const start = performance.now();
    try {
      const code = analyse(make(random));
      codes.set(code, (codes.get(code) ?? 0) + 1);
    } catch (error) {
      throw new Error(`${name}, case ${done} of S2H_SEED=${seed}: ${(error as Error).stack}`, { cause: error });
    }
    const ms = performance.now() - start;
    if (ms > 5000) throw new Error(`${name}, case ${done} of S2H_SEED=${seed} takes ${ms} ms`);
  }
  expect(done).toBeGreaterThan(cases / 20);
  // Most damage is seen, and some files survive it.
  expect(codes.size).toBeGreaterThan(1);
}

const pick = <T>(random: Random, list: readonly T[]): T => list[random.int(list.length)];

test(`bits flipped and ends cut off, seed ${seed}`, () => {
  soak('bits', 6000, random => {
    const bytes = pick(random, models)[1].slice();
    for (let flips = random.int(4); flips > 0; flips--) bytes[random.int(bytes.length)] ^= 1 << random.int(8);
    const end = random.int(3) === 0 ? random.int(bytes.length) : bytes.length;
    return () => parseModel(bytes.subarray(0, end), 'damaged.onnx');
  });
});

const absurd = [0, -1, 1, 2, 3, -2, 7, 64, 1000, 4096, 65_536, 2 ** 31 - 1, -(2 ** 31), 2 ** 40];
const extremes = [...absurd, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];

/** A list with wrong numbers, too few or too many. */
function wrong(random: Random, list: readonly number[]): number[] {
  const kind = random.int(4);
  if (kind === 0) return list.map(() => pick(random, extremes));
  if (kind === 1 && list.length > 0) return list.with(random.int(list.length), pick(random, extremes));
  if (kind === 2) return list.slice(0, random.int(list.length + 1));
  return [...list, pick(random, extremes)];
}

const lists = ['strides', 'pads', 'axes', 'perm', 'split', 'dilations', 'kernel_shape', 'output_padding', 'starts'];
const numbers = ['axis', 'group', 'keepdims', 'num_outputs', 'blocksize', 'batch_dims', 'hidden_size', 'exclusive'];

function withAbsurdAttributes(model: OnnxModel, random: Random): OnnxModel {
  const nodes = model.graph.nodes.map(node => {
    const changes: Record<string, number | number[]> = {};
    for (const [name, value] of attributesOf(node)) {
      if (random.int(2)) continue;
      if (typeof value === 'number') changes[name] = pick(random, extremes);
      else if (Array.isArray(value) && value.every(item => typeof item === 'number'))
        changes[name] = wrong(random, value as number[]);
    }
    for (const name of lists) if (random.int(12) === 0) changes[name] = wrong(random, [1, 1]);
    for (const name of numbers) if (random.int(12) === 0) changes[name] = pick(random, extremes);
    return withAttributes(node, changes);
  });
  return { ...model, graph: { ...model.graph, nodes } };
}

/** Inputs of other lengths; small ones of integers become constants with absurd numbers, some of reals become weights. */
function withAbsurdInputs(model: OnnxModel, random: Random): OnnxModel {
  const constants = [...model.graph.initializers];
  const isConstant = (info: ValueInfoProto, first: boolean): boolean => {
    const shape = shapeOf(info)?.map(dim => (typeof dim === 'number' ? dim : 1));
    const size = shape?.reduce((a, b) => a * b, 1) ?? Number.POSITIVE_INFINITY;
    const type = info.type?.value.case === 'tensorType' ? info.type.value.value.elemType : 0;
    if (!shape || size > 100_000 || constants.some(({ name }) => name === info.name)) return false;
    if (type === 7 && shape.length < 2 && random.int(3) > 0) {
      const values = wrong(
        random,
        Array.from({ length: size }, () => random.int(3)),
      );
      constants.push(tensorOf(info.name, BigInt64Array.from(values, BigInt), [values.length]));
      return true;
    }
    if (type !== 1 || first || random.int(2)) return false;
    constants.push(tensorOf(info.name, new Float32Array(size).fill(0.5), shape));
    return true;
  };
  const inputs = model.graph.inputs.filter((info, i) => !isConstant(info, i === 0));
  const absurdly = inputs.map(info => {
    const shape = shapeOf(info);
    if (!shape || random.int(3)) return info;
    const lengths = shape.map(dim => (typeof dim === 'number' ? dim : 1));
    return withShape(
      info,
      wrong(random, lengths).map(dim => (dim < 0 ? 'symbol' : dim)),
    );
  });
  return { ...model, graph: { ...model.graph, inputs: absurdly, initializers: constants } };
}

test(`absurd attributes, shapes and constants, seed ${seed}`, () => {
  soak('absurd', 4000, random => {
    const model = parseModel(pick(random, models)[1]);
    const changed = random.int(2) ? withAbsurdAttributes(model, random) : model;
    return () => withAbsurdInputs(changed, random);
  });
});

test('what survives is what it was', () => {
  // The helpers of this file change nothing by themselves.
  for (const [name, bytes] of models) {
    const model = parseModel(bytes);
    const { graph } = model;
    expect([name, Buffer.compare(encoded({ ...model, graph: { ...graph } }), bytes)]).toEqual([name, 0]);
    expect(encodeModel(model).length).toBe(1);
  }
  expect(ints(tensorOf('t', BigInt64Array.of(1n, 2n ** 40n), [2]))).toEqual([1, 2 ** 40]);
});
