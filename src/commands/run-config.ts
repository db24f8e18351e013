import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Preprocessing } from '../data/dataset.ts';
import type { RunDirectory } from '../train/run-directory.ts';
import { UserError } from '../util/errors.ts';
import type { ThreadLimit } from '../util/threads.ts';
import type { RunSettings } from './run-settings.ts';

/** `config.json`: everything that is needed to repeat a run. */
export interface RunConfig {
  readonly format: 's2h-run/1';
  readonly verb: 'prune' | 'train';
  /** As given: a file or a named architecture. */
  readonly model: string;
  readonly data: string;
  /** Options as they were given. */
  readonly given: Readonly<Record<string, unknown>>;
  /** Every setting with its value. */
  readonly settings: RunSettings;
  /** CPU threads when it began, and why so many. */
  readonly threads: ThreadLimit;
  readonly budget: { readonly resource: 'macs' | 'params' | 'size'; readonly value: number } | null;
  readonly preprocessing: Preprocessing;
  readonly dataFingerprint: string;
  readonly classes: readonly string[];
  readonly trainedStart: boolean;
  /** What was worth knowing when it began. */
  readonly notes: readonly string[];
  /** SHA-256 of start.onnx. */
  readonly start: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly command: string;
}

const configSchema = z.looseObject({
  format: z.literal('s2h-run/1'),
  verb: z.enum(['prune', 'train']),
  model: z.string(),
  data: z.string(),
  given: z.record(z.string(), z.unknown()),
  settings: z.looseObject({ steps: z.int() }),
  threads: z.object({ threads: z.int().positive(), why: z.string() }),
  preprocessing: z.looseObject({}),
  classes: z.array(z.string()),
  notes: z.array(z.string()),
  dataFingerprint: z.string(),
  start: z.string(),
});

/** @throws UserError E_NO_RUN when it is damaged or of the other verb */
export function readConfig(directory: Pick<RunDirectory, 'path' | 'file'>, verb: RunConfig['verb']): RunConfig {
  const path = directory.file('config.json');
  const refuse = (what: string, fix?: string): never => {
    throw new UserError('E_NO_RUN', what, { where: path, fix, usage: true });
  };
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return refuse('The configuration of this run is not JSON.');
  }
  const parsed = configSchema.safeParse(json);
  if (!parsed.success) return refuse(`The configuration of this run is malformed: ${z.prettifyError(parsed.error)}`);
  if (parsed.data.verb !== verb)
    refuse(
      `This run was made by 's2h ${parsed.data.verb}'.`,
      `Go on with: s2h ${parsed.data.verb} --resume ${directory.path}`,
    );
  return parsed.data as unknown as RunConfig;
}

/** The result of a run that has ended; null while it has not. @throws UserError E_RESULT when it is damaged */
export function finishedResult(directory: Pick<RunDirectory, 'file'>): unknown {
  const path = directory.file('result.json');
  if (!existsSync(path)) return null;
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UserError('E_RESULT', 'The result of this run is not JSON.', {
      where: path,
      fix: 'Remove it and resume the run: it is made again from the last checkpoint.',
      cause: error,
    });
  }
}
