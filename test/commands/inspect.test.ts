import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command } from '../../src/commands/inspect.ts';
import { type OnnxModel, writeModel } from '../../src/onnx/index.ts';
import { cli } from '../cli/fake.ts';
import { head, netOf } from '../prune/nets.ts';
import { refusal, scratch } from './support.ts';

const inspect = callable(command);
const folder = scratch();
const table = { inspect: async () => ({ command }) };

function written(name: string, model: OnnxModel): string {
  const path = join(folder, `${name}.onnx`);
  writeModel(model, path);
  return path;
}

/** 3 -> 10 -> 4 channels on 8x8, 3x3 kernels: the MACs are 64 x 9 x (3 x 10 + 10 x 4). */
const two = written(
  'two',
  netOf((g, x) => g.conv(g.op('Relu', [g.conv(x, 3, 10, { name: 'a' })]), 10, 4, { name: 'b' })),
);

test('groups with their members and shares, and the range of each budget', async () => {
  const { groups, costs, budget, exitCode } = await inspect({ model: two });
  expect(groups).toHaveLength(1);
  expect(groups[0]).toMatchObject({ name: 'a.weight', size: 10, macs: 1, whole: false });
  expect(groups[0]).not.toHaveProperty('kept');
  expect(groups[0].members).toContainEqual({ value: 'a.weight', axis: 0, multiplicity: 1, weight: 'out' });
  expect(groups[0].members).toContainEqual({ value: 'b.weight', axis: 1, multiplicity: 1, weight: 'in' });
  expect(groups[0].members).toContainEqual({ value: 'a.bias', axis: 0, multiplicity: 1, weight: null });
  // Everything but the second bias depends on the group.
  const params = 27 * 10 + 10 + 9 * 10 * 4 + 4;
  expect(groups[0].params).toBeCloseTo(1 - 4 / params, 12);
  expect(costs.macs).toEqual({ full: 64 * 9 * 70, lowest: 0.1, unknown: [] });
  expect(costs.params).toMatchObject({ full: params, lowest: (27 + 1 + 36 + 4) / params });
  expect(costs.size).toMatchObject({ full: 4 * params });
  expect({ budget, exitCode }).toEqual({ budget: null, exitCode: 0 });
  const halved = await inspect({ model: two, minKeep: 0.5 });
  expect(halved.costs.macs.lowest).toBe(0.5);
});

test('every wall is listed with the node that caused it, and what would unlock it', async () => {
  const model = netOf((g, x) => {
    const a = g.op('Softmax', [g.conv(x, 3, 8, { name: 'a' })], { axis: 1 }, 'soft');
    const b = g.node(
      'Secret',
      [g.conv(a, 8, 6, { name: 'b' })],
      {},
      { name: "it's", output: 'hidden', domain: 'my.ops' },
    );
    return [g.conv(b, 6, 4, { name: 'c' }), g.conv(a, 8, 1, { name: 'd' })];
  });
  const { walls, groups } = await inspect({ model: written('walls', model) });
  expect(groups).toEqual([]);
  expect(walls).toEqual([
    {
      reason: "Softmax 'soft' normalises over it",
      node: { name: 'soft', opType: 'Softmax' },
      unlock: expect.stringContaining('change the statistics of what stays'),
      groups: [{ name: 'a.weight', size: 8 }],
    },
    {
      reason: "no rule for my.ops::Secret ('it's')",
      node: { name: "it's", opType: 'Secret' },
      unlock: 'Export the model with standard ONNX operators in its place.',
      groups: [{ name: 'b.weight', size: 6 }],
    },
    {
      reason: "the shapes around Conv 'c' are not known",
      node: { name: 'c', opType: 'Conv' },
      unlock: 'Shapes are lost at operators without a rule: Secret.',
      groups: [{ name: 'c.weight', size: 4 }],
    },
    { reason: "graph output 'd'", node: null, unlock: null, groups: [{ name: 'd.weight', size: 1 }] },
  ]);
});

