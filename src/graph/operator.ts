import type { AttributeValue } from '../onnx/index.ts';
import type { Engine, Tensor } from './engine.ts';

/** A length: a number, or the name of a symbolic axis. */
export type Dim = number | string;
export type Shape = readonly Dim[];

/** What is known of a value: its ONNX element type, and its shape when the rank is known. */
export interface ValueType {
  readonly elemType: number;
  readonly shape: Shape | null;
}

/**
 * A small constant (shapes, indices, pads, scalars) in a form that can be computed with; an element of a shape vector
 * may be a symbolic length.
 */
export interface Const {
  readonly elemType: number;
  readonly dims: readonly number[];
  readonly values: readonly (number | string)[];
}

/** One axis of one value. */
export interface AxisRef {
  readonly value: string;
  readonly axis: number;
}

/** What integer codes mean: (code - zero point) x scale. Inputs that are left out stand for 1 and 0. */
export interface Codes {
  readonly scale: number | null;
  readonly zeroPoint: number;
  /** The axis along which they differ, where they have several elements. */
  readonly axis: number;
}

/** What a constant input is to its operator. */
export type Role =
  | {
      readonly kind: 'weight';
      readonly out: number;
      readonly in: number;
      /** Of a weight of integer codes. */
      readonly codes?: Codes;
    }
  | { readonly kind: 'codes'; readonly codes: Codes }
  | { readonly kind: 'bias' | 'scale' | 'shift' | 'mean' | 'variance' | 'shape' | 'quantisation' };

/** A linear operator's weight: which axis makes output channels, which one is summed over. */
export const weight = (axes: { out: number; in: number; codes?: Codes }): Role => ({ kind: 'weight', ...axes });
export const bias: Role = { kind: 'bias' };
export const scale: Role = { kind: 'scale' };
export const shift: Role = { kind: 'shift' };
export const runningMean: Role = { kind: 'mean' };
export const runningVariance: Role = { kind: 'variance' };
export const shapeVector: Role = { kind: 'shape' };
/** Scale or zero point of integer codes: it follows a cut, and is no parameter. */
export const quantisation: Role = { kind: 'quantisation' };

/** A node as its operator sees it: names, attributes, shapes and constants of what it is wired to. */
export interface NodeView {
  readonly name: string;
  readonly opType: string;
  /** Version of the operator set that the file imports for the node's domain. */
  readonly version: number;
  /** Names; `''` where an optional one is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  has(input: number): boolean;
  /** Attribute values, with the specification's default where the file has none. */
  int(name: string, otherwise: number): number;
  float(name: string, otherwise: number): number;
  string(name: string, otherwise: string): string;
  ints(name: string): readonly number[] | null;
  attribute(name: string): AttributeValue | undefined;
  /** Type of an input. Its shape is null where it is unknown. */
  type(input: number): ValueType;
  /** Shape of an input whose rank is known. @throws UnknownShape */
  shape(input: number): Shape;
  outputShape(output: number): Shape;
  /** The value of an input that is a small constant, else null. */
  constant(input: number): Const | null;
  /** The same as plain integers. @returns null also when an element is symbolic */
  constantInts(input: number): number[] | null;
  /** An axis of an input (negative: from the end). */
  axis(input: number, axis: number): AxisRef;
  outputAxis(output: number, axis: number): AxisRef;
  /** Whether an input is a constant of the file (of any size), so that a cut can follow into it. */
  isConstant(input: number): boolean;
}

/** Thrown by a rule that needs a shape which is not known; the outputs' shapes are then unknown. */
export class UnknownShape extends Error {}

/** Thrown by a rule that finds its node at odds with the operator's specification: the rest of a sentence about it. */
export class WrongNode extends UnknownShape {}

/** Channels of a grouped convolution: `equal` numbers of every group go, or groups as a `whole`. */
export type Grouped = 'equal' | 'whole';

/** What attention loses: whole heads, or the same dimensions of every head. */
export type Attention = 'heads' | 'dims';

/** Where operators state which channels go together (docs/architecture.md). */
export interface Relations {
  /** How convolutions of several groups lose channels: the same ones of every group, or whole groups. */
  readonly grouped: Grouped;
  /** What a Reshape that splits or merges heads lets go. */
  readonly attention: Attention;
  /** Index i of `a` goes with index i of `b`. */
  same(a: AxisRef, b: AxisRef): void;
  /** Index i of `a` goes with index `f(i)` of `b`; -1: with none. */
  map(a: AxisRef, b: AxisRef, f: (index: number) => number): void;
  /** Indices of one class go together. */
  tie(a: AxisRef, classOf: (index: number) => number): void;
  /** The axis keeps its length. */
  wall(a: AxisRef, reason: string): void;
  /** Whether some index of the axis is behind a wall by now; complete only for operators that are `late`. */
  walled(a: AxisRef): boolean;
  /**
   * Flat indices over all of `inputs` and over all of `outputs` are the same, the first axis slowest. Where axes are split
   * or merged one part carries the channels, which is decided when everything else is known.
   */
  regroup(inputs: readonly AxisRef[], outputs: readonly AxisRef[]): void;
  /** A product of two activations runs over the axis: as one of its `heads` (a batch), or of the `dims` within them. */
  attends(a: AxisRef, part: Attention): void;
  /** The node sums over this axis of this input. */
  sums(input: number, axis: number): void;
}

/** coefficient x product of axis lengths. */
export interface Monomial {
  readonly coefficient: number;
  readonly axes: readonly AxisRef[];
}

