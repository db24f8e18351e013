import { linkSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command } from '../../src/commands/cut.ts';
import { command as inspectCommand } from '../../src/commands/inspect.ts';
import { command as verifyCommand } from '../../src/commands/verify.ts';
import {
  bytesOf,
  floats,
  gatherAxes,
  type OnnxModel,
  readModel,
  shapeOf,
  valueInfo,
  writeModel,
} from '../../src/onnx/index.ts';
import { certify } from '../../src/runtime/certificate.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { cli } from '../cli/fake.ts';
import { encoded, threeConvs } from '../onnx/support.ts';
import { head, initializer, netOf } from '../prune/nets.ts';
import { refusal, scratch } from './support.ts';

vi.mock('../../src/runtime/certificate.ts', async original => {
  const module = await original<typeof import('../../src/runtime/certificate.ts')>();
  return { ...module, certify: vi.fn(module.certify) };
});

const cut = callable(command);
const verify = callable(verifyCommand);
const folder = scratch();
let number = 0;

/** A model in a folder of its own. */
function written(model: OnnxModel, name = 'model.onnx'): { model: string; at: (name: string) => string } {
  const own = join(folder, String(number++));
  mkdirSync(own);
  const at = (file: string) => join(own, file);
  writeModel(model, at(name));
  return { model: at(name), at };
}

const files = (at: (name: string) => string) => readdirSync(at('')).sort();
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** Groups a (16), b (32). */
const chain = (options: Parameters<typeof netOf>[1] = {}) =>
  netOf((g, x) => head(g, g.conv(g.op('Relu', [g.conv(x, 3, 16, { name: 'a' })]), 16, 32, { name: 'b' }), 32), options);

test('the size of the constants is a budget by two names', async () => {
  const { model, at } = written(buildNetwork('resnet8', { channels: 3, size: [16, 16], classes: 4, seed: 1 }));
  const [bytes, size] = [
    await cut({ model, out: at('bytes.onnx'), bytes: 0.5 }),
    await cut({ model, out: at('size.onnx'), size: 0.5 }),
  ];
  expect(size.widths).toEqual(bytes.widths);
  expect(size.bytes.ratio).toBeLessThanOrEqual(0.5);
  const both = await refusal(cut({ model, out: at('both.onnx'), size: 0.5, bytes: 0.6 }));
  expect([both.code, both.exitCode]).toEqual(['E_BUDGET', 2]);
});

test('a file that standardises its weights is cut, says so, and its plan verifies', async () => {
  const { model, at } = written(
    netOf((g, x) => {
      const weight = g.op('Softmax', [g.weight('w', [8, 3, 3, 3])], { axis: 0 }, 'standard');
      const a = g.op('Conv', [x, weight], { pads: [1, 1, 1, 1] }, 'a');
      return head(g, g.conv(g.op('Relu', [a]), 8, 16, { name: 'b' }), 16);
    }),
  );
  const out = at('small.onnx');
  const result = await cut({ model, out, plan: at('plan.json'), flops: 0.5 });
  expect(result).toMatchObject({ exitCode: 0, certificate: { passed: true } });
  expect(result.widths.map(({ size }) => size)).toEqual([8, 16]);
  expect(result.notes[0]).toContain('computes 1 of its weights from constants');
  const small = readModel(out);
  expect(small.graph.nodes.map(({ opType }) => opType)).not.toContain('Softmax');
  expect(JSON.parse(small.metadata.get('s2h')!)).toMatchObject({ computed: 1 });
  expect(await verify({ full: model, small: out, plan: at('plan.json') })).toMatchObject({ exitCode: 0 });
});

test('a residual network is cut to half, certified, and its plan verifies', async () => {
  const { model, at } = written(buildNetwork('resnet8', { channels: 3, size: [16, 16], classes: 4, seed: 1 }));
  const out = at('small.onnx');
  const result = await cut({ model, out, plan: at('plan.json'), flops: 0.5 });
  expect(result).toMatchObject({ file: out, plan: at('plan.json'), exitCode: 0, certificate: { passed: true } });
  expect(result.macs.ratio).toBeLessThanOrEqual(0.5);
  expect(result.macs.ratio).toBeGreaterThan(0.495);
  expect(result.macs.unknown).toBe(0);
  expect(await verify({ full: model, small: out, plan: at('plan.json') })).toMatchObject({ exitCode: 0 });
  // The figures are those of the small file itself.
  const { costs } = await callable(inspectCommand)({ model: out });
  expect(costs.macs.full).toBe(result.macs.after);
  expect(costs.params.full).toBe(result.params.after);
  expect(costs.size.full).toBe(result.bytes.after);
  expect(statSync(out).size).toBeLessThan(statSync(model).size * result.bytes.ratio * 1.3);
  expect(files(at)).toEqual(['model.onnx', 'plan.json', 'small.onnx']);
});

