import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { type Operator, type OperatorTable, operator } from '../../src/graph/operator.ts';
import {
  DataType,
  floats,
  GraphBuilder,
  type OnnxModel,
  type OnnxTensor,
  readModel,
  withAttributes,
  withFloats,
  writeModel,
} from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import type { KeptChannels } from '../../src/prune/plan.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { type CertificateRequest, certify } from '../../src/runtime/certificate.ts';
import { stream } from '../../src/util/random.ts';
import { chainNet, integerGraph, integerNets } from './integer-nets.ts';
import { temporaryFolder } from './models.ts';

const folder = temporaryFolder();
let files = 0;

function coupled(model: OnnxModel, table: OperatorTable = operators) {
  return coupleGraph(buildGraph(unshare(model, table), table));
}

/** The cut as a reader of the written file gets it. */
function cutFile(model: OnnxModel, kept: KeptChannels, table: OperatorTable = operators): OnnxModel {
  const path = join(folder, `${files++}.onnx`);
  writeModel(cutModel(coupled(model, table), kept), path);
  return readModel(path);
}

const judge = (full: OnnxModel, small: OnnxModel, kept: KeptChannels, more: Partial<CertificateRequest> = {}) =>
  certify({ full, small, kept, operators, values: 'small-integers', ...more });

/** Every third channel goes, and one more of each group that the seed picks. */
function unevenPlan(model: OnnxModel, seed = 1, table: OperatorTable = operators): number[][] {
  const random = stream(seed, 'plan');
  return coupled(model, table).groups.map(({ size }) => {
    const gone = random.int(size);
    return Array.from({ length: size }, (_, i) => i).filter(i => i % 3 !== 2 && i !== gone);
  });
}

const changeTensor = (model: OnnxModel, name: string, change: (tensor: OnnxTensor) => OnnxTensor): OnnxModel => ({
  ...model,
  graph: {
    ...model.graph,
    initializers: model.graph.initializers.map(tensor => (tensor.name === name ? change(tensor) : tensor)),
  },
});

const withElement = (index: number, value: number) => (tensor: OnnxTensor) =>
  withFloats(tensor, tensor.dims, floats(tensor).with(index, value));

test.each(Object.keys(integerNets))('%s: the cut of a net of small integers is exact', async name => {
  const full = integerNets[name]();
  for (const seed of [1, 2]) {
    const kept = unevenPlan(full, seed);
    const certificate = await judge(full, cutFile(full, kept), kept);
    expect({ seed, ...certificate }).toMatchObject({
      ...{ seed, passed: true, maxAbsError: 0, maxRelError: 0, argmaxAgreement: 1, inputs: 16, notes: [] },
      outputs: [{ name: 'Y', type: 'float32', maxAbsError: 0, passed: true }],
    });
    expect(certificate.outputs[0].scale).toBeGreaterThan(1);
  }
});

test('a plan with one kept index changed fails, and the tensor is named', async () => {
  const full = chainNet();
  const kept = [
    [0, 2, 3, 5],
    [1, 2, 4],
  ];
  const small = cutFile(full, kept);
  expect(await judge(full, small, kept)).toMatchObject({ passed: true });
  for (const [group, at, channel, tensor] of [
    [0, 1, 1, 'a.weight'],
    [1, 2, 5, 'b.weight'],
  ] as const) {
    const changed = kept.map((channels, g) => (g === group ? channels.with(at, channel) : channels));
    const certificate = await judge(full, small, changed);
    expect(certificate).toMatchObject({ passed: false, maxAbsError: null, inputs: 0 });
    expect(certificate.failure).toContain(`'${tensor}'`);
  }
});

