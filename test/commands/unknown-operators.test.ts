import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command as cutCommand } from '../../src/commands/cut.ts';
import { command as inspectCommand } from '../../src/commands/inspect.ts';
import { command as verifyCommand } from '../../src/commands/verify.ts';
import { type OnnxModel, readModel, writeModel } from '../../src/onnx/index.ts';
import { ValueInfoProtoSchema } from '../../src/onnx/onnx_pb.ts';
import { type Net, netOf } from '../prune/nets.ts';
import { refusal, scratch } from './support.ts';

const [cut, inspect, verify] = [callable(cutCommand), callable(inspectCommand), callable(verifyCommand)];
const folder = scratch();

function written(name: string, model: OnnxModel): (suffix: string) => string {
  const at = (suffix: string) => join(folder, `${name}${suffix}`);
  writeModel(model, at('.onnx'));
  return at;
}

const multiply = (g: Net, x: string, name: string, from: number, to: number) =>
  g.op('MatMul', [x, g.weight(name, [from, to])], {}, `${name}.y`);

/** Two layers, something else, two layers: 4 rows of 8 x 16 + 16 x 8 + 8 x 12 + 12 x 5 multiply-accumulates. */
const around = (domain: string, between: (g: Net, x: string) => string) =>
  netOf(
    (g, x) => {
      const before = multiply(g, g.op('Relu', [multiply(g, x, 'a', 8, 16)]), 'b', 16, 8);
      return multiply(g, g.op('Relu', [multiply(g, between(g, before), 'c', 8, 12)]), 'd', 12, 5);
    },
    { shape: ['N', 4, 8], domains: { [domain]: 1 } },
  );
const macs = 4 * (8 * 16 + 16 * 8 + 8 * 12 + 12 * 5);

test('an operator that only ONNX Runtime knows: its shape is found by running, its MACs are not counted', async () => {
  const fused = around('com.microsoft', (g, x) => {
    return g.node('Trilu', [x], {}, { name: 'half', output: 'mixed', domain: 'com.microsoft' });
  });
  const at = written('fused', fused);
  const inspected = await inspect({ model: at('.onnx'), flops: 0.5 });
  expect(inspected.groups.map(({ name, size }) => [name, size])).toEqual([
    ['a', 16],
    ['c', 12],
  ]);
  expect(inspected.walls).toContainEqual(
    expect.objectContaining({
      reason: "no rule for com.microsoft::Trilu ('half')",
      node: { name: 'half', opType: 'Trilu' },
    }),
  );
  expect(inspected.costs.macs).toMatchObject({
    full: macs,
    unknown: [{ node: 'half', opType: 'Trilu', why: 'no rule for com.microsoft::Trilu' }],
  });
  expect(inspected.budget).toMatchObject({ reachable: true });
  expect(inspectCommand.render(inspected)).toMatch(
    /at least [\s\S]*half \(no rule for com\.microsoft::Trilu\)\. They are not counted/,
  );

  const result = await cut({ model: at('.onnx'), out: at('-small.onnx'), plan: at('.json'), flops: 0.5 });
  expect(result).toMatchObject({ certificate: { passed: true }, macs: { before: macs, unknown: 1 } });
  expect(result.macs.ratio).toBeLessThanOrEqual(0.5);
  expect(cutCommand.render(result)).toMatch(/of these[\s\S]*not counted: half \(no rule for/);
  // What was found out is not written down.
  expect(readModel(at('-small.onnx')).graph.valueInfo).toEqual([]);
  expect(await verify({ full: at('.onnx'), small: at('-small.onnx'), plan: at('.json') })).toMatchObject({
    exitCode: 0,
  });
});

test('what the file itself declares of such a value stays, though it has no shape', async () => {
  const fused = around('com.microsoft', (g, x) =>
    g.node('Trilu', [x], {}, { name: 'half', output: 'mixed', domain: 'com.microsoft' }),
  );
  const own = create(ValueInfoProtoSchema, { name: 'mixed', docString: 'half of it' });
  const at = written('declared', { ...fused, graph: { ...fused.graph, valueInfo: [own] } });
  await cut({ model: at('.onnx'), out: at('-small.onnx'), flops: 0.5 });
  expect(readModel(at('-small.onnx')).graph.valueInfo).toEqual(readModel(at('.onnx')).graph.valueInfo);
  expect(readModel(at('-small.onnx')).graph.valueInfo).toMatchObject([{ name: 'mixed', docString: 'half of it' }]);
});

test('an operator that nobody here knows: what lies before it is cut, and its MACs and those behind it are named', async () => {
  const strange = around('my.ops', (g, x) =>
    g.node('Secret', [x], {}, { name: 'it', output: 'hidden', domain: 'my.ops' }),
  );
  const at = written('strange', strange);
  const inspected = await inspect({ model: at('.onnx'), flops: 0.6 });
  expect(inspected.groups.map(({ name }) => name)).toEqual(['a']);
  expect(inspected.costs.macs.unknown.map(({ node }) => node)).toEqual(['it', 'c.y', 'd.y']);
  expect(inspected.walls.map(({ unlock }) => unlock)).toContain('Shapes are lost at operators without a rule: Secret.');
  const options = { model: at('.onnx'), out: at('-small.onnx'), flops: 0.6 };
  expect((await refusal(cut(options))).message).toContain('--no-verify');
  const result = await cut({ ...options, verify: false });
  expect(result).toMatchObject({ exitCode: 0, macs: { before: 4 * (8 * 16 + 16 * 8), unknown: 3 } });
});

test('where all that is known of a cost is nothing, it is refused', async () => {
  const model = netOf(
    (g, x) => {
      const hidden = g.node('Secret', [x], {}, { name: 'it', output: 'hidden', domain: 'my.ops' });
      return g.conv(g.conv(g.value(hidden, [1, 3, 'H', 8]), 3, 8, { name: 'a' }), 8, 4, { name: 'b' });
    },
    { domains: { 'my.ops': 1 } },
  );
  const at = written('nothing', model);
  const error = await refusal(cut({ model: at('.onnx'), out: at('-small.onnx'), flops: 0.5 }));
  expect(error).toMatchObject({ code: 'E_COST_UNKNOWN' });
  expect(await cut({ model: at('.onnx'), out: at('-small.onnx'), params: 0.5, verify: false })).toMatchObject({
    exitCode: 0,
  });
});