test.each(['random', 'l1', 'l2', 'bn-scale', 'fpgm', 'lamp'] as const)('by %s, in every scope', async criterion => {
  const net = buildNetwork('resnet8', { channels: 3, size: [8, 8], classes: 4, width: 6, seed: 2 });
  const { model, at } = written(net);
  for (const scope of ['global', 'local', 'isomorphic'] as const) {
    const result = await cut({ model, out: at(`${scope}.onnx`), params: 0.4, criterion, scope });
    expect(result.certificate?.passed).toBe(true);
    expect(result.params.ratio).toBeLessThanOrEqual(0.4);
    expect(result.params.ratio).toBeGreaterThan(0.395);
  }
});

test('the lowest L1 norms go', async () => {
  const { model, at } = written(chain());
  const { widths } = await cut({ model, out: at('small.onnx'), plan: at('plan.json'), flops: 0.6, only: ['a'] });
  const weight = initializer(readModel(model), 'a.weight');
  const norms = Array.from({ length: 16 }, (_, o) =>
    floats(weight)
      .subarray(o * 27, (o + 1) * 27)
      .reduce((sum, w) => sum + Math.abs(w), 0),
  );
  const { kept } = json(at('plan.json')).groups[0] as { kept: number[] };
  expect(widths[1].kept).toBe(32);
  const gone = norms.filter((_, channel) => !kept.includes(channel));
  expect(gone).toHaveLength(16 - widths[0].kept);
  expect(Math.max(...gone)).toBeLessThanOrEqual(Math.min(...kept.map(channel => norms[channel])));
});

test('names, opset, metadata, doc strings and dynamic axes stay; the metadata say what was done, and nothing volatile', async () => {
  const source = chain({ shape: ['batch', 3, 'H', 'W'], opset: 15 });
  const { model, at } = written({ ...source, metadata: new Map([['author', 'me']]) });
  const shape = ['X=1,3,8,8'];
  const done = await cut({ model, out: at('small.onnx'), flops: 0.5, shape });
  expect(done.certificate?.passed).toBe(true);
  const small = readModel(at('small.onnx'));
  expect(small.opsets).toEqual(new Map([['', 15]]));
  expect(shapeOf(small.graph.inputs[0])).toEqual(['batch', 3, 'H', 'W']);
  expect(small.graph.nodes.map(node => [node.name, node.output])).toEqual(
    source.graph.nodes.map(node => [node.name, node.output]),
  );
  expect(small.metadata.get('author')).toBe('me');
  const note = JSON.parse(small.metadata.get('s2h')!);
  expect(note).toMatchObject({
    role: 'cut',
    budget: { resource: 'macs', value: 0.5 },
    criterion: 'l1',
    scope: 'global',
  });
  await cut({ model, out: at('again.onnx'), flops: 0.5, shape });
  expect(readFileSync(at('again.onnx'))).toEqual(readFileSync(at('small.onnx')));
  // A second cut does not forget the first.
  await cut({ model: at('small.onnx'), out: at('smaller.onnx'), flops: 0.5, shape });
  expect(JSON.parse(readModel(at('smaller.onnx')).metadata.get('s2h')!).before).toEqual(note);
});