test('a kept channel that does nothing cannot be swapped for another one', async () => {
  // Columns 1 and 2 of the consumer are zero: the outputs are the same whichever of the two channels is kept.
  const dead = (tensor: OnnxTensor) =>
    withFloats(
      tensor,
      tensor.dims,
      floats(tensor).map((x, i) => ([1, 2].includes(Math.floor(i / 9) % 8) ? 0 : x)),
    );
  const full = changeTensor(chainNet(), 'b.weight', dead);
  const rest = [0, 1, 2, 3, 4, 5];
  const small = cutFile(full, [[0, 1, 3], rest]);
  const certificate = await judge(full, small, [[0, 2, 3], rest]);
  expect(certificate.passed).toBe(false);
  expect(certificate.failure).toMatch(/'a\.(weight|bias)' has another value/);
});

test('whatever differs from a cut made anew is named', async () => {
  const full = chainNet();
  const kept = unevenPlan(full);
  const small = cutFile(full, kept);
  const [conv] = small.graph.nodes;
  const nodes = (change: OnnxModel['graph']['nodes']): OnnxModel => ({
    ...small,
    graph: { ...small.graph, nodes: change },
  });
  const cases: [OnnxModel, RegExp][] = [
    [changeTensor(small, 'head.bias', withElement(3, 2 ** -149)), /'head\.bias' has another value at element 3/],
    [changeTensor(small, 'b.weight', tensor => ({ ...tensor, name: 'w' })), /'b\.weight' is missing/],
    [
      changeTensor(small, 'head.bias', tensor => withFloats(tensor, [1, 5], floats(tensor))),
      /FLOAT\[1,5\] instead of FLOAT\[5\]/,
    ],
    [
      nodes([withAttributes(conv, { pads: [1, 1, 1, 2] }), ...small.graph.nodes.slice(1)]),
      /'a': attribute 'pads' has another/,
    ],
    [
      nodes([withAttributes(conv, { dilations: [1, 1] }), ...small.graph.nodes.slice(1)]),
      /'dilations' should not be there/,
    ],
    [nodes(small.graph.nodes.slice(0, -1)), /Node 'Gemm_6' is missing/],
    [{ ...small, graph: { ...small.graph, outputs: full.graph.inputs } }, /output 0 is 'X' .* instead of 'Y'/],
    [{ ...small, opsets: new Map([['', 13]]) }, /'ai\.onnx' is version 13 instead of 17/],
  ];
  for (const [changed, message] of cases) {
    const certificate = await judge(full, changed, kept);
    expect(certificate.passed).toBe(false);
    expect(certificate.failure).toMatch(message);
  }
  // What does not matter: metadata, names of nodes, how tensors are stored.
  const renamed = { ...small, metadata: new Map([['a', 'b']]) };
  expect(await judge(full, renamed, kept)).toMatchObject({ passed: true, maxAbsError: 0 });
});

/** The table with some records exchanged. */
const tableWith = (...changed: Operator[]): OperatorTable =>
  new Map([...operators, ...changed.map(record => [`${record.domain}::${record.type}`, record] as const)]);

test('a wrong rule shows in the numbers even when the file is the cut that it asks for', async () => {
  const mean = operators.get('::ReduceMean')!;
  const wrong = tableWith({ ...mean, couple: (_, r) => void r.sums(0, 1) });
  const { g, conv } = integerGraph('mean');
  const x = g.input('X', [2, 3, 4, 4]);
  g.output(g.node('ReduceMean', [conv(x, 'a', [8, 3, 3])], { axes: [1], keepdims: 1 }, { output: 'Y' }));
  const full = g.model();
  const kept = [[0, 1, 2, 3]];
  expect(coupled(full, wrong).groups.map(({ size }) => size)).toEqual([8]);
  const certificate = await judge(full, cutFile(full, kept, wrong), kept, { operators: wrong });
  expect(certificate).toMatchObject({ passed: false, inputs: 16, outputs: [{ name: 'Y', passed: false }] });
  // The mean over 4 channels is twice the sum over these 4 divided by 8.
  const [{ maxAbsError, scale }] = certificate.outputs;
  expect(maxAbsError).toBe(scale);
  expect(certificate.failure).toMatch(/'Y' is off by 1\.00 of its scale, more than 0\.0001/);
});

