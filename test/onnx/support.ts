import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, expect } from 'vitest';
import { encodeModel, GraphBuilder, type OnnxModel } from '../../src/onnx/index.ts';
import { join } from '../../src/onnx/wire.ts';
import { UserError } from '../../src/util/errors.ts';

/** A file beside the tests. */
export const here = (name: string): string => new URL(name, import.meta.url).pathname;

/** A folder that is gone after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(joinPath(tmpdir(), 'onnx-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Models of the ONNX project's conformance cases by name. */
export function corpus(): [string, Uint8Array][] {
  const files: Record<string, string> = JSON.parse(gunzipSync(readFileSync(here('corpus.json.gz'))).toString());
  return Object.entries(files).map(([name, base64]) => [name, new Uint8Array(Buffer.from(base64, 'base64'))]);
}

/** A model as one array. */
export const encoded = (model: OnnxModel): Uint8Array => join(encodeModel(model));

/** The same content in new objects, so that nothing of model and graph is known to be unchanged as a whole. */
export const reopened = (model: OnnxModel): OnnxModel => ({ ...model, graph: { ...model.graph } });

/** The error's code, asserting that it is one for the user. */
export function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as UserError).code;
  }
  return 'no error';
}

/** Three convolutions with distinct weights; all of them are initializers. */
export function threeConvs(): OnnxModel {
  const g = new GraphBuilder({ name: 'three' });
  let value = g.input('X', ['N', 3, 8, 8]);
  const widths = [3, 8, 8, 4];
  for (let i = 0; i < 3; i++) {
    const [from, to] = [widths[i], widths[i + 1]];
    const w = g.initializer(`w${i}`, ramp(to * from * 9, i), [to, from, 3, 3]);
    const b = g.initializer(`b${i}`, ramp(to, i + 10), [to]);
    value = g.node('Conv', [value, w, b], { pads: [1, 1, 1, 1] });
    if (i < 2) value = g.node('Relu', [value]);
  }
  g.output(value, ['N', 4, 8, 8]);
  return g.model();
}

/** Small numbers, different for each k. */
export const ramp = (length: number, k: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => ((i * 7 + k * 3) % 5) - 2);
