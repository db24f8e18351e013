// `npx tsx scripts/operators.ts DIR... [--out FILE] [--no-forward]`: runs the cases of the ONNX project's backend tests
// (`DIR/<set>/<case>/model.onnx`), and the newer ones in test/data/conformance for operators that came later, against the
// records of src/ops and writes docs/operators.md. Exit status 1 when a case fails. operator-versions.json lists the operator sets that changed each operator, out of the onnx package for Python:
// `{s.name: s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.domain == ''}`.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { costsNothing, type Operator } from '../src/graph/operator.ts';
import { isWall, undeclared } from '../src/ops/families/whole.ts';
import { operators } from '../src/ops/index.ts';
import { openEngine, type Torch } from '../src/torch/index.ts';
import { writeAtomic } from '../src/util/atomic.ts';
import { type Case, conformanceCases } from '../test/ops/cases.ts';
import { type Check, casesIn, checkCase, type Outcome } from '../test/ops/conformance.ts';

const help = `Usage: npx tsx scripts/operators.ts DIR... [options]

  --out FILE      where the page goes (default: docs/operators.md)
  --no-forward    do not run the cases under libtorch
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  allowNegative: true,
  options: {
    out: { type: 'string', default: join(import.meta.dirname, '..', 'docs', 'operators.md') },
    forward: { type: 'boolean', default: true },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

if (values.help || positionals.length === 0) {
  process.stdout.write(help);
  process.exit(values.help ? 0 : 2);
}

const versions = JSON.parse(readFileSync(join(import.meta.dirname, 'operator-versions.json'), 'utf8')) as Readonly<
  Record<string, readonly number[]>
>;
const checks: readonly Check[] = values.forward ? ['shape', 'value', 'forward'] : ['shape', 'value'];

interface Result {
  readonly name: string;
  /** Its operator, Constant apart; null: there are several. */
  readonly operator: string | null;
  readonly outcomes: ReadonlyMap<Check, Outcome>;
}

/** The operator that a case is about. */
function operatorOf({ model }: Case): string | null {
  const keys = model.graph.nodes.map(({ domain, opType }) => `${domain === 'ai.onnx' ? '' : domain}::${opType}`);
  const others = [...new Set(keys)].filter(key => key !== '::Constant');
  return others.length === 0 ? '::Constant' : others.length === 1 ? others[0] : null;
}

function resultsOf(torch: Torch | null): Result[] {
  const cases = [...positionals.flatMap(folder => [...casesIn(folder)]), ...conformanceCases('newer')];
  return cases.map(one => ({
    name: one.name,
    operator: operatorOf(one),
    outcomes: new Map(checks.map(check => [check, checkCase(check, one, torch)])),
  }));
}

/** `12 of 12`: passed of those that are compared. */
function tally(results: readonly Result[], check: Check): string {
  const outcomes = results.map(({ outcomes: all }) => all.get(check)).filter(outcome => outcome !== undefined);
  const passed = outcomes.filter(outcome => outcome === 'passed').length;
  const failed = outcomes.filter(outcome => outcome !== 'passed' && 'failed' in outcome).length;
  return passed + failed === 0 ? '-' : `${passed} of ${passed + failed}`;
}

/** From operator set 7 on: the version that was current then, and every later one. */
function versionsOf({ domain, type }: Operator): string {
  if (domain !== '') return '1';
  const all = versions[type] ?? [];
  const current = all.filter(version => version <= 7).at(-1);
  return all.filter(version => version > 7 || version === current).join(', ') || '1';
}

const zeroOf = ({ zero }: Operator): string => (zero.length === 0 ? zero(undefined as never) : 'by the node');

function rowOf(record: Operator, results: readonly Result[]): string[] {
  const own = results.filter(({ operator }) => operator === `${record.domain}::${record.type}`);
  return [
    record.domain ? `${record.domain}::${record.type}` : record.type,
    versionsOf(record),
    record.shape === undeclared ? 'declared' : 'rule',
    isWall(record) && record.type !== 'Constant' ? 'wall' : 'exact',
    costsNothing(record) ? '0' : 'counted',
    record.forward ? 'yes' : 'no',
    zeroOf(record),
    ...checks.map(check => tally(own, check)),
  ];
}

const table = (rows: readonly (readonly string[])[]): string =>
  [rows[0], rows[0].map(() => '---'), ...rows.slice(1)].map(row => `| ${row.join(' | ')} |`).join('\n');

/** Why cases are not compared, by check and reason, with their operators. */
function leftOut(results: readonly Result[]): string {
  const reasons = new Map<string, Map<string, number>>();
  for (const { operator, outcomes } of results) {
    for (const [check, outcome] of outcomes) {
      if (outcome === 'passed' || !('left' in outcome)) continue;
      const key = `${check}: ${outcome.left}`;
      const counts = reasons.get(key) ?? new Map<string, number>();
      reasons.set(key, counts);
      const name = operator?.replace(/^::/, '') ?? 'several operators';
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return [...reasons]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([reason, counts]) => {
      const total = [...counts.values()].reduce((a, b) => a + b, 0);
      const names = [...counts]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, n]) => (n > 1 ? `${name} ${n}` : name));
      return `- ${reason} (${total}): ${names.join(', ')}`;
    })
    .join('\n');
}

const failuresOf = (results: readonly Result[]): string[] =>
  results.flatMap(({ name, outcomes }) =>
    [...outcomes].flatMap(([check, outcome]) =>
      outcome !== 'passed' && 'failed' in outcome ? [`- ${name}, ${check}: ${outcome.failed}`] : [],
    ),
  );

function page(results: readonly Result[], failures: readonly string[]): string {
  const records = [...operators.values()].sort((a, b) =>
    `${a.domain}::${a.type}` < `${b.domain}::${b.type}` ? -1 : 1,
  );
  const head = [
    'operator',
    'versions',
    'shape',
    'coupling',
    'MACs',
    'forward',
    'zero',
    ...checks.map(c => `${c} cases`),
  ];
  const several = results.filter(({ operator }) => operator === null);
  const rows = [
    ...records.map(record => rowOf(record, results)),
    ['several operators in one case', '', '', '', '', '', '', ...checks.map(check => tally(several, check))],
  ];
  return `# Operators