test('a plan that was edited is applied, to a retrained copy too', async () => {
  const { model, at } = written(chain());
  await cut({ model, out: at('small.onnx'), plan: at('plan.json'), flops: 0.5 });
  const plan = json(at('plan.json'));
  plan.groups[0].kept = [0, 5, 15];
  writeFileSync(at('edited.json'), JSON.stringify({ ...plan, cuts: undefined }));
  writeModel(chain({ seed: 9 }), at('retrained.onnx'));
  for (const full of [model, at('retrained.onnx')]) {
    const result = await cut({ model: full, out: at('applied.onnx'), apply: at('edited.json') });
    expect(result).toMatchObject({
      certificate: { passed: true },
      widths: [{ kept: 3 }, { kept: plan.groups[1].kept.length }],
    });
    const before = initializer(readModel(full), 'a.weight');
    const after = initializer(readModel(at('applied.onnx')), 'a.weight');
    expect(floats(after)).toEqual(floats(gatherAxes(before, new Map([[0, [0, 5, 15]]]))));
  }
  writeFileSync(at('broken.json'), JSON.stringify({ ...plan, groups: plan.groups.slice(1) }));
  for (const [options, code] of [
    [{ apply: at('broken.json') }, 'E_PLAN'],
    [{ apply: at('absent.json') }, 'E_NOT_FOUND'],
    [{ apply: at('edited.json'), flops: 0.5 }, 'E_OPTION'],
    [{}, 'E_OPTION'],
  ] as const)
    expect([code, (await refusal(cut({ model, out: at('no.onnx'), ...options }))).code]).toEqual([code, code]);
  expect(files(at)).not.toContain('no.onnx');
});

test('rules: what has to stay stays, counts are multiples, no group goes below the floor', async () => {
  const { model, at } = written(chain());
  const kept = async (options: object) =>
    (await cut({ model, out: at('small.onnx'), verify: false, flops: 0.5, ...options })).widths.map(
      group => group.kept,
    );
  expect((await kept({ keep: ['a*'] }))[0]).toBe(16);
  expect((await kept({ only: ['a*'] }))[1]).toBe(32);
  for (const count of await kept({ round: 8 })) expect(count % 8).toBe(0);
  for (const [i, count] of (await kept({ minKeep: 0.6, flops: 0.5 })).entries())
    expect(count).toBeGreaterThanOrEqual([10, 20][i]);
  expect((await refusal(kept({ minKeep: 0.8 }))).code).toBe('E_BUDGET_UNREACHABLE');
  expect((await refusal(kept({ keep: ['conv*'] }))).code).toBe('E_GLOB');
  expect((await refusal(kept({ criterion: 'bn-scale' }))).code).toBe('E_CRITERION');
});

describe('nothing is written', () => {
  test('when nothing changes, which is an error that says why', async () => {
    const { model, at } = written(chain());
    const error = await refusal(cut({ model, out: at('small.onnx'), plan: at('plan.json'), flops: 1 }));
    expect(error).toMatchObject({ code: 'E_NOTHING_CUT', exitCode: 1 });
    expect(error.message).toMatch(/the budget allows all of it/);
    const one = written(netOf((g, x) => g.conv(x, 3, 8, { name: 'a' })));
    const none = await refusal(cut({ model: one.model, out: one.at('small.onnx'), flops: 0.5 }));
    expect(none).toMatchObject({ code: 'E_NOTHING_TO_PRUNE', exitCode: 1 });
    expect(none.message).toMatch(/graph output 'a'/);
    expect([files(at), files(one.at)]).toEqual([['model.onnx'], ['model.onnx']]);
  });

  test('when the certificate fails, which is exit status 1', async () => {
    const { model, at } = written(chain());
    vi.mocked(certify).mockResolvedValueOnce({
      passed: false,
      failure: "The output 'head' is off by 0.5 of its scale, more than 0.0001.",
      maxAbsError: 1,
      maxRelError: 0.5,
      argmaxAgreement: 0.25,
      inputs: 16,
      limit: 1e-4,
      outputs: [],
      notes: [],
    });
    const result = await cut({ model, out: at('small.onnx'), flops: 0.5 });
    expect(result).toMatchObject({ file: null, exitCode: 1, certificate: { passed: false } });
    expect(command.render(result)).toMatch(/Certificate FAILED: The output 'head' is off by 0\.5/);
    expect(files(at)).toEqual(['model.onnx']);
  });

  test('when the file cannot be compared; it can be cut without the certificate', async () => {
    const { model, at } = written(chain({ shape: [1, 3, 'H', 'W'] }));
    const error = await refusal(cut({ model, out: at('small.onnx'), params: 0.5 }));
    expect(error.code).toBe('E_SHAPE');
    expect(error.message).toMatch(/--shape X=1,3,H,W.*--no-verify/);
    expect(files(at)).toEqual(['model.onnx']);
    const result = await cut({ model, out: at('small.onnx'), params: 0.5, verify: false });
    expect(result).toMatchObject({ certificate: null, exitCode: 0, macs: { unknown: 2 } });
    expect(files(at)).toEqual(['model.onnx', 'small.onnx']);
    expect(command.render(result)).toMatch(/at least [\s\S]*Not verified/);
  });

  test('in place of what is read (B08 d), by whatever path it is reached', async () => {
    const { model, at } = written(chain());
    const before = readFileSync(model);
    symlinkSync(model, at('link.onnx'));
    writeFileSync(at('plan.json'), '{}');
    for (const options of [
      { out: model },
      { out: join(at('..'), String(number - 1), '.', 'model.onnx') },
      { out: at('link.onnx') },
      { out: at('small.onnx'), plan: model },
      { out: at('small.onnx'), plan: at('small.onnx') },
    ])
      expect(await refusal(cut({ model, flops: 0.5, ...options }))).toMatchObject({ code: 'E_OVERWRITE', exitCode: 2 });
    expect(readFileSync(model)).toEqual(before);
    // A hard link is another name: the new file takes the name, the old content stays under the other.
    linkSync(model, at('hard.onnx'));
    await cut({ model, flops: 0.5, out: at('hard.onnx') });
    expect(readFileSync(model)).toEqual(before);
  });

  test('into a folder that is not there', async () => {
    const { model, at } = written(chain());
    expect(await refusal(cut({ model, flops: 0.5, out: at('no/small.onnx') }))).toMatchObject({ code: 'E_WRITE' });
  });
});

