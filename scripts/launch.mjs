// What `./s2h` runs: makes sure that the npm packages and the compiled sources are there, then starts the command line
// in this very process. Plain JavaScript on Node alone, since it runs before anything is installed.
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { compileSources, installPackages, SetupError } from './setup.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const args = process.argv.slice(2);

try {
  installPackages(root, { setup: !args.includes('--no-setup') });
  compileSources(root);
} catch (error) {
  const code = error instanceof SetupError ? error.code : 'E_SETUP';
  process.stderr.write(`error[${code}]: ${args.includes('--debug') ? error.stack : error.message}\n`);
  process.exit(1);
}

if (args.find(arg => !arg.startsWith('-')) === 'test' || args.join(' ') === 'help test') {
  const { test } = await import('./test.mjs');
  await test(root, args);
} else {
  const { main } = await import(pathToFileURL(join(root, 'dist', 'cli', 'main.js')).href);
  await main(args, { name: './s2h', extra: [{ usage: 'test [pattern]', summary: 'run the test suite' }] });
}
