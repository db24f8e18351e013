/**
 * Coupling and cutting beside Torch-Pruning, in turns: `npx tsx bench/torch-pruning.ts [python] [runs] [network ...]`
 *
 * The same torchvision networks, random weights, one process on either side, warm (the first run of each is not counted),
 * medians of five. `graph`: here the wiring, shapes, constants and coupled channels of a file that was read; there the
 * dependency graph and the pruner. `step`: here the choice of channels by L1 for half of the MACs and the cut; there one
 * step of the pruner. `ratio` is Torch-Pruning's time divided by ours. Reading files, on either side, does not count.
 *
 * Needs a Python with torch, torchvision, onnx and torch-pruning 1.6.1 (default: `python3`).
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { choose, type Source } from '../src/commands/selection.ts';
import { type OnnxModel, readModel } from '../src/onnx/index.ts';
import { operators } from '../src/ops/index.ts';
import { cutModel } from '../src/prune/cut.ts';
import { type Coupling, coupleGraph } from '../src/prune/groups.ts';
import { admissibleWidths } from '../src/prune/rules.ts';
import { unsharedGraph } from '../src/rewrite/unshare.ts';

const [python = 'python3', count = '5', ...named] = process.argv.slice(2);
const runs = Number(count);
const networks = named.length > 0 ? named : ['resnet50', 'densenet121', 'densenet201', 'convnext_tiny', 'vit_b_16'];
const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1];

interface Seconds {
  readonly graph: number;
  readonly step: number | null;
}

/** The peer: a question a line, an answer a line. */
function startPeer(): { ask: (line: string) => Promise<unknown>; stop: () => void } {
  const child = spawn(python, [new URL('./torch_pruning.py', import.meta.url).pathname], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(line) {
      child.stdin.write(`${line}\n`);
      // What PyTorch's exporter prints is no answer.
      for (;;) {
        const { value, done } = await lines.next();
        if (done) throw new Error(`${python} ended: it needs torch, torchvision, onnx and torch-pruning 1.6.1`);
        if (value.startsWith('{')) return JSON.parse(value);
      }
    },
    stop: () => child.kill(),
  };
}

function ours(read: OnnxModel): Seconds {
  const start = performance.now();
  const unshared = unsharedGraph(read, operators);
  const coupling = coupleGraph(unshared);
  const graph = (performance.now() - start) / 1000;
  const begin = performance.now();
  const { kept } = choose(
    sourceOf(unshared.model, coupling),
    { resource: 'macs', value: 0.5 },
    { criterion: 'l1', scope: 'global', seed: 0 },
  );
  cutModel(coupling, kept);
  return { graph, step: (performance.now() - begin) / 1000 };
}

const sourceOf = (model: OnnxModel, coupling: Coupling): Source => ({
  model,
  coupling,
  priced: coupling,
  shapes: {},
  probed: [],
  computed: [],
  planned: null,
  admissible: admissibleWidths(coupling, { keep: [], only: [], round: 1, minKeep: 0.1 }),
  couplingSeconds: 0,
});

const peer = startPeer();
const folder = mkdtempSync(join(tmpdir(), 's2h-bench-'));
try {
  const columns = ['graph', 'TP', 'ratio', 'step', 'TP', 'ratio'].map(name => name.padStart(9)).join('');
  process.stdout.write(`${'network'.padEnd(16)}${columns}\n`);
  for (const name of networks) {
    const path = join(folder, `${name}.onnx`);
    await peer.ask(`export ${name} ${path}`);
    const read = readModel(path);
    const [mine, theirs]: [Seconds[], Seconds[]] = [[], []];
    for (let i = 0; i <= runs; i++) {
      mine.push(ours(read));
      theirs.push((await peer.ask(`time ${name}`)) as Seconds);
    }
    const of = (all: readonly Seconds[], part: 'graph' | 'step') =>
      median(all.slice(1).map(seconds => seconds[part] ?? Number.NaN));
    const shown = (['graph', 'step'] as const).flatMap(part => {
      const [here, there] = [of(mine, part), of(theirs, part)];
      const numbers = [here.toFixed(3), there.toFixed(3), `${(there / here).toFixed(1)}x`];
      return Number.isNaN(there) ? [numbers[0], '-', '-'] : numbers;
    });
    process.stdout.write(`${name.padEnd(16)}${shown.map(text => text.padStart(9)).join('')}\n`);
  }
} finally {
  peer.stop();
  rmSync(folder, { recursive: true, force: true });
}
