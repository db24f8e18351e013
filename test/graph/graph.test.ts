import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { DataType, GraphBuilder, type OnnxModel, tensorOf } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { UserError } from '../../src/util/errors.ts';

const graphOf = (build: (g: GraphBuilder) => void, options: ConstructorParameters<typeof GraphBuilder>[0] = {}) => {
  const g = new GraphBuilder(options);
  build(g);
  return buildGraph(g.model(), operators);
};
const float32 = (...dims: number[]) => new Float32Array(dims.reduce((a, b) => a * b, 1));
const withInputs = (model: OnnxModel, ...infos: readonly [string, number[]][]): OnnxModel => {
  const listed = new GraphBuilder();
  for (const [name, shape] of infos) listed.input(name, shape);
  return { ...model, graph: { ...model.graph, inputs: [...model.graph.inputs, ...listed.graph().inputs] } };
};

describe('order', () => {
  test('nodes come after what they read, in the order of the file where that is one', () => {
    const graph = graphOf(g => {
      g.input('x', [1]);
      g.node('Relu', ['b'], {}, { name: 'third', output: 'c' });
      g.node('Neg', ['x'], {}, { name: 'first', output: 'a' });
      g.node('Relu', ['a'], {}, { name: 'second', output: 'b' });
      g.node('Abs', ['x'], {}, { name: 'fourth', output: 'd' });
      g.output('c');
    });
    expect(graph.nodes.map(({ name }) => name)).toEqual(['first', 'second', 'third', 'fourth']);
  });

  test('what is left out, of inputs and outputs, ties nothing together', () => {
    const graph = graphOf(g => {
      g.input('x', [5, 1, 4]);
      const [w, r] = [3, 3].map((h, i) => g.initializer(`w${i}`, float32(1, 4 * h, i ? h : 4), [1, 4 * h, i ? h : 4]));
      const h0 = g.initializer('h0', float32(1, 1, 3), [1, 1, 3]);
      const [, last] = g.node('LSTM', ['x', w, r, '', '', h0], { hidden_size: 3 }, { outputs: ['', 'last'] });
      g.output(last);
    });
    expect(graph.nodes.map(({ opType }) => opType)).toEqual(['LSTM']);
  });

  test('a node waits for what its sub-graph reads', () => {
    const graph = graphOf(g => {
      const branch = new GraphBuilder();
      branch.output(branch.node('Relu', ['late'], {}, { output: 'r' }));
      g.input('p', [], DataType.BOOL);
      g.input('x', [1]);
      const body = branch.graphProto();
      g.node('If', ['p'], { then_branch: body, else_branch: body }, { name: 'if', output: 'y' });
      g.node('Neg', ['x'], {}, { name: 'neg', output: 'late' });
      g.output('y');
    });
    expect(graph.nodes.map(({ name }) => name)).toEqual(['neg', 'if']);
    expect(graph.nodes[1].captures).toEqual(['late']);
  });

  test('captures of nested sub-graphs, without what they make themselves', () => {
    const inner = new GraphBuilder();
    inner.initializer('own', float32(1), [1]);
    inner.output(inner.node('Add', ['outer', inner.node('Add', ['own', 'middle'])]));
    const outer = new GraphBuilder();
    outer.node('Neg', ['deep'], {}, { output: 'middle' });
    const body = inner.graphProto();
    outer.output(outer.node('If', ['q'], { then_branch: body, else_branch: body }));
    const graph = graphOf(g => {
      for (const name of ['p', 'q', 'outer', 'deep']) g.input(name, []);
      const branch = outer.graphProto();
      g.output(g.node('If', ['p'], { then_branch: branch, else_branch: branch }));
    });
    expect([...graph.nodes[0].captures].sort()).toEqual(['deep', 'outer', 'q']);
  });

  const failure = (build: (g: GraphBuilder) => void) => {
    try {
      graphOf(build);
    } catch (error) {
      expect(error).toBeInstanceOf(UserError);
      return `${(error as UserError).code} ${(error as UserError).what}`;
    }
    return 'no error';
  };
  test('a cycle is an error', () =>
    expect(
      failure(g => {
        g.node('Relu', ['b'], {}, { name: 'one', output: 'a' });
        g.node('Relu', ['a'], {}, { name: 'two', output: 'b' });
      }),
    ).toBe("E_GRAPH The nodes form a cycle at 'one'."));
  test('two producers are an error', () =>
    expect(
      failure(g => {
        g.input('x', [1]);
        for (const name of ['one', 'two']) g.node('Relu', ['x'], {}, { name, output: 'a' });
      }),
    ).toBe("E_GRAPH The value 'a' has two producers."));
});

