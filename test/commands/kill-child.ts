/** A process to be killed: trains the run that its argument describes and saves after every step. */
import { resumeRun } from '../../src/commands/run-resume.ts';
import { beginRun, type GivenOptions } from '../../src/commands/run-start.ts';
import { prepareTraining } from '../../src/commands/training-run.ts';

const { resume, model, flops, ...given } = JSON.parse(process.argv[2]) as GivenOptions & {
  model: string;
  flops: number;
};
const context = {
  signal: new AbortController().signal,
  say: () => {},
  onEvent: ({ type, step }: { type: string; step?: unknown }) => process.stdout.write(`${type} ${step}\n`),
  setup: true,
};
const started =
  resume === undefined
    ? await beginRun(
        { verb: 'prune', method: 's2h', model, given, budget: { resource: 'macs', value: flops } },
        context,
      )
    : await resumeRun('prune', { resume }, context);
if ('ended' in started) throw new Error('this run has ended');
const run = await prepareTraining(started.plan, started.directory, context);
await run.go(started.directory, { saveEverySeconds: 0 });
process.exit(0);