test('a transpose that changes nothing is seen through, whatever the runtime makes of it', async () => {
  const { g, weight, relu } = integerGraph('identity transpose');
  const x = g.input('x', [8, 6]);
  const hidden = relu(g.node('MatMul', [x, weight('w1', 6, 8)]));
  const same = g.node('Transpose', [hidden], { perm: [0, 1] });
  g.output(g.node('Add', [g.node('MatMul', [same, weight('w2', 8, 5)]), weight('b', 5)], {}, { output: 'y' }), [8, 5]);
  const full = g.model();
  const kept = [[0, 2, 3, 5, 7]];
  expect(await judge(full, cutFile(full, kept), kept)).toMatchObject({ passed: true, maxAbsError: 0 });
});

test('a runtime that contradicts itself is named, and the graph as written decides', async () => {
  // The optimiser of ONNX Runtime 1.30 makes an invalid graph of this product with a folded one.
  const { g, weight, conv } = integerGraph('contradiction');
  const x = g.input('X', [2, 3, 8, 8]);
  const one = (name: string) => g.initializer(name, Float32Array.of(1), []);
  const value = g.node('Identity', [conv(x, 'a', [8, 3, 3])]);
  const product = g.node('Mul', [value, g.node('Div', [one('one'), one('other')])]);
  g.output(g.node('Conv', [product, weight('w', 4, 8, 1, 1)], {}, { output: 'Y' }), [2, 4, 8, 8]);
  const full = g.model();
  const kept = [[0, 2, 5]];
  const certificate = await judge(full, cutFile(full, kept), kept);
  expect(certificate).toMatchObject({ passed: true, maxAbsError: 0 });
  expect(certificate.notes).toHaveLength(2);
  expect(certificate.notes[0]).toMatch(/runtime contradicts itself .* optimiser fails \(.*\) in the full one/);
});

test('an output behind a discrete operator is compared before it', async () => {
  const whole = (n: Parameters<Operator['shape']>[0]) => [{ elemType: DataType.INT64, shape: n.shape(0).with(1, 1) }];
  const argMax = operator('ArgMax', {
    shape: whole,
    couple: (n, r) => {
      n.shape(0).forEach((_, axis) => {
        r.wall(n.axis(0, axis), 'ArgMax');
      });
      return undefined;
    },
    discrete: true,
  });
  const table = tableWith(argMax);
  const { g, conv, relu } = integerGraph('argmax');
  const x = g.input('X', [2, 3, 8, 8]);
  const scores = conv(relu(conv(x, 'a', [8, 3, 3])), 'b', [5, 8, 1]);
  g.output(g.node('ArgMax', [scores], { axis: 1 }, { output: 'Y' }), null, DataType.INT64);
  const full = g.model();
  const kept = [[1, 2, 4]];
  const certificate = await judge(full, cutFile(full, kept, table), kept, { operators: table });
  expect(certificate).toMatchObject({ passed: true, outputs: [{ name: 'b.out', maxAbsError: 0 }] });
  expect(certificate.notes).toEqual([expect.stringContaining("'Y'")]);
});

