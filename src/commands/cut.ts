import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { type OnnxModel, readModel, writeModel } from '../onnx/index.ts';
import { operators } from '../ops/index.ts';
import { costOf, type Resource } from '../prune/cost.ts';
import { cutModel } from '../prune/cut.ts';
import { type KeptChannels, planOf } from '../prune/plan.ts';
import { type UnknownCost, unknownCosts } from '../prune/walls.ts';
import { renderCut } from '../report/cut-report.ts';
import { type Certificate, certify } from '../runtime/certificate.ts';
import { withoutDeclared } from '../runtime/probe.ts';
import { destination, writeAtomic } from '../util/atomic.ts';
import { messageOf, UserError } from '../util/errors.ts';
import { version } from '../util/version.ts';
import { type Context, defineCommand, flagOf } from './command.ts';
import { computedNote } from './model-file.ts';
import type { CostChange } from './outcome.ts';
import { checkOutputs, externalFilesOf } from './outputs.ts';
import { choose, openSource, readFull, type Source, selectedBudget, selectionOptions } from './selection.ts';

export interface CutResult {
  readonly model: string;
  /** Where the small file is; null: it failed its certificate and was not kept. */
  readonly file: string | null;
  /** Where the plan is; null: none was asked for. */
  readonly plan: string | null;
  /** Of one image; of `unknown` nodes they are not known, and not in the numbers. */
  readonly macs: CostChange & { readonly unknown: number; readonly uncounted: readonly UnknownCost[] };
  readonly params: CostChange;
  /** Of all constants. */
  readonly bytes: CostChange;
  readonly widths: readonly { readonly group: string; readonly size: number; readonly kept: number }[];
  /** null with `--no-verify`. */
  readonly certificate: Certificate | null;
  /** Sentences about what the figures do not show. */
  readonly notes: readonly string[];
  readonly exitCode: 0 | 1;
}

const options = z.object({
  ...selectionOptions,
  out: z.string().min(1).meta({ value: 'FILE', short: 'o', description: 'where the small file goes' }),
  apply: z.string().optional().meta({ value: 'plan.json', description: 'cut by this plan instead of a budget' }),
  plan: z.string().optional().meta({ value: 'FILE', description: 'write down what was kept' }),
  verify: z.boolean().default(true).describe('the certificate at the end'),
});
type Options = z.output<typeof options>;

export const command = defineCommand({
  name: 'cut',
  summary: 'remove channels at once, without training, and prove the small file right',
  description:
    'Channels are ranked by --criterion and the lowest go until the budget is met; or a plan says what stays (--apply). At the end the file is compared with the full one as by `verify`; one that fails is not written, exit status 1.',
  arguments: [{ name: 'model', description: 'an ONNX file', required: true }],
  options,
  examples: [
    'cut mynet.onnx --flops 0.5 -o small.onnx',
    'cut mynet.onnx --params 0.3 --criterion bn-scale --round 8 --keep *head* -o small.onnx --plan plan.json',
    'cut mynet.onnx --apply plan.json -o small.onnx',
  ],
  async run({ model: path }, values, context): Promise<CutResult> {
    checkOptions(values);
    const source = await openSource(path, values, values.apply);
    const { coupling, priced } = source;
    const external = externalFilesOf(source.model);
    checkOutputs({
      read: [path, ...external, values.apply],
      model: values.out,
      hasData: external.length > 0,
      others: [values.plan],
    });
    const { kept, about } = chosen(source, values);
    const counts = kept.map(channels => channels.length);
    refuseIdentity(source, counts, values);
    const plan = planOf(coupling, kept);
    const note = {
      ...about,
      ...coupling.options,
      ...(values.sealInputs ? { sealInputs: true } : {}),
      ...(source.computed.length > 0 ? { computed: source.computed.length } : {}),
    };
    const cut = withOwnDeclarations(cutModel(coupling, kept), path, source, values);
    const small = described(cut, { ...note, plan: plan.graph, version });
    const certificate = await writeProven(small, source, kept, values, context);
    if (values.plan !== undefined) {
      writeAtomic(values.plan, `${JSON.stringify(plan, null, 1)}\n`);
    }
    const change = (resource: Resource): CostChange => {
      const { at, full } = costOf(priced, resource);
      return { before: full, after: at(counts), ratio: full > 0 ? at(counts) / full : 1 };
    };
    const passed = certificate?.passed !== false;
    const uncounted = unknownCosts(priced.graph, costOf(priced, 'macs').unknown);
    return {
      model: path,
      file: passed ? values.out : null,
      plan: values.plan ?? null,
      macs: { ...change('macs'), unknown: uncounted.length, uncounted },
      params: change('params'),
      bytes: change('size'),
      widths: coupling.groups.map(({ name, size }, g) => ({ group: name, size, kept: counts[g] })),
      certificate,
      notes: [
        ...computedNote(source.computed),
        ...(values.apply === undefined && values.round === 1 ? unevenNote(source, counts) : []),
      ],
      exitCode: passed ? 0 : 1,
    };
  },
  render: result => renderCut(result),
});

/** Fewer MACs need not be faster: runtimes work in blocks of channels. */
const unevenNote = ({ coupling }: Source, counts: readonly number[]): string[] =>
  coupling.groups.some(({ size }, g) => counts[g] < size && counts[g] % 8 !== 0)
    ? ['ONNX Runtime is often faster with widths that are multiples of 8: --round 8, and compare by `bench`.']
    : [];

