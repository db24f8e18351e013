import { create } from '@bufbuild/protobuf';
import { buildGraph, type Graph } from '../graph/graph.ts';
import type { Dim } from '../graph/operator.ts';
import { DataType, type OnnxModel, valueInfo } from '../onnx/index.ts';
import { ValueInfoProtoSchema } from '../onnx/onnx_pb.ts';
import { UserError } from '../util/errors.ts';
import { finiteInputs } from './inputs.ts';
import { openModel, type RuntimeTensor, type RuntimeType, type RuntimeValue } from './session.ts';

export interface ProbedValue {
  readonly type: RuntimeType;
  readonly shape: readonly number[];
}

type Probed = ReadonlyMap<string, ProbedValue>;

/**
 * Shapes and element types of a graph's values, found by running it with these values as outputs. Values inside
 * sub-graphs cannot be seen, nor those that are no tensors.
 * @param names values that the nodes of the graph compute
 * @param feeds what to run it on, once each
 * @throws UserError E_RUNTIME when the file does not run on these inputs, E_NO_RUNTIME
 */
export async function probeShapes(
  model: OnnxModel,
  names: readonly string[],
  feeds: (inputs: readonly RuntimeValue[]) => readonly Readonly<Record<string, RuntimeTensor>>[],
): Promise<Probed[]> {
  const { graph } = model;
  const computed = new Set(graph.nodes.flatMap(node => node.output).filter(Boolean));
  const wanted = new Set(names.filter(name => computed.has(name)));
  const declared = new Set(graph.outputs.map(output => output.name));
  const added = [...wanted].filter(name => !declared.has(name)).map(name => create(ValueInfoProtoSchema, { name }));
  const probe = { ...model, graph: { ...graph, outputs: [...graph.outputs, ...added] } };
  // Unoptimised: an optimiser may drop the values that are asked for.
  const session = await openModel(probe, { optimize: 'none' });
  try {
    const tensors = session.outputs.filter(output => output.type !== null && wanted.has(output.name));
    const found: Probed[] = [];
    for (const inputs of feeds(session.inputs)) {
      if (tensors.length === 0) {
        found.push(new Map());
        continue;
      }
      const results = await session.run(
        inputs,
        tensors.map(output => output.name),
      );
      found.push(new Map(Object.entries(results).map(([name, { type, shape }]) => [name, { type, shape }])));
    }
    return found;
  } finally {
    await session.dispose();
  }
}

/** A model with the shapes declared that no rule knows. */
export interface ProbedModel {
  readonly model: OnnxModel;
  /** The same for the lengths of `shapes`, for costs. */
  readonly priced: OnnxModel;
  /** Values that were found out. */
  readonly values: readonly string[];
}

/** A model without declarations of these values. */
export function withoutDeclared(model: OnnxModel, values: readonly string[]): OnnxModel {
  if (values.length === 0) return model;
  const names = new Set(values);
  return {
    ...model,
    graph: { ...model.graph, valueInfo: model.graph.valueInfo.filter(({ name }) => !names.has(name)) },
  };
}

const batch = 2;

/** Inputs of more elements are not made up to look at shapes. */
const mostElements = 2 ** 27;

/** Elements of all inputs, of one entry of the batch. */
const elementsOf = ({ inputs, types }: Graph, shapes: Readonly<Record<string, readonly number[]>>): number =>
  inputs
    .map(name => shapes[name] ?? types.get(name)?.shape ?? [])
    .map(shape => shape.reduce<number>((product, dim) => (typeof dim === 'number' ? product * dim : product), 1))
    .reduce((sum, elements) => sum + elements, 0);

/**
 * Find out by running it what neither a rule nor the file says: shapes behind operators of other domains, mostly. It runs
 * twice, with other numbers and, where lengths are open, with twice the length; lengths that differ have a name. A file
 * that the runtime does not run, or that has open axes without a length, stays as it is.
 * @param shapes lengths of open axes by input, those of `--shape`
 */
export async function withProbedShapes(
  written: Graph,
  shapes: Readonly<Record<string, readonly number[]>> = {},
): Promise<ProbedModel> {
  const { model, operators } = written;
  let result: ProbedModel = { model, priced: model, values: [] };
  const asked = new Set<string>();
  // What follows from the first values may show others: rules that need more than shapes, and what comes out of sequences.
  for (;;) {
    const graph = result.model === model ? written : buildGraph(result.model, operators);
    const names = unknownValues(graph, asked);
    if (names.length === 0 || elementsOf(graph, shapes) > mostElements) break;
    for (const name of names) asked.add(name);
    const found = await probeBoth(result.model, graph, names, shapes);
    if (!found) break;
    const [once, twice] = found;
    const values = names.filter(name => once.has(name) && twice.has(name));
    const merged = values.map(name => declaration(name, once.get(name)!, mergedShape(name, once, twice, graph.batch)));
    const own = values.map(name => declaration(name, once.get(name)!, batched(once.get(name)!, graph.batch)));
    result = {
      model: declaring(result.model, merged),
      priced: declaring(result.priced, own),
      values: [...result.values, ...values],
    };
  }
  return result;
}