test('half precision has a limit of its own', async () => {
  const half = (tensor: OnnxTensor) => {
    const bits = Uint16Array.from(floats(tensor), x => (x === 0 ? 0 : x > 0 ? 0x3c00 : 0xbc00));
    return { name: tensor.name, dims: tensor.dims, bits };
  };
  const g = new GraphBuilder();
  const x = g.input('X', ['N', 3, 8, 8], DataType.FLOAT16);
  const constants = new Map(chainNet().graph.initializers.map(tensor => [tensor.name, half(tensor)]));
  const constant = (name: string) => {
    const { dims, bits } = constants.get(name)!;
    return g.initializer(name, bits, dims, DataType.FLOAT16);
  };
  const a = g.node('Conv', [x, constant('a.weight'), constant('a.bias')], { pads: [1, 1, 1, 1] });
  const b = g.node('Conv', [g.node('Relu', [a]), constant('b.weight'), constant('b.bias')], { pads: [1, 1, 1, 1] });
  g.node('GlobalAveragePool', [b], {}, { output: 'Y' });
  g.output('Y', null, DataType.FLOAT16);
  const full = g.model();
  const kept = [[0, 3, 4, 6, 7]];
  const certificate = await judge(full, cutFile(full, kept), kept, { values: 'normal' });
  expect(certificate).toMatchObject({ passed: true, limit: 0.01, outputs: [{ type: 'float16' }] });
  expect(certificate.maxRelError).toBeLessThan(0.01);
});

test('images are compared too, in slices of a fixed batch', async () => {
  const full = chainNet(3);
  const kept = unevenPlan(full);
  const random = stream(3, 'images');
  const images = Float32Array.from({ length: 7 * 192 }, () => random.int(256));
  const seen: number[] = [];
  const certificate = await judge(full, cutFile(full, kept), kept, {
    random: 4,
    images: [{ images, shape: [7, 3, 8, 8] }],
    onProgress: inputs => seen.push(inputs),
  });
  // Two runs of three random inputs, then slices of 3, 3 and 1 images.
  expect(seen).toEqual([3, 6, 9, 12, 13]);
  expect(certificate).toMatchObject({ passed: true, maxAbsError: 0, inputs: 13 });
});

test('a network without a finite output proves nothing', async () => {
  const full = changeTensor(chainNet(), 'head.bias', tensor =>
    withFloats(tensor, [5], new Float32Array(5).fill(Number.NaN)),
  );
  const kept = unevenPlan(full);
  const certificate = await judge(full, cutFile(full, kept), kept);
  expect(certificate).toMatchObject({ passed: false, failure: expect.stringContaining('no finite value') });
});

test('an aborted comparison stops', async () => {
  const full = chainNet();
  const kept = unevenPlan(full);
  const signal = AbortSignal.abort(new Error('stop'));
  await expect(judge(full, cutFile(full, kept), kept, { signal })).rejects.toThrow('stop');
});

/**
 * A classifier whose scores are rounded to the last place of `offset`: they lie beside it for a moment. With `bySign` it
 * has two outputs: Y does so for images with a mean above zero, Z for the others.
 */
function magnifying(offset: number, bySign = false): OnnxModel {
  const g = new GraphBuilder({ name: 'magnifying' });
  const random = stream(3, 'magnifying');
  const weight = (name: string, dims: number[], scale: number) => {
    const values = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal() * scale);
    return g.initializer(name, values, dims);
  };
  const block = (x: string, from: number, to: number, name: string) => {
    const conv = g.node('Conv', [x, weight(name, [to, from, 3, 3], (9 * from) ** -0.5)], { pads: [1, 1, 1, 1] });
    const vectors = ['scale', 'shift', 'mean'].map(part => weight(`${name}.${part}`, [to], 1));
    const variance = g.initializer(`${name}.variance`, new Float32Array(to).fill(1.3), [to]);
    return g.node('Relu', [g.node('BatchNormalization', [conv, ...vectors, variance])]);
  };
  const features = block(block(g.input('X', ['N', 3, 8, 8]), 3, 48, 'a'), 48, 48, 'b');
  const pooled = g.node('Flatten', [g.node('GlobalAveragePool', [features])]);
  const scores = g.node('Gemm', [pooled, weight('h', [500, 48], 0.1)], { transB: 1 });
  const big = g.initializer('big', Float32Array.of(offset), [1]);
  const beside = (by: string, output: string) =>
    g.output(g.node('Sub', [g.node('Add', [scores, by]), by], {}, { output }), ['N', 500]);
  if (bySign) {
    const sign = g.node('Sign', [g.node('ReduceMean', ['X'], { keepdims: 0 })]);
    beside(g.node('Mul', [g.node('Relu', [sign]), big]), 'Y');
    beside(g.node('Mul', [g.node('Relu', [g.node('Neg', [sign])]), big]), 'Z');
  } else beside(big, 'Y');
  return g.model();
}

