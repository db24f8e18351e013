import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command as cutCommand } from '../../src/commands/cut.ts';
import { command as inspectCommand } from '../../src/commands/inspect.ts';
import { command as verifyCommand } from '../../src/commands/verify.ts';
import {
  DataType,
  floats,
  GraphBuilder,
  ints,
  type OnnxModel,
  readModel,
  shapeOf,
  valueInfo,
  writeModel,
} from '../../src/onnx/index.ts';
import { openModel } from '../../src/runtime/session.ts';
import { stream } from '../../src/util/random.ts';
import { refusal, scratch } from '../commands/support.ts';
import { couplingOf, exactCut, initializer, type Net, netOf, nodeOf, reasons, sizes } from './nets.ts';

const cut = callable(cutCommand);
const inspect = callable(inspectCommand);
const verify = callable(verifyCommand);
const folder = scratch();

/** A net in a file of its own folder. */
function written(name: string, model: OnnxModel): { model: string; small: string; plan: string } {
  const at = (suffix: string) => join(folder, `${name.replaceAll(/\W+/g, '-')}${suffix}`);
  writeModel(model, at('.onnx'));
  return { model: at('.onnx'), small: at('-small.onnx'), plan: at('-plan.json') };
}

/** Once by `cut --flops 0.5 --criterion random`, with its certificate. */
async function budgetCut(name: string, model: OnnxModel, flops = 0.5) {
  const files = written(name, model);
  const result = await cut({ model: files.model, out: files.small, flops, criterion: 'random' });
  expect(result.certificate).toMatchObject({ passed: true });
  expect(result.macs.ratio).toBeLessThanOrEqual(flops);
  return result;
}

describe('B03: slices with a negative step, and ends beyond every axis', () => {
  const last = -(2 ** 31);
  const sliced = (channels: number, vectors: (g: Net) => string[]) =>
    netOf((g, x) =>
      g.conv(g.op('Slice', [g.conv(x, 3, 8, { name: 'a' }), ...vectors(g)], {}, 's'), channels, 5, { name: 'b' }),
    );
  const int64 = (g: Net, ...vectors: number[]) => vectors.map((value, i) => g.ints(`v${i}`, value));
  const int32 = (g: Net, ...vectors: number[]) =>
    vectors.map((value, i) => g.initializer(`v${i}`, Int32Array.of(value), [1]));
  const mirrors: [string, (g: Net) => string[]][] = [
    ['int64, the smallest there is', g => int64(g, -1, Number.MIN_SAFE_INTEGER, 1, -1)],
    ['int32, the smallest there is', g => int32(g, -1, last, 1, -1)],
    ['an axis from the end', g => int64(g, -1, Number.MIN_SAFE_INTEGER, -3, -1)],
    ['an end just before the first', g => int64(g, 7, -9, 1, -1)],
  ];

  test.each(mirrors)('a mirror is an index map: %s', async (name, vectors) => {
    const model = sliced(8, vectors);
    const coupling = couplingOf(model);
    expect(sizes(coupling)).toEqual({ 'a.weight': 8 });
    const small = await exactCut(model, [[2, 3, 4, 6, 7]]);
    // Rows 0, 1 and 5 went, and with them columns 7, 6 and 2.
    const columns = [0, 1, 3, 4, 5];
    const [before, after] = [model, small].map(from => initializer(from, 'b.weight'));
    const [all, left] = [floats(before), floats(after)];
    expect(after.dims).toEqual([5, 5, 3, 3]);
    columns.forEach((column, at) => {
      for (let row = 0; row < 5; row++) {
        const [from, to] = [(row * 8 + column) * 9, (row * 5 + at) * 9];
        expect([...left.subarray(to, to + 9)]).toEqual([...all.subarray(from, from + 9)]);
      }
    });
    // The Slice that is written still goes through to the first channel.
    const slice = nodeOf(small, 's');
    expect(slice.opType).toBe('Slice');
    const [start, end, , step] = slice.input.slice(1).map(input => ints(initializer(small, input))[0]);
    expect({ start, step, reachesFirst: end < -5 }).toEqual({ start: 4, step: -1, reachesFirst: true });
    await budgetCut(`mirror ${name}`, model);
  });

  test('every second channel: the others go first, and what stays is exact', async () => {
    const model = sliced(4, g => int64(g, -1, Number.MIN_SAFE_INTEGER, 1, -2));
    const coupling = couplingOf(model);
    const unread = coupling.groups.findIndex(group => !group.members.some(({ value }) => value === 'b.weight'));
    expect(coupling.groups.map(({ size }) => size)).toEqual([4, 4]);
    for (const [skipped, picked] of [
      [
        [0, 3],
        [0, 1, 2, 3],
      ],
      [[1], [0, 2, 3]],
      [
        [0, 2, 3],
        [1, 2],
      ],
      [[0], [0]],
    ]) {
      await exactCut(model, unread === 0 ? [skipped, picked] : [picked, skipped]);
    }
    // Without three of them 79.5 % are left.
    const { widths } = await budgetCut('step -2', model, 0.8);
    expect([widths[unread].kept, widths[1 - unread].kept]).toEqual([1, 4]);
  });

  test('a forward slice to the end of everything', async () => {
    const model = sliced(6, g => int64(g, 2, Number.MAX_SAFE_INTEGER, 1));
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 2, 'a.weight#2': 6 });
    const small = await exactCut(model, [[1], [0, 3, 5]]);
    expect(initializer(small, 'b.weight').dims).toEqual([5, 3, 3, 3]);
    await budgetCut('forward', model, 0.6);
  });
});

