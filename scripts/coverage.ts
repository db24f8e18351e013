// `npx tsx scripts/coverage.ts DIR... [options]`: inspects, cuts to about half and certifies every ONNX file of some
// folders, each in a process of its own, measures latency before and after, and writes docs/coverage.md.
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { basename, extname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runtimeVersion } from '../src/runtime/session.ts';
import { writeAtomic } from '../src/util/atomic.ts';
import { type Coverage, renderCoverage } from './coverage-report.ts';

const help = `Usage: npx tsx scripts/coverage.ts DIR... [options]

  --index FILE    a list of { file, inputs: { name: { tried | shape } } }: lengths for open axes; may be repeated
  --out FILE      where the page goes (default: docs/coverage.md)
  --timeout N     seconds for one model (default: 600)
  --seconds N     measuring time of a latency (default: 1)
  --inputs N      random inputs that are compared (default: 16)
  --match TEXT    only files with this in their name
  --remark TEXT   a paragraph for the page: where the models come from; may be repeated
  --rows FILE     keep the rows there, a JSON line each, and take models that are in it from it
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    index: { type: 'string', multiple: true, default: [] },
    out: { type: 'string', default: join(import.meta.dirname, '..', 'docs', 'coverage.md') },
    timeout: { type: 'string', default: '600' },
    seconds: { type: 'string', default: '1' },
    inputs: { type: 'string', default: '16' },
    match: { type: 'string', default: '' },
    remark: { type: 'string', multiple: true, default: [] },
    rows: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help || positionals.length === 0) {
  process.stdout.write(help);
  process.exit(values.help ? 0 : 2);
}

const shapes = new Map(values.index.flatMap(shapesIn));
const files = positionals
  .flatMap(folder => readdirSync(folder).map(name => resolve(folder, name)))
  .filter(file => extname(file) === '.onnx' && basename(file).includes(values.match))
  .sort((a, b) => (basename(a) < basename(b) ? -1 : 1));
const setting = {
  cpu: cpus()[0].model,
  runtime: await runtimeVersion(),
  seconds: Number(values.seconds),
  remarks: values.remark,
};
const known = new Map(rowsIn(values.rows).map(row => [row.file, row]));
const rows: Coverage[] = [];
for (const file of files) {
  const before = known.get(basename(file));
  const row = before ?? (await covered(file));
  if (!before && values.rows !== undefined) appendFileSync(values.rows, `${JSON.stringify(row)}\n`);
  process.stderr.write(
    `${basename(file)}: ${row.failure ?? row.unchanged ?? 'certified'} (${row.seconds.toFixed(0)} s)\n`,
  );
  rows.push(row);
  writeAtomic(values.out, renderCoverage(rows, setting));
}

/** One model in a process of its own, which is ended when its time is over. */
function covered(file: string): Promise<Coverage> {
  const own = JSON.stringify(shapes.get(basename(file)) ?? {});
  const worker = join(import.meta.dirname, 'coverage-worker.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', worker, file, own, values.seconds, values.inputs], {
    cwd: join(import.meta.dirname, '..'),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const start = performance.now();
  const seen = { out: '', err: '' };
  child.stdout.on('data', (data: Buffer) => (seen.out += data));
  child.stderr.on('data', (data: Buffer) => (seen.err += data));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, Number(values.timeout) * 1000);
  return new Promise(done => {
    child.on('close', code => {
      clearTimeout(timer);
      // The worker writes what it knows after every step, so a crash or a time-out leaves the steps before it.
      const known = seen.out.trim().split('\n').at(-1);
      const row = { file: basename(file), ...(known ? JSON.parse(known) : {}) } as Coverage;
      const seconds = (performance.now() - start) / 1000;
      if (code === 0) return done({ ...row, seconds });
      const why = late ? `more than ${values.timeout} s` : `ended with ${code}: ${seen.err.trim().split('\n').at(-1)}`;
      done({ ...row, seconds, failure: row.failure ?? `${row.step ?? 'start'}: ${why}` });
    });
  });
}

/** Rows of an earlier run. */
function rowsIn(path: string | undefined): Coverage[] {
  if (path === undefined || !existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as Coverage);
}

/** Lengths of inputs by file, out of an index of models. */
function shapesIn(path: string): [string, Record<string, readonly number[]>][] {
  type Input = readonly number[] | { readonly tried?: readonly number[]; readonly shape?: readonly number[] };
  const entries = JSON.parse(readFileSync(path, 'utf8')) as { file: string; inputs?: Record<string, Input> }[];
  return entries.map(({ file, inputs = {} }) => [
    basename(file),
    Object.fromEntries(
      Object.entries(inputs).flatMap(([name, input]) => {
        const shape = 'length' in input ? input : (input.tried ?? input.shape);
        return shape && shape.length > 0 && shape.every(dim => typeof dim === 'number') ? [[name, shape]] : [];
      }),
    ),
  ]);
}