Made by \`npx tsx scripts/operators.ts DIR\` from the records in \`src/ops/\` and ${results.length} cases of the ONNX project's backend tests: those of the folder, and newer ones in \`test/data/conformance\` for operators that it lacks.

- versions: the operator sets in which the operator changed, from the one that was current in operator set 7 on
- shape: \`rule\`, or \`declared\` in the file; what neither says is found out by running the file
- coupling: \`exact\`, channel by channel (axes that an operator needs whole are walls all the same), or a \`wall\` around everything that it touches
- MACs: whether nodes have multiply-accumulates; an operator that is not in this list makes the total "at least"
- forward: whether it runs under autograd, so that files with it can be trained
- zero: what becomes of a channel of zeros (\`src/graph/operator.ts\`)
- cases: passed of those that are compared, for the output's type and shape, for small constants worked out before anything runs, and for the forward pass (|found - expected| at most 1e-3 (1 + |expected|))

${table([head, ...rows])}

## Cases that are not compared

${leftOut(results)}

## Cases that fail

${failures.length > 0 ? failures.join('\n') : 'None.'}
`;
}

async function main(): Promise<void> {
  const torch = values.forward ? await openEngine({ threads: 1 }) : null;
  const results = resultsOf(torch);
  const failures = failuresOf(results);
  writeAtomic(values.out, page(results, failures));
  process.stderr.write(`${results.length} cases, ${failures.length} failures\n`);
  process.exitCode = failures.length > 0 ? 1 : 0;
}

await main();
