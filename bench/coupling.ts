/**
 * How finding coupled channels grows with a graph: `npx tsx bench/coupling.ts`
 *
 * Graphs of 1,000 to 100,000 nodes (blocks of convolution, normalisation, ReLU and addition; DenseNet's concatenations;
 * attention with an inner layer), and of 16 to 4,096 channels. For each the median of five: building the graph (shapes,
 * constants), coupling, mask points, cutting half of every group; `per node` is coupling in microseconds, and `growth`
 * the seconds of both against the row before, as a multiple of the nodes' (1.00: linear).
 */
import { buildGraph } from '../src/graph/graph.ts';
import { GraphBuilder, type OnnxModel } from '../src/onnx/index.ts';
import { operators } from '../src/ops/index.ts';
import { cutModel } from '../src/prune/cut.ts';
import { coupleGraph } from '../src/prune/groups.ts';
import { maskPoints } from '../src/prune/mask-points.ts';

const runs = 5;
const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];

class Net {
  readonly graph = new GraphBuilder({ name: 'net', opset: 17 });
  nodes = 0;
  #values = 0;

  weight(...dims: number[]): string {
    const size = dims.reduce((a, b) => a * b, 1);
    return this.graph.initializer(`w${this.#values++}`, new Float32Array(size).fill(0.1), dims);
  }

  ints(...values: number[]): string {
    return this.graph.initializer(`i${this.#values++}`, BigInt64Array.from(values, BigInt), [values.length]);
  }

  op(type: string, inputs: readonly string[], attributes = {}): string {
    this.nodes++;
    return this.graph.node(type, inputs, attributes, { name: `n${this.nodes}` });
  }

  conv = (x: string, from: number, to: number): string => this.op('Conv', [x, this.weight(to, from, 1, 1)]);
  linear = (x: string, from: number, to: number): string =>
    this.op('Add', [this.op('MatMul', [x, this.weight(from, to)]), this.weight(to)]);
  norm = (x: string, c: number): string =>
    this.op('BatchNormalization', [x, this.weight(c), this.weight(c), this.weight(c), this.weight(c)]);
}

interface Built {
  readonly model: OnnxModel;
  readonly nodes: number;
}

function finish(net: Net, y: string): Built {
  net.graph.output(y);
  return { model: net.graph.model(), nodes: net.nodes };
}

/** Blocks of two convolutions and an addition. */
function residual(nodes: number, channels: number): Built {
  const net = new Net();
  let x = net.conv(net.graph.input('x', ['N', 3, 8, 8]), 3, channels);
  while (net.nodes < nodes) {
    const inner = net.op('Relu', [net.norm(net.conv(x, channels, channels), channels)]);
    x = net.op('Relu', [net.op('Add', [x, net.norm(net.conv(inner, channels, channels), channels)])]);
  }
  return finish(net, net.conv(x, channels, 4));
}

/** Dense blocks of 16 layers, each reading everything before it in its block. */
function dense(nodes: number, growth: number): Built {
  const net = new Net();
  let x = net.conv(net.graph.input('x', ['N', 3, 8, 8]), 3, growth);
  let width = growth;
  for (let layer = 0; net.nodes < nodes; layer++) {
    const y = net.conv(net.op('Relu', [net.norm(x, width)]), width, growth);
    x = net.op('Concat', [x, y], { axis: 1 });
    width += growth;
    if (layer % 16 === 15) {
      x = net.conv(x, width, growth);
      width = growth;
    }
  }
  return finish(net, net.conv(x, width, 4));
}

/** Attention of four heads and an inner layer, without norms, for a batch of any length. */
function transformer(nodes: number, width: number): Built {
  const net = new Net();
  const [tokens, heads, dims] = [9, 4, width / 4];
  let x = net.linear(net.graph.input('x', ['N', tokens, 8]), 8, width);
  while (net.nodes < nodes) {
    const [q, k, v] = [0, 1, 2].map(() => {
      const split = net.op('Reshape', [net.linear(x, width, width), net.ints(0, tokens, heads, dims)]);
      return net.op('Transpose', [split], { perm: [0, 2, 1, 3] });
    });
    const scores = net.op('MatMul', [q, net.op('Transpose', [k], { perm: [0, 1, 3, 2] })]);
    const y = net.op('Transpose', [net.op('MatMul', [net.op('Softmax', [scores], { axis: -1 }), v])], {
      perm: [0, 2, 1, 3],
    });
    const merged = net.op('Reshape', [y, net.ints(0, tokens, width)]);
    x = net.op('Add', [x, net.linear(merged, width, width)]);
    x = net.op('Add', [x, net.linear(net.op('Relu', [net.linear(x, width, 2 * width)]), 2 * width, width)]);
  }
  return finish(net, net.linear(x, width, 4));
}

interface Times {
  readonly nodes: number;
  readonly build: number;
  readonly couple: number;
}

function measure(title: string, { model, nodes }: Built, before: Times | null): Times {
  const times = { build: [] as number[], couple: [] as number[], masks: [] as number[], cut: [] as number[] };
  const timed = <T>(into: number[], run: () => T): T => {
    const start = performance.now();
    const result = run();
    into.push((performance.now() - start) / 1000);
    return result;
  };
  let groups = 0;
  for (let i = 0; i < runs; i++) {
    const graph = timed(times.build, () => buildGraph(model, operators));
    const coupling = timed(times.couple, () => coupleGraph(graph));
    timed(times.masks, () => maskPoints(coupling));
    const half = coupling.groups.map(({ size }) => Array.from({ length: Math.ceil(size / 2) }, (_, c) => c));
    timed(times.cut, () => cutModel(coupling, half));
    groups = coupling.groups.length;
  }
  const [build, couple, masks, cut] = [times.build, times.couple, times.masks, times.cut].map(median);
  const growth = before ? (build + couple) / (before.build + before.couple) / (nodes / before.nodes) : null;
  const shown = [build, couple, masks, cut].map(seconds => seconds.toFixed(3).padStart(8)).join('');
  const perNode = `${((1e6 * couple) / nodes).toFixed(1).padStart(8)} us`;
  const last = growth === null ? '' : `   growth ${growth.toFixed(2)}`;
  process.stdout.write(
    `${title.padEnd(30)}${String(nodes).padStart(8)}${String(groups).padStart(8)}${shown}${perNode}${last}\n`,
  );
  return { nodes, build, couple };
}

const head = ['build', 'couple', 'masks', 'cut'].map(name => name.padStart(8)).join('');
process.stdout.write(
  `${'graph'.padEnd(30)}${'nodes'.padStart(8)}${'groups'.padStart(8)}${head}${'per node'.padStart(11)}\n`,
);
const shapes: [string, (nodes: number, channels: number) => Built][] = [
  ['residual', residual],
  ['dense', dense],
  ['transformer', transformer],
];
// Where nothing was compiled before, the first row would pay for all.
coupleGraph(buildGraph(transformer(2000, 8).model, operators));
for (const [name, build] of shapes) {
  let before: Times | null = null;
  for (const nodes of [1000, 3000, 10_000, 30_000, 100_000]) {
    before = measure(`${name}, 8 channels`, build(nodes, 8), before);
  }
}
for (const [name, build] of shapes) {
  // Weights grow with the square of the channels, coupling does not.
  for (const channels of [16, 64, 256, 1024]) measure(`${name}, ${channels} channels`, build(200, channels), null);
}
