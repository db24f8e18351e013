// Ten times: under the lock, reads a number, waits, and writes it back plus one.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { withLock } from '../../../src/torch/lock.ts';

const folder = process.env.S2H_TEST_FOLDER!;
const count = join(folder, 'count');
for (let i = 0; i < 10; i++) {
  await withLock(
    join(folder, 'lock'),
    () => {},
    async () => {
      const seen = Number(readFileSync(count, 'utf8'));
      await sleep(5);
      writeFileSync(count, String(seen + 1));
    },
  );
}
