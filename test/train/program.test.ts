import { expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { GraphBuilder } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { openEngine } from '../../src/torch/index.ts';
import { compile } from '../../src/train/program.ts';

/** x[:, ::-1] picked again by Gather, times 1/sqrt of its length: constants that records make, and shape arithmetic. */
function reversedAndScaled() {
  const g = new GraphBuilder({ name: 'reversed' });
  const x = g.input('x', ['N', 4]);
  const back = g.node('Slice', [
    x,
    g.initializer('starts', BigInt64Array.of(-1n), [1]),
    g.initializer('ends', BigInt64Array.of(-(2n ** 63n)), [1]),
    g.initializer('axes', BigInt64Array.of(1n), [1]),
    g.initializer('steps', BigInt64Array.of(-1n), [1]),
  ]);
  const picked = g.node('Gather', [back, g.initializer('pick', BigInt64Array.of(0n, 2n), [2])], { axis: 1 });
  const shape = g.node('Shape', [x]);
  const length = g.node('Gather', [shape, g.initializer('one', BigInt64Array.of(1n), [])], { axis: 0 });
  const real = g.node('Cast', [length], { to: 1 });
  const y = g.node('Div', [picked, g.node('Sqrt', [real])]);
  g.output(y, ['N', 2]);
  return { model: g.model(), output: y };
}

test('Constants that records make outlive the scope that a graph was compiled in', async () => {
  const torch = await openEngine();
  const { model, output } = reversedAndScaled();
  const graph = buildGraph(model, operators);
  const program = torch.scope(() => {
    const compiled = compile(graph, torch, [output], []);
    for (const constant of compiled.constants) torch.keep(constant);
    return compiled;
  });
  for (let run = 0; run < 2; run++) {
    torch.scope(() => {
      const x = torch.tensor(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), [2, 4]);
      const [y] = program.run([x], [], { training: true });
      expect([...torch.values(y)]).toEqual([2, 1, 4, 3]);
    });
  }
  torch.free(...program.constants);
});
