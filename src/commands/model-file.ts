import { z } from 'zod';
import { type OnnxModel, shapeOf } from '../onnx/index.ts';
import { UserError } from '../util/errors.ts';

/** What a model file says about the images that it takes; fits `openData`'s request. */
export interface ImageNetwork {
  readonly metadata: Readonly<Record<string, string>>;
  /** Of the only input, null where it is open; undefined where the file does not say, or takes images as flat rows. */
  readonly inputShape?: readonly (number | null)[];
  /** Length of the class axis; undefined where the file does not say. */
  readonly outputs?: number;
}

/**
 * Read off a model what it says about its images.
 * @param output the output with the class scores; the first by default
 */
export function imageNetworkOf(model: OnnxModel, output?: string): ImageNetwork {
  const { graph } = model;
  const constants = new Set(graph.initializers.map(tensor => tensor.name));
  const [input] = graph.inputs.filter(info => !constants.has(info.name));
  const shape = input && shapeOf(input)?.map(dim => (typeof dim === 'number' ? dim : null));
  const scores = output === undefined ? graph.outputs[0] : graph.outputs.find(info => info.name === output);
  const classes = scores && shapeOf(scores)?.[1];
  return {
    metadata: Object.fromEntries(model.metadata),
    inputShape: shape && shape.length !== 2 ? shape : undefined,
    outputs: typeof classes === 'number' ? classes : undefined,
  };
}

/** `--optimize none` runs the graph as it is written. */
export const optimizeOption = z
  .enum(['all', 'none'])
  .default('all')
  .meta({ description: "ONNX Runtime's graph optimisation; none runs the graph as it is written" });

/** `--shape input=1,3,224,224`, once per input that has axes of unknown length. */
export const shapeOption = z.array(z.string()).optional().meta({
  value: 'INPUT=1,3,H,W',
  repeat: true,
  description: 'shape of an input whose axes have no fixed length; once per input',
});

/**
 * Shapes by input name. The name may hold `=` and `,`; the lengths stand behind the last `=`.
 * @throws UserError E_SHAPE (usage)
 */
export function parseShapes(values: readonly string[] = []): Record<string, readonly number[]> {
  // Inputs may be called `constructor` or `__proto__`.
  const shapes = Object.create(null) as Record<string, readonly number[]>;
  for (const value of values) {
    const at = value.lastIndexOf('=');
    const name = value.slice(0, at);
    const lengths = value
      .slice(at + 1)
      .split(/[,x]/)
      .map(Number);
    const refuse = (what: string) =>
      new UserError('E_SHAPE', `--shape ${value}: ${what}.`, {
        fix: 'It names an input and its lengths: --shape input=1,3,224,224',
        usage: true,
      });
    if (at < 1) throw refuse('the name of an input is missing');
    if (!lengths.every(length => Number.isInteger(length) && length > 0))
      throw refuse('lengths are whole numbers from 1 on');
    if (name in shapes) throw refuse(`'${name}' has a shape already`);
    shapes[name] = lengths;
  }
  return shapes;
}

/** Says that weights of a file were computed once. @param computed their names */
export const computedNote = (computed: readonly string[]): string[] =>
  computed.length > 0
    ? [
        `The file computes ${computed.length} of its weights from constants whenever it runs (${computed[0]}${computed.length > 1 ? ' …' : ''}); they are computed once, since channels could not go otherwise.`,
      ]
    : [];