describe('B09: an If that reads outer values by name', () => {
  const branch = (name: string, weight: string) => {
    const inner = new GraphBuilder({ name });
    inner.output(inner.node('Conv', ['c', weight], {}, { name: `${name}.conv`, output: `${name}_out` }));
    return inner.graphProto();
  };
  const model = netOf((g, x) => {
    g.input('p', [], DataType.BOOL);
    for (const weight of ['W1', 'W2']) g.weight(weight, [4, 8, 1, 1]);
    const plain = g.conv(g.conv(x, 3, 6, { name: 'plain' }), 6, 3, { name: 'back' });
    const c = g.op('Cast', [g.op('Relu', [g.conv(plain, 3, 8, { name: 'a' })])], { to: 1 }, 'c');
    const chosen = g.op('If', ['p'], { then_branch: branch('yes', 'W1'), else_branch: branch('no', 'W2') }, 'choice');
    return [chosen, g.conv(g.op('GlobalAveragePool', [c]), 8, 3, { name: 'second', kernel: 1 })];
  });

  test('its channels are a wall that names it, the plain part is cut, the weights survive', async () => {
    const coupling = couplingOf(model);
    expect(sizes(coupling)).toEqual({ 'plain.weight': 6, 'back.weight': 3 });
    expect(reasons(coupling)).toMatchObject({ 'a.weight': "If 'choice' reads it in a sub-graph" });
    const small = await exactCut(model, [
      [0, 2, 5],
      [0, 2],
    ]);
    for (const weight of ['W1', 'W2']) expect(initializer(small, weight)).toBe(initializer(model, weight));
    for (const p of [0, 1]) {
      const random = stream(p, 'x');
      const X = {
        type: 'float32',
        shape: [1, 3, 8, 8],
        data: Float32Array.from({ length: 192 }, () => random.int(3) - 1),
      } as const;
      const session = await openModel(small, { optimize: 'none' });
      const results = await session.run({ X, p: { type: 'bool', shape: [], data: Uint8Array.of(p) } });
      expect(results.choice.shape).toEqual([1, 4, 8, 8]);
      await session.dispose();
    }
  });

  test('the convolutions inside are named as not counted, and a budget is one of the others', async () => {
    const { model: path, small, plan } = written('if', model);
    const inspected = await inspect({ model: path, flops: 0.5 });
    expect(inspected.costs.macs.unknown).toEqual([
      { node: 'choice', opType: 'If', why: 'its sub-graphs are not counted' },
    ]);
    expect(inspected.budget).toMatchObject({ reachable: true });
    const page = inspectCommand.render(inspected);
    expect(page).toMatch(/at least .* of these/);
    expect(page).toContain(
      'choice (its sub-graphs are not counted). They are not counted: a budget of MACs is one of the others.',
    );
    const result = await cut({ model: path, out: small, plan, flops: 0.5, criterion: 'random' });
    expect(result).toMatchObject({
      certificate: { passed: true },
      macs: { unknown: 1, uncounted: [{ node: 'choice' }] },
    });
    expect(cutCommand.render(result)).toContain('not counted: choice (its sub-graphs are not counted).');
    expect(await verify({ full: path, small, plan })).toMatchObject({ exitCode: 0 });
  });

  test('one that only selects has no cost at all', async () => {
    const pass = (name: string, value: string) => {
      const inner = new GraphBuilder({ name });
      inner.output(inner.node('Identity', [value], {}, { output: `${name}_out` }));
      return inner.graphProto();
    };
    const selecting = netOf((g, x) => {
      g.input('p', [], DataType.BOOL);
      const a = g.conv(g.conv(x, 3, 6, { name: 'a' }), 6, 3, { name: 'b' });
      return g.op('If', ['p'], { then_branch: pass('yes', a), else_branch: pass('no', a) }, 'choice');
    });
    const { costs } = await inspect({ model: written('selecting', selecting).model });
    expect(costs.macs).toMatchObject({ full: 64 * 9 * 36, unknown: [] });
  });
});