describe('external data (B08)', () => {
  /** Weights in weights.bin behind a prefix, each tensor where `placeOf` says. */
  function foreign(model: OnnxModel, prefix: number, placeOf: (name: string) => string = name => name) {
    const at = written(model, 'inside.onnx').at;
    const chunks: Uint8Array[] = [new Uint8Array(prefix).fill(7)];
    const offsets = new Map<string, number>();
    let end = prefix;
    const initializers = model.graph.initializers.map(tensor => {
      const bytes = bytesOf(tensor);
      const key = placeOf(tensor.name);
      if (!offsets.has(key)) {
        offsets.set(key, end);
        chunks.push(bytes);
        end += bytes.length;
      }
      const entries = new Map([
        ['location', 'weights.bin'],
        ['offset', String(offsets.get(key))],
        ['length', String(bytes.length)],
      ]);
      return {
        ...tensor,
        data: { storage: 'external' as const, entries, files: { folder: '', stamps: new Map() }, bytes: null },
      };
    });
    writeFileSync(at('weights.bin'), Buffer.concat(chunks));
    writeFileSync(at('model.onnx'), encoded({ ...model, graph: { ...model.graph, initializers } }));
    return { model: at('model.onnx'), at };
  }
  const contents = (path: string) =>
    Object.fromEntries(readModel(path).graph.initializers.map(tensor => [tensor.name, [...floats(tensor)]]));

  test('a: the same output twice is the same bytes', async () => {
    const { model, at } = foreign(threeConvs(), 0);
    const out = at('small.onnx');
    await cut({ model, out, flops: 0.5 });
    const first = [out, `${out}.data`].map(path => readFileSync(path));
    await cut({ model, out, flops: 0.5 });
    expect([out, `${out}.data`].map(path => readFileSync(path))).toEqual(first);
  });

  test('b: only what is referenced is written, and the layout stays external', async () => {
    const { model, at } = foreign(threeConvs(), 2 ** 20);
    const out = at('small.onnx');
    const { certificate } = await cut({ model, out, flops: 0.5, plan: at('plan.json') });
    expect(certificate?.passed).toBe(true);
    const small = readModel(out);
    expect(small.graph.initializers.every(tensor => tensor.data.storage === 'external')).toBe(true);
    const referenced = small.graph.initializers.reduce(
      (sum, tensor) => sum + Math.ceil(bytesOf(tensor).length / 64) * 64,
      0,
    );
    expect(statSync(`${out}.data`).size).toBeLessThanOrEqual(referenced);
    expect(readFileSync(at('weights.bin')).length).toBeGreaterThan(2 ** 20);
    // The same as of a file with everything inside.
    await cut({ model: at('inside.onnx'), out: at('inside-small.onnx'), apply: at('plan.json') });
    expect(contents(out)).toEqual(contents(at('inside-small.onnx')));
  });

  test('c: of two tensors in one range one is cut', async () => {
    const model = netOf((g, x) => {
      const b = g.conv(g.conv(x, 3, 8, { name: 'a' }), 8, 8, { name: 'b', bias: false });
      return g.conv(g.conv(b, 8, 8, { name: 'c', bias: false }), 8, 4, { name: 'd' });
    });
    const same = initializer(model, 'b.weight');
    const initializers = model.graph.initializers.map(tensor =>
      tensor.name === 'c.weight' ? { ...same, name: 'c.weight' } : tensor,
    );
    const shared = foreign({ ...model, graph: { ...model.graph, initializers } }, 0, name =>
      name === 'c.weight' ? 'b.weight' : name,
    );
    const out = shared.at('small.onnx');
    const { certificate } = await cut({
      model: shared.model,
      out,
      plan: shared.at('plan.json'),
      params: 0.8,
      only: ['a'],
    });
    expect(certificate?.passed).toBe(true);
    const { kept } = json(shared.at('plan.json')).groups[0];
    expect(contents(out)['c.weight']).toEqual([...floats(same)]);
    expect(contents(out)['b.weight']).toEqual([...floats(gatherAxes(same, new Map([[1, kept]])))]);
  });

  test('d: the data of the input is not written over either', async () => {
    const { at } = written(chain());
    writeModel(chain(), at('big.onnx'), { externalThreshold: 64 });
    const big = readFileSync(at('big.onnx'));
    // Another model file whose weights lie where the output's would go.
    writeFileSync(at('other.onnx'), big);
    expect(await refusal(cut({ model: at('other.onnx'), flops: 0.5, out: at('big.onnx') }))).toMatchObject({
      code: 'E_OVERWRITE',
    });
    expect(readFileSync(at('big.onnx'))).toEqual(big);
  });
});

