/**
 * Time of a training step: ours against the PyTorch reference on the same libtorch version, batch and threads,
 * alternating in one run, warm, medians.
 *
 *     npx tsx bench/step.ts --reference PATH/s2h_min.py [--python python3] [--depths 20,56] [--targets 0.35,0.15]
 *                           [--batch 128] [--threads 2] [--rounds 10]
 *
 * Without --reference only our own steps are timed. Peak memory is that of each process.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { table } from '../src/util/format.ts';
import { median } from '../src/util/stats.ts';

type Mode = 's2h' | 'frozen' | 'plain';

/** A process that does one step when it is asked to. */
interface Stepper {
  step(): Promise<{ seconds: number; peakMb: number }>;
  stop(): void;
}

const { values } = parseArgs({
  options: {
    reference: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    depths: { type: 'string', default: '20,56' },
    targets: { type: 'string', default: '0.35,0.15' },
    batch: { type: 'string', default: '128' },
    threads: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string', default: '10' },
  },
});

function ours(depth: string, target: string, mode: Mode): Stepper {
  const child: ChildProcess = fork(
    fileURLToPath(new URL('./step-worker.ts', import.meta.url)),
    [depth, target, values.batch, values.threads, mode],
    {
      execArgv: ['--import', 'tsx'],
    },
  );
  return {
    step: () =>
      new Promise((resolve, reject) => {
        child.once('message', message => resolve(message as { seconds: number; peakMb: number }));
        child.once('exit', code => reject(new Error(`our step ended with status ${code}`)));
        child.send('step');
      }),
    stop: () => child.kill(),
  };
}

function theirs(depth: string, target: string, mode: Mode): Stepper {
  const script = fileURLToPath(new URL('./reference_step.py', import.meta.url));
  const child = spawn(values.python, [script, values.reference!, depth, target, values.batch, values.threads, mode], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, OMP_WAIT_POLICY: 'passive' },
  });
  const lines: Interface = createInterface({ input: child.stdout });
  return {
    step: () =>
      new Promise((resolve, reject) => {
        lines.once('line', line => {
          const [seconds, peakMb] = line.split(' ').map(Number);
          resolve({ seconds, peakMb });
        });
        child.once('exit', code => reject(new Error(`the reference ended with status ${code}`)));
        child.stdin.write('step\n');
      }),
    stop: () => child.kill(),
  };
}

const batch = Number(values.batch);
const rows: string[][] = [
  ['network', 'kept', 'step', 'ours', 'reference', 'ratio', 'of our plain step', 'peak MB ours', 'reference'],
];
for (const depth of values.depths.split(',')) {
  let plainSeconds = 0;
  for (const [mode, target] of [
    ['plain', '1'],
    ...values.targets.split(',').flatMap(t => [
      ['s2h', t],
      ['frozen', t],
    ]),
  ] as [Mode, string][]) {
    const own = ours(depth, target, mode);
    const other = values.reference ? theirs(depth, target, mode) : null;
    const times: { own: number[]; other: number[]; ownMb: number; otherMb: number } = {
      own: [],
      other: [],
      ownMb: 0,
      otherMb: 0,
    };
    for (let round = -2; round < Number(values.rounds); round++) {
      const a = await own.step();
      const b = other ? await other.step() : null;
      times.ownMb = a.peakMb;
      times.otherMb = b?.peakMb ?? 0;
      if (round < 0) continue;
      times.own.push(a.seconds);
      if (b) times.other.push(b.seconds);
    }
    own.stop();
    other?.stop();
    const seconds = median(times.own);
    if (mode === 'plain') plainSeconds = seconds;
    const rate = (s: number) => `${Math.round(batch / s)} images/s`;
    rows.push([
      `ResNet-${depth}`,
      target,
      { plain: 'plain training', s2h: 's2h, masks move', frozen: 's2h, masks frozen' }[mode],
      rate(seconds),
      other ? rate(median(times.other)) : '-',
      other ? median(times.other.map((s, i) => s / times.own[i])).toFixed(2) : '-',
      (seconds / plainSeconds).toFixed(2),
      times.ownMb.toFixed(0),
      other ? times.otherMb.toFixed(0) : '-',
    ]);
    process.stdout.write(`${rows[rows.length - 1].join('  ')}\n`);
  }
}
process.stdout.write(
  `\n${table(rows, { style: 'markdown' })}\nbatch ${batch}, ${values.threads} threads, ${values.rounds} rounds, medians\n`,
);
