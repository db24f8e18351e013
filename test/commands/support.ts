import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { CommandEvent, Context } from '../../src/commands/command.ts';
import { DataType, GraphBuilder, type OnnxModel } from '../../src/onnx/index.ts';
import { UserError } from '../../src/util/errors.ts';
import { type JsonObject, readJsonLines } from '../../src/util/jsonl.ts';
import { stream } from '../../src/util/random.ts';

/** 8 steps of 16 small images make an epoch. */
export const data = 'synthetic:classes=4,size=8,train=128,validation=32,test=32';

/** A network with batch normalisation, small enough for a run in under a second; one thread, so that bits can be compared. */
export const tiny = { model: 'resnet8', width: 4, data, flops: 0.5, batch: 16, threads: 1 } as const;

/** A folder that goes when the tests of the file have ended. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 's2hpruner-test-'));
  folders.push(folder);
  return folder;
}

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** What a command told while it ran. */
export interface Recording {
  readonly events: CommandEvent[];
  readonly said: string[];
  readonly context: Pick<Context, 'onEvent' | 'say' | 'signal'>;
}

/** A context that writes down what it is told, and stops the command at the event (type `said`: a sentence) for which `stop` holds. */
export function recording(stop: (event: CommandEvent) => boolean = () => false): Recording {
  const controller = new AbortController();
  const events: CommandEvent[] = [];
  const said: string[] = [];
  return {
    events,
    said,
    context: {
      signal: controller.signal,
      say(message) {
        said.push(message);
        if (stop({ type: 'said', message })) controller.abort();
      },
      onEvent(event) {
        if (event.type !== 'progress') events.push(event);
        if (stop(event)) controller.abort();
      },
    },
  };
}

/** Stops after so many steps. */
export const afterStep = (step: number) => (event: CommandEvent) => event.type === 'step' && event.step === step;

/** The files of a run that have to be the same, byte for byte, by their hashes. */
export const hashes = (run: string, files = ['trained.onnx', 'pruned.onnx', 'plan.json']): Record<string, string> =>
  Object.fromEntries(
    files.map(file => [
      file,
      createHash('sha256')
        .update(readFileSync(join(run, file)))
        .digest('hex'),
    ]),
  );

/** A run's log without what depends on the clock: steps and evaluations in their order. */
export const log = (run: string): JsonObject[] =>
  readJsonLines(join(run, 'events.jsonl'))
    .filter(({ type }) => type !== 'checkpoint')
    .map(({ imagesPerSecond: _, ...event }) => event);

/** The UserError that a promise is rejected with. */
export async function refusal(work: Promise<unknown>): Promise<UserError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

/** A constant with normal values. */
export function normal(g: GraphBuilder, name: string, dims: readonly number[], scale: number): string {
  const random = stream(0, 'test weights', name);
  const values = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal() * scale);
  return g.initializer(name, values, dims);
}

/** Convolution, dropout, a linear layer, for images of 8x8 in 4 classes. */
export function dropoutNet(): OnnxModel {
  const g = new GraphBuilder({ name: 'dropout' });
  const x = g.input('input', ['N', 3, 8, 8]);
  const conv = g.node('Conv', [x, normal(g, 'w', [12, 3, 3, 3], 0.3), normal(g, 'b', [12], 0.1)], {
    pads: [1, 1, 1, 1],
  });
  const ratio = g.initializer('ratio', Float32Array.of(0.5), []);
  const training = g.initializer('training', Uint8Array.of(0), [], DataType.BOOL);
  const dropped = g.node('Dropout', [g.node('Relu', [conv]), ratio, training]);
  const flat = g.node('Flatten', [g.node('GlobalAveragePool', [dropped])]);
  g.output(g.node('Gemm', [flat, normal(g, 'v', [4, 12], 0.3), normal(g, 'c', [4], 0.1)], { transB: 1 }), ['N', 4]);
  return g.model();
}
