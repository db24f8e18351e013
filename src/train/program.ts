import { factorsOf } from '../graph/dims.ts';
import type { Engine, Tensor } from '../graph/engine.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import { type Const, type Dim, type Forward, type Mode, UnknownShape } from '../graph/operator.ts';
import { floats, ints, isInteger, type OnnxTensor } from '../onnx/index.ts';
import { rolesOf } from '../prune/groups.ts';
import type { MaskPoint } from '../prune/mask-points.ts';
import { UserError } from '../util/errors.ts';
import { callsOf, lastUses } from './calls.ts';

/** A graph as a flat list of closures: inside a step nothing is looked up by name and no attribute is parsed. */
export interface Program {
  /** Constants that the caller binds: parameters and buffers, in this order. */
  readonly bound: readonly string[];
  /** Other constants of the graph, made when it was compiled: they have to outlive the scope that was open then. */
  readonly constants: readonly Tensor[];
  /**
   * @param inputs one tensor per graph input
   * @param bound one tensor per name in `bound`
   * @param masks one vector per mask point; null: none
   * @returns one tensor per output asked for
   */
  run(
    inputs: readonly Tensor[],
    bound: readonly Tensor[],
    mode: Pick<Mode, 'training'>,
    masks?: readonly Tensor[] | null,
  ): Tensor[];
}

interface Step {
  readonly forward: Forward;
  readonly inputs: Int32Array;
  readonly outputs: Int32Array;
  readonly folds: readonly { readonly input: number; readonly shape: readonly number[]; readonly point: number }[];
  readonly products: readonly {
    readonly output: number;
    readonly shape: readonly number[];
    readonly point: number;
    /** What makes the vector as long as an axis that is a product with a symbol. */
    readonly spread: ((mask: Tensor, length: number) => Tensor) | null;
  }[];
  /** Slots of computed values that no later step reads. */
  readonly last: readonly number[];
}

/**
 * Compile a graph for the engine.
 * @param outputs values to compute
 * @param bound constants that the caller gives at every run
 * @param points where masks multiply
 * @throws UserError E_NO_FORWARD where an operator cannot run under the engine
 */
export function compile(
  graph: Graph,
  libtorch: Engine,
  outputs: readonly string[],
  bound: readonly string[],
  points: readonly MaskPoint[] = [],
): Program {
  // Records make constants of their own (indices) while they are compiled.
  const made: Tensor[] = [];
  const engine: Engine = Object.create(libtorch, {
    tensor: {
      value: (...args: Parameters<Engine['tensor']>) => {
        made.push(libtorch.tensor(...args));
        return made.at(-1)!;
      },
    },
  });
  const nodes = liveNodes(graph, outputs);
  const slots = new Map<string, number>();
  const slot = (value: string): number => {
    if (!value) return -1;
    let index = slots.get(value);
    if (index === undefined) slots.set(value, (index = slots.size));
    return index;
  };
  const inputSlots = graph.inputs.map(slot);
  const boundSlots = bound.map(slot);
  const own = new Map<number, Tensor>();
  const given = new Set([...graph.inputs, ...bound]);
  const multiply = engine.op('mul.Tensor');
  const reshape = engine.op('reshape');

  const calls = callsOf(graph, nodes, engine, outputs, points, node => forwardOf(graph, node, engine, outputs));
  const lastUse = lastUses(calls, outputs);
  const steps = calls.map(({ node, last, inputs, forward }, position): Step => {
    const roles = rolesOf(node);
    const wired = Int32Array.from(inputs, (value, input) => {
      if (!value || given.has(value) || slots.has(value)) return slot(value);
      if (roles[input]?.kind === 'shape') return -1;
      const constant = constantTensor(graph, value, engine);
      if (constant) own.set(slot(value), constant);
      return slot(value);
    });
    const at = (asked: GraphNode) =>
      [...points.entries()].filter(
        ([, { node: of, value }]) => of.name === asked.name && asked.outputs.includes(value),
      );
    const along = (rank: number, at: number) => Array.from({ length: rank }, (_, i) => (i === at ? -1 : 1));
    return {
      forward,
      inputs: wired,
      outputs: Int32Array.from(last.outputs, slot),
      folds: at(node).flatMap(([point, { fold }]) =>
        (fold ?? []).map(({ input, axis }) => ({ input, shape: along(node.shape(input).length, axis), point })),
      ),
      products: at(last).flatMap(([point, { fold, value, axis }]) => {
        const output = last.outputs.indexOf(value);
        const lengths = last.outputShape(output);
        const dim = lengths[axis];
        return fold
          ? []
          : [{ output, shape: along(lengths.length, axis), point, spread: spreadOver(dim, engine, last.name) }];
      }),
      last: (lastUse.get(position) ?? []).map(slot),
    };
  });
  const outputSlots = outputs.map(slot);
  const size = slots.size;

  return {
    bound,
    constants: made,
    run(inputs, tensors, { training }, masks = null) {
      const mode: Mode = { training, lengths: lengthsOf(graph, inputs) };
      const values: (Tensor | null)[] = Array(size).fill(null);
      for (const [index, tensor] of own) values[index] = tensor;
      inputSlots.forEach((index, i) => {
        values[index] = inputs[i];
      });
      boundSlots.forEach((index, i) => {
        values[index] = tensors[i];
      });
      for (const step of steps) {
        const operands: (Tensor | null)[] = Array(step.inputs.length);
        for (let i = 0; i < operands.length; i++) operands[i] = step.inputs[i] < 0 ? null : values[step.inputs[i]];
        if (masks) {
          for (const { input, shape, point } of step.folds) {
            operands[input] = multiply(
              operands[input],
              shape.length === 1 ? masks[point] : reshape(masks[point], shape),
            );
          }
        }
        const results = [step.forward(operands, mode)].flat() as Tensor[];
        if (masks) {
          for (const { output, shape, point, spread } of step.products) {
            const mask = spread ? spread(masks[point], results[output].shape[shape.indexOf(-1)]) : masks[point];
            results[output] = multiply(results[output], reshape(mask, shape));
          }
        }
        for (let i = 0; i < results.length; i++) if (step.outputs[i] >= 0) values[step.outputs[i]] = results[i];
        // Activations are large: they go as soon as nothing needs them. Identity hands on the very tensor it was given.
        for (const index of step.last) {
          const done = values[index];
          values[index] = null;
          if (done && !values.includes(done)) engine.free(done);
        }
      }
      return outputSlots.map(index => values[index]!);
    },
  };
}