/** @throws UserError E_OPTION (usage) unless there is either a budget or a plan */
function checkOptions(values: Options): void {
  const asked = selectedBudget(values);
  const refuse = (what: string, fix: string) => new UserError('E_OPTION', what, { fix, usage: true });
  if (values.apply === undefined && !asked)
    throw refuse('Neither a budget nor a plan is given.', 'Say what may be kept, --flops 0.5, or --apply plan.json.');
  if (values.apply === undefined) return;
  const idle = asked ? 'the budget' : choosing.find(key => !isDefault(key, values[key]));
  if (idle !== undefined)
    throw refuse(`--apply says what is kept.`, `Leave out ${asked ? idle : flagOf(idle)}, or the plan.`);
}

/** Options that a plan answers. */
const choosing = ['keep', 'only', 'round', 'minKeep', 'criterion', 'scope', 'grouped', 'attention'] as const;

const isDefault = (key: (typeof choosing)[number], value: unknown): boolean =>
  JSON.stringify(value) === JSON.stringify(selectionOptions[key].parse(undefined));

/** What stays, and what the file's metadata say about it. */
function chosen(source: Source, values: Options): { kept: KeptChannels; about: object } {
  if (source.planned) {
    return { kept: source.planned, about: { role: 'cut' } };
  }
  const asked = selectedBudget(values)!;
  const { kept } = choose(source, asked, values);
  const { criterion, scope, keep, only, round, minKeep, seed } = values;
  const rules = { round, minKeep, ...(keep.length ? { keep } : {}), ...(only.length ? { only } : {}) };
  return {
    kept,
    about: { role: 'cut', budget: asked, criterion, scope, ...rules, ...(criterion === 'random' ? { seed } : {}) },
  };
}

/** @throws UserError E_NOTHING_CUT when everything stays */
function refuseIdentity({ coupling, admissible }: Source, counts: readonly number[], values: Options): void {
  if (coupling.groups.some(({ size }, g) => counts[g] < size)) return;
  const why =
    values.apply !== undefined
      ? coupling.groups.length === 0
        ? 'no channels of this network can be pruned'
        : 'the plan keeps every channel'
      : admissible.every(counts => counts.length === 1)
        ? '--keep, --only, --round and --min-keep leave no group that may lose channels'
        : 'the budget allows all of it';
  throw new UserError('E_NOTHING_CUT', `Nothing was cut and nothing written: ${why}.`, {
    where: coupling.graph.model.path,
    fix: 'The command inspect lists what can go, and the reachable budgets.',
  });
}

/** The model with what the file itself declares of values whose shapes were found out by running it. */
function withOwnDeclarations(model: OnnxModel, path: string, { probed }: Source, values: Options): OnnxModel {
  if (probed.length === 0) return model;
  const names = new Set(probed);
  const own = readFull(path, values).graph.valueInfo.filter(({ name }) => names.has(name));
  const { graph } = withoutDeclared(model, probed);
  return { ...model, graph: { ...graph, valueInfo: [...graph.valueInfo, ...own] } };
}

/** The model with a note of what was done, and of what had been done before. */
function described(model: OnnxModel, about: object): OnnxModel {
  const before = model.metadata.get('s2h');
  const note = JSON.stringify(before === undefined ? about : { ...about, before: parsed(before) });
  return { ...model, metadata: new Map([...model.metadata, ['s2h', note]]) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * Write the small file beside its place, read it back, prove it, and only then move it there.
 * @returns null without `--verify`
 */
async function writeProven(
  small: OnnxModel,
  { model: full, shapes, coupling }: Source,
  kept: KeptChannels,
  { out, verify, seed }: Options,
  context: Context,
): Promise<Certificate | null> {
  const place = destination(out);
  const folder = waitingFolder(place);
  const clean = () => rmSync(folder, { recursive: true, force: true });
  // An interrupted process exits before it comes to its `finally`.
  process.once('exit', clean);
  try {
    const [path, ...others] = writeModel(small, join(folder, basename(place)));
    const certificate = verify
      ? await certify({
          full,
          small: readModel(path),
          kept,
          coupling: coupling.options,
          operators,
          shapes,
          seed,
          signal: context.signal,
          onProgress: done =>
            context.onEvent({ type: 'progress', label: 'comparing', done, total: null, unit: 'inputs' }),
        }).catch(withWayOut)
      : null;
    // The model goes last: it is what names the data.
    if (certificate?.passed !== false)
      for (const written of [...others, path]) renameSync(written, join(dirname(place), basename(written)));
    return certificate;
  } finally {
    process.off('exit', clean);
    clean();
  }
}

/** A folder on the same disk. @throws UserError E_WRITE */
function waitingFolder(out: string): string {
  try {
    return mkdtempSync(join(dirname(resolve(out)), '.s2h-cut-'));
  } catch (error) {
    throw new UserError('E_WRITE', `Could not write to the folder of ${out}: ${messageOf(error)}.`, {
      where: out,
      fix: 'Choose a folder that exists and may be written.',
      cause: error,
    });
  }
}

/** Files that the runtime does not run can still be cut. */
function withWayOut(error: unknown): never {
  if (!(error instanceof UserError) || !['E_RUNTIME', 'E_NO_RUNTIME', 'E_SHAPE', 'E_INPUT'].includes(error.code))
    throw error;
  const fix = [error.fix, 'Nothing was written; --no-verify cuts without the certificate.'].filter(Boolean).join(' ');
  throw new UserError(error.code, error.what, { where: error.where, fix, cause: error, usage: error.exitCode === 2 });
}
