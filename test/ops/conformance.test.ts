import { beforeAll, describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { elementCount } from '../../src/onnx/tensor.ts';
import { operators } from '../../src/ops/index.ts';
import { rolesOf } from '../../src/prune/groups.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { compile } from '../../src/train/program.ts';
import { type Case, conformanceCases, distance, engineTensor, numbersOf, withConstants } from './cases.ts';

const cases = conformanceCases();
const tolerance = 1e-3;

type Check = 'shape' | 'value' | 'forward';

const isSmall = (one: Case) => one.inputs.every(tensor => !tensor || elementCount(tensor) <= 64);
const isEvaluated = (one: Case) =>
  one.model.graph.nodes.every(({ opType }) => opType === 'Constant' || operators.get(`::${opType}`)?.evaluate);

/** What is not compared, and why: no case is left out in silence. */
const reasons: Record<Check, readonly (readonly [string, (one: Case) => boolean])[]> = {
  shape: [],
  value: [
    ['the operator is only run: no arithmetic on shapes needs it', one => !isEvaluated(one)],
    ['more than 64 real numbers are not computed with', one => !isSmall(one)],
    [
      'only vectors are joined, split and picked from',
      one => /concat_[23]d|concat2|split_\w+_2d|gather_2d_indices|Embedding/.test(one.name),
    ],
  ],
  forward: [
    ['the file is in training mode, which is refused', one => /batchnorm_\w+_training_mode/.test(one.name)],
    ['it gives indices, which is refused', one => /maxpool_with_argmax/.test(one.name)],
    [
      'a constant or shape: nothing is run',
      one => /node\/(constant|constantofshape_int_zeros|shape\w*)$/.test(one.name),
    ],
  ],
};

const reasonFor = (check: Check, one: Case) => reasons[check].find(([, applies]) => applies(one))?.[0];

/** Inputs that have to be constants for a rule to know the output's shape: indices, pads, bounds, target shapes. */
function settings(one: Case): (input: number) => boolean {
  const graph = buildGraph(
    withConstants(one, () => false),
    operators,
  );
  const needed = new Set<string>();
  for (const node of graph.nodes) {
    for (const [input, role] of Object.entries(rolesOf(node))) {
      if (role.kind === 'shape') needed.add(node.inputs[Number(input)]);
    }
    if (['Clip', 'Pad', 'Dropout'].includes(node.opType)) for (const name of node.inputs.slice(1)) needed.add(name);
  }
  return input => needed.has(one.model.graph.inputs[input].name);
}

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

describe.each(cases.map(one => [one.name, one] as const))('%s', (_, one) => {
  const check = (kind: Check, run: () => void) => {
    const reason = reasonFor(kind, one);
    test.skipIf(reason)(reason ? `${kind} (${reason})` : kind, run);
  };

  check('shape', () => {
    const graph = buildGraph(withConstants(one, settings(one)), operators);
    graph.outputs.forEach((name, i) => {
      const expected = one.outputs[i]!;
      expect(graph.types.get(name)).toEqual({ elemType: expected.dataType, shape: expected.dims });
    });
  });

  check('value', () => {
    const graph = buildGraph(
      withConstants(one, () => true),
      operators,
    );
    graph.outputs.forEach((name, i) => {
      const expected = one.outputs[i]!;
      const found = graph.constants.get(name);
      expect(found).toMatchObject({ elemType: expected.dataType, dims: expected.dims });
      expect(distance(found!.values as number[], numbersOf(expected))).toBeLessThan(tolerance);
    });
  });

  check('forward', () => {
    const isSetting = settings(one);
    const graph = buildGraph(withConstants(one, isSetting), operators);
    torch.scope(() => {
      const program = compile(graph, torch, graph.outputs, []);
      const inputs = one.inputs.flatMap((tensor, i) => (tensor && !isSetting(i) ? [engineTensor(torch, tensor)] : []));
      program.run(inputs, [], { training: false }).forEach((found, i) => {
        expect(found.shape).toEqual(one.outputs[i]!.dims);
        expect(distance(torch.values(found), numbersOf(one.outputs[i]!))).toBeLessThan(tolerance);
      });
    });
  });
});

test('so many cases are compared and left out', () => {
  const count = (check: Check) => {
    const given = cases.map(one => reasonFor(check, one));
    const left = reasons[check].map(([reason]) => [reason, given.filter(found => found === reason).length]);
    return { compared: given.filter(reason => reason === undefined).length, ...Object.fromEntries(left) };
  };
  expect({ shape: count('shape'), value: count('value'), forward: count('forward') }).toEqual({
    shape: { compared: 322 },
    value: {
      compared: 94,
      'the operator is only run: no arithmetic on shapes needs it': 200,
      'more than 64 real numbers are not computed with': 12,
      'only vectors are joined, split and picked from': 16,
    },
    forward: {
      compared: 307,
      'the file is in training mode, which is refused': 2,
      'it gives indices, which is refused': 1,
      'a constant or shape: nothing is run': 12,
    },
  });
});

test('every operator of the cases is known', () => {
  const types = new Set(cases.flatMap(({ model }) => model.graph.nodes.map(node => node.opType)));
  for (const type of types) expect(operators.has(`::${type}`), type).toBe(true);
});
