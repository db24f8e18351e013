// `npm run build` and `npm pack`: checks the types of src/, then compiles it into dist/.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileSources } from './setup.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
const { status } = spawnSync(process.execPath, [tsc, '--noEmit'], { cwd: root, stdio: ['ignore', 2, 2] });
if (status !== 0) process.exit(1);
try {
  compileSources(root);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
