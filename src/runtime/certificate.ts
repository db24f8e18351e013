import type { Graph } from '../graph/graph.ts';
import type { OperatorTable } from '../graph/operator.ts';
import { DataType, elementCount, type OnnxModel } from '../onnx/index.ts';
import { cutModel } from '../prune/cut.ts';
import { type CouplingOptions, coupleGraph } from '../prune/groups.ts';
import type { KeptChannels } from '../prune/plan.ts';
import { zeroConsumers } from '../prune/zeroed.ts';
import { unsharedGraph } from '../rewrite/unshare.ts';
import { UserError } from '../util/errors.ts';
import { type Agreement, isRounded } from './agreement.ts';
import { comparedValues } from './compared.ts';
import { type Comparison, type ComparisonInputs, compareModels } from './comparison.ts';
import { firstDifference } from './identical.ts';
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
  /** The largest of all outputs; null where nothing ran, because the file is not the plan's cut in the first place. */
  readonly maxAbsError: number | null;
  readonly maxRelError: number | null;
  /** The smallest of all outputs. */
  readonly argmaxAgreement: number | null;
  /** How many inputs were compared: entries of the first axis, random and real. */
  readonly inputs: number;
  /** Largest allowed maxRelError of outputs that are rounded numbers, by the file's constants. */
  readonly limit: number;
  readonly outputs: readonly ComparedOutput[];
  /** Sentences about what is not obvious: replaced outputs, a runtime that contradicts itself. */
  readonly notes: readonly string[];
}

/**
 * Largest allowed error relative to an output's scale, by the coarsest numbers that a file computes with. The same sums
 * are taken in another order and over fewer terms, so results differ by roundings: a few units of the last place per
 * layer, and tens of layers.
 */
export const certificateLimits = {
  /** A rounding is 1e-16. */
  float64: 1e-10,
  /** A rounding is 6e-8. */
  float32: 1e-4,
  /** A rounding is 5e-4; runtimes also round sums that they computed in float32 after every operator. */
  float16: 1e-2,
  /** A rounding is 4e-3. */
  bfloat16: 8e-2,
  /** Where a sum lies between two 8-bit steps a last bit decides, and a step is 1/127 of the largest value or more. */
  quantised: 2e-2,
} as const;

/**
 * Some networks magnify a rounding beyond these limits, whoever computes them. Errors up to four times what the full
 * file's own answer changes by in another order of computation are such, as long as they are no more than ten times the
 * limit: a wrong channel is off by far more.
 */
const roundingFactor = 4;
const roundingCap = 10;

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
  const limit = certificateLimits[precisionOf(coupling.graph)];
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
  const { values, replaced } = comparedValues(coupling, kept);
  const notes = replaced.map(
    name =>
      `The output '${name}' may change with any rounding, or is drawn at random: what it is made from is compared.`,
  );
  const pair = { full: zeroConsumers(coupling, kept), small, values };
  return summary(await compareModels(pair, limit, request), limit, notes);
}

function summary(
  { inputs, agreements, failure, notes }: Comparison,
  limit: number,
  before: readonly string[],
): Certificate {
  const measured = agreements.filter(({ runs }) => runs.length > 0);
  const remarks = [...before, ...notes];
  const outputs = measured.map(({ value: { name }, type, runs, rounding }): ComparedOutput => {
    const most = (of: (run: Agreement) => number) => runs.reduce((largest, run) => Math.max(largest, of(run)), 0);
    const total = (of: (run: Agreement) => number) => runs.reduce((sum, run) => sum + of(run), 0);
    const stated = isRounded(type) ? Math.max(limit, certificateLimits[type]) : 0;
    const own = Math.max(stated, Math.min(roundingFactor * rounding, roundingCap * stated));
    const maxRelError = most(run => run.maxRelError);
    if (maxRelError > stated && maxRelError <= own)
      remarks.push(
        `'${name}' is off by ${maxRelError.toExponential(1)} of its scale, which is rounding: the full file's own answer changes by ${rounding.toExponential(1)} when it is computed in another order.`,
      );
    const elements = total(run => run.elements);
    const empty = elements > 0 && total(run => run.notFinite) === elements;
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
    argmaxAgreement: outputs.length > 0 ? Math.min(...outputs.map(output => output.argmaxAgreement)) : null,
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

/** The coarsest numbers that a file's constants are kept in; single numbers (an epsilon, a factor) do not count. */
function precisionOf(graph: Graph): keyof typeof certificateLimits {
  const types = new Set(
    [...graph.tensors.values()].filter(tensor => elementCount(tensor) > 1).map(tensor => tensor.dataType),
  );
  const eightBits = [DataType.INT8, DataType.UINT8, DataType.INT4, DataType.UINT4];
  if (types.has(DataType.BFLOAT16)) return 'bfloat16';
  if (eightBits.some(type => types.has(type))) return 'quantised';
  if (types.has(DataType.FLOAT16)) return 'float16';
  return types.has(DataType.DOUBLE) && !types.has(DataType.FLOAT) ? 'float64' : 'float32';
}