describe('weights among the inputs (B11)', () => {
  test('up to IR version 3 they are constants, and the declared inputs follow', async () => {
    const { model, at } = written(chain({ irVersion: 3, opset: 8 }));
    const result = await cut({ model, out: at('small.onnx'), flops: 0.5 });
    expect(result.certificate?.passed).toBe(true);
    const { graph } = readModel(at('small.onnx'));
    const declared = new Map(graph.inputs.map(info => [info.name, shapeOf(info)]));
    expect(declared.get('X')).toEqual([1, 3, 8, 8]);
    for (const { name, dims } of graph.initializers) expect([name, declared.get(name)]).toEqual([name, dims]);
    expect(declared.get('a.weight')).toEqual([result.widths[0].kept, 3, 3, 3]);
  });

  test('from IR version 4 on they are defaults that a caller may replace: a wall', async () => {
    const source = threeConvs();
    const inputs = [...source.graph.inputs, valueInfo('w1', 1, [8, 8, 3, 3])];
    const { model, at } = written({ ...source, graph: { ...source.graph, inputs } });
    const { walls, groups } = await callable(inspectCommand)({ model });
    expect(groups).toEqual([]);
    expect(walls[0]).toMatchObject({ reason: "graph input 'w1', which a caller may replace", node: null });
    expect(walls[0].unlock).toMatch(/graph inputs/);
    expect(await refusal(cut({ model, out: at('small.onnx'), params: 0.5 }))).toMatchObject({
      code: 'E_NOTHING_TO_PRUNE',
    });
  });
});