/**
 * Repeat a vector over the symbol of an axis that is a product (`batch·4`); null where the axis is as long as the vector.
 * @throws UserError E_NO_FORWARD where the axis has several symbols apart from each other
 */
function spreadOver(dim: Dim, engine: Engine, name: string): ((mask: Tensor, length: number) => Tensor) | null {
  if (typeof dim === 'number') return null;
  const factors = factorsOf(dim);
  const isSymbol = factors.map(factor => typeof factor === 'string');
  const first = isSymbol.indexOf(true);
  if (isSymbol.lastIndexOf(true) - first >= isSymbol.filter(Boolean).length) {
    throw new UserError('E_NO_FORWARD', `The channels behind '${name}' cannot be masked: their axis is ${dim}.`, {
      fix: 'Run one-shot cuts on this file instead, or export it with static shapes.',
    });
  }
  const product = (part: readonly Dim[]) => part.reduce<number>((a, b) => a * Number(b), 1);
  const before = product(factors.slice(0, first));
  const after = product(factors.slice(isSymbol.lastIndexOf(true) + 1));
  const [reshape, expand] = [engine.op('reshape'), engine.op('expand')];
  return (mask, length) =>
    reshape(expand(reshape(mask, [before, 1, after]), [before, length / (before * after), after]), [length]);
}

/** What the symbols in the shapes of the inputs stand for. */
const lengthsOf = (graph: Graph, inputs: readonly Tensor[]): Map<string, number> =>
  new Map(
    graph.inputs.flatMap((name, i) =>
      (graph.types.get(name)?.shape ?? []).flatMap((dim, axis) =>
        typeof dim === 'string' ? [[dim, inputs[i].shape[axis]] as const] : [],
      ),
    ),
  );

/** Nodes that some output needs and that are not worked out already, in order. */
function liveNodes(graph: Graph, outputs: readonly string[]): GraphNode[] {
  const needed = new Set(outputs);
  const settled = (value: string) => graph.constants.has(value) && isInteger(graph.constants.get(value)!.elemType);
  const live: GraphNode[] = [];
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i];
    if (!node.outputs.some(value => needed.has(value) && !settled(value))) continue;
    if (node.opType === 'Constant' && node.domain === '') continue;
    live.push(node);
    for (const value of node.inputs) needed.add(value);
  }
  return live.reverse();
}

function forwardOf(graph: Graph, node: GraphNode, engine: Engine, outputs: readonly string[]): Forward {
  const refuse = (why: string): never => {
    throw new UserError('E_NO_FORWARD', `${node.opType} '${node.name}' cannot be trained: ${why}.`, {
      where: graph.model.path,
      fix: 'Run one-shot cuts on this file instead, or export it without that operator.',
    });
  };
  const { operator } = node;
  if (!operator?.forward) return refuse('there is no rule to run it');
  try {
    const [first] = node.inputs;
    const producer = graph.producers.get(first);
    const only = graph.consumers.get(first)?.length === 1 && !outputs.includes(first);
    if (operator.forwardInPlace && only && producer?.operator?.overwritable) {
      return operator.forwardInPlace(node, engine);
    }
    return operator.forward(node, engine);
  } catch (error) {
    if (error instanceof UnknownShape) return refuse('the shapes around it are not known; export it with static ones');
    throw error;
  }
}

/** A constant of the file on the engine's device: real numbers as float32. */
function constantTensor(graph: Graph, value: string, engine: Engine): Tensor | null {
  // An initializer that a caller may replace is no constant of the graph; training runs with it as it is.
  const tensor = graph.tensors.get(value) ?? graph.model.graph.initializers.find(({ name }) => name === value);
  if (tensor) return fromFile(tensor, engine);
  const constant = graph.constants.get(value);
  const settled = constant && (isInteger(constant.elemType) || graph.producers.get(value)?.opType === 'Constant');
  return settled && constant.values.every(element => typeof element === 'number') ? fromConst(constant, engine) : null;
}

function fromFile(tensor: OnnxTensor, engine: Engine): Tensor {
  if (isInteger(tensor.dataType)) return engine.tensor(BigInt64Array.from(ints(tensor), BigInt), tensor.dims);
  return engine.tensor(Float32Array.from(floats(tensor)), tensor.dims);
}

function fromConst({ elemType, dims, values }: Const, engine: Engine): Tensor {
  const numbers = values as readonly number[];
  return isInteger(elemType)
    ? engine.tensor(BigInt64Array.from(numbers, BigInt), dims)
    : engine.tensor(Float32Array.from(numbers), dims);
}
