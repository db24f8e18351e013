import { expect, test } from 'vitest';
import type { Interruption } from '../../src/cli/execute.ts';
import type { Context } from '../../src/commands/command.ts';
import { UserError } from '../../src/util/errors.ts';
import { cli, long, paint, tableOf } from './fake.ts';

const run = (body: (context: Context) => object | Promise<object>, argv: string[] = [], options = {}) =>
  cli(['long', ...argv], tableOf(long(body)), options);
const failing = (error: unknown, ...argv: string[]) =>
  run(() => {
    throw error;
  }, argv);

test('the result goes to standard output, words and progress to standard error', async () => {
  const { code, out, err } = await run(({ say, onEvent }) => {
    say('fetching');
    onEvent({ type: 'step', step: 1 });
    onEvent({ type: 'note', text: 'halfway' });
    onEvent({ type: 'unknown' });
    onEvent({ type: 'progress', label: 'fetching', done: 1, total: 2 });
    return { answer: 42 };
  });
  expect({ code, out, err }).toEqual({
    code: 0,
    out: '{"answer":42}\n',
    err: 'fetching\ntraining 1/10  10 %  loss 1.5\nhalfway\nfetching 1/2  50 %\n',
  });
});

test('with --json a long run prints its events one a line, the result last', async () => {
  const { out, err } = await run(
    ({ onEvent }) => {
      onEvent({ type: 'step', step: 1, loss: 0.5 });
      onEvent({ type: 'progress', label: 'fetching', done: 1, total: 2 });
      return { accuracy: 0.9, count: 10n, kept: new Int32Array([1, 2]), exitCode: 0 };
    },
    ['--json'],
  );
  expect(
    out
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line)),
  ).toEqual([
    { type: 'step', step: 1, loss: 0.5 },
    { type: 'result', accuracy: 0.9, count: 10, kept: [1, 2] },
  ]);
  expect(err).toBe('');
});

test('a result can set the exit status', async () => {
  expect((await run(() => ({ exitCode: 1 }))).code).toBe(1);
});

test('a user’s error is one paragraph with its code and its exit status', async () => {
  const error = new UserError('E_BUDGET', 'The budget cannot be met.', {
    where: 'net.onnx',
    fix: 'Ask for at least 0.1.',
    usage: true,
  });
  expect(await failing(error)).toEqual({
    code: 2,
    out: '',
    err: 'error[E_BUDGET]: The budget cannot be met. (net.onnx) Ask for at least 0.1.\n',
  });
});

test('a bug shows no stack trace unless asked for', async () => {
  const { code, err } = await failing(new TypeError('x is undefined'));
  expect(code).toBe(1);
  expect(err).toBe(
    'internal error: x is undefined This is a bug in s2hpruner; run again with --debug for a stack trace.\n',
  );
  expect((await failing(new TypeError('x is undefined'), '--debug')).err).toContain('execute.test.ts');
});

test.each([
  [Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', path: 'out/a' }), 'E_NO_SPACE'],
  [new RangeError('Array buffer allocation failed'), 'E_OUT_OF_MEMORY'],
  [
    new Error("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    'E_OUT_OF_MEMORY',
  ],
  [Object.assign(new Error('ENOENT: no such file'), { code: 'ENOENT', path: 'net.onnx' }), 'E_FILE'],
])('%s is told as a condition of the machine', async (error, code) => {
  const { err } = await failing(error);
  expect(err).toContain(`error[${code}]`);
  expect(err).not.toContain('internal error');
});

test('Ctrl-C lets a long run save and end by itself', async () => {
  const { code, out, err } = await run(
    ({ signal }) =>
      new Promise(resolve => signal.addEventListener('abort', () => resolve({ resume: 's2h prune --resume out' }))),
    [],
    { interrupt: (send: (cause: Interruption) => void) => setImmediate(send, 'SIGINT') },
  );
  expect(code).toBe(130);
  expect(out).toContain('--resume out');
  expect(err).toBe('Stopping after this step and saving; once more stops at once, without saving.\n');
});

test('Ctrl-C twice ends a run that does not', async () => {
  const { code } = await run(() => new Promise<object>(() => {}), [], {
    interrupt: (send: (cause: Interruption) => void) =>
      setImmediate(() => {
        send('SIGINT');
        send('SIGINT');
      }),
  });
  expect(code).toBe(130);
});

test('Ctrl-C ends a command that has nothing to save at once', async () => {
  const command = { ...paint, run: () => new Promise<never>(() => {}) };
  const { code } = await cli(['paint', 'n', '--share', '1'], tableOf(command), {
    interrupt: send => setImmediate(send, 'SIGTERM'),
  });
  expect(code).toBe(143);
});

test('a run that throws because it was aborted is no error', async () => {
  const { code, err } = await run(
    ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    [],
    { interrupt: (send: (cause: Interruption) => void) => setImmediate(send, 'SIGTERM') },
  );
  expect(code).toBe(143);
  expect(err).not.toContain('error');
});
