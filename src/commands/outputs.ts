import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { OnnxModel } from '../onnx/index.ts';
import { destination } from '../util/atomic.ts';
import { UserError } from '../util/errors.ts';

/** Files that a command reads, and those that it will write. */
interface Outputs {
  readonly read: readonly (string | undefined)[];
  /** A model file. */
  readonly model?: string;
  /** Whether it has external data, which go to `<path>.data` beside it. */
  readonly hasData?: boolean;
  readonly others: readonly (string | undefined)[];
}

const isGiven = (path: string | undefined): path is string => path !== undefined;

/**
 * What is written must not take the place of what was read, nor of what the user did not name.
 * @throws UserError E_OVERWRITE (usage), E_WRITE for what is no ordinary file
 */
export function checkOutputs({ read, model, hasData, others }: Outputs): void {
  const data = model === undefined ? undefined : `${model}.data`;
  const written = [model, data, ...others].filter(isGiven);
  for (const file of written) destination(file);
  const taken = new Set(read.filter(isGiven).map(place));
  const clash =
    written.find(file => taken.has(place(file))) ??
    written.find((file, i) => written.slice(0, i).some(other => place(other) === place(file)));
  if (clash !== undefined) {
    throw new UserError('E_OVERWRITE', `Writing ${clash} would replace a file that this command reads or writes.`, {
      fix: 'Choose another name.',
      usage: true,
    });
  }
  if (hasData && existsSync(data!) && !existsSync(model!)) {
    throw new UserError('E_OVERWRITE', `${data} is there already, and data of ${model} would replace it.`, {
      fix: 'Choose another name, or move it away.',
      usage: true,
    });
  }
}

/** Where a path leads, links followed as far as it exists. */
function place(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    try {
      return join(realpathSync(dirname(path)), basename(path));
    } catch {
      return resolve(path);
    }
  }
}

/** The files that hold a model's external data. */
export function externalFilesOf({ graph }: OnnxModel): string[] {
  const paths = graph.initializers.flatMap(({ data }) => {
    const location = data.storage === 'external' ? data.entries.get('location') : undefined;
    return data.storage === 'external' && data.files && location ? [join(data.files.folder, location)] : [];
  });
  return [...new Set(paths)];
}
