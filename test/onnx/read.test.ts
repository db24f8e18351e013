import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { moveExternal } from '../../src/onnx/external-write.ts';
import {
  attributesOf,
  bytesOf,
  elemTypeOf,
  float,
  floats,
  GraphBuilder,
  ints,
  parseModel,
  readModel,
  shapeOf,
  strings,
  withAttributes,
} from '../../src/onnx/index.ts';
import { UserError } from '../../src/util/errors.ts';
import { codeOf, corpus, encoded, here, reopened, temporaryFolder } from './support.ts';

const folder = temporaryFolder();
const file = (name: string, content: string | Uint8Array) => {
  const path = joinPath(folder, name);
  writeFileSync(path, content);
  return path;
};

/** Reads a model and everything in it; errors for the user are fine, all others are not. */
function readAll(bytes: Uint8Array): void {
  const allowed = <T>(run: () => T): T | undefined => {
    try {
      return run();
    } catch (error) {
      if (error instanceof UserError) return undefined;
      throw error;
    }
  };
  const model = allowed(() => parseModel(bytes, 'mutated.onnx'));
  if (!model) return;
  for (const node of model.graph.nodes) allowed(() => attributesOf(node));
  for (const tensor of model.graph.initializers) {
    for (const read of [bytesOf, floats, ints, strings]) allowed(() => read(tensor));
  }
  for (const info of [...model.graph.inputs, ...model.graph.valueInfo]) {
    shapeOf(info);
    elemTypeOf(info);
  }
  expect(Buffer.compare(encoded(model), bytes)).toBe(0);
  allowed(() => encoded(reopened(model)));
  allowed(() => moveExternal(model, 'moved.onnx', 1));
}

describe('readModel', () => {
  it('says what is wrong with a path', () => {
    expect(codeOf(() => readModel(joinPath(folder, 'none.onnx')))).toBe('E_NOT_FOUND');
    mkdirSync(joinPath(folder, 'folder.onnx'));
    expect(codeOf(() => readModel(joinPath(folder, 'folder.onnx')))).toBe('E_READ');
    execFileSync('mkfifo', [joinPath(folder, 'pipe.onnx')]);
    expect(codeOf(() => readModel(joinPath(folder, 'pipe.onnx')))).toBe('E_READ');
    const large = file('large.onnx', '');
    truncateSync(large, 2 ** 33);
    expect(codeOf(() => readModel(large))).toBe('E_ONNX_TOO_LARGE');
  });

  it.each([
    ['empty', ''],
    ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'],
    ['a zip archive', 'PK\x03\x04archive/data.pkl'],
    ['a web page', '<!DOCTYPE html><html></html>'],
    ['JSON', '{"graph": {}}'],
  ])('tells %s from a model', (kind, content) => {
    const path = file('other.onnx', content);
    expect(() => readModel(path)).toThrow(
      expect.objectContaining({ code: 'E_ONNX_CORRUPT', message: expect.stringContaining(kind) }),
    );
  });

  it('names path and offset of a truncated file', () => {
    const bytes = readFileSync(here('whole.onnx'));
    const path = file('short.onnx', bytes.subarray(0, 300));
    expect(() => readModel(path)).toThrow(/short\.onnx is not a sound ONNX file: .* at byte \d+\./);
  });

  it('refuses a model without a graph', () => {
    expect(() => parseModel(Uint8Array.of(8, 7))).toThrow(/no graph/);
  });
});

describe('damaged files', () => {
  const models = ['whole.onnx', 'types.onnx'].map(name => new Uint8Array(readFileSync(here(name))));

  it('are refused wherever they end', () => {
    for (const bytes of models) {
      for (let length = 0; length < bytes.length; length++) readAll(bytes.slice(0, length));
    }
  });

  it('never crash the reader when bytes are changed', () => {
    const small = corpus().map(([, bytes]) => bytes);
    const change = fc.record({
      model: fc.constantFrom(...models, ...small.slice(0, 40)),
      edits: fc.array(fc.record({ at: fc.nat(), value: fc.nat(255), kind: fc.nat(2) }), { minLength: 1, maxLength: 6 }),
    });
    fc.assert(
      fc.property(change, ({ model, edits }) => {
        let bytes = [...model];
        for (const { at, value, kind } of edits) {
          const place = at % bytes.length;
          if (kind === 0) bytes[place] = value;
          else if (kind === 1) bytes.splice(place, 1 + (value % 8));
          else bytes = [...bytes.slice(0, place), value, value, ...bytes.slice(place)];
          if (!bytes.length) bytes = [0];
        }
        readAll(Uint8Array.from(bytes));
      }),
      { numRuns: 1500 },
    );
  });

  it('never crash the reader when they are noise', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), readAll), { numRuns: 1000 });
  });

  it('may nest sub-graphs deeper than anything can read', () => {
    // If within If within If: 20,000 levels.
    let bytes: Uint8Array = Uint8Array.of();
    const parts: number[][] = [];
    const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(Math.floor(n / 128))]);
    let length = 0;
    for (let level = 0; level < 20_000; level++) {
      // field 6 (graph) of an attribute, in field 5 of a node, in field 1 of a graph
      for (const tag of [0x32, 0x2a, 0x0a]) {
        const head = [tag, ...varint(length)];
        parts.push(head);
        length += head.length;
      }
    }
    bytes = Uint8Array.from([0x3a, ...varint(length), ...parts.reverse().flat()]);
    expect(codeOf(() => parseModel(bytes, 'deep.onnx'))).toBe('E_ONNX_CORRUPT');
  });
});

describe('nodes as read', () => {
  const model = () => {
    const g = new GraphBuilder();
    let x = g.input('x', [1, 4]);
    for (const alpha of [0.5, 0.5, 0.25]) x = g.node('LeakyRelu', [x], { alpha });
    g.output(x);
    return parseModel(encoded(g.model()));
  };

  it('share attributes of the same bytes, and only those', () => {
    const [a, b, c] = model().graph.nodes;
    expect(b.attribute).toBe(a.attribute);
    expect(attributesOf(b)).toBe(attributesOf(a));
    expect([a, b, c].map(node => attributesOf(node).get('alpha'))).toEqual([0.5, 0.5, 0.25]);
  });

  it('are changed one by one', () => {
    const read = model();
    const [a, b, c] = read.graph.nodes;
    const changed = withAttributes(b, { alpha: float(0.125) });
    expect(attributesOf(a).get('alpha')).toBe(0.5);
    const again = parseModel(encoded({ ...read, graph: { ...read.graph, nodes: [a, changed, c] } }));
    expect(again.graph.nodes.map(node => attributesOf(node).get('alpha'))).toEqual([0.5, 0.125, 0.25]);
    expect(again.graph.nodes.map(({ input, output, name }) => [input, output, name])).toEqual(
      [a, b, c].map(({ input, output, name }) => [input, output, name]),
    );
  });
});
