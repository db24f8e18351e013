import { expect, test } from 'vitest';
import { openEngine } from '../../src/torch/index.ts';
import { locateSystem } from '../../src/torch/locate.ts';
import { child } from './child.ts';
import { relativeError } from './fill.ts';

const [system] = locateSystem({ root: '/' }, () => {});

async function tenSteps(env: Record<string, string>) {
  const { ok, output } = await child('ten-steps', env);
  expect(ok, output).toBe(true);
  return JSON.parse(output.trim().split('\n').at(-1)!);
}

test.skipIf(!system)(
  "the system's libtorch trains as ours does (skipped where libtorch-dev is not installed)",
  async () => {
    await openEngine();
    const ours = await tenSteps({});
    const theirs = await tenSteps({ LIBTORCH: '/usr' });
    expect(theirs.libtorch).toEqual({ root: '/usr', kind: 'LIBTORCH' });
    expect(theirs.version.split('.').slice(0, 2)).toEqual(system.version.split('.').slice(0, 2));
    expect(relativeError(theirs.losses, ours.losses)).toBeLessThan(1e-5);
    expect(theirs.losses[9]).toBeLessThan(theirs.losses[0]);
  },
  300_000,
);
