import { z } from 'zod';
import { describeDatasets } from '../data/index.ts';
import { table } from '../util/format.ts';
import { defineCommand } from './command.ts';

export const command = defineCommand({
  name: 'data',
  summary: 'list the data sets and where they are',
  description:
    'Besides these, --data takes any folder of images: <folder>/train/<class>/*.jpg and <folder>/val/<class>/*.jpg, or <folder>/<class>/*.jpg with --val-fraction.',
  arguments: [],
  options: z.object({
    dataDir: z
      .string()
      .optional()
      .meta({ value: 'DIR', description: 'folder to look in first; else $S2H_DATA and the cache' }),
  }),
  examples: ['data', 'data --data-dir ~/datasets'],
  run: (_, { dataDir }) => ({ datasets: describeDatasets(dataDir) }),
  render: ({ datasets }) => {
    const rows = datasets.map(({ name, classes, shape, found, about }) => [
      name,
      shape.join('x'),
      String(classes),
      found ?? '(fetched when asked for)',
      about,
    ]);
    return table([['name', 'image', 'classes', 'where', 'what'], ...rows], {
      align: ['left', 'right', 'right', 'left', 'left'],
    });
  },
});