test('an error that the full file shows by itself is rounding, and said to be; a wrong channel is not', async () => {
  const full = magnifying(4096);
  const kept = unevenPlan(full);
  const small = cutFile(full, kept);
  const certificate = await judge(full, small, kept, { values: 'normal' });
  expect(certificate).toMatchObject({ passed: true, limit: 1e-4 });
  expect(certificate.maxRelError).toBeGreaterThan(1e-4);
  expect(certificate.notes).toContainEqual(expect.stringMatching(/^'Y' is off by .* of its scale, which is rounding/));
  expect(certificate.outputs[0].limit).toBeLessThanOrEqual(1e-3);
  // Ten times as much is too much to tell a right file from a wrong one by its answers.
  const worse = magnifying(65536);
  const byLayer = await judge(worse, cutFile(worse, kept), kept, { values: 'normal' });
  expect(byLayer).toMatchObject({ passed: true, inputs: 16 });
  expect(byLayer.maxRelError).toBeLessThan(1e-4);
  expect(byLayer.notes[0]).toMatch(/^The output 'Y' is off by .*\. Layer by layer, each given what it gets .* agree/);
});

test('layers that magnify every rounding are compared one by one, and a wrong one among them is found', async () => {
  const mean = operators.get('::ReduceMean')!;
  const careless = tableWith({ ...mean, couple: (_, r) => void r.sums(0, 1) });
  const folding = (isWrong: boolean): OnnxModel => {
    const g = new GraphBuilder({ name: 'folding' });
    const random = stream(7, 'folding');
    const weight = (name: string, dims: number[], scale: number) =>
      g.initializer(
        name,
        Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal() * scale),
        dims,
      );
    let x = g.input('X', ['N', 3, 6, 6]);
    for (let layer = 0, from = 3; layer < 12; layer++, from = 48) {
      const kernel = weight(`w${layer}`, [48, from, 3, 3], 6 * (9 * from) ** -0.5);
      x = g.node('Sin', [g.node('Conv', [x, kernel], { pads: [1, 1, 1, 1] })]);
      if (isWrong && layer === 4) x = g.node('Mul', [x, g.node('ReduceMean', [x], { axes: [1] })]);
    }
    g.output(g.node('Conv', [x, weight('head', [4, 48, 1, 1], 0.2)], {}, { output: 'Y' }), ['N', 4, 6, 6]);
    return g.model();
  };
  for (const isWrong of [false, true]) {
    const full = folding(isWrong);
    const kept = unevenPlan(full, 1, careless);
    const small = cutFile(full, kept, careless);
    const certificate = await judge(full, small, kept, { values: 'normal', operators: careless });
    expect(certificate.passed).toBe(!isWrong);
    if (!isWrong) expect(certificate.notes[0]).toMatch(/off by .* Layer by layer, each given/);
  }
});

test('how much an output rounds is measured on the inputs where that output is off', async () => {
  const full = magnifying(4096, true);
  const kept = unevenPlan(full);
  const random = stream(5, 'images');
  const images = [1, -1].map(mean => {
    const values = Float32Array.from({ length: 64 * 192 }, () => random.normal() + mean);
    return { images: values, shape: [64, 3, 8, 8] };
  });
  const certificate = await judge(full, cutFile(full, kept), kept, { values: 'normal', images });
  expect(certificate).toMatchObject({ passed: true });
  for (const { maxRelError, limit } of certificate.outputs) {
    expect(maxRelError).toBeGreaterThan(1e-4);
    expect(limit).toBeGreaterThan(1e-4);
  }
});