test('grouped convolutions lose channels of every group, or whole groups: the plan says which', async () => {
  const grouped = netOf((g, x) => {
    const a = g.op('Relu', [g.conv(x, 3, 16, { name: 'a' })]);
    return head(g, g.op('Relu', [g.conv(a, 16, 16, { name: 'b', group: 4 })]), 16);
  });
  const { model, at } = written(grouped);
  const groupOf = (path: string) =>
    readModel(path)
      .graph.nodes.find(({ name }) => name === 'b')!
      .attribute.find(({ name }) => name === 'group')!.i;
  for (const [choice, groups] of [
    ['equal', 4n],
    ['whole', 2n],
  ] as const) {
    const [out, plan] = [at(`${choice}.onnx`), at(`${choice}.json`)];
    const result = await cut({ model, out, plan, flops: 0.6, grouped: choice, only: ['b'] });
    expect(result.certificate?.passed).toBe(true);
    expect(groupOf(out)).toBe(groups);
    expect(json(plan)).toMatchObject({ grouped: choice, attention: 'heads' });
    expect(await verify({ full: model, small: out, plan })).toMatchObject({ exitCode: 0 });
    await cut({ model, out: at('again.onnx'), apply: plan });
    expect(readModel(at('again.onnx')).graph.nodes).toEqual(readModel(out).graph.nodes);
  }
});

test('a plan answers everything that is chosen: options beside it that would do nothing are refused by name', async () => {
  const { model, at } = written(chain());
  await cut({ model, out: at('small.onnx'), plan: at('plan.json'), flops: 0.5 });
  const apply = { model, out: at('again.onnx'), apply: at('plan.json') };
  for (const [option, flag] of [
    [{ params: 0.5 }, 'the budget'],
    [{ round: 8 }, '--round'],
    [{ minKeep: 0.2 }, '--min-keep'],
    [{ criterion: 'l2' }, '--criterion'],
    [{ scope: 'isomorphic' }, '--scope'],
    [{ grouped: 'whole' }, '--grouped'],
    [{ attention: 'heads' }, '--attention'],
  ] as const)
    expect(await refusal(cut({ ...apply, ...option }))).toMatchObject({
      code: 'E_OPTION',
      fix: `Leave out ${flag}, or the plan.`,
    });
  expect(files(at)).toEqual(['model.onnx', 'plan.json', 'small.onnx']);
});

test('a plan applies to a copy that was exported with another batch', async () => {
  const { model, at } = written(chain({ shape: [1, 3, 8, 8] }));
  await cut({ model, out: at('small.onnx'), plan: at('plan.json'), flops: 0.5 });
  for (const batch of [4, 'N']) {
    writeModel(chain({ shape: [batch, 3, 8, 8] }), at('other.onnx'));
    const result = await cut({ model: at('other.onnx'), out: at('applied.onnx'), apply: at('plan.json') });
    expect(result.certificate?.passed).toBe(true);
    expect(contentsOf(at('applied.onnx'))).toEqual(contentsOf(at('small.onnx')));
  }
});

const contentsOf = (path: string) =>
  readModel(path).graph.initializers.map(tensor => [tensor.name, tensor.dims, [...floats(tensor)]]);

test('on the command line', async () => {
  const { model, at } = written(chain());
  const table = { cut: async () => ({ command }) };
  const { code, out } = await cli(
    ['cut', model, '--flops', '0.5', '-o', at('small.onnx'), '--plan', at('plan.json')],
    table,
  );
  expect(code).toBe(0);
  expect(out).toMatch(/^MACs \(papers: "FLOPs"\) +\S+.[kM] +\S+.[kM] +(50\.0|49\.\d).%$/m);
  expect(out).toMatch(/^a\.weight +16 +\d+$/m);
  expect(out).toMatch(/Certificate passed: .* on 16 random inputs, same argmax on 100\.0.%\./);
  expect(out).toMatch(/^Wrote .*small\.onnx and the plan .*plan\.json$/m);
  expect(out).toContain('multiples of 8: --round 8');
  const rounded = await cli(['cut', model, '--flops', '0.5', '--round', '8', '-o', at('rounded.onnx')], table);
  expect(rounded.out).not.toContain('--round 8');
  const again = await cli(
    ['cut', model, '--apply', at('plan.json'), '--no-verify', '--out', at('again.onnx'), '--json'],
    table,
  );
  expect(again.code).toBe(0);
  expect(JSON.parse(again.out)).toMatchObject({ file: at('again.onnx'), certificate: null, plan: null });
  const nothing = await cli(['cut', model, '--flops', '1', '-o', at('nothing.onnx')], table);
  expect(nothing.code).toBe(1);
  expect(nothing.err).toMatch(/^error\[E_NOTHING_CUT\]/m);
  const missing = await cli(['cut', model, '--flops', '0.5'], table);
  expect(missing.code).toBe(2);
  expect(missing.err).toMatch(/--out: is required/);
});
