import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeNode, readModel } from '../../src/onnx/index.ts';
import { renderInspection } from '../../src/report/inspect-report.ts';
import { codeOf, couplingOf, fileOf, folder, run, smallNet } from './support.ts';

const members = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'];
const hostile = [
  '\u001b[31mred\u001b[0m',
  '\u009b31m\u0007',
  'two\nlines\r',
  '<img src=x onerror=alert(1)>',
  '../../up',
  '3·4',
  '1',
];

/** The small net with every one of its names made of this one. */
const called = (name: string) =>
  smallNet({ input: name, weight: `${name} w`, hidden: `${name} h`, node: name, output: `${name} y` });

describe.each([...members, ...hostile])('a net whose names are %j', name => {
  test('is inspected, cut, verified, run and told of without a trace of it', async () => {
    const at = folder();
    const model = called(name);
    const path = fileOf({ ...model, metadata: new Map([[name, name]]) }, 'model.onnx', at);
    const [small, plan] = [join(at, 'small.onnx'), join(at, 'plan.json')];
    const told = [
      await run('inspect', path),
      await run('inspect', path, '--json'),
      await run('cut', path, '--params', '0.6', '-o', small, '--plan', plan),
      await run('verify', path, small, '--plan', plan),
      await run('verify', path, small, '--plan', plan, '--json'),
      await run('bench', path, small, '--batch', '1', '--threads', '1', '--seconds', '0.01'),
      await run('eval', small, '--data', 'synthetic:classes=4,size=8,train=16,validation=8,test=8'),
    ];
    expect(told.map(codeOf)).toEqual(told.map(() => ''));
    expect(told.map(({ code }) => code)).toEqual(told.map(() => 0));
    expect(JSON.parse(told[1].out).groups[0].name).toBe(`${name} w`);
    expect(JSON.parse(readFileSync(plan, 'utf8')).groups[0].name).toBe(`${name} w`);
    // What was written took its name from what was asked for, and kept the names in it.
    expect(readdirSync(at).sort()).toEqual(['model.onnx', 'plan.json', 'small.onnx']);
    const { graph, metadata } = readModel(small);
    expect([graph.inputs[0].name, graph.nodes[0].name, graph.outputs[0].name]).toEqual([name, name, `${name} y`]);
    expect(metadata.get(name)).toBe(name);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test('may stand in --shape and --keep', async () => {
    const path = fileOf(called(name));
    expect(codeOf(await run('inspect', path, '--shape', `${name}=1,3,8,8`))).toBe('');
    expect(codeOf(await run('inspect', path, '--keep', `${name} w`, '--params', '0.9'))).toMatch(/^(E_\w+)?$/);
    expect(codeOf(await run('bench', path, '--shape', `${name}=1,3,8,8`, '--batch', '1', '--seconds', '0.01'))).toBe(
      '',
    );
    expect(codeOf(await run('bench', path, '--shape', `no ${name}=1`, '--batch', '1', '--seconds', '0.01'))).toBe(
      'E_SHAPE',
    );
  });
});

test.each([...members, ...hostile])('errors and walls that name %j do so escaped', async name => {
  const model = called(name);
  const strange = makeNode(name, [`${name} h`], ['other'], { [name]: 1 }, { name, domain: name });
  const nodes = [...model.graph.nodes, strange];
  const walled = await run('inspect', fileOf({ ...model, graph: { ...model.graph, nodes } }));
  expect(codeOf(walled)).toBe('');
  const dangling = [...model.graph.nodes, makeNode('Relu', [`${name} nowhere`], ['z'], {}, { name })];
  for (const command of ['inspect', 'bench']) {
    const told = await run(
      command,
      fileOf({ ...model, graph: { ...model.graph, nodes: dangling } }),
      ...(command === 'bench' ? ['--batch', '1'] : []),
    );
    expect(codeOf(told)).toMatch(/^E_/);
  }
  const tensors = model.graph.initializers.map(tensor => ({ ...tensor, dims: [1] }));
  expect(codeOf(await run('inspect', fileOf({ ...model, graph: { ...model.graph, initializers: tensors } })))).toBe(
    'E_TENSOR_DATA',
  );
});

test('an HTML page holds no markup out of a file', async () => {
  const help = (await run('inspect', '--help')).out;
  if (!help.includes('--html')) return expect(typeof renderInspection).toBe('function');
  const at = folder();
  for (const [i, name] of ['<img src=x onerror=alert(1)>', '"><script>alert(1)</script>', '</script><b>'].entries()) {
    const page = join(at, `${i}.html`);
    expect(codeOf(await run('inspect', fileOf(called(name)), '--html', page))).toBe('');
    const text = readFileSync(page, 'utf8');
    expect(text).not.toMatch(/<img src=x|<script>alert|<\/script><b>/);
  }
});

test('channels are found as they are without such names', () => {
  const plain = couplingOf(smallNet());
  for (const name of [...members, ...hostile]) {
    const { groups, walled } = couplingOf(called(name));
    expect([name, groups.map(({ size }) => size), walled.length]).toEqual([
      name,
      plain.groups.map(({ size }) => size),
      plain.walled.length,
    ]);
  }
});

test('a path is told escaped too', async () => {
  const path = join(dirname(fileOf(smallNet())), '\u001b[2Jgone.onnx');
  expect(existsSync(path)).toBe(false);
  expect(codeOf(await run('inspect', path))).toBe('E_NOT_FOUND');
});
