import { type OnnxGraph, type OnnxModel, type OnnxTensor, storedLength } from '../onnx/index.ts';
import { contentLength, tensorError } from '../onnx/tensor.ts';
import { UserError } from '../util/errors.ts';
import { printable } from '../util/printable.ts';
import { type NodeView, type Shape, UnknownShape, type ValueType, WrongNode } from './operator.ts';
import { captured } from './order.ts';

const fix = 'The file is not a valid ONNX graph; export it again.';

/** The error for a graph that contradicts itself. */
export const graphError = (what: string, where?: string): UserError => new UserError('E_GRAPH', what, { where, fix });

/**
 * Make sure that every name is made once, and made at all where it is read.
 * @throws UserError E_GRAPH
 */
export function checkNames({ graph, path }: OnnxModel): void {
  const made = new Set<string>();
  const make = (name: string, what: string) => {
    if (made.has(name)) throw graphError(`${what} '${printable(name)}' has two producers.`, path);
    made.add(name);
  };
  for (const { name } of graph.initializers) make(name, 'The initializer');
  for (const name of graph.sparseInitializers ?? []) make(name, 'The sparse initializer');
  checkInputs(graph, path);
  for (const { name } of graph.inputs) made.add(name);
  for (const node of graph.nodes) for (const name of node.output) if (name) make(name, 'The value');
  for (const node of graph.nodes) {
    const isMissing = (name: string) => name !== '' && !made.has(name);
    const missing = node.input.find(isMissing) ?? captured(node).find(isMissing);
    if (missing !== undefined)
      throw graphError(
        `${printable(node.opType)} '${printable(node.name)}' reads '${printable(missing)}', which nothing makes.`,
        path,
      );
  }
  const missing = graph.outputs.find(({ name }) => !made.has(name));
  if (missing) throw graphError(`Nothing makes the graph's output '${printable(missing.name)}'.`, path);
}

function checkInputs({ inputs }: OnnxGraph, path?: string): void {
  const seen = new Set<string>();
  for (const { name } of inputs) {
    if (seen.has(name)) throw graphError(`The graph lists the input '${printable(name)}' twice.`, path);
    seen.add(name);
  }
}

/** Values of more axes are no tensors of any network. */
const mostAxes = 64;

/**
 * @param what the start of the sentence that says so
 * @throws UserError E_GRAPH for a shape that no value can have
 */
export function checkType({ shape }: ValueType, what: () => string): void {
  if (!shape) return;
  const impossible = shape.some(dim => typeof dim === 'number' && !(Number.isSafeInteger(dim) && dim >= 0));
  if (shape.length > mostAxes || impossible)
    throw graphError(`${what()} the shape [${written(shape)}], which cannot be.`);
  const elements = shape.reduce<number>((product, dim) => (typeof dim === 'number' ? product * dim : product), 1);
  if (elements > Number.MAX_SAFE_INTEGER && !shape.includes(0))
    throw graphError(`${what()} the shape [${written(shape)}], which has more elements than can be counted.`);
}

const written = (shape: Shape): string =>
  printable(`${shape.slice(0, 8).join(', ')}${shape.length > 8 ? `, … (${shape.length} axes)` : ''}`);

/** @throws UserError E_TENSOR_DATA where a tensor claims more or fewer elements than its data */
export function checkTensor(tensor: OnnxTensor): void {
  const claimed = contentLength(tensor);
  const stored = storedLength(tensor);
  if (claimed === null || stored === null) return;
  const { least, most } = stored;
  if (claimed < least || claimed > most)
    throw tensorError(
      tensor,
      `takes ${claimed} bytes, and its data ${least === most ? `has ${most}` : `at most ${most}`}`,
    );
}

/** A node as messages name it. */
export const labelOf = ({ opType, name }: Pick<NodeView, 'opType' | 'name'>): string =>
  `${printable(opType)} '${printable(name)}'`;

/**
 * What a rule says, `otherwise` where it needs shapes that are not known, or fails on a node that its operator does not
 * allow.
 * @throws UserError E_GRAPH where it finds the node at odds with the specification
 */
export function ruled<T>(node: Pick<NodeView, 'opType' | 'name'>, rule: () => T, otherwise: T): T {
  try {
    return rule();
  } catch (error) {
    if (error instanceof UserError) throw error;
    if (error instanceof WrongNode) throw graphError(`${labelOf(node)} ${error.message}.`);
    if (isUnknown(error)) return otherwise;
    throw error;
  }
}

/**
 * Whether a rule failed for want of shapes, or on a node that its operator does not allow (a list too short, a length
 * that no array has): nothing is known of the node then.
 */
export const isUnknown = (error: unknown): boolean =>
  error instanceof UnknownShape || error instanceof TypeError || error instanceof RangeError;
