import type { Dim, NodeView, Operator } from '../graph/operator.ts';
import { DataType } from '../onnx/index.ts';
import { opaque, undeclared } from './families/whole.ts';

/** Sequences, optional values and text: nothing in them is a channel. */

const sequence = (type: string, shape: Operator['shape'] = undeclared): Operator =>
  opaque(type, shape, { why: 'keeps it in a sequence' });

const scalar = (elemType: number) => () => [{ elemType, shape: [] as Dim[] }];

const strings = (type: string, shape: Operator['shape']): Operator => opaque(type, shape, { why: 'works on text' });

/** https://onnx.ai/onnx/operators/onnx__SequenceAt.html and its like (11; optional values 15, 18) */
export const collections: readonly Operator[] = [
  sequence('ConcatFromSequence'),
  sequence('SequenceAt'),
  sequence('SequenceConstruct'),
  sequence('SequenceEmpty'),
  sequence('SequenceErase'),
  sequence('SequenceInsert'),
  sequence('SequenceLength', scalar(DataType.INT64)),
  sequence('SplitToSequence'),
  sequence('Optional'),
  sequence('OptionalGetElement', n => [n.type(0)]),
  sequence('OptionalHasElement', scalar(DataType.BOOL)),
  strings('RegexFullMatch', n => [{ elemType: DataType.BOOL, shape: n.type(0).shape }]),
  strings('StringConcat', n => [n.type(0)]),
  strings('StringNormalizer', () => [{ elemType: DataType.STRING, shape: null }]),
  strings('StringSplit', n => [
    { elemType: DataType.STRING, shape: [...n.shape(0), `${n.outputs[0]}_last`] },
    { elemType: DataType.INT64, shape: n.shape(0) },
  ]),
  strings('TfIdfVectorizer', n => [
    {
      elemType: DataType.FLOAT,
      shape: [...n.shape(0).slice(0, -1), 1 + Math.max(...(n.ints('ngram_indexes') ?? [-1]))],
    },
  ]),
];

/** The scalar of a loss, or one number per element. */
const loss = (type: string, shape: (n: NodeView) => readonly Dim[]): Operator =>
  opaque(
    type,
    n => [
      { elemType: n.type(0).elemType, shape: n.string('reduction', 'mean') === 'none' ? shape(n) : [] },
      ...(n.outputs[1] ? [n.type(0)] : []),
    ],
    { why: 'compares it with labels' },
  );

/** https://onnx.ai/onnx/operators/onnx__SoftmaxCrossEntropyLoss.html (12, 13), NegativeLogLikelihoodLoss (12, 13, 22) */
export const losses: readonly Operator[] = [
  loss('SoftmaxCrossEntropyLoss', n => n.shape(1)),
  loss('NegativeLogLikelihoodLoss', n => n.shape(1)),
];