describe('B10: what static quantisers write', () => {
  interface Form {
    readonly zeroPoints?: boolean;
    readonly axis?: number;
    readonly transposed?: boolean;
    readonly perTensor?: boolean;
  }
  const int8 = (g: Net, name: string, dims: readonly number[]) => {
    const random = stream(1, name);
    return g.initializer(
      name,
      Int8Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.int(3) - 1),
      dims,
    );
  };
  const activation = (g: Net, x: string, name: string) => {
    const settings = [
      g.initializer(`${name}.scale`, Float32Array.of(1), []),
      g.initializer(`${name}.zero`, Int8Array.of(3), []),
    ];
    return g.op(
      'DequantizeLinear',
      [g.op('QuantizeLinear', [x, ...settings], {}, `${name}.q`), ...settings],
      {},
      `${name}.dq`,
    );
  };

  function layer(g: Net, x: string, from: number, to: number, name: string, form: Form): string {
    const { zeroPoints = true, axis = 0, transposed = false, perTensor = false } = form;
    const random = stream(2, name);
    const count = perTensor ? 1 : to;
    const steps = Float32Array.from({ length: count }, () => 2 ** (random.int(2) - 1));
    const settings = (part: string, zero: Int8Array | Int32Array) => [
      g.initializer(`${name}.${part}.scale`, steps, perTensor ? [] : [to]),
      ...(zeroPoints ? [g.initializer(`${name}.${part}.zero`, zero, perTensor ? [] : [to])] : []),
    ];
    const codes = int8(g, `${name}.q`, transposed ? [from, to, 3, 3] : [to, from, 3, 3]);
    const zeros = Int8Array.from({ length: count }, () => random.int(3) - 1);
    const weightAxis = transposed ? 1 : axis;
    const w = g.op('DequantizeLinear', [codes, ...settings('w', zeros)], { axis: weightAxis }, `${name}.weight`);
    const bias = g.initializer(
      `${name}.b`,
      Int32Array.from({ length: to }, () => random.int(5) - 2),
      [to],
    );
    const b = g.op('DequantizeLinear', [bias, ...settings('bias', new Int32Array(count))], { axis: 0 }, `${name}.bias`);
    return g.op(transposed ? 'ConvTranspose' : 'Conv', [x, w, b], { pads: [1, 1, 1, 1] }, name);
  }

  const quantised = (form: Form) =>
    netOf((g, x) => {
      const a = layer(g, activation(g, x, 'in'), 3, 8, 'a', form);
      return layer(g, activation(g, g.op('Relu', [a]), 'mid'), 8, 4, 'b', form);
    });

  test.each<[string, Form]>([
    ['as they write it', {}],
    ['without zero points', { zeroPoints: false }],
    ['an axis from the end', { axis: -4 }],
    ['a transposed convolution', { transposed: true }],
    ['one scale for all', { perTensor: true }],
  ])('%s', async (name, form) => {
    const model = quantised(form);
    expect(sizes(couplingOf(model))).toEqual({ 'a.weight': 8 });
    const small = await exactCut(model, [[0, 1, 4, 6, 7]]);
    const dims = (tensor: string) => initializer(small, tensor).dims;
    expect(dims('a.q')).toEqual(form.transposed ? [3, 5, 3, 3] : [5, 3, 3, 3]);
    expect(dims('b.q')).toEqual(form.transposed ? [5, 4, 3, 3] : [4, 5, 3, 3]);
    expect(dims('a.b')).toEqual([5]);
    const vector = form.perTensor ? [] : [5];
    for (const part of ['w', 'bias']) {
      expect(dims(`a.${part}.scale`)).toEqual(vector);
      if (form.zeroPoints !== false) expect(dims(`a.${part}.zero`)).toEqual(vector);
    }
    expect(initializer(small, 'mid.scale')).toBe(initializer(model, 'mid.scale'));
    await budgetCut(`quantised ${name}`, model);
    // Ranked by what the codes mean, and counted as the parameters that they are.
    const { costs, groups } = await inspect({ model: written(`counted ${name}`, model).model, params: 0.5 });
    expect(costs.params).toMatchObject({ full: 9 * 3 * 8 + 8 + 9 * 8 * 4 + 4, unknown: [] });
    // Half of 516 parameters is 3 channels of 27 + 1 + 36 and the last 4 of the bias.
    expect(groups[0].kept).toBe(3);
  });
});