/** What a cut leaves of an axis: indices in ascending order; `null`: all of them. */
export type Kept = (ref: AxisRef) => readonly number[] | null;

/** A length: a number, that of an axis of the node's first input `times / over`, or null: what the graph computes. */
export type OpenLength = number | { readonly axis: number; readonly times: number; readonly over: number } | null;

/** What must follow a cut besides the constants' own axes. */
export interface Follow {
  /** Attributes that change; undefined: that go. */
  readonly attributes?: Readonly<Record<string, AttributeValue | undefined>>;
  /** Small integer constants that change, by input. */
  readonly constants?: Readonly<Record<number, readonly number[]>>;
  /** The node becomes a Gather of its first input along `axis`; with changes besides, a Gather goes in front of it. */
  readonly gather?: { readonly axis: number; readonly indices: readonly number[] };
  /** A vector of lengths that is partly known at run time only. */
  readonly lengths?: { readonly input: number; readonly values: readonly OpenLength[] };
}

/** Per-run state of a forward pass. */
export interface Mode {
  /** Batch statistics and dropout (true) or running statistics (false). */
  readonly training: boolean;
  /** What the symbols in the shapes of the graph's inputs stand for in this run. */
  readonly lengths: ReadonlyMap<string, number>;
}

/** A compiled node: tensors of its inputs (null where left out) to tensors of its outputs. */
export type Forward = (inputs: readonly (Tensor | null)[], mode: Mode) => Tensor | readonly Tensor[];

/** A call that computes a node together with those behind it. */
export interface Chain {
  /** How many of the nodes behind it. */
  readonly length: number;
  /** Values that it takes besides the node's own inputs, which come first. */
  readonly inputs: readonly string[];
  readonly forward: Forward;
}

/**
 * What becomes of a channel that is zero in every operand. `zero`: zero; `absorbs`: zero already when one operand is;
 * `constant`: something else; `mixes`: other channels change too.
 */
export type Zero = 'zero' | 'absorbs' | 'constant' | 'mixes';

/**
 * Everything the product knows about an operator (docs/architecture.md). What is left out is refused, not guessed:
 * no `couple` is a wall, no `forward` an error before training; an operator without a record has an unknown cost.
 */
export interface Operator {
  readonly type: string;
  readonly domain: string;
  /** What each constant input is; a function where it depends on the node's attributes. */
  readonly roles: (n: NodeView) => Readonly<Record<number, Role>>;
  /** Types of the outputs. */
  readonly shape: (n: NodeView) => readonly ValueType[];
  /** Values of the outputs when they are small constants; null where they are not. */
  readonly evaluate?: (n: NodeView) => readonly (Const | null)[];
  /**
   * Which channels go together: einsum letters over inputs and outputs (`'N I *, O I *, O -> N O *'`; a letter that
   * stands in inputs only is summed over, `*` are axes that keep their length, `...` are broadcast), or calls on `relations`.
   */
  readonly couple?: (n: NodeView, relations: Relations) => string | undefined;
  /** Multiply-accumulates of one image. */
  readonly cost: (n: NodeView) => readonly Monomial[];
  readonly zero: (n: NodeView) => Zero;
  /** Inputs that a factor per output channel can be folded into (scale and shift, weight rows and bias). */
  readonly foldable: readonly number[];
  readonly forward?: (n: NodeView, engine: Engine) => Forward;
  /** The same, overwriting the first input. */
  readonly forwardInPlace?: (n: NodeView, engine: Engine) => Forward;
  /**
   * The longest chain that one call can compute; null: none.
   * @param behind the nodes after it in a row, each the only reader of the one before
   */
  readonly forwardChain?: (n: NodeView, behind: readonly NodeView[], engine: Engine) => Chain | null;
  /** Its backward pass does not look at its output, so the next node may overwrite it. */
  readonly overwritable: boolean;
  readonly cut?: (n: NodeView, kept: Kept) => Follow | null;
  /** A sum or difference: a factor on all operands is one on its output. */
  readonly additive?: boolean;
  /** It does nothing but move elements: a permutation of its axes, or null where their flat order stays. */
  readonly moves?: (n: NodeView) => readonly number[] | null;
  /** Its coupling waits for the walls of all others. */
  readonly late: boolean;
  /** Its output is compared before it (ArgMax, TopK, NonMaxSuppression; anything drawn at random). */
  readonly discrete: boolean;
  /** Its output is another one in every run, so it is no constant even if its inputs are. */
  readonly random: boolean;
}

type Definition = Partial<Omit<Operator, 'type' | 'roles' | 'shape'>> &
  Pick<Operator, 'shape'> & {
    readonly roles?: Operator['roles'] | Readonly<Record<number, Role>>;
  };

const noCost = (): readonly Monomial[] => [];

/** Whether nodes of an operator never have multiply-accumulates. */
export const costsNothing = ({ cost }: Operator): boolean => cost === noCost;

/** Complete a record: no cost, nothing foldable, and a zero that is not known to stay one. */
export function operator(type: string, definition: Definition): Operator {
  const { roles } = definition;
  return {
    domain: '',
    cost: noCost,
    zero: () => 'constant',
    foldable: [],
    late: false,
    discrete: false,
    random: false,
    overwritable: false,
    ...definition,
    type,
    roles: typeof roles === 'function' ? roles : () => roles ?? {},
  };
}

/** Operators by `domain::type` (the standard domain is empty). */
export type OperatorTable = ReadonlyMap<string, Operator>;

export const operatorTable = (operators: readonly Operator[]): OperatorTable =>
  new Map(operators.map(op => [`${op.domain}::${op.type}`, op]));