/**
 * Values of unknown shape where knowledge ends: behind operators without a rule, and behind those that know their inputs.
 * A run says nothing of lengths that other data change.
 * @param asked values that need not be asked for again: there is no more to know of them
 */
function unknownValues(graph: Graph, asked: ReadonlySet<string>): string[] {
  const { nodes, types } = graph;
  const isOpen = dataDependent(graph);
  const isKnown = (value: string) => !value || asked.has(value) || Boolean(types.get(value)?.shape);
  return nodes
    .filter(({ operator, inputs, outputs }) => !outputs.every(isKnown) && (!operator || inputs.every(isKnown)))
    .flatMap(({ outputs }) => outputs.filter(value => !isKnown(value) && !isOpen.has(value)));
}

/**
 * Values whose lengths other data may change: those that depend on a choice (NonZero, say), or come out of a sub-graph
 * that runs as the data say.
 */
function dataDependent({ nodes, constants }: Graph): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { operator, opType, inputs, outputs, captures, proto } of nodes) {
    // An If that always takes the same branch hands on what that computes.
    const isSettled = opType === 'If' && constants.has(inputs[0]);
    const hasBody = !isSettled && proto.attribute.some(({ g, graphs }) => g !== undefined || graphs.length > 0);
    const depends = [...inputs, ...captures].some(value => found.has(value));
    if (operator?.discrete || hasBody || depends) for (const output of outputs) found.add(output);
  }
  return found;
}

async function probeBoth(
  model: OnnxModel,
  graph: Graph,
  names: readonly string[],
  shapes: Readonly<Record<string, readonly number[]>>,
): Promise<readonly Probed[] | null> {
  // Lengths that the file fixes stay; the batch is doubled apart from the rest.
  const doubled = Object.fromEntries(
    Object.entries(shapes).map(([name, lengths]) => {
      const declared = graph.types.get(name)?.shape;
      return [name, lengths.map((length, axis) => (typeof declared?.[axis] === 'string' ? 2 * length : length))];
    }),
  );
  const sizes = graph.batch === null ? [undefined, undefined] : [batch, 2 * batch];
  try {
    return await probeShapes(model, names, inputs => [
      finiteInputs(inputs, { shapes, batch: sizes[0], seed: 0 }),
      finiteInputs(inputs, { shapes: doubled, batch: sizes[1], seed: 1 }),
    ]);
  } catch (error) {
    const isRefusal =
      error instanceof UserError && ['E_RUNTIME', 'E_NO_RUNTIME', 'E_SHAPE', 'E_INPUT'].includes(error.code);
    if (isRefusal) return null;
    throw error;
  }
}

/** Lengths that both runs agree on; the batch, or a name of their own for the others and for what was empty. */
function mergedShape(name: string, once: Probed, twice: Probed, symbol: string | null): Dim[] | null {
  const [a, b] = [once.get(name)!.shape, twice.get(name)!.shape];
  if (a.length !== b.length) return null;
  return a.map((length, axis) => {
    if (length === b[axis] && length > 0) return length;
    return symbol !== null && length === batch && b[axis] === 2 * batch ? symbol : `${name}_${axis}`;
  });
}

/** The lengths of one run, the first of them for the batch. */
const batched = ({ shape }: ProbedValue, symbol: string | null): Dim[] =>
  shape.map((length, axis) => (axis === 0 && symbol !== null && length === batch ? symbol : length));

const elementTypes: Readonly<Partial<Record<RuntimeType, number>>> = {
  float32: DataType.FLOAT,
  float64: DataType.DOUBLE,
  float16: DataType.FLOAT16,
  int8: DataType.INT8,
  uint8: DataType.UINT8,
  int16: DataType.INT16,
  uint16: DataType.UINT16,
  int32: DataType.INT32,
  uint32: DataType.UINT32,
  int64: DataType.INT64,
  uint64: DataType.UINT64,
  bool: DataType.BOOL,
  string: DataType.STRING,
};

const declaration = (name: string, { type }: ProbedValue, shape: readonly Dim[] | null) =>
  valueInfo(name, elementTypes[type] ?? DataType.UNDEFINED, shape);

function declaring(model: OnnxModel, added: ReturnType<typeof valueInfo>[]): OnnxModel {
  const { graph } = withoutDeclared(
    model,
    added.map(({ name }) => name),
  );
  return { ...model, graph: { ...graph, valueInfo: [...graph.valueInfo, ...added] } };
}
