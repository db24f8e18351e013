import type { OperatorTable } from '../graph/operator.ts';
import type { OnnxModel } from '../onnx/index.ts';
import { cutModel } from '../prune/cut.ts';
import { type CouplingOptions, coupleGraph } from '../prune/groups.ts';
import type { KeptChannels } from '../prune/plan.ts';
import { zeroConsumers } from '../prune/zeroed.ts';
import { unsharedGraph } from '../rewrite/unshare.ts';
import { UserError } from '../util/errors.ts';
import { type Agreement, isRounded } from './agreement.ts';
import type { Apart } from './choices.ts';
import { type ComparedValues, comparedValues } from './compared.ts';
import { type Comparison, type ComparisonInputs, compareModels, type Pair } from './comparison.ts';
import { firstDifference } from './identical.ts';
import { certificateLimits, type Precision, precisionOf } from './precision.ts';
import type { RuntimeType } from './session.ts';

export interface CertificateRequest extends ComparisonInputs {
  /** The full-width file: trained weights, the graph that the plan was made for. */
  readonly full: OnnxModel;
  /** The cut file, as read back from where it was written. */
  readonly small: OnnxModel;
  readonly kept: KeptChannels;
  /** How the plan's groups were found. */
  readonly coupling?: CouplingOptions;
  readonly operators: OperatorTable;
}

/** One compared value over all inputs. */
export interface ComparedOutput {
  readonly name: string;
  readonly type: RuntimeType;
  /** max |value| of the full file over all inputs, at least 1e-6. */
  readonly scale: number;
  readonly maxAbsError: number;
  /** The largest over runs of the absolute error divided by the scale in that run. */
  readonly maxRelError: number;
  /** Share of inputs whose largest element is at the same place. */
  readonly argmaxAgreement: number;
  /** Of maxRelError. */
  readonly limit: number;
  readonly passed: boolean;
}

/** Whether a cut file computes what the full one computes without the removed channels. */
export interface Certificate {
  readonly passed: boolean;
  /** Why it did not pass. */
  readonly failure?: string;
  /** The largest of all compared values; null where nothing ran, because the file is not the plan's cut in the first place. */
  readonly maxAbsError: number | null;
  readonly maxRelError: number | null;
  /** The smallest of the graph's outputs, or of what stands for them. */
  readonly argmaxAgreement: number | null;
  /** How many inputs were compared: entries of the first axis, random and real. */
  readonly inputs: number;
  /** Largest allowed maxRelError of outputs that are rounded numbers, by what the file computes with. */
  readonly limit: number;
  readonly outputs: readonly ComparedOutput[];
  /** Sentences about what is not obvious: replaced outputs, a runtime that contradicts itself. */
  readonly notes: readonly string[];
}

/**
 * Some networks magnify a rounding beyond these limits, whoever computes them. Errors up to four times what the full
 * file's own answer changes by in another order of computation are such, as long as they are no more than ten times the
 * limit, and a tenth of the scale: a wrong channel is off by far more.
 */
const roundingFactor = 4;
const roundingCap = 10;
const roundingMost = 0.1;

/**
 * Prove that a cut file is right (docs/architecture.md): first bit for bit that it is the cut that the plan
 * describes, then, in ONNX Runtime on one thread, that it computes what the full file computes when the consumers'
 * columns of removed channels are zero. It is judged with the graph as written; that the runtime's optimiser does not
 * change the answer of either file is checked on the first inputs, and said in `notes` where it does.
 * @throws UserError those of `cutModel`, `openModel` and `finiteInputs`, where the full file cannot be cut or run
 */
export async function certify(request: CertificateRequest): Promise<Certificate> {
  const { kept, small, operators } = request;
  const graph = unsharedGraph(request.full, operators);
  if (graph.outputs.length === 0) {
    throw new UserError('E_GRAPH', 'The graph has no outputs: there is nothing to compare.', {
      where: request.full.path,
      fix: 'Export the model with its outputs.',
    });
  }
  // Without the lengths that are fed: axes that are dynamic in the file are so in a cut of it.
  const coupling = coupleGraph(graph, request.coupling);
  const precision = precisionOf(coupling.graph);
  const limit = certificateLimits[precision];
  const difference = firstDifference(cutModel(coupling, kept), small);
  if (difference) {
    return {
      passed: false,
      failure: `The small file is not the cut that the plan describes: ${difference}`,
      maxAbsError: null,
      maxRelError: null,
      argmaxAgreement: null,
      inputs: 0,
      limit,
      outputs: [],
      notes: [],
    };
  }
  const models = { full: zeroConsumers(coupling, kept), small };
  const values = (apart: Apart) => inBoth(small, comparedValues(coupling, kept, apart));
  const { certificate } = await judged(models, values('choices'), precision, request);
  if (certificate.passed || certificate.outputs.every(output => output.passed)) return certificate;
  // Networks may carry a last bit on from layer to layer, to other codes or to whatever they magnify it to. Where every
  // layer gets what it gets in the full file, that does not count.
  const { between, parts, more, fed } = hasCodes(precision)
    ? {
        between: precisionOf(coupling.graph, false),
        parts: ['codes'] as const,
        more: {},
        fed: 'with the codes of the full file',
      }
    : {
        between: precision,
        parts: ['even', 'odd'] as const,
        more: { batch: 1 },
        fed: 'each given what it gets in the full file',
      };
  const random = { ...request, images: undefined, ...more };
  const byLayer: Certificate[] = [];
  for (const apart of parts) {
    const { certificate: own, complete } = await judged(models, { ...values(apart), replaced: [] }, between, random);
    if (!own.passed || !complete) return certificate;
    byLayer.push(own);
  }
  const note = `${certificate.failure} Layer by layer, ${fed}, the files agree on random inputs.`;
  return together(byLayer, [note, ...certificate.notes]);
}

