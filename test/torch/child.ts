import { fileURLToPath } from 'node:url';
import { type Ran, run } from '../../src/torch/run.ts';

/** Runs `children/<name>.ts` in a process of its own, so that a crash is a result. */
export function child(name: string, env: Record<string, string> = {}): Promise<Ran> {
  const script = fileURLToPath(new URL(`children/${name}.ts`, import.meta.url));
  const settings = Object.entries(env).map(([key, value]) => `${key}=${value}`);
  return run('env', [...settings, process.execPath, '--import', 'tsx', script]);
}