describe('constants', () => {
  test('an initializer that is an input too is a constant up to IR version 3 and a default from 4 on', () => {
    for (const irVersion of [3, 8]) {
      const g = new GraphBuilder({ irVersion });
      g.input('x', [1, 2]);
      g.initializer('w', float32(2, 3), [2, 3]);
      g.output(g.node('MatMul', ['x', 'w'], {}, { output: 'y' }));
      const graph = buildGraph(withInputs(g.model(), ['w', [2, 3]]), operators);
      expect(graph.inputs).toEqual(['x']);
      expect(graph.fixed.has('w')).toBe(irVersion === 3);
      expect(graph.tensors.has('w')).toBe(irVersion === 3);
      expect(graph.types.get('y')?.shape).toEqual([1, 3]);
    }
  });

  test('what depends on constants only is fixed', () => {
    const graph = graphOf(g => {
      g.input('x', [2, 3]);
      g.initializer('w', float32(3, 2), [3, 2]);
      const turned = g.node('Transpose', ['w'], {}, { output: 'turned' });
      g.output(g.node('Add', ['x', turned], {}, { output: 'y' }));
    });
    expect([...graph.fixed].sort()).toEqual(['turned', 'w']);
    expect(graph.nodes[1].isConstant(1)).toBe(true);
    expect(graph.nodes[1].isConstant(0)).toBe(false);
  });

  test('the value of a Constant node is a tensor of the file', () => {
    const graph = graphOf(g => {
      const value = tensorOf('inner name', BigInt64Array.of(2n, -1n), [2]);
      g.output(g.node('Constant', [], { value }, { output: 'c' }));
    });
    expect(graph.tensors.get('c')).toMatchObject({ name: 'c', dims: [2] });
    expect(graph.constants.get('c')).toEqual({ elemType: DataType.INT64, dims: [2], values: [2, -1] });
  });

  test('integers that no number holds are left alone', () => {
    const graph = graphOf(g => {
      g.initializer('hash', BigInt64Array.of(2n ** 60n + 1n), [1]);
      g.output(g.node('Identity', ['hash'], {}, { output: 'y' }));
    });
    expect(graph.constants.has('hash')).toBe(false);
    expect(graph.types.get('y')?.shape).toEqual([1]);
  });
});

describe('shapes', () => {
  const dynamic = (g: GraphBuilder) => {
    g.input('x', ['N', 3, 'H', null]);
    g.initializer('w', float32(4, 3, 3, 3), [4, 3, 3, 3]);
    g.output(g.node('Conv', ['x', 'w'], {}, { output: 'y' }));
  };

  test('symbolic axes stay symbols, and the batch is known', () => {
    const graph = graphOf(dynamic);
    expect(graph.batch).toBe('N');
    expect(graph.types.get('x')?.shape).toEqual(['N', 3, 'H', 'x_3']);
    expect(graph.types.get('y')?.shape?.slice(0, 2)).toEqual(['N', 4]);
    expect(
      graph.types
        .get('y')
        ?.shape?.slice(2)
        .every(dim => typeof dim === 'string'),
    ).toBe(true);
  });

  test('they get their lengths from outside', () => {
    const g = new GraphBuilder();
    dynamic(g);
    const graph = buildGraph(g.model(), operators, { shapes: { x: [1, 3, 10, 12] } });
    expect(graph.types.get('y')?.shape).toEqual([1, 4, 8, 10]);
    expect(graph.batch).toBeNull();
  });

  test('where there is no rule: what the file declares, else what is given from outside, else unknown', () => {
    const build = (declared: boolean, shapes = {}) => {
      const g = new GraphBuilder();
      g.input('x', [1, 4]);
      const y = g.node('Foo', ['x'], {}, { output: 'y' });
      if (declared) g.value(y, [1, 6]);
      g.output(g.node('Relu', [y], {}, { output: 'z' }));
      return buildGraph(g.model(), operators, { shapes }).types.get('z')?.shape;
    };
    expect(build(true)).toEqual([1, 6]);
    expect(build(false, { y: [1, 7] })).toEqual([1, 7]);
    expect(build(false)).toBeNull();
  });

  test('a chain of shape arithmetic is worked out, symbols included', () => {
    const graph = graphOf(g => {
      g.input('x', ['N', 8, 4, 4]);
      const shape = g.node('Shape', ['x'], {}, { output: 'shape' });
      const index = (value: number) => g.initializer(`i${value}`, BigInt64Array.of(BigInt(value)), []);
      const axes = g.initializer('axes', BigInt64Array.of(0n), [1]);
      const pick = (at: number) => g.node('Unsqueeze', [g.node('Gather', [shape, index(at)]), axes]);
      const product = g.node('Mul', [g.node('Mul', [pick(1), pick(2)]), pick(3)]);
      const target = g.node('Concat', [pick(0), product], { axis: 0 }, { output: 'target' });
      g.output(g.node('Reshape', ['x', target], {}, { output: 'y' }));
    });
    expect(graph.constants.get('shape')?.values).toEqual(['N', 8, 4, 4]);
    expect(graph.constants.get('target')?.values).toEqual(['N', 128]);
    expect(graph.types.get('y')?.shape).toEqual(['N', 128]);
  });
});

test('a function of the model hides the operator of that name', () => {
  const g = new GraphBuilder();
  g.input('x', [1]);
  g.output(g.node('Relu', ['x'], {}, { output: 'y' }));
  const graph = buildGraph({ ...g.model(), functions: new Set(['::Relu']) }, operators);
  expect(graph.nodes[0].operator).toBeNull();
});

test('the domain ai.onnx is the standard one', () => {
  const graph = graphOf(g => {
    g.input('x', [1]);
    g.output(g.node('Relu', ['x'], {}, { domain: 'ai.onnx', output: 'y' }));
  });
  expect(graph.nodes[0].operator?.type).toBe('Relu');
});
