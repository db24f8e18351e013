import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command } from '../../src/commands/verify.ts';
import { buildGraph } from '../../src/graph/graph.ts';
import { floats, type OnnxModel, readModel, withFloats, writeModel } from '../../src/onnx/index.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { coupleGraph } from '../../src/prune/groups.ts';
import { planOf } from '../../src/prune/plan.ts';
import { unshare } from '../../src/rewrite/unshare.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { temporaryFolder } from '../runtime/models.ts';

const folder = temporaryFolder();
const verify = callable(command);
const path = (name: string) => join(folder, name);

/** full.onnx, small.onnx and plan.json with two thirds of the channels. */
function writeRun(name: string, model: OnnxModel) {
  const files = { full: path(`${name}-full.onnx`), small: path(`${name}-small.onnx`), plan: path(`${name}.json`) };
  writeModel(model, files.full);
  const coupling = coupleGraph(buildGraph(unshare(readModel(files.full), operators), operators));
  const kept = coupling.groups.map(({ size }) => Array.from({ length: size }, (_, i) => i).filter(i => i % 3 !== 1));
  writeModel(cutModel(coupling, kept), files.small);
  writeFileSync(files.plan, JSON.stringify(planOf(coupling, kept)));
  return { files, kept };
}

const resnet = buildNetwork('resnet8', { channels: 3, size: [16, 16], classes: 4, seed: 1 });
const { files, kept } = writeRun('resnet8', resnet);

test('a right file passes, on random inputs and on images', async () => {
  const result = await verify(files);
  expect(result).toMatchObject({ exitCode: 0, widths: kept.map(channels => channels.length) });
  expect(result.certificate).toMatchObject({ passed: true, inputs: 16, limit: 1e-4, argmaxAgreement: 1 });
  expect(result.certificate.maxRelError).toBeLessThan(1e-4);
  const more = await verify({ ...files, data: 'synthetic:classes=9,size=20', images: 40, inputs: 8 });
  expect(more.certificate).toMatchObject({ passed: true, inputs: 48 });
  const text = command.render(more);
  expect(text).toMatch(/small\.onnx computes what .*full\.onnx computes without the removed channels/);
  expect(text).toMatch(/^logits +float32 .* 1\.0e-4 +100\.00.%$/m);
});

test('a file that is not the cut of this plan fails with exit status 1 and says why', async () => {
  const small = readModel(files.small);
  const [tensor] = small.graph.initializers;
  const values = floats(tensor).slice();
  values[5] += 1e-6;
  const wrong = path('wrong.onnx');
  const initializers = [withFloats(tensor, tensor.dims, values), ...small.graph.initializers.slice(1)];
  writeModel({ ...small, graph: { ...small.graph, initializers } }, wrong);
  const result = await verify({ ...files, small: wrong });
  expect(result).toMatchObject({ exitCode: 1, certificate: { passed: false, maxAbsError: null } });
  expect(command.render(result)).toMatch(new RegExp(`^FAILED: .*'${tensor.name}' has another value at element 5`));

  const plan = JSON.parse(
    JSON.stringify(
      planOf(
        coupling(),
        kept.map((channels, i) => (i === 0 ? channels.with(0, 1) : channels)),
      ),
    ),
  );
  writeFileSync(path('other.json'), JSON.stringify(plan));
  expect(await verify({ ...files, plan: path('other.json') })).toMatchObject({ exitCode: 1 });
});

const coupling = () => coupleGraph(buildGraph(unshare(readModel(files.full), operators), operators));

test('a plan fits a copy of the graph with other weights, and no other graph', async () => {
  const retrained = writeRun(
    'retrained',
    buildNetwork('resnet8', { channels: 3, size: [16, 16], classes: 4, seed: 2 }),
  );
  expect(await verify({ ...retrained.files, plan: files.plan })).toMatchObject({ exitCode: 0 });
  expect(await verify({ ...files, full: retrained.files.full })).toMatchObject({ exitCode: 1 });
  const other = writeRun('other', buildNetwork('resnet8', { channels: 3, size: [20, 20], classes: 4, seed: 1 }));
  await expect(verify({ ...other.files, plan: files.plan })).rejects.toMatchObject({ code: 'E_PLAN' });
});

test('plans and files that cannot be read are told by name', async () => {
  await expect(verify({ ...files, plan: path('absent.json') })).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
  writeFileSync(path('text.json'), 'kept: 3');
  await expect(verify({ ...files, plan: path('text.json') })).rejects.toThrow(/not JSON.*text\.json/);
  await expect(verify({ ...files, small: path('absent.onnx') })).rejects.toMatchObject({ code: 'E_NOT_FOUND' });
});
