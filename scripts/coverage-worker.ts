// What scripts/coverage.ts does with one model: FILE SHAPES SECONDS INPUTS. Prints what is known as a JSON line after every step.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { callable } from '../src/commands/command.ts';
import { command as cutCommand } from '../src/commands/cut.ts';
import { command as inspectCommand } from '../src/commands/inspect.ts';
import { command as verifyCommand } from '../src/commands/verify.ts';
import { buildGraph } from '../src/graph/graph.ts';
import { readModel } from '../src/onnx/index.ts';
import { operators } from '../src/ops/index.ts';
import { measureLatency } from '../src/runtime/latency.ts';
import { messageOf, UserError } from '../src/util/errors.ts';
import type { Coverage } from './coverage-report.ts';

const inspect = callable(inspectCommand);
const cut = callable(cutCommand);
const verify = callable(verifyCommand);

const [model, shapesText, seconds, inputs] = process.argv.slice(2);
const known = JSON.parse(shapesText) as Record<string, readonly number[]>;
const folder = mkdtempSync(join(tmpdir(), 's2h-coverage-'));
let row: Partial<Coverage> = {};
const tell = (more: Partial<Coverage>) => {
  row = { ...row, ...more };
  process.stdout.write(`${JSON.stringify(row)}\n`);
};

try {
  await cover();
} catch (error) {
  const code = error instanceof UserError ? `${error.code}: ` : '';
  // The page names no folder of the machine that it was made on.
  const message = messageOf(error)
    .replaceAll(`${dirname(model)}/`, '')
    .replaceAll(`${folder}/`, '');
  tell({ failure: `${row.step}: ${code}${message}` });
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function cover(): Promise<void> {
  tell({ step: 'inspect' });
  const open = (await inspect({ model })).dynamic.map(text => text.slice(0, text.lastIndexOf('=')));
  const shapes = Object.fromEntries(open.filter(name => known[name]).map(name => [name, known[name]]));
  const shape = Object.entries(shapes).map(([name, lengths]) => `${name}=${lengths.join(',')}`);
  const { groups, walls, nodes, costs, seconds: taken } = await inspect({ model, shape });
  tell({
    nodes,
    groups: groups.length,
    walls: walls.flatMap(({ reason, groups: behind }) => Array<string>(Math.max(1, behind.length)).fill(reason)),
    coupling: taken.coupling,
    classifier: isClassifier(),
    macs: { before: costs.macs.full, after: costs.macs.full, unknown: costs.macs.unknown.length },
    params: { before: costs.params.full, after: costs.params.full },
  });
  if (groups.length === 0) {
    tell({ unchanged: 'no channels can be pruned' });
    return;
  }
  // Where half cannot be reached: the least that can.
  const byMacs = costs.macs.full > 0 && (costs.macs.unknown.length === 0 || open.length === 0);
  const lowest = byMacs ? costs.macs.lowest : costs.params.lowest;
  const share = Math.max(0.5, Math.min(1, lowest + 1e-6));
  if (share > 0.995) {
    tell({ unchanged: `nothing that counts can go: at least ${(lowest * 100).toFixed(1)} % stays` });
    return;
  }
  const budget = byMacs ? { flops: share } : { params: share };
  tell({ step: 'cut', budget: { resource: byMacs ? 'macs' : 'params', value: share } });
  const [out, plan] = [join(folder, 'small.onnx'), join(folder, 'plan.json')];
  const { macs, params } = await cut({ model, shape, out, plan, verify: false, ...budget });
  tell({ step: 'verify', macs: { ...macs, unknown: costs.macs.unknown.length }, params });
  const { certificate } = await verify({ full: model, small: out, plan, shape, inputs: Number(inputs) });
  tell({
    error: certificate.maxRelError,
    limit: certificate.limit,
    agreement: certificate.argmaxAgreement,
    notes: certificate.notes,
    ...(certificate.passed ? {} : { failure: `certificate: ${certificate.failure}` }),
  });
  if (!certificate.passed) return;
  tell({ step: 'cut --round 8' });
  const rounded = await roundedCut(shape, budget);
  tell({ step: 'latency' });
  const paths = [model, out, ...(rounded ? [rounded] : [])];
  const { rows } = await measureLatency(paths, {
    batches: [batchOf()],
    threads: [1],
    seconds: Number(seconds),
    shapes,
  });
  const [before, after, round8] = rows;
  const notRun = rows.find(entry => entry.notRun)?.notRun;
  if (notRun) throw new Error(notRun);
  tell({
    step: 'done',
    latency: {
      before: before.medianMs!,
      after: after.medianMs!,
      speedup: after.speedup!,
      rounded: round8 ? { after: round8.medianMs!, speedup: round8.speedup! } : null,
    },
  });
}

/** The same with widths in multiples of 8, where that meets the budget. */
async function roundedCut(shape: string[], budget: { flops?: number; params?: number }): Promise<string | null> {
  try {
    const out = join(folder, 'rounded.onnx');
    return (await cut({ model, shape, out, round: 8, verify: false, ...budget })).file;
  } catch (error) {
    if (error instanceof UserError && ['E_BUDGET_UNREACHABLE', 'E_NOTHING_CUT'].includes(error.code)) return null;
    throw error;
  }
}

/** One image in, one row of scores out. */
function isClassifier(): boolean {
  const graph = buildGraph(readModel(model), operators);
  const shapeOf = (value: string) => graph.types.get(value)?.shape ?? [];
  const scores = graph.outputs.map(shapeOf);
  return (
    graph.inputs.length === 1 &&
    shapeOf(graph.inputs[0]).length === 4 &&
    scores.length === 1 &&
    scores[0].filter(length => length !== 1).length <= 2 &&
    scores[0].slice(2).every(length => length === 1) &&
    scores[0].length >= 2
  );
}

/** The batch that the file fixes, else 1. */
function batchOf(): number {
  const { inputs, types } = buildGraph(readModel(model), operators);
  const first = types.get(inputs[0])?.shape?.[0];
  return typeof first === 'number' ? first : 1;
}
