import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { z } from 'zod';
import { callable, defineCommand } from '../../src/commands/command.ts';
import { cli, long, paint, tableOf } from './fake.ts';

const folder = mkdtempSync(join(tmpdir(), 's2h-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

const idle = long(() => ({}));
const parsed = async (...argv: string[]) => JSON.parse((await cli([...argv, '--json'])).out);
const refused = async (...argv: string[]) => {
  const { code, out, err } = await cli(argv);
  expect(out).toBe('');
  expect(code).toBe(2);
  return err.trimEnd();
};

test('the program without a command prints its help', async () => {
  const table = tableOf(paint, idle);
  const { code, out } = await cli([], table);
  expect(code).toBe(0);
  expect(out).toMatchInlineSnapshot(`
    "Usage: s2h [options] [command]

    Prunes trained ONNX networks and proves that the small one is right.

    Options:
      -V, --version                        print the version
      --no-setup                           install and download nothing; say what is missing instead
      --debug                              print stack traces of errors
      -h, --help                           print this help

    Commands:
      paint <wall> [brushes...] [options]  paint a wall
      long [options]                       take a long time
      help [command]                       print the help of a command
    "
  `);
  expect((await cli(['--help'], table)).out).toBe(out);
  expect((await cli(['help'], table)).out).toBe(out);
});

test('the help of a command comes from its schema', async () => {
  const { code, out } = await cli(['paint', '--help']);
  expect(code).toBe(0);
  expect(out).toMatchInlineSnapshot(`
    "Usage: s2h paint <wall> [brushes...] [options]

    paint a wall

    Paints one wall in the colours asked for.

    Arguments:
      wall                 which wall
      brushes              brushes to use

    Options:
      --color <red|green>  colour of the paint (default: red)
      --share <N>          share of the wall to paint (required)
      --layers <N>         layers of paint (default: 2)
      --no-dry             turn off: let it dry
      --glossy             shine
      --sizes <N,N,…>      brush sizes in cm (default: 1,2)
      --mix <NAME=PARTS>   a mixture
      --min-width <X>      least width of a stroke (default: auto)
      --out <DIR>          where the picture goes
      --config <FILE>      read options from a JSON file; flags go first
      --json               print the result as JSON
      -h, --help           print this help

    Global Options:
      -V, --version        print the version
      --no-setup           install and download nothing; say what is missing instead
      --debug              print stack traces of errors

    Examples:
      s2h paint north --share 0.5
    "
  `);
  expect((await cli(['help', 'paint'])).out).toBe(out);
});

test('the version loads no command', async () => {
  const table = { broken: () => Promise.reject(new Error('was loaded')) };
  expect(await cli(['--version'], table)).toEqual({ code: 0, out: '1.2.3\n', err: '' });
});

test('a command loads no other command', async () => {
  const table = { ...tableOf(paint), broken: () => Promise.reject(new Error('was loaded')) };
  expect((await cli(['paint', 'north', '--share', '1'], table)).out).toBe('painted north red\n');
});

test('values of every kind reach the command with their types', async () => {
  const line = 'paint n a b --share 0.5 --sizes 3,4 --sizes 5 --mix a=1,2 --mix b=3 --min-width 7 --no-dry --glossy';
  expect(await parsed(...line.split(' '))).toEqual({
    args: { wall: 'n', brushes: ['a', 'b'] },
    options: {
      color: 'red',
      share: 0.5,
      layers: 2,
      dry: false,
      glossy: true,
      sizes: [3, 4, 5],
      mix: ['a=1,2', 'b=3'],
      minWidth: 7,
    },
  });
});

test('defaults are the schema’s', async () => {
  expect((await parsed('paint', 'n', '--share', '1')).options).toEqual({
    color: 'red',
    share: 1,
    layers: 2,
    dry: true,
    glossy: false,
    sizes: [1, 2],
    minWidth: 'auto',
  });
});

test('a value may begin with a minus, and follow an equals sign', async () => {
  expect(await refused('paint', 'n', '--share', '-1')).toBe('error[E_OPTION]: --share: must be more than 0, got -1.');
  expect((await parsed('paint', 'n', '--share=0.25')).options.share).toBe(0.25);
});

test('global flags count before and after the command', async () => {
  const seen: boolean[] = [];
  const table = tableOf(long(({ setup }) => ({ seen: seen.push(setup) })));
  for (const argv of [['long'], ['--no-setup', 'long'], ['long', '--no-setup']]) await cli(argv, table);
  expect(seen).toEqual([true, false, false]);
});

test.each([
  [['pant'], "error[E_UNKNOWN_COMMAND]: Unknown command 'pant'. Did you mean paint? See: s2h --help"],
  [
    ['paint', 'n', '--shar', '1'],
    "error[E_UNKNOWN_OPTION]: Unknown option '--shar'. Did you mean --share? See: s2h paint --help",
  ],
  [['paint', 'n', '--share', 'x'], 'error[E_OPTION]: --share: expected a number, got "x".'],
  [['paint', 'n', '--share', 'NaN'], 'error[E_OPTION]: --share: expected a number, got "NaN".'],
  [['paint', 'n', '--share', ''], 'error[E_OPTION]: --share: expected a number, got "".'],
  [['paint', 'n', '--share', '1.5'], 'error[E_OPTION]: --share: must be at most 1, got 1.5.'],
  [['paint', 'n'], 'error[E_OPTION]: --share: is required (a number).'],
  [['paint', 'n', '--share', '1', '--layers', '1.5'], 'error[E_OPTION]: --layers: expected a whole number, got 1.5.'],
  [['paint', 'n', '--share', '1', '--color', 'blu'], 'error[E_OPTION]: --color: expected red or green, got "blu".'],
  [['paint', 'n', '--share', '1', '--sizes', '1,x'], 'error[E_OPTION]: --sizes: expected a number, got "x".'],
  [
    ['paint', 'n', '--share', '1', '--min-width', 'x'],
    'error[E_OPTION]: --min-width: expected auto or a number, got "x".',
  ],
  [['paint', '--share', '1'], 'error[E_ARGUMENT]: The argument <wall> is missing: which wall.'],
  [['paint', 'n', '--share', '--color', 'red'], 'error[E_OPTION]: --share needs a value; the option --color follows.'],
  [['paint', 'n', '--share'], "error[E_OPTION]: Option '--share <N>' argument missing. See: s2h paint --help"],
])('%j is refused with exit status 2', async (argv, message) => {
  expect(await refused(...argv)).toBe(message);
});

test('too many arguments are refused', async () => {
  const { code, err } = await cli(['long', 'x'], tableOf(idle));
  expect(code).toBe(2);
  expect(err).toMatch(/^error\[E_ARGUMENT\]: Too many arguments for 'long'\. .* See: s2h long --help\n$/);
});

test('a config file gives options and arguments, and flags go first', async () => {
  const config = join(folder, 'paint.json');
  writeFileSync(config, JSON.stringify({ wall: 'south', share: 0.25, color: 'green', sizes: [7] }));
  const { args, options } = await parsed('paint', '--config', config, '--share', '0.75');
  expect(args.wall).toBe('south');
  expect(options).toMatchObject({ share: 0.75, color: 'green', sizes: [7] });
  expect((await parsed('paint', 'east', '--config', config)).args.wall).toBe('east');
});

test('mistakes in a config file name the key and the file', async () => {
  const config = join(folder, 'bad.json');
  const complaint = async (content: string) => {
    writeFileSync(config, content);
    return refused('paint', 'n', '--config', config);
  };
  expect(await complaint('{"share": "x"}')).toBe(`error[E_OPTION]: "share" in ${config}: expected a number, got "x".`);
  expect(await complaint('{"shaer": 1}')).toContain(`There is no option "shaer" in ${config}. Did you mean`);
  expect(await complaint('{')).toContain('error[E_CONFIG]: The config file cannot be read');
  expect(await complaint('[]')).toContain('error[E_CONFIG]: The config file is not a JSON object.');
  expect(await refused('paint', 'n', '--config', join(folder, 'none.json'))).toContain('error[E_CONFIG]');
});

test('the same command is a library function with the same validation', async () => {
  const call = callable(paint);
  expect(await call({ wall: 'n', share: 0.5 })).toMatchObject({
    args: { wall: 'n', brushes: [] },
    options: { layers: 2 },
  });
  await expect(call({ wall: 'n', share: 2 })).rejects.toMatchObject({
    code: 'E_OPTION',
    message: 'share: must be at most 1, got 2.',
  });
  await expect(call({ wall: 'n', share: 1, ...{ colour: 'red' } })).rejects.toMatchObject({
    message: 'There is no option colour. Did you mean color?',
  });
  // @ts-expect-error a required argument
  await expect(call({ share: 1 })).rejects.toMatchObject({ code: 'E_ARGUMENT' });
});

test('a schema with transforms is described by its input', async () => {
  const command = defineCommand({
    name: 'twice',
    summary: 'double a number',
    arguments: [],
    options: z.object({
      n: z
        .number()
        .transform(n => 2 * n)
        .default(4)
        .describe('a number'),
    }),
    examples: [],
    run: (_, options) => options,
    render: ({ n }) => String(n),
  });
  expect((await cli(['twice', '--n', '3'], tableOf(command))).out).toBe('6\n');
  expect((await cli(['twice', '--help'], tableOf(command))).out).toContain('--n <N>          a number (default: 4)');
});
