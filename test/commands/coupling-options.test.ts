import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { callable } from '../../src/commands/command.ts';
import { command } from '../../src/commands/prune.ts';
import { command as verifyCommand } from '../../src/commands/verify.ts';
import { readModel, writeModel } from '../../src/onnx/index.ts';
import { netOf } from '../prune/nets.ts';
import { data, scratch } from './support.ts';

// Latency is measured for seconds, and is not what this is about.
vi.mock('../../src/runtime/latency.ts', async original => {
  const { measureLatency } = await original<typeof import('../../src/runtime/latency.ts')>();
  return {
    measureLatency: (paths: string[], options: object) => measureLatency(paths, { ...options, runs: 1, threads: [1] }),
  };
});

const folder = scratch();

test('a run prunes grouped convolutions as it is told, and its plan says how', async () => {
  const model = join(folder, 'grouped.onnx');
  const shape = ['N', 3, 8, 8];
  writeModel(
    netOf(
      (g, x) => {
        const a = g.op('Relu', [g.norm(g.conv(x, 3, 16, { name: 'a' }), 16)]);
        const b = g.op('Relu', [g.norm(g.conv(a, 16, 16, { name: 'b', group: 4 }), 16)]);
        return g.linear(g.op('Flatten', [g.op('GlobalAveragePool', [b])]), 16, 4, 'head');
      },
      { shape },
    ),
    model,
  );
  for (const [grouped, groups] of [
    ['whole', [1, 2, 3]],
    ['equal', [4]],
  ] as const) {
    const out = join(folder, grouped);
    const options = { model, data, flops: 0.6, batch: 16, threads: 1, steps: 6, untrained: true, out, grouped };
    const result = await callable(command)(options);
    expect(result).toMatchObject({ certificate: { passed: true } });
    const plan = join(out, 'plan.json');
    expect(JSON.parse(readFileSync(plan, 'utf8'))).toMatchObject({ grouped, attention: 'heads' });
    const files = { full: join(out, 'trained.onnx'), small: join(out, 'pruned.onnx'), plan };
    expect(await callable(verifyCommand)(files)).toMatchObject({ exitCode: 0 });
    const { attribute } = readModel(files.small).graph.nodes.find(({ name }) => name === 'b')!;
    expect(groups).toContain(Number(attribute.find(({ name }) => name === 'group')!.i));
    expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')).settings).toMatchObject({ grouped });
  }
}, 60_000);
