import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { describeProbe, type Precision, type PrecisionProbe, type precisions } from '../train/precision.ts';
import { type RunDirectory, writeJson } from '../train/run-directory.ts';
import { UserError } from '../util/errors.ts';

const probeSchema = z.object({
  precision: z.enum(['float32', 'bfloat16']),
  milliseconds: z.object({ float32: z.number(), bfloat16: z.number() }),
});

/**
 * The precision of a run. What a probe chose is kept in `precision.json`, so that a resumed run goes on in it.
 * @param probe times both; called once in a run's life, and only for `auto`
 * @throws UserError E_PRECISION when that file is damaged
 */
export async function precisionOf(
  asked: (typeof precisions)[number],
  directory: RunDirectory,
  probe: () => Promise<PrecisionProbe>,
): Promise<{ precision: Precision; notes: string[] }> {
  if (asked !== 'auto') return { precision: asked, notes: [] };
  const path = directory.file('precision.json');
  const found = existsSync(path) ? readProbe(path) : await probe();
  writeJson(path, found);
  return { precision: found.precision, notes: [describeProbe(found)] };
}

function readProbe(path: string): PrecisionProbe {
  try {
    return probeSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new UserError('E_PRECISION', 'What is kept of the choice of a precision for this run is damaged.', {
      where: path,
      fix: 'Remove it and resume the run: the precision is chosen anew, and may be another one.',
      cause,
    });
  }
}
