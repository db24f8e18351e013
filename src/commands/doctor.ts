import { z } from 'zod';
import { bytes, table } from '../util/format.ts';
import { defineCommand } from './command.ts';
import { type Diagnosis, diagnose, type Finding } from './diagnosis.ts';

export const command = defineCommand({
  name: 'doctor',
  summary: 'say what is installed, what is missing, and what that costs',
  arguments: [],
  options: z.object({}),
  examples: ['doctor', 'doctor --json'],
  run: diagnose,
  render,
});

function render(diagnosis: Diagnosis): string {
  const { node, packages, libtorch, compiler, blas, threads, cpu, device, cache, findings } = diagnosis;
  const rows = [
    ['Node.js', `${node.version} on ${node.platform}-${node.arch}`],
    ...packages.map(({ name, version }) => [name, version ?? 'missing']),
    ['libtorch', libtorch ? `${libtorch.version} (${libtorch.kind}) in ${libtorch.root}` : 'missing'],
    ['compiler', compiler ? `${compiler.version} (${compiler.command})` : 'missing'],
    ['device', device ?? 'unknown without libtorch'],
    [
      'sgemm 512³',
      blas
        ? `${blas.gflops} GFLOP/s with ${blas.threads} ${blas.threads === 1 ? 'thread' : 'threads'}`
        : 'not measured',
    ],
    ['threads', `${threads.threads} (${threads.why})`],
    ['processor', `${cpu.model}${cpu.features.length > 0 ? `: ${cpu.features.join(', ')}` : ''}`],
    ['cache', `${bytes(cache.bytes)} in ${cache.folder}`],
  ];
  const list = table([['part', 'found'], ...rows], { align: ['left', 'left'] });
  const words = findings.length > 0 ? findings.map(sentence).join('\n') : 'Nothing is missing.';
  return `${list}\n\n${words}`;
}

const sentence = ({ what, cost, fix }: Finding): string => `- ${[what, cost, fix].filter(Boolean).join(' ')}`;
