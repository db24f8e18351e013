import { expect, test } from 'vitest';
import { parseCommandLine } from '../../src/cli/parse.ts';
import { flagOf } from '../../src/commands/command.ts';
import { commands } from '../../src/commands/index.ts';
import { cli } from './fake.ts';

const loaded = await Promise.all(
  Object.entries(commands).map(async ([name, load]) => ({ name, command: (await load()).command })),
);

test.each(loaded)('$name is in the table under its own name, with a summary in lower case', ({ name, command }) => {
  expect(command.name).toBe(name);
  expect(command.summary).toMatch(/^[a-z][^\n]*[^.]$/);
});

test.each(loaded)('$name describes every option and argument', async ({ name, command }) => {
  const { code, out } = await cli([name, '--help'], commands);
  expect(code).toBe(0);
  for (const key of Object.keys(command.options.shape)) {
    expect(out).toMatch(new RegExp(`^  (-\\w, )?(${flagOf(key)}|--no-${flagOf(key).slice(2)})( <[^>]+>)?\\s+\\S`, 'm'));
  }
  for (const argument of command.arguments) expect(argument.description).not.toBe('');
});

test.each(loaded)('the examples of $name are command lines that it accepts', async ({ name, command }) => {
  expect(command.examples.length).toBeGreaterThan(0);
  for (const example of command.examples) {
    const [first, ...rest] = example.split(' ');
    expect(first).toBe(name);
    expect(await parseCommandLine([first, ...rest], commands, { name: 's2h', version: '0' })).toMatchObject({
      command,
    });
  }
});

const help = async (name: string) => (await cli([name, '--help'], commands)).out;

test('the help of models', async () =>
  expect(await help('models')).toMatchInlineSnapshot(`
  "Usage: s2h models [options]

  list the architectures that can be named instead of a file

  Parameters and MACs (papers: "FLOPs") are those of the published input and number of classes; a run
  fits both to its data set.

  Options:
    --json         print the result as JSON
    -h, --help     print this help

  Global Options:
    -V, --version  print the version
    --no-setup     install and download nothing; say what is missing instead
    --debug        print stack traces of errors

  Examples:
    s2h models
    s2h models --json
  "
`));
test('the help of data', async () =>
  expect(await help('data')).toMatchInlineSnapshot(`
  "Usage: s2h data [options]

  list the data sets and where they are

  Besides these, --data takes any folder of images: <folder>/train/<class>/*.jpg and
  <folder>/val/<class>/*.jpg, or <folder>/<class>/*.jpg with --val-fraction.

  Options:
    --data-dir <DIR>  folder to look in first; else $S2H_DATA and the cache
    --config <FILE>   read options from a JSON file; flags go first
    --json            print the result as JSON
    -h, --help        print this help

  Global Options:
    -V, --version     print the version
    --no-setup        install and download nothing; say what is missing instead
    --debug           print stack traces of errors

  Examples:
    s2h data
    s2h data --data-dir ~/datasets
  "
`));
test('the help of doctor', async () =>
  expect(await help('doctor')).toMatchInlineSnapshot(`
  "Usage: s2h doctor [options]

  say what is installed, what is missing, and what that costs

  Options:
    --json         print the result as JSON
    -h, --help     print this help

  Global Options:
    -V, --version  print the version
    --no-setup     install and download nothing; say what is missing instead
    --debug        print stack traces of errors

  Examples:
    s2h doctor
    s2h doctor --json
  "
`));
