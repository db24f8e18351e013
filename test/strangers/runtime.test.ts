import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  DataType,
  GraphBuilder,
  makeNode,
  type OnnxModel,
  readModel,
  tensorOf,
  valueInfo,
} from '../../src/onnx/index.ts';
import { startChild } from '../../src/runtime/child.ts';
import { openModel, openSession } from '../../src/runtime/session.ts';
import { codeOf, codesOf, fileOf, folder, normal, run, smallNet } from './support.ts';

const inputs = { X: { type: 'float32', shape: [1, 3, 8, 8], data: normal('X', 192) } } as const;

/** The small net and a Loop behind it that does not end. */
function endless(): OnnxModel {
  const g = new GraphBuilder({ name: 'body' });
  for (const [name, type] of [
    ['i', DataType.INT64],
    ['c', DataType.BOOL],
    ['v', DataType.FLOAT],
  ] as const)
    g.input(name, name === 'v' ? ['N', 4] : [], type);
  g.output(g.node('Identity', ['c'], {}, { output: 'c2' }), [], DataType.BOOL);
  g.output(g.node('Identity', ['v'], {}, { output: 'v2' }), ['N', 4]);
  const model = smallNet();
  const { graph } = model;
  return {
    ...model,
    graph: {
      ...graph,
      nodes: [...graph.nodes, makeNode('Loop', ['times', 'yes', 'Y'], ['Z'], { body: g.graphProto() })],
      initializers: [
        ...graph.initializers,
        tensorOf('times', BigInt64Array.of(2n ** 62n), []),
        tensorOf('yes', Uint8Array.of(1), [], DataType.BOOL),
      ],
      outputs: [valueInfo('Z', DataType.FLOAT, ['N', 4])],
    },
  };
}

/** The small net with a constant of a terabyte added to its output. */
function greedy(): OnnxModel {
  const model = smallNet();
  const { graph } = model;
  return {
    ...model,
    graph: {
      ...graph,
      nodes: [
        ...graph.nodes,
        makeNode('ConstantOfShape', ['to'], ['large']),
        makeNode('ReduceSum', ['large'], ['sum'], { keepdims: 0 }),
        makeNode('Add', ['Y', 'sum'], ['Z']),
      ],
      initializers: [...graph.initializers, tensorOf('to', BigInt64Array.of(2n ** 20n, 2n ** 18n), [2])],
      outputs: [valueInfo('Z', DataType.FLOAT, ['N', 4])],
    },
  };
}

const own = process.env.TMPDIR;
let temporary: string;
beforeEach(() => {
  temporary = process.env.TMPDIR = folder();
});
afterEach(() => {
  delete process.env.S2H_RUNTIME_SECONDS;
  if (own === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = own;
});

/** Child processes of this one that run the runtime. */
const children = (): number[] =>
  readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      try {
        const [, parent] = /\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))!;
        const isOurs = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('child-main');
        return isOurs && Number(parent) === process.pid ? [Number(pid)] : [];
      } catch {
        return [];
      }
    });

test('a file that hangs the runtime is an error of every command, and leaves nothing behind', async () => {
  process.env.S2H_RUNTIME_SECONDS = '1';
  const codes = await codesOf(fileOf(endless()));
  expect(codes).toEqual({ inspect: '', cut: 'E_RUNTIME', verify: 'E_PLAN', eval: 'E_RUNTIME', bench: 'E_RUNTIME' });
  expect(readdirSync(temporary).filter(name => name.startsWith('s2hpruner'))).toEqual([]);
  // The child that hung is gone; the next file gets a new one.
  const session = await openModel(smallNet());
  expect((await session.run(inputs)).Y.shape).toEqual([1, 4]);
  expect(children()).toHaveLength(1);
  await session.dispose();
});

test('verify says so too', async () => {
  const at = folder();
  const [full, small, plan] = ['full.onnx', 'small.onnx', 'plan.json'].map(name => join(at, name));
  fileOf(endless(), 'full.onnx', at);
  expect(codeOf(await run('cut', full, '--params', '0.6', '-o', small, '--plan', plan, '--no-verify'))).toBe('');
  process.env.S2H_RUNTIME_SECONDS = '1';
  const told = await run('verify', full, small, '--plan', plan);
  expect(codeOf(told)).toBe('E_RUNTIME');
  expect(told.err).toMatch(/no answer for 1 s/);
  expect(readModel(small).graph.nodes.length).toBe(6);
});

test('a file that asks for a terabyte is an error of every command', async () => {
  const codes = await codesOf(fileOf(greedy()));
  expect(codes).toEqual({ inspect: '', cut: 'E_RUNTIME', verify: 'E_PLAN', eval: 'E_RUNTIME', bench: 'E_RUNTIME' });
});

test('a runtime that crashes is an error that says how it ended', async () => {
  const session = await openSession(fileOf(smallNet()));
  const [child] = children();
  const running = session.run(inputs);
  process.kill(child, 'SIGSEGV');
  await expect(running).rejects.toMatchObject({ code: 'E_RUNTIME', what: expect.stringMatching(/SIGSEGV/) });
  // Sessions of the child that is gone say so; freeing them is no error.
  await expect(session.run(inputs)).rejects.toMatchObject({ code: 'E_RUNTIME' });
  await session.dispose();
  const next = await openSession(fileOf(smallNet()));
  expect((await next.run(inputs)).Y.data.length).toBe(4);
  await next.dispose();
});

test('orders are worked off one after the other, however they come', async () => {
  const session = await openSession(fileOf(smallNet()));
  const results = await Promise.all(Array.from({ length: 20 }, () => session.run(inputs)));
  for (const { Y } of results) expect(Y.data).toEqual(results[0].Y.data);
  await session.dispose();
});

test('the child ends with its parent, even while it hangs', async () => {
  const path = fileOf(endless());
  const source = (file: string) => JSON.stringify(pathToFileURL(resolve(import.meta.dirname, '../../src', file)).href);
  const program = `
    import { openSession } from ${source('runtime/session.ts')};
    const session = await openSession(${JSON.stringify(path)});
    process.stdout.write('running');
    await session.run({ X: { type: 'float32', shape: [1, 3, 8, 8], data: new Float32Array(192) } });
  `;
  const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    cwd: resolve(import.meta.dirname, '../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise(done => parent.stdout.once('data', done));
  const pids = readdirSync('/proc').filter(name => {
    try {
      return (
        readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('child-main') &&
        readFileSync(`/proc/${name}/stat`, 'utf8').includes(`) R ${parent.pid} `)
      );
    } catch {
      return false;
    }
  });
  await new Promise(done => setTimeout(done, 300));
  parent.kill('SIGKILL');
  const isThere = () => pids.some(pid => readdirSync('/proc').includes(pid));
  for (let i = 0; i < 100 && isThere(); i++) await new Promise(done => setTimeout(done, 100));
  expect(isThere()).toBe(false);
});

test('a child that was killed while idle is replaced', async () => {
  const child = startChild();
  expect(await child.ask({ op: 'version' }, 60)).toMatch(/^\d/);
  child.kill();
  await expect(child.ask({ op: 'version' }, 60)).rejects.toThrow(/ended|reached/);
  expect(child.ended).toBe(true);
});
