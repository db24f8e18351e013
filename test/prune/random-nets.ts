import fc from 'fast-check';
import { DataType, type OnnxModel } from '../../src/onnx/index.ts';
import type { CouplingOptions } from '../../src/prune/groups.ts';
import { type Net, type NetOptions, netOf } from './nets.ts';
import { blocks } from './random-blocks.ts';
import { Growth, type Layer, lengths, product, type Step, type Steps, type Value } from './random-growth.ts';
import { layers } from './random-layers.ts';
import { smooth } from './random-smooth.ts';
import { spatial, wiring } from './random-wiring.ts';

const inputs = {
  image: { channels: 3, space: [8, 8], last: false },
  tokens: { channels: 6, space: [4], last: true },
  signal: { channels: 3, space: [8], last: false },
  volume: { channels: 3, space: [4, 4, 4], last: false },
  row: { channels: 8, space: [], last: false },
};

/** What a random net is made from. */
export interface NetPlan {
  readonly steps: readonly Step[];
  readonly input: keyof typeof inputs;
  readonly head: number;
  readonly opset: number;
  /** The first axis has no fixed length. */
  readonly dynamic: boolean;
  readonly weightsInNodes: boolean;
  readonly options: CouplingOptions;
  /** Operators that round are among the steps; else the net computes with integers, exactly. */
  readonly rounds: boolean;
  readonly seed: number;
}

const small = fc.nat(999);
const step = fc.record({ kind: small, a: small, b: small, p: small, q: small });

/** Plans of all kinds of nets; they shrink to few steps. */
export const netPlans: fc.Arbitrary<NetPlan> = fc.record({
  steps: fc.array(step, { minLength: 2, maxLength: 14 }),
  input: fc.constantFrom('image', 'image', 'image', 'tokens', 'tokens', 'signal', 'volume', 'row'),
  head: small,
  opset: fc.constantFrom(17, 18, 9, 12, 13, 20, 21),
  dynamic: fc.boolean(),
  weightsInNodes: fc.boolean(),
  options: fc.record({
    grouped: fc.constantFrom('equal', 'equal', 'whole'),
    attention: fc.constantFrom('heads', 'dims'),
  }),
  rounds: fc.constantFrom(false, false, true),
  seed: fc.nat(9999),
});

/** The net of a plan. Opset 9 comes as IR version 3, with every initializer listed as an input. */
export function randomNet(plan: NetPlan): OnnxModel {
  const { opset, input, dynamic, weightsInNodes, seed } = plan;
  const first: Value = { name: 'X', ...inputs[input], bound: 1, bits: 0 };
  const options: NetOptions = {
    opset,
    weightsInNodes,
    seed,
    irVersion: opset === 9 ? 3 : 8,
    domains: { 'com.microsoft': 1 },
  };
  const shape = [dynamic ? 'N' : 2, ...lengths(first)];
  return netOf((g, x) => outputsOf(g, plan, { ...first, name: x }), { ...options, shape });
}

const exact: Steps = { ...layers, ...wiring, ...spatial, ...blocks };
/** Convolutions come more often than the others, so do slices. */
const kinds = (steps: Steps) => [
  ...Object.values(steps),
  ...Object.values(layers),
  ...Array<Steps[string]>(4).fill(wiring.slice),
  wiring.relu,
];
const exactKinds = kinds(exact);
const allKinds = [...kinds(exact), ...Object.values(smooth)];

function outputsOf(g: Net, plan: NetPlan, input: Value): string[] {
  const choice = plan.rounds ? allKinds : exactKinds;
  const values = [input];
  if (plan.seed % 7 === 3) values.unshift(secondInput(g, plan, input));
  const made: Layer[] = [];
  const grow = (step: Step): Growth => new Growth(g, plan, values, made, step);
  for (const step of plan.steps) {
    const growth = grow(step);
    const next = choice[step.kind % choice.length](growth) ?? layers.conv(growth) ?? layers.linear(growth);
    if (next) take(growth, next, plan.rounds, values);
  }
  const last = values[values.length - 1];
  const outputs = [finish(grow({ kind: 0, a: 0, b: 0, p: plan.head, q: plan.seed }), last)];
  // Now and then a value in between is an output too.
  if (plan.head % 5 === 4 && values.length > 2) outputs.push(g.op('Identity', [values[values.length >> 1].name]));
  // So is the place of the largest; where numbers are rounded it may be another.
  if (plan.head % 7 === 5 && !plan.rounds) {
    outputs.push(g.op('Cast', [g.op('ArgMax', [outputs[0]], { axis: 1 })], { to: DataType.FLOAT }));
  }
  return outputs;
}

/** An input of two channels beside the first. */
function secondInput(g: Net, { dynamic }: NetPlan, first: Value): Value {
  const second = { ...first, channels: 2 };
  return { ...second, name: g.input('Z', [dynamic ? 'N' : 2, ...lengths(second)]) };
}

function take(growth: Growth, next: Value, rounds: boolean, values: Value[]): void {
  // Float32 is exact as long as no sum needs more than 24 bits.
  if (!rounds && next.bound * 2 ** next.bits < 2 ** 20) values.push(next);
  if (!rounds) return;
  // Where it rounds, values stay near 1.
  const shrink = 2 ** -Math.ceil(Math.log2(next.bound / 4));
  if (shrink >= 1) values.push(next);
  else values.push({ ...next, name: growth.op('Mul', [next.name, growth.scalar(shrink)]), bound: 4 });
}

/** From a value to four numbers, in the ways that exporters write. */
function finish(growth: Growth, value: Value): string {
  const { g, p } = growth;
  const { name } = value;
  const columns = product(lengths(value));
  const shape = (target: string) => g.op('Reshape', [name, target]);
  const length = (axis: number) => g.op('Gather', [g.op('Shape', [name]), growth.ints(axis)]);
  const ways: (() => string)[] = [
    () => g.op('Flatten', [name]),
    () => shape(growth.ints(0, columns)),
    () => shape(growth.ints(-1, columns)),
    () => shape(growth.ints(0, -1)),
    () => shape(g.op('Concat', [length(0), growth.ints(columns)], { axis: 0 })),
    () => {
      const [own, ...rest] = lengths(value);
      const target = g.op('Concat', [length(0), length(1), growth.ints(product(rest))], { axis: 0 });
      return own > 1 ? g.op('Flatten', [shape(target)]) : g.op('Flatten', [name]);
    },
  ];
  const flat = value.space.length === 0 && p % 3 === 0 ? name : ways[p % ways.length]();
  const hidden = g.op('Relu', [g.linear(flat, columns, 6, 'hidden')]);
  if (p % 2) return g.linear(hidden, 6, 4, 'head');
  return g.op('Add', [g.op('MatMul', [hidden, g.weight('head.weight', [6, 4])]), g.weight('head.bias', [4])]);
}
