import { execFileSync } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command as cutCommand } from '../../src/commands/cut.ts';
import { command as inspectCommand } from '../../src/commands/inspect.ts';
import { writeModel } from '../../src/onnx/index.ts';
import { netOf } from '../prune/nets.ts';
import { refusal, scratch } from './support.ts';

const inspect = callable(inspectCommand);
const cut = callable(cutCommand);

const net = netOf((g, x) => g.conv(g.op('Relu', [g.conv(x, 3, 10, { name: 'a' })]), 10, 4, { name: 'b' }));

let number = 0;
const root = scratch();
function place(externalThreshold?: number) {
  const folder = join(root, String(number++));
  mkdirSync(folder);
  const at = (name: string) => join(folder, name);
  writeModel(net, at('full.onnx'), { externalThreshold });
  return { at, model: at('full.onnx'), folder };
}

test('a page does not take the place of the model, nor of its data', async () => {
  const { at, model } = place(64);
  const before = [model, at('full.onnx.data')].map(path => readFileSync(path));
  for (const html of [model, at('full.onnx.data')]) {
    expect(await refusal(inspect({ model, html }))).toMatchObject({ code: 'E_OVERWRITE', exitCode: 2 });
  }
  expect([model, at('full.onnx.data')].map(path => readFileSync(path))).toEqual(before);
});

test('what is no ordinary file is refused before any work, and stays', async () => {
  const { at, model, folder } = place();
  mkdirSync(at('folder'));
  execFileSync('mkfifo', [at('pipe')]);
  for (const [name, what] of [
    ['folder', /folder is a folder; nothing is written there/],
    ['pipe', /pipe is no ordinary file/],
  ] as const) {
    for (const run of [
      () => cut({ model, flops: 0.5, out: at(name) }),
      () => cut({ model, flops: 0.5, out: at('small.onnx'), plan: at(name) }),
      () => inspect({ model, html: at(name) }),
    ]) {
      const error = await refusal(run());
      expect(error.code).toBe('E_WRITE');
      expect(error.message).toMatch(what);
    }
  }
  expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(['folder', 'full.onnx', 'pipe']);
});

test('a link is followed', async () => {
  const { at, model } = place();
  for (const name of ['small.onnx', 'plan.json', 'page.html']) {
    writeFileSync(at(name), 'old');
    symlinkSync(at(name), at(`${name}.link`));
  }
  await cut({ model, flops: 0.5, out: at('small.onnx.link'), plan: at('plan.json.link') });
  await inspect({ model, html: at('page.html.link') });
  for (const name of ['small.onnx', 'plan.json', 'page.html']) {
    expect(lstatSync(at(`${name}.link`)).isSymbolicLink()).toBe(true);
    expect(readFileSync(at(name), 'utf8')).not.toBe('old');
  }
});

test('data that nobody named are not written over; those of the file that is replaced are', async () => {
  const { at, model } = place(64);
  writeFileSync(at('small.onnx.data'), 'precious');
  expect(await refusal(cut({ model, flops: 0.5, out: at('small.onnx') }))).toMatchObject({
    code: 'E_OVERWRITE',
    exitCode: 2,
  });
  expect(readFileSync(at('small.onnx.data'), 'utf8')).toBe('precious');
  await cut({ model, flops: 0.5, out: at('other.onnx') });
  await cut({ model, flops: 0.7, out: at('other.onnx') });
});
