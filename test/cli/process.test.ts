import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const source = (path: string) => JSON.stringify(pathToFileURL(resolve(root, path)).href);

/** A command line with one made-up long command in a process of its own, which counts until it is stopped. */
const program = `
  import { z } from 'zod';
  import { commands } from ${source('src/commands/index.ts')};
  import { main } from ${source('src/cli/main.ts')};
  commands.count = async () => ({ command: {
    name: 'count', summary: 'count', arguments: [], options: z.object({}), examples: [], streams: true,
    async run(_args, _options, { signal, onEvent }) {
      for (let step = 1; !signal.aborted; step++) {
        onEvent({ type: 'step', step });
        await new Promise(done => setTimeout(done, 5));
      }
      return { saved: true };
    },
    render: () => 'saved',
  } });
  commands.once = async () => ({ command: {
    name: 'once', summary: 'once', arguments: [], options: z.object({}), examples: [],
    run: () => new Promise(done => setTimeout(() => done({ exitCode: 1 }), 50)),
    render: () => 'x'.repeat(1_000_000),
  } });
  await main(process.argv.slice(1));
`;

function start(...args: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program, ...args], {
    cwd: root,
  });
  const seen = { out: '', err: '' };
  child.stdout.on('data', data => (seen.out += data));
  child.stderr.on('data', data => (seen.err += data));
  const ended = new Promise<{ code: number | null; out: string; err: string }>(done =>
    child.on('close', code => done({ code, ...seen })),
  );
  const running = new Promise<void>(done => child.stdout.once('data', () => done()));
  return { child, ended, running };
}

test('Ctrl-C lets the run end, prints its result, and the exit status says so', async () => {
  const { child, ended, running } = start('count', '--json');
  await running;
  child.kill('SIGINT');
  const { code, out, err } = await ended;
  expect(code).toBe(130);
  expect(out.trimEnd().split('\n').at(-1)).toBe('{"type":"result","saved":true}');
  expect(err).toContain('Stopping after this step and saving');
});

test('nobody reading the output any more ends a run quietly, after saving, and the exit status says so', async () => {
  const { child, ended, running } = start('count', '--json');
  await running;
  child.stdout.destroy();
  expect(await ended).toMatchObject({ code: 141, err: '' });
});

test('a command that prints when its work is done keeps its exit status, whoever reads', async () => {
  for (const [args, code] of [
    [['once'], 1],
    [['--help'], 0],
  ] as const) {
    const { child, ended } = start(...args);
    child.stdout.destroy();
    expect(await ended).toMatchObject({ code, err: '' });
  }
});

test('a mistake in usage has exit status 2 and no stack trace', async () => {
  const { code, out, err } = await start('cuont').ended;
  expect([code, out]).toEqual([2, '']);
  expect(err).toBe("error[E_UNKNOWN_COMMAND]: Unknown command 'cuont'. Did you mean count? See: s2h --help\n");
});
