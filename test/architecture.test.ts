import { readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const src = resolve(import.meta.dirname, '../src');

/** The order of the folders: each may import those of smaller rank; equals do not import each other. */
const ranks: Readonly<Record<string, number>> = {
  util: 0,
  onnx: 1,
  graph: 2,
  ops: 3,
  rewrite: 4,
  prune: 5,
  runtime: 6,
  torch: 6,
  data: 6,
  zoo: 6,
  train: 7,
  methods: 8,
  commands: 9,
  'index.ts': 10,
  cli: 10,
};

interface Import {
  /** `src/ops/conv.ts` -> `ops`. */
  readonly from: string;
  readonly to: string;
  readonly file: string;
  readonly target: string;
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(path => /\.(ts|mts|js)$/.test(path));
const sources = new Map(files.map(path => [path, readFileSync(join(src, path), 'utf8')]));

/** Everything that a source text imports or re-exports, types and lazy imports included. */
function specifiers(text: string): string[] {
  const statement = /(?:^|[\s;}])(?:import|export)\b(?:[^'"`;()]*?\bfrom)?\s*\(?\s*(['"`])([^'"`\n]+)\1/g;
  return [...text.matchAll(statement)].map(match => match[2]);
}

const folderOf = (path: string) => path.split('/')[0];

function imports(): Import[] {
  return [...sources].flatMap(([file, text]) =>
    specifiers(text)
      .filter(target => target.startsWith('.'))
      .map(target => {
        const path = relative(src, resolve(src, dirname(file), target));
        return { file, target, from: folderOf(file), to: folderOf(path) };
      }),
  );
}

function allowed({ from, to }: Import): boolean {
  if (from === to) return true;
  if (from === 'report') return to === 'util';
  if (to === 'report') return from === 'commands' || from === 'index.ts' || from === 'cli';
  return ranks[to] < ranks[from];
}

test('the reader of imports sees every kind of them', () => {
  const text = `
    import a from './a.ts';
    import type { B } from "./b.ts";
    import {
      c,
      d,
    } from './c.ts';
    import './d.ts';
    export * from './e.ts';
    export { f } from './f.ts';
    const g = await import('./g.ts');
    type H = import('./h.ts').H;
    const name = 'important'; from('./not.ts');
  `;
  expect(specifiers(text).sort()).toEqual('abcdefgh'.split('').map(letter => `./${letter}.ts`));
});

test('every folder has a place in the order', () => {
  const unknown = [...sources.keys()].map(folderOf).filter(name => !(name in ranks) && name !== 'report');
  expect([...new Set(unknown)]).toEqual([]);
});

test('a folder imports only from folders to its left', () => {
  const wrong = imports().filter(entry => !allowed(entry));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test('imports name their file with its ending', () => {
  const wrong = imports().filter(({ target }) => !/\.(ts|json)$/.test(target));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test('only torch/ loads a native addon', () => {
  const loads = /process\.dlopen|\.node['"`]|createRequire/;
  const wrong = [...sources].filter(([path, text]) => folderOf(path) !== 'torch' && loads.test(withoutComments(text)));
  expect(wrong.map(([path]) => path)).toEqual([]);
});

test('commands that need no libtorch do not load torch/ when they start', () => {
  for (const name of ['inspect', 'cut', 'verify', 'eval', 'bench', 'report', 'models', 'data', 'doctor']) {
    const path = `commands/${name}.ts`;
    if (sources.has(path))
      expect([path, [...reachable(path)].filter(file => folderOf(file) === 'torch')]).toEqual([path, []]);
  }
});

test('only cli/ prints', () => {
  const prints = /\bconsole\.\w+\s*\(|process\.(stdout|stderr)\b/;
  const wrong = [...sources].filter(([path, text]) => folderOf(path) !== 'cli' && prints.test(withoutComments(text)));
  expect(wrong.map(([path]) => path)).toEqual([]);
});

test('no source names a folder of one machine', () => {
  const homes = /(['"`\s])(\/home\/|\/root\/|\/Users\/|\/tmp\/|[A-Z]:\\\\)/;
  const wrong = [...sources].filter(([, text]) => homes.test(text) || text.includes(`${homedir()}/`));
  expect(wrong.map(([path]) => path)).toEqual([]);
});

/** The files that loading one file loads; lazy imports and types are not followed. */
function reachable(start: string): Set<string> {
  const seen = new Set<string>();
  const queue = [start];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    const text = (sources.get(file) ?? '')
      .replace(/\bimport\s+type\b[^;]*;|\bexport\s+type\b[^;]*;/g, '')
      .replace(/\bimport\s*\([^)]*\)/g, '');
    for (const target of specifiers(text)) {
      if (target.startsWith('.')) queue.push(relative(src, resolve(src, dirname(file), target)));
    }
  }
  return seen;
}

/** Comments taken away; a string that looks like one is not worth a parser here. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}
