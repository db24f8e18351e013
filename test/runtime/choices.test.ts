import { expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import type { OperatorTable } from '../../src/graph/operator.ts';
import { DataType, GraphBuilder, type OnnxModel } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { type Certificate, certify } from '../../src/runtime/certificate.ts';
import { comparedValues } from '../../src/runtime/compared.ts';
import { integerGraph } from './integer-nets.ts';

type Net = ReturnType<typeof integerGraph>;

const coupled = (model: OnnxModel, table: OperatorTable) => coupleGraph(buildGraph(unshare(model, table), table));

/** Every third channel goes. */
const planOf = (model: OnnxModel, table: OperatorTable) =>
  coupled(model, table).groups.map(({ size }) => Array.from({ length: size }, (_, i) => i).filter(i => i % 3 !== 2));

/** The certificate of a cut of the net, with real inputs. */
function judge(full: OnnxModel, table = operators): Promise<Certificate> {
  const kept = planOf(full, table);
  return certify({ full, small: cutModel(coupled(full, table), kept), kept, operators: table });
}

/** A net from `X` [2, 3, 8, 8] to `Y`. */
function net(body: (net: Net, x: string) => string, type: number = DataType.FLOAT): OnnxModel {
  const built = integerGraph('choices');
  const x = built.g.input('X', [2, 3, 8, 8]);
  built.g.node('Identity', [body(built, x)], {}, { output: 'Y' });
  built.g.output('Y', null, type);
  return built.g.model();
}

const topK = ({ g, ints }: Net, x: string, k = 4) =>
  g.node('TopK', [x, ints(`k.${x}`, k)], { axis: 3 }, { outputs: [`${x}.top`, `${x}.places`] })[0];

const names = ({ outputs }: Certificate) => outputs.map(({ name }) => name);

/** The table with a rule that takes a mean over channels for a sum. */
const wrong: OperatorTable = new Map([
  ...operators,
  ['::ReduceMean', { ...operators.get('::ReduceMean')!, couple: (_, r) => void r.sums(0, 1) }],
]);

const meanBehind = (choose: (net: Net, x: string) => string) =>
  net((k, x) => k.g.node('ReduceMean', [k.conv(choose(k, x), 'a', [9, 3, 3])], { axes: [1], keepdims: 1 }));

test.each([
  ['TopK', topK],
  ['a random operator', ({ g }: Net, x: string) => g.node('Add', [x, g.node('RandomNormalLike', [x])])],
])('a wrong rule behind %s shows in the numbers', async (_, choose) => {
  const certificate = await judge(meanBehind(choose), wrong);
  expect(certificate).toMatchObject({ passed: false, failure: expect.stringContaining("'Y' is off by") });
  // The mean over 6 channels is 9/6 of the sum over these 6 divided by 9.
  const [{ maxRelError }] = certificate.outputs.slice(-1);
  expect(maxRelError).toBeCloseTo(0.5, 5);
});

test('what lies between choices and behind them is compared with the choices of the full file', async () => {
  const full = net((k, x) => {
    const first = topK(k, k.conv(k.relu(k.conv(x, 'a', [8, 3, 3])), 'b', [3, 8, 1]));
    const second = topK(k, k.conv(k.relu(k.conv(first, 'c', [8, 3, 3])), 'd', [3, 8, 1]), 2);
    return k.conv(k.relu(k.conv(second, 'e', [8, 3, 3])), 'f', [3, 8, 1]);
  });
  const certificate = await judge(full);
  expect(certificate).toMatchObject({ passed: true });
  expect(names(certificate)).toEqual(['b.out', 'Y', 'd.out']);
  expect(certificate.notes).toEqual([expect.stringContaining('given the choices of the full one')]);
});

test('channels that a choice keeps apart are cut in what is fed', async () => {
  const full = net((k, x) => k.conv(topK(k, k.relu(k.conv(x, 'a', [9, 3, 3]))), 'b', [3, 9, 1]));
  const certificate = await judge(full);
  expect(certificate).toMatchObject({ passed: true, outputs: [{ name: 'Relu_1_output' }, { name: 'Y' }] });
});

test.each([
  [0.5, ['a.out', 'Y']],
  [0, ['Y']],
])(
  'Dropout of %f in training mode is compared before and behind it where it drops anything',
  async (share, compared) => {
    const full = net((k, x) => {
      const ratio = k.g.initializer('ratio', Float32Array.of(share), []);
      const training = k.g.initializer('training', [1], [], DataType.BOOL);
      return k.conv(k.g.node('Dropout', [k.conv(x, 'a', [9, 3, 3]), ratio, training]), 'b', [3, 9, 1]);
    });
    const certificate = await judge(full);
    expect(certificate).toMatchObject({ passed: true, outputs: compared.map(name => ({ name })) });
  },
);

const scores = (k: Net, x: string) => k.conv(k.relu(k.conv(x, 'a', [9, 3, 3])), 'b', [3, 9, 3]);

test.each([
  ['Cast', (k: Net, x: string) => k.g.node('Cast', [x], { to: DataType.UINT8 }), DataType.UINT8],
  [
    'Greater',
    (k: Net, x: string) => k.g.node('Greater', [x, k.g.initializer('t', Float32Array.of(1), [])]),
    DataType.BOOL,
  ],
  ['Floor', (k: Net, x: string) => k.g.node('Floor', [x]), DataType.FLOAT],
])('%s of computed numbers is compared before it', async (_, round, type) => {
  const certificate = await judge(net((k, x) => round(k, scores(k, x)), type));
  expect(certificate).toMatchObject({ passed: true });
  expect(certificate.outputs[0]).toMatchObject({ name: 'b.out', type: 'float32' });
  expect(certificate.notes).toHaveLength(1);
});

test('arithmetic on lengths, and what no cut touches, is no choice', async () => {
  const full = net((k, x) => {
    const hidden = k.relu(k.conv(x, 'a', [9, 3, 3]));
    const length = k.g.node('Gather', [k.g.node('Shape', [x]), k.ints('last', 3)]);
    const half = k.g.initializer('half', Float32Array.of(0.5), [1]);
    const scaled = k.g.node('Mul', [k.g.node('Cast', [length], { to: DataType.FLOAT }), half]);
    const whole = k.g.node('Cast', [k.g.node('Floor', [scaled])], { to: DataType.INT64 });
    const positive = k.g.node('Floor', [x]);
    const cut = k.g.node('Slice', [hidden, k.ints('zero', 0), whole, k.ints('axis', 3)]);
    const rest = k.g.node('Slice', [positive, k.ints('start', 0), whole, k.ints('along', 3)]);
    return k.g.node('Add', [k.conv(cut, 'b', [3, 9, 3]), rest]);
  });
  const certificate = await judge(full);
  expect(certificate).toMatchObject({ passed: true, notes: [], outputs: [{ name: 'Y' }] });
});

test('any number of nodes may be behind a choice', () => {
  const full = net((k, x) => {
    let value = topK(k, k.conv(k.relu(k.conv(x, 'a', [9, 3, 3])), 'b', [3, 9, 3]));
    for (let i = 0; i < 12_000; i++) value = k.g.node('Identity', [value]);
    return value;
  });
  const { values, behind } = comparedValues(coupled(full, operators), planOf(full, operators));
  expect(values.map(({ name }) => name)).toEqual(['b.out']);
  expect(behind?.values.map(({ name }) => name)).toEqual(['Y']);
});

test('the parts of a final Concat are compared each by its own scale', async () => {
  // Values around 1000 beside values around 1, of which the rule makes the small ones wrong.
  const full = net((k, x) => {
    const big = k.g.node('Mul', [x, k.g.initializer('k', Float32Array.of(100_000), [])]);
    const mean = k.g.node('ReduceMean', [k.conv(x, 'a', [9, 3, 3])], { axes: [1], keepdims: 1 });
    const both = k.g.node('Concat', [big, mean], { axis: 1 });
    return k.g.node('Reshape', [both, k.ints('flat', 2, -1)]);
  });
  const certificate = await judge(full, wrong);
  const [whole, big, small] = certificate.outputs;
  expect(whole).toMatchObject({ name: 'Y', passed: true });
  expect(big).toMatchObject({ name: 'Mul_0_output', maxAbsError: 0 });
  expect(small).toMatchObject({ passed: false });
  expect(certificate.passed).toBe(false);
});

/** A branch that sorts a value of the outer graph. */
function sorting(name: string, value: string, count: string, largest: number) {
  const inner = new GraphBuilder({ name });
  const [sorted] = inner.node('TopK', [value, count], { axis: 3, largest }, { outputs: [`${name}.y`, `${name}.i`] });
  inner.output(sorted, [2, 3, 8, 8]);
  return inner.graphProto();
}

test('a choice in a sub-graph is one of its node', async () => {
  const full = net((k, x) => {
    const branches = {
      then_branch: sorting('then', 'b.out', 'count', 1),
      else_branch: sorting('else', 'b.out', 'count', 0),
    };
    k.ints('count', 8);
    scores(k, x);
    const chosen = k.g.node('If', [k.g.initializer('p', [1], [], DataType.BOOL)], branches);
    return k.conv(k.relu(k.conv(k.g.value(chosen, [2, 3, 8, 8]), 'c', [9, 3, 3])), 'd', [3, 9, 3]);
  });
  const certificate = await judge(full);
  expect(certificate).toMatchObject({ passed: true, outputs: [{ name: 'b.out' }, { name: 'Y' }] });
});

test('where a choice cannot be fed, it is said that what is behind it is not compared', async () => {
  const split = operators.get('::SplitToSequence')!;
  const table: OperatorTable = new Map([...operators, ['::SplitToSequence', { ...split, discrete: true }]]);
  const full = net((k, x) => {
    const parts = k.g.node('SplitToSequence', [scores(k, x)], { axis: 0 });
    return k.g.node('SequenceAt', [parts, k.g.initializer('at', BigInt64Array.of(0n), [])]);
  });
  const certificate = await judge(full, table);
  expect(certificate).toMatchObject({ passed: true, outputs: [{ name: 'b.out' }] });
  expect(certificate.notes).toEqual([
    expect.stringMatching(/^The output 'Y' .* what it is made from is compared\.$/),
    expect.stringMatching(/behind such choices is not compared/),
  ]);
});