/** Certificates of the parts of a network as one. */
function together(parts: readonly Certificate[], notes: readonly string[]): Certificate {
  const most = (of: (part: Certificate) => number | null) => Math.max(...parts.map(part => of(part) ?? 0));
  return {
    ...parts[0],
    maxAbsError: most(part => part.maxAbsError),
    maxRelError: most(part => part.maxRelError),
    outputs: parts.flatMap(part => part.outputs),
    notes: [...new Set([...notes, ...parts.flatMap(part => part.notes)])],
  };
}

const hasCodes = (precision: Precision): boolean => precision.startsWith('quantised') || precision === 'coarse';

/** Without values that a cut has nothing for, since another node took the place of those that made them. */
function inBoth({ graph }: OnnxModel, { values, replaced, behind }: ComparedValues): ComparedValues {
  const made = new Set([...graph.nodes.flatMap(node => node.output), ...graph.outputs.map(({ name }) => name)]);
  const isThere = ({ name }: { readonly name: string }) => made.has(name);
  return {
    values: values.filter(isThere),
    replaced,
    behind: behind && { ...behind, values: behind.values.filter(isThere) },
  };
}

/** `complete`: whether everything that is behind choices is compared. */
async function judged(
  models: Pick<Pair, 'full' | 'small'>,
  { replaced, ...compared }: ComparedValues,
  precision: Precision,
  request: ComparisonInputs,
): Promise<{ readonly certificate: Certificate; readonly complete: boolean }> {
  const comparison = await compareModels({ ...models, ...compared }, certificateLimits[precision], request);
  const { unsplit } = comparison;
  const again = new Set(unsplit === undefined ? compared.behind?.values.map(({ name }) => name) : []);
  const notes = replaced.map(
    name =>
      `The output '${name}' may change with any rounding, or is drawn at random: what it is made from is compared${
        again.has(name) ? ', and the output where both files are given the choices of the full one' : ''
      }.`,
  );
  if (unsplit !== undefined)
    notes.push(`What lies behind such choices is not compared, since they cannot be fed: ${unsplit}.`);
  const answered = new Set(models.small.graph.outputs.map(({ name }) => name));
  return { certificate: summary(comparison, precision, notes, answered), complete: unsplit === undefined };
}

function summary(
  { inputs, agreements, failure, notes }: Comparison,
  precision: Precision,
  before: readonly string[],
  answered: ReadonlySet<string>,
): Certificate {
  const limit = certificateLimits[precision];
  const measured = agreements.filter(({ runs }) => runs.length > 0);
  const remarks = [...before, ...notes];
  const outputs = measured.map(({ value: { name, exact }, type, runs, rounding }): ComparedOutput => {
    const most = (of: (run: Agreement) => number) => runs.reduce((largest, run) => Math.max(largest, of(run)), 0);
    const total = (of: (run: Agreement) => number) => runs.reduce((sum, run) => sum + of(run), 0);
    // Codes are off by a step where the sum that they stand for lies between two.
    const isCode = !exact && hasCodes(precision);
    const stated = isRounded(type) ? Math.max(limit, certificateLimits[type]) : isCode ? limit : 0;
    const own = Math.max(stated, Math.min(roundingFactor * rounding, roundingCap * stated, roundingMost));
    const maxRelError = most(run => run.maxRelError);
    if (maxRelError > stated && maxRelError <= own)
      remarks.push(
        `'${name}' is off by ${maxRelError.toExponential(1)} of its scale, which is rounding: the full file's own answer changes by ${rounding.toExponential(1)} when it is computed in another order.`,
      );
    const elements = total(run => run.elements);
    const empty = elements > 0 && total(run => run.notFinite) === elements;
    if (elements === 0) remarks.push(`'${name}' has no elements on these inputs: nothing of it is compared.`);
    if (total(run => run.notFinite) > 0)
      remarks.push(`'${name}' has ${empty ? 'nothing but' : 'some'} values that are not finite in the full file.`);
    return {
      name,
      type,
      scale: most(run => run.scale),
      maxAbsError: most(run => run.maxAbsError),
      maxRelError,
      argmaxAgreement: total(run => run.rows) > 0 ? total(run => run.sameArgmax) / total(run => run.rows) : 1,
      limit: own,
      passed: maxRelError <= own && !empty,
    };
  });
  // Which element of a value in between is the largest says nothing of what the network answers.
  const own = outputs.filter(({ name }) => answered.has(name));
  const answers = own.length > 0 ? own : outputs;
  const most = (of: (output: ComparedOutput) => number) => (outputs.length > 0 ? Math.max(...outputs.map(of)) : null);
  const worst = outputs.find(output => !output.passed);
  const reason =
    failure ??
    (worst ? sentenceOf(worst) : outputs.length > 0 ? undefined : 'The file has no output that could be compared.');
  return {
    passed: reason === undefined,
    ...(reason === undefined ? {} : { failure: reason }),
    maxAbsError: most(output => output.maxAbsError),
    maxRelError: most(output => output.maxRelError),
    argmaxAgreement: answers.length > 0 ? Math.min(...answers.map(output => output.argmaxAgreement)) : null,
    inputs,
    limit,
    outputs,
    notes: remarks,
  };
}

const sentenceOf = ({ name, maxRelError, limit }: ComparedOutput): string =>
  maxRelError <= limit
    ? `The output '${name}' has no finite value to compare.`
    : `The output '${name}' is off by ${maxRelError.toPrecision(3)} of its scale, more than ${limit}.`;
