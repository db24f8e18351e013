/**
 * Time of a training step: ours against the PyTorch reference on the same libtorch version, batch and threads, all kinds
 * of step alternating in one run, warm, medians; ratios are medians over the rounds. Masks move at every fourth step, the
 * default of long runs, or at every step, as the reference's do.
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
import type { Precision } from '../src/train/precision.ts';
import { table } from '../src/util/format.ts';
import { median } from '../src/util/stats.ts';

type Mode = 'plain' | 's2h' | 'every' | 'frozen' | 'alone';

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

function ours(depth: string, target: string, mode: Mode, precision: Precision): Stepper {
  const child: ChildProcess = fork(
    fileURLToPath(new URL('./step-worker.ts', import.meta.url)),
    [depth, target, values.batch, values.threads, mode, precision],
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
  const child = spawn(
    values.python,
    [script, values.reference!, depth, target, values.batch, values.threads, mode === 'every' ? 's2h' : mode],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
      // As ours waits.
      env: { ...process.env, OMP_WAIT_POLICY: 'passive', GOMP_SPINCOUNT: '10000' },
    },
  );
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

const names: Readonly<Record<Mode, string>> = {
  plain: 'plain training',
  s2h: 's2h, masks move (every 4th)',
  every: 's2h, masks move at every step',
  frozen: 's2h, masks frozen',
  alone: 'cut network alone',
};

/** One kind of step, ours in both precisions and the reference's. */
interface Row {
  readonly mode: Mode;
  readonly target: string;
  readonly steppers: Readonly<Record<'float32' | 'bfloat16' | 'reference', Stepper | null>>;
  readonly times: Record<'float32' | 'bfloat16' | 'reference', number[]>;
  readonly peakMb: Record<'float32' | 'bfloat16' | 'reference', number>;
}

const batch = Number(values.batch);
const rows: string[][] = [
  ['network', 'kept', 'step', 'ours', 'bfloat16', 'reference', 'ratio', 'of our plain step', 'MB ours', 'reference'],
];
for (const depth of values.depths.split(',')) {
  for (const target of values.targets.split(',')) {
    const measured = (['plain', 's2h', 'every', 'frozen', 'alone'] as const).map((mode): Row => {
      const hasReference = values.reference !== undefined && mode !== 'alone';
      return {
        mode,
        target: mode === 'plain' ? '1' : target,
        steppers: {
          float32: ours(depth, target, mode, 'float32'),
          bfloat16: ours(depth, target, mode, 'bfloat16'),
          reference: hasReference ? theirs(depth, target, mode) : null,
        },
        times: { float32: [], bfloat16: [], reference: [] },
        peakMb: { float32: 0, bfloat16: 0, reference: 0 },
      };
    });
    for (let round = -2; round < Number(values.rounds); round++) {
      for (const { steppers, times, peakMb } of measured) {
        for (const kind of ['float32', 'bfloat16', 'reference'] as const) {
          const took = await steppers[kind]?.step();
          if (!took) continue;
          peakMb[kind] = took.peakMb;
          if (round >= 0) times[kind].push(took.seconds);
        }
      }
    }
    const plain = measured[0].times.float32;
    for (const { mode, target: kept, steppers, times, peakMb } of measured) {
      for (const stepper of Object.values(steppers)) stepper?.stop();
      const rate = (seconds: number[]) => (seconds.length ? `${Math.round(batch / median(seconds))} images/s` : '-');
      const ratio = (a: number[], b: number[]) => (a.length ? median(a.map((s, i) => s / b[i])).toFixed(2) : '-');
      rows.push([
        `ResNet-${depth}`,
        kept,
        names[mode],
        rate(times.float32),
        rate(times.bfloat16),
        rate(times.reference),
        ratio(times.reference, times.float32),
        ratio(times.float32, plain),
        peakMb.float32.toFixed(0),
        peakMb.reference ? peakMb.reference.toFixed(0) : '-',
      ]);
      process.stdout.write(`${rows[rows.length - 1].join('  ')}\n`);
    }
  }
}
process.stdout.write(
  `\n${table(rows, { style: 'markdown' })}\nbatch ${batch}, ${values.threads} threads, ${values.rounds} rounds, medians\n`,
);
