import { amount, bytes, count, duration, milliseconds, percent, table, within } from '../util/format.ts';

interface Accuracy {
  readonly accuracy: number;
  readonly images: number;
  readonly interval: readonly [number, number];
}

interface Change {
  readonly before: number;
  readonly after: number;
  readonly ratio: number;
}

/** What the report reads of a pruning run's `result.json`. */
export interface PruneReport {
  readonly model: string;
  readonly data: string;
  readonly method: string;
  /** The start was a trained file. */
  readonly trainedStart: boolean;
  readonly directory: string;
  readonly budget: { readonly resource: string; readonly value: number };
  readonly macs: Change;
  readonly params: Change;
  readonly bytes: Change;
  readonly accuracy: {
    readonly measure: string;
    readonly dense: Accuracy | null;
    readonly soft?: Accuracy;
    readonly cut?: Accuracy;
    readonly hard: Accuracy;
    readonly onnx: Accuracy;
  };
  readonly changed: {
    readonly against: 'start' | 'soft';
    readonly images: number;
    readonly of: number;
    readonly worstClasses: readonly {
      readonly name: string;
      readonly before: number;
      readonly after: number;
      readonly images: number;
    }[];
  } | null;
  readonly gap: { readonly js: number; readonly l2: number } | null;
  readonly widths: readonly { readonly group: string; readonly size: number; readonly kept: number }[];
  /** Answers of the file and of the network under the training engine. */
  readonly engine: { readonly differing: number; readonly images: number };
  readonly certificate: {
    readonly maxAbsError: number | null;
    readonly maxRelError: number | null;
    readonly argmaxAgreement: number | null;
    readonly inputs: number;
    readonly limit: number;
    readonly passed: boolean;
    readonly failure?: string;
  };
  readonly latency: readonly {
    readonly batch: number;
    readonly threads: number;
    readonly before: number | null;
    readonly after: number | null;
    readonly speedup: number | null;
    readonly notRun?: string;
  }[];
  readonly steps: number;
  readonly epochs: number;
  readonly imagesPerSecond: number;
  readonly seconds: number;
  readonly seed: number;
  readonly threads: number;
  readonly threadsWhy: string;
  readonly skippedImages: readonly string[];
  readonly notes: readonly string[];
  readonly versions: Readonly<Record<string, string>>;
  readonly command: string;
}

/** A pruning run's result for people: the screen's version, or `report.md` with the widths and the conditions. */
export function renderResult(result: PruneReport, style: 'text' | 'markdown'): string {
  const { accuracy, certificate, changed, gap } = result;
  const heading = (text: string) => (style === 'markdown' ? `## ${text}` : `${text}`);
  const share = (a: Accuracy | null) => (a ? within(a.accuracy, a.interval) : '-');
  const change = (name: string, { before, after, ratio }: Change, format: (n: number) => string) => [
    name,
    format(before),
    format(after),
    percent(ratio),
  ];
  const costs = table(
    [
      ['', 'before', 'after', 'kept'],
      change('MACs (papers: "FLOPs")', result.macs, count),
      change('parameters', result.params, count),
      change('size of the constants', result.bytes, bytes),
    ],
    { align: ['left', 'right', 'right', 'right'], style },
  );
  const imitated = accuracy.measure !== 'labels';
  const rows = [
    ['network', imitated ? 'answers like the original' : 'top-1'],
    ...(imitated ? [] : [[result.trainedStart ? 'start' : 'start (untrained)', share(accuracy.dense)]]),
    ...(accuracy.soft ? [['soft (full width, masked)', share(accuracy.soft)]] : []),
    ...(accuracy.cut ? [['at the moment of the cut', share(accuracy.cut)]] : []),
    ['hard (cut)', share(accuracy.hard)],
    ['pruned.onnx, by ONNX Runtime', share(accuracy.onnx)],
  ];
  const accuracies = table(rows, { align: ['left', 'right'], style });
  const ms = (value: number | null) => (value === null ? '-' : milliseconds(value));
  const latency = table(
    [
      ['batch', 'threads', 'before', 'after', 'times faster'],
      ...result.latency.map(row => [
        String(row.batch),
        String(row.threads),
        ms(row.before),
        row.notRun ?? ms(row.after),
        row.speedup?.toFixed(2) ?? '-',
      ]),
    ],
    { align: ['right', 'right', 'right', 'right', 'right'], style },
  );
  const error = (value: number | null) => value?.toExponential(1) ?? 'not measured';
  const proof = [
    `${certificate.passed ? 'passed: the file computes' : 'FAILED: the file does not compute'} what was trained. Largest error ${error(certificate.maxAbsError)}`,
    `(${error(certificate.maxRelError)} of the output's scale, limit ${certificate.limit.toExponential(0)})`,
    `on ${amount(certificate.inputs, 'input')}${certificate.argmaxAgreement === null ? '' : `, same answer on ${percent(certificate.argmaxAgreement)}`}.`,
    ...(certificate.failure ? [`${certificate.failure}.`] : []),
    `On ${result.engine.images} test images it answers ${result.engine.differing === 0 ? 'as' : `${result.engine.differing} otherwise than`} the network under the training engine.`,
  ].join(' ');
  const sections = [
    ...(style === 'markdown' ? [`# ${result.model} on ${result.data}, pruned by ${result.method}`] : []),
    accuracies,
    ...(changed ? [changedAnswers(changed)] : []),
    costs,
    heading(style === 'markdown' ? 'Latency' : 'Latency in ONNX Runtime'),
    latency,
    heading('Certificate'),
    proof,
  ];
  const time = `${duration(result.seconds)}, ${amount(result.steps, 'step')} (${result.epochs.toFixed(2)} epochs), ${Math.round(result.imagesPerSecond)} images/s on ${amount(result.threads, 'thread')}`;
  if (style === 'text') return [...sections, `Time ${time}.`, `${result.directory}/pruned.onnx`].join('\n\n');
  const page = [
    ...sections,
    heading('Widths'),
    table(
      [
        ['group', 'channels', 'kept'],
        ...result.widths.map(({ group, size, kept }) => [group, String(size), String(kept)]),
      ],
      { align: ['left', 'right', 'right'], style },
    ),
    heading('Run'),
    `\`${result.command}\``,
    `${time} (${result.threadsWhy}); seed ${result.seed}.`,
    ...(gap
      ? [
          `Gap between soft and hard on the test images: Jensen-Shannon ${gap.js.toFixed(4)} nats, L2 of the probabilities ${gap.l2.toFixed(4)}.`,
        ]
      : []),
    ...(result.skippedImages.length
      ? [`Skipped images that could not be decoded: ${result.skippedImages.join(', ')}.`]
      : []),
    ...result.notes,
    Object.entries(result.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
  ].join('\n\n');
  return `${page}\n`;
}

function changedAnswers({ images, of, against, worstClasses }: NonNullable<PruneReport['changed']>): string {
  const worst = worstClasses.map(({ name, before, after, images: all }) => `${name} ${before} to ${after} of ${all}`);
  const lost = worst.length ? `; classes that lost most: ${worst.join(', ')}` : '';
  return `${images} of ${of} test images changed their answer against the ${against === 'start' ? 'start' : 'soft network'}${lost}.`;
}
