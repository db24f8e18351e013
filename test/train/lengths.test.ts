import { beforeAll, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { GraphBuilder } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { openEngine, type Torch } from '../../src/torch/index.ts';
import { compile } from '../../src/train/program.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

/** A token in front of each image, as vision transformers have it, and zeros behind: made by the length of the batch alone. */
function tokens() {
  const g = new GraphBuilder({ name: 'tokens', opset: 17 });
  const x = g.input('X', ['batch', 2, 3]);
  const ints = (name: string, ...values: number[]) =>
    g.initializer(name, BigInt64Array.from(values, BigInt), [values.length]);
  const batch = g.node('Slice', [g.node('Shape', [x]), ints('from', 0), ints('to', 1)]);
  const shape = g.node('Concat', [batch, ints('one', 1), ints('three', 3)], { axis: 0 });
  const token = g.node('Expand', [g.initializer('token', Float32Array.of(7, 8, 9), [1, 1, 3]), shape]);
  const zeros = g.node('ConstantOfShape', [shape]);
  g.output(g.node('Concat', [token, x, zeros], { axis: 1 }));
  return buildGraph(g.model(), operators);
}

test.each([1, 4])('what is made by the length of the batch alone has the length of the one that is fed: %i', batch => {
  const graph = tokens();
  torch.scope(() => {
    const program = compile(graph, torch, graph.outputs, []);
    const x = torch.tensor(new Float32Array(batch * 6).fill(1), [batch, 2, 3]);
    const [y] = program.run([x], [], { training: false });
    expect(y.shape).toEqual([batch, 4, 3]);
    const image = [7, 8, 9, 1, 1, 1, 1, 1, 1, 0, 0, 0];
    expect([...torch.values(y)]).toEqual(Array.from({ length: batch }, () => image).flat());
  });
});
