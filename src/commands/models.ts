import { z } from 'zod';
import { buildGraph } from '../graph/graph.ts';
import { operators } from '../ops/index.ts';
import { costOf } from '../prune/cost.ts';
import { coupleGraph } from '../prune/groups.ts';
import { count, table } from '../util/format.ts';
import { buildNetwork, type NetworkDescription, networks } from '../zoo/index.ts';
import { defineCommand } from './command.ts';

/** A network that can be named instead of a file, at its published input and head. */
interface Model {
  readonly name: string;
  readonly description: string;
  readonly paper: string;
  /** [channels, height, width] */
  readonly input: readonly number[];
  readonly classes: number;
  /** Trainable parameters. */
  readonly params: number;
  /** Multiply-accumulates of one image. */
  readonly macs: number;
}

export const command = defineCommand({
  name: 'models',
  summary: 'list the architectures that can be named instead of a file',
  description:
    'Parameters and MACs (papers: "FLOPs") are those of the published input and number of classes; a run fits both to its data set.',
  arguments: [],
  options: z.object({}),
  examples: ['models', 'models --json'],
  run: () => ({ models: networks.map(measure) }),
  render: ({ models }) => {
    const rows = models.map(({ name, input, classes, params, macs, description }) => [
      name,
      input.join('x'),
      String(classes),
      count(params),
      count(macs),
      description,
    ]);
    const head = ['name', 'input', 'classes', 'params', 'MACs', 'description'];
    return table([head, ...rows], { align: ['left', 'right', 'right', 'right', 'right', 'left'] });
  },
});

function measure({ name, description, paper, published: { input, classes } }: NetworkDescription): Model {
  const [channels, height, width] = input;
  const model = buildNetwork(name, { channels, size: [height, width], classes, seed: 0, initialise: false });
  const coupling = coupleGraph(buildGraph(model, operators));
  const params = costOf(coupling, 'params').full;
  const macs = costOf(coupling, 'macs').full;
  return { name, description, paper, input, classes, params, macs };
}
