// `./s2h test [pattern] [--soak N]`: the type checker, the linter and the test suite; the last line counts them.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const help = `Usage: ./s2h test [pattern] [options]

Runs the type checker, the linter and the test suite. The last line is "N passed, N failed".

Arguments:
  pattern      only test files with this in their path (ops/conv), or else tests with this in their name;
               without type checker and linter

Options:
  --soak N     N random cases in every property test, instead of the usual few; what fails is printed with the
               S2H_SEED and S2H_PATH that show it again
  --no-setup   install and download nothing; tests of what is missing fail
  -h, --help   print this help
`;

/**
 * Ends the process with status 0 when everything passed, 1 when not, 2 for wrong usage.
 * @param {string} root folder of the checkout
 * @param {readonly string[]} args of the launcher, the word `test` included
 */
export async function test(root, args) {
  const options = readArguments(args);
  const counts = { passed: 0, failed: 0 };
  const count = passed => counts[passed ? 'passed' : 'failed']++;
  const env = { ...process.env, ...(options.soak && { S2H_SOAK: options.soak }) };

  if (!prepareEngine(root, options.setup)) say('tests that train will fail, since there is no libtorch (see above).');
  if (!options.pattern) {
    count(silent('type check (tsc)', root, ['typescript/bin/tsc', '-p', 'tsconfig.check.json', '--noEmit'], /^$/));
    const clean = /^Checked \d+ files? in .*\. No fixes applied\.$/;
    count(
      silent(
        'lint and format (biome)',
        root,
        ['@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '--max-diagnostics=none'],
        clean,
      ),
    );
  }
  runSuite(root, options.pattern, env, counts);
  process.stdout.write(`${counts.passed} passed, ${counts.failed} failed\n`);
  process.exit(counts.failed === 0 && counts.passed > 0 ? 0 : 1);
}

const say = message => process.stderr.write(`s2h test: ${message}\n`);

function readArguments(args) {
  const rest = args.filter(arg => arg !== 'test' && arg !== 'help' && arg !== '--no-setup' && arg !== '--debug');
  if (args[0] === 'help' || rest.includes('-h') || rest.includes('--help')) {
    process.stdout.write(help);
    process.exit(0);
  }
  const options = { setup: !args.includes('--no-setup'), soak: undefined, pattern: undefined };
  while (rest.length > 0) {
    const arg = rest.shift();
    const [name, inline] = arg.split('=', 2);
    if (name === '--soak') options.soak = positive(inline ?? rest.shift());
    else if (arg.startsWith('-')) usage(`there is no option ${arg}`);
    else if (options.pattern !== undefined) usage(`one pattern is enough, '${arg}' is too much`);
    else options.pattern = arg;
  }
  return options;
}

function positive(text) {
  if (!/^[1-9]\d*$/.test(text ?? '')) usage(`--soak: expected a number of cases, got ${text ?? 'nothing'}`);
  return text;
}

function usage(what) {
  process.stderr.write(`error[E_USAGE]: s2h test: ${what}. See: ./s2h test --help\n`);
  process.exit(2);
}

/** Fetches and builds what training needs, in a process of its own: libtorch stays out of the test runner. */
function prepareEngine(root, setup) {
  const engine = join(root, 'dist', 'torch', 'index.js');
  if (!existsSync(engine)) return true;
  const script =
    `const { openEngine } = await import(${JSON.stringify(pathToFileURL(engine).href)});\n` +
    `await openEngine({ setup: ${setup}, say: message => process.stderr.write(message + '\\n') });\n` +
    'process.exit(0);';
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  if (status !== 0) process.stderr.write(stderr);
  return status === 0;
}

/** Runs a checker that must have nothing to say; what it says is shown. */
function silent(name, root, [tool, ...args], expected) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'node_modules', tool), ...args], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  const output = `${stdout}${stderr}`.trim();
  const passed = status === 0 && expected.test(output);
  process.stdout.write(passed ? `✓ ${name}\n` : `✗ ${name}\n${output}\n`);
  return passed;
}

/** Runs vitest and adds what its reporter counted; a runner that broke down is one failure. */
function runSuite(root, pattern, env, counts) {
  const folder = mkdtempSync(join(tmpdir(), 's2h-test-'));
  const summary = join(folder, 'counts.json');
  const files = readdirSync(join(root, 'test'), { recursive: true }).map(path => `test/${path}`);
  const isPath = files.some(path => path.endsWith('.test.ts') && path.includes(pattern));
  const filter = pattern === undefined ? [] : isPath ? [pattern] : ['-t', pattern];
  const reporters = ['--reporter=default', `--reporter=${join(root, 'scripts', 'count-reporter.mjs')}`];
  spawnSync(process.execPath, [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...reporters, ...filter], {
    cwd: root,
    stdio: 'inherit',
    env: { ...env, S2H_TEST_COUNTS: summary },
  });
  const result = existsSync(summary) ? JSON.parse(readFileSync(summary, 'utf8')) : { passed: 0, failed: 1 };
  rmSync(folder, { recursive: true, force: true });
  counts.passed += result.passed;
  counts.failed += result.failed;
}