test('with a budget: the widths that would be chosen; exit status 1 when it cannot be met', async () => {
  const met = await inspect({ model: two, flops: 0.5 });
  expect(met).toMatchObject({ exitCode: 0, groups: [{ kept: 5 }] });
  expect(met.budget).toMatchObject({ resource: 'macs', value: 0.5, reachable: true, reached: 0.5, criterion: 'l1' });
  const missed = await inspect({ model: two, flops: 0.05 });
  expect(missed).toMatchObject({ exitCode: 1, budget: { reachable: false } });
  expect(missed.budget?.why).toMatch(/can keep 0\.1000 to 1 of the macs/);
  const whole = await inspect({ model: two, flops: 0.5, keep: ['a'] });
  expect(whole).toMatchObject({ exitCode: 1, groups: [{ whole: true }], budget: { reachable: false } });
  expect(await inspect({ model: two, flops: 0.5, round: 4 })).toMatchObject({ groups: [{ kept: 4 }] });
  expect((await refusal(inspect({ model: two, flops: 0.5, params: 0.5 }))).code).toBe('E_BUDGET');
  expect((await refusal(inspect({ model: two, flops: 0.5, criterion: 'bn-scale' }))).code).toBe('E_CRITERION');
});

test('a file without anything to prune says so, and fails when a budget was asked for', async () => {
  const model = written(
    'one',
    netOf((g, x) => g.conv(x, 3, 8, { name: 'a' })),
  );
  expect(await inspect({ model })).toMatchObject({ groups: [], exitCode: 0 });
  const asked = await inspect({ model, params: 0.5 });
  expect(asked).toMatchObject({ exitCode: 1, budget: { reachable: false } });
  expect(command.render(asked)).toMatch(/no channels can be pruned, 1 wall\.[\s\S]*cannot be met\. No channels/);
});

const dynamic = written(
  'dynamic',
  netOf((g, x) => head(g, g.conv(x, 3, 8, { name: 'a' }), 8), { shape: ['N', 3, 'H', 'W'] }),
);

