import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { operators } from '../../src/ops/index.ts';
import { logitsOf } from '../../src/rewrite/logits.ts';
import { type Net, netOf } from '../prune/nets.ts';

const logits = (build: (g: Net, x: string) => string | string[]) =>
  logitsOf(
    buildGraph(
      netOf((g, x) => build(g, g.linear(x, 12, 10, 'fc')), { shape: ['N', 12] }),
      operators,
    ),
  );

describe('a final Softmax', () => {
  test.each(['Softmax', 'LogSoftmax'])('%s is passed over', type => {
    expect(logits((g, y) => g.op(type, [y], { axis: 1 }, 'last'))).toEqual({ outputs: ['fc'], stripped: ['last'] });
  });
  test('so is one with an Identity behind it', () => {
    const { outputs } = logits((g, y) => g.op('Identity', [g.op('Softmax', [y], {}, 's')], {}, 'id'));
    expect(outputs).toEqual(['fc']);
  });
  test('one of several outputs', () => {
    expect(logits((g, y) => [g.op('Relu', [y], {}, 'r'), g.op('Softmax', [y], {}, 's')])).toEqual({
      outputs: ['r', 'fc'],
      stripped: ['s'],
    });
  });
});

test('anything else is an output as it is', () => {
  expect(logits((_, y) => y)).toEqual({ outputs: ['fc'], stripped: [] });
  expect(logits((g, y) => g.op('Identity', [y], {}, 'id')).outputs).toEqual(['id']);
  expect(logits((g, y) => g.op('Relu', [g.op('Softmax', [y])], {}, 'r')).outputs).toEqual(['r']);
});
