import { spawn } from 'node:child_process';

/** How a program ended; its output, both streams in order of arrival. */
export interface Ran {
  readonly ok: boolean;
  readonly output: string;
}

/** Runs a program to its end; one that cannot be started counts as failed. */
export function run(program: string, args: readonly string[], options: { cwd?: string } = {}): Promise<Ran> {
  return new Promise(resolve => {
    let output = '';
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    const hear = (chunk: Buffer) => {
      output += chunk;
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('error', error => resolve({ ok: false, output: error.message }));
    child.on('close', code => resolve({ ok: code === 0, output }));
  });
}

/** The last line that says something, for a sentence. */
export const lastLine = (output: string): string => output.trim().split('\n').at(-1)?.trim() ?? '';

/** How to run a program as root without being asked for a password; undefined when that is not possible. */
export async function asRoot(): Promise<readonly string[] | undefined> {
  if (process.getuid?.() === 0) return [];
  return (await run('sudo', ['-n', 'true'])).ok ? ['sudo', '-n'] : undefined;
}

/** Installs packages by apt-get, where there is one and we may; whether it worked. */
export async function aptInstall(packages: readonly string[], say: (message: string) => void): Promise<boolean> {
  if (process.platform !== 'linux' || !(await run('apt-get', ['--version'])).ok) return false;
  const prefix = await asRoot();
  if (!prefix) return false;
  say(`Installing ${packages.join(', ')} with apt-get.`);
  const apt = (...args: string[]) => {
    const [program, ...rest] = [...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
    return run(program, rest);
  };
  await apt('update');
  const { ok, output } = await apt('install', '-y', '--no-install-recommends', ...packages);
  if (!ok) say(`apt-get failed: ${lastLine(output)}`);
  return ok;
}