test('costs of dynamic axes are "at least", with the reason, until --shape says how long they are', async () => {
  const unknown = await inspect({ model: dynamic, flops: 0.5 });
  expect(unknown.costs.macs).toMatchObject({
    full: 80,
    unknown: [{ node: 'a', opType: 'Conv', why: 'lengths of its axes are not known' }],
  });
  expect(unknown).toMatchObject({ dynamic: ['X=1,3,H,W'], exitCode: 1, budget: { reachable: false } });
  expect(command.render(unknown)).toMatch(/at least 80 .*unknown[\s\S]*MACs of 1 node are not known: a \(lengths/);
  expect(command.render(unknown)).toContain('--shape X=1,3,H,W');
  // Parameters do not depend on it.
  expect(await inspect({ model: dynamic, params: 0.5 })).toMatchObject({ exitCode: 0 });

  const known = await inspect({ model: dynamic, flops: 0.5, shape: ['X=1,3,10,20'] });
  expect(known.costs.macs).toMatchObject({ full: 10 * 20 * 9 * 3 * 8 + 80, unknown: [] });
  expect(known).toMatchObject({ dynamic: [], exitCode: 0, groups: [{ kept: 4 }] });
  // Of one image, whatever the batch.
  expect((await inspect({ model: dynamic, shape: ['X=4,3,10,20'] })).costs).toEqual(known.costs);
  for (const [shape, text] of [
    ['Y=1,3,8,8', "no input 'Y'"],
    ['X=1,4,8,8', 'does not fit'],
    ['X=1,3,8', 'does not fit'],
  ])
    expect(await refusal(inspect({ model: dynamic, shape: [shape] }))).toMatchObject({
      code: 'E_SHAPE',
      message: expect.stringContaining(text),
    });
});

test('on the command line: a table for people, JSON for programs, and the exit status', async () => {
  const { code, out } = await cli(['inspect', two, '--flops', '0.5'], table);
  expect(code).toBe(0);
  expect(out).toMatch(/two\.onnx: 3 nodes; 1 group of 10 channels can be pruned, 1 wall\./);
  expect(out).toMatch(/^a\.weight +10 +5 +\d+ +100\.0.% +99\.4.%$/m);
  expect(out).toMatch(/^- graph output 'b': b\.weight \(4\)$/m);
  expect(out).toMatch(/^MACs \(papers: "FLOPs"\) +40\.3.k +10\.0.% to 100 %$/m);
  expect(out).toMatch(/budget of 50\.0.% of the MACs can be met: .* l1 \(global\), keep 50\.00.%\./);
  const json = await cli(['inspect', two, '--flops', '0.05', '--json'], table);
  expect(json.code).toBe(1);
  expect(JSON.parse(json.out)).toMatchObject({ groups: [{ name: 'a.weight' }], budget: { reachable: false } });
  expect(JSON.parse(json.out).seconds.coupling).toBeGreaterThan(0);
});

test('the graph as a page: groups and walls of the file, and the widths of a budget', async () => {
  const html = join(folder, 'groups.html');
  const result = await inspect({ model: two, html, flops: 0.5 });
  expect(result.html).toBe(html);
  expect(command.render(result)).toMatch(/^Drew .*groups\.html$/m);
  const page = readFileSync(html, 'utf8');
  const data = JSON.parse(page.slice(page.indexOf('id="data">') + 10, page.indexOf('</script>')));
  expect(data.nodes.map((node: { name: string; groups: number[] }) => [node.name, node.groups])).toEqual([
    ['a', [0]],
    ['relu0', [0]],
    ['b', []],
  ]);
  expect(data.nodes[2]).toMatchObject({ op: 'Conv', sums: [0], walled: [0] });
  expect(data.nodes[2].lines).toContain('sums over a.weight');
  expect(data.nodes[2].lines).toContain("axis 1 stays: graph output 'b'");
  expect(data.edges).toEqual([
    [0, 1, 0],
    [1, 2, 0],
  ]);
  expect(data.groups[0].lines).toContain('5 of 10 channels');
  expect(data.groups[0].lines).toContain('b.weight axis 1 (in)');
  expect(data.walls).toEqual([{ name: "graph output 'b'", lines: ['keeps b.weight (4)'] }]);
  const wall = netOf((g, x) => g.conv(g.op('Softmax', [g.conv(x, 3, 8)], { axis: 1 }, 'soft'), 8, 4));
  await inspect({ model: written('soft', wall), html });
  const second = readFileSync(html, 'utf8');
  const { nodes } = JSON.parse(second.slice(second.indexOf('id="data">') + 10, second.indexOf('</script>')));
  expect(nodes.map((node: { op: string; causes: number[] }) => [node.op, node.causes])).toEqual([
    ['Conv', []],
    ['Softmax', [0]],
    ['Conv', []],
  ]);
});

test('names out of the file cannot steer the terminal', async () => {
  const model = netOf((g, x) => g.conv(g.conv(x, 3, 8, { name: '\u001b[2Ja' }), 8, 4, { name: '\u202eb' }));
  const out = command.render(await inspect({ model: written('escapes', model), flops: 0.5 }));
  expect(out).toContain('\\u001b[2Ja.weight');
  expect(out).toContain("graph output '\\u202eb'");
  for (const character of ['\u001b', '\u202e']) expect(out).not.toContain(character);
});

test('weights that are computed from constants are computed once, which is said', async () => {
  const computed = netOf((g, x) => {
    const raw = g.initializer('raw', new Float32Array(8 * 3).fill(1), [8, 3, 1, 1]);
    const scaled = g.op('Softmax', [raw], { axis: 0 }, 'scaled');
    return g.conv(g.op('Conv', [x, scaled], {}, 'first'), 8, 4, { name: 'b' });
  });
  const once = await inspect({ model: written('computed', computed) });
  expect(once.groups).toMatchObject([{ size: 8 }]);
  expect(once.notes).toEqual([expect.stringMatching(/^The file computes 1 of its weights from constants .*scaled/)]);
  expect(command.render(once)).toContain(once.notes[0]);
});

test('a criterion names every group that it has nothing to go by for', async () => {
  const model = written(
    'three',
    netOf((g, x) => g.conv(g.conv(g.conv(x, 3, 10, { name: 'a' }), 10, 8, { name: 'b' }), 8, 4, { name: 'c' })),
  );
  const error = await refusal(inspect({ model, flops: 0.5, criterion: 'bn-scale' }));
  expect(error.message).toMatch(/'a\.weight', 'b\.weight' cannot be ranked by bn-scale: the groups have no Batch/);
  expect(error.fix).toMatch(/--keep 'a\.weight' --keep 'b\.weight'/);
});