describe('B11: weights among the inputs', () => {
  const three = (options = {}) =>
    netOf(
      (g, x) =>
        g.conv(g.op('Relu', [g.conv(g.op('Relu', [g.conv(x, 3, 8, { name: 'a' })]), 8, 6, { name: 'm' })]), 6, 4, {
          name: 'c',
        }),
      options,
    );
  const listing = (model: OnnxModel, name: string): OnnxModel => {
    const { dims, dataType } = initializer(model, name);
    return { ...model, graph: { ...model.graph, inputs: [...model.graph.inputs, valueInfo(name, dataType, dims)] } };
  };
  const names = (path: string) => readModel(path).graph.inputs.map(info => info.name);

  test('IR version 3: constants, whose declared shapes follow', async () => {
    const model = three({ irVersion: 3, opset: 8 });
    const small = await exactCut(model, [
      [0, 1, 4, 6, 7],
      [0, 5],
    ]);
    const shapes = new Map(small.graph.inputs.map(info => [info.name, shapeOf(info)]));
    for (const { name, dims } of small.graph.initializers) expect([name, shapes.get(name)]).toEqual([name, dims]);
    const { model: path } = written('ir3', model);
    expect(await refusal(inspect({ model: path, sealInputs: true }))).toMatchObject({ code: 'E_OPTION', exitCode: 2 });
  });

  test('IR version 8: a wall, and what it does not touch is cut without a change of the interface', async () => {
    // Another convolution in front, which the default has nothing to do with.
    const model = listing(
      netOf((g, x) => {
        const a = g.conv(g.op('Relu', [g.conv(g.conv(x, 3, 7, { name: 'z' }), 7, 8, { name: 'a' })]), 8, 6, {
          name: 'm',
        });
        return g.conv(g.op('Relu', [a]), 6, 4, { name: 'c' });
      }),
      'm.weight',
    );
    const { model: path, small } = written('default', model);
    const { walls, groups } = await inspect({ model: path });
    expect(groups.map(({ name }) => name)).toEqual(['z.weight']);
    expect(walls[0]).toMatchObject({ reason: "graph input 'm.weight', which a caller may replace" });
    expect(walls[0].unlock).toContain('--seal-inputs');
    await cut({ model: path, out: small, params: 0.9 });
    expect(names(small)).toEqual(['X', 'm.weight']);
    const session = await openModel(readModel(small));
    expect(session.inputs.map(({ name }) => name)).toEqual(['X']);
    await session.dispose();
  });

  test('IR version 8, sealed on demand: cut as usual, said in the file, verified only when sealed too', async () => {
    const { model: path, small, plan } = written('sealed', listing(three(), 'm.weight'));
    const options = { model: path, out: small, plan, flops: 0.5, sealInputs: true };
    const result = await cut({ ...options, criterion: 'random' });
    expect(result).toMatchObject({ certificate: { passed: true } });
    expect(result.widths.map(({ group }) => group)).toEqual(['a.weight', 'm.weight']);
    expect(names(small)).toEqual(['X']);
    expect(JSON.parse(readModel(small).metadata.get('s2h')!)).toMatchObject({ sealInputs: true });
    expect(await verify({ full: path, small, plan, sealInputs: true })).toMatchObject({ exitCode: 0 });
    expect(await refusal(verify({ full: path, small, plan }))).toMatchObject({ code: 'E_PLAN' });
    const before = readFileSync(small);
    await cut({ model: path, out: small, apply: plan, sealInputs: true });
    expect(readModel(small).graph.initializers.map(({ dims }) => dims)).toEqual(
      readModel(join(folder, 'sealed-small.onnx')).graph.initializers.map(({ dims }) => dims),
    );
    expect(before.length).toBeGreaterThan(0);
  });
});
