import { bytes, count, percent, table } from '../util/format.ts';
import { printable } from '../util/printable.ts';

interface Change {
  readonly before: number;
  readonly after: number;
  readonly ratio: number;
}

/** What the report reads of a cut. */
export interface CutReport {
  readonly model: string;
  readonly file: string | null;
  readonly plan: string | null;
  readonly macs: Change & {
    readonly unknown: number;
    readonly uncounted: readonly { readonly node: string; readonly why: string }[];
  };
  readonly params: Change;
  readonly bytes: Change;
  readonly widths: readonly { readonly group: string; readonly size: number; readonly kept: number }[];
  readonly notes: readonly string[];
  readonly certificate: null | {
    readonly passed: boolean;
    readonly failure?: string;
    readonly maxAbsError: number | null;
    readonly maxRelError: number | null;
    readonly limit: number;
    readonly inputs: number;
    readonly argmaxAgreement: number | null;
    readonly notes: readonly string[];
  };
}

const longest = 100;

/** A cut for people. */
export function renderCut(report: CutReport): string {
  const { model, file, plan, macs, params, widths } = report;
  const change = (name: string, { before, after, ratio }: Change, format: (n: number) => string, prefix = '') => [
    name,
    prefix + format(before),
    prefix + format(after),
    `${percent(ratio)}${prefix ? ' of these' : ''}`,
  ];
  const cut = widths.filter(({ size, kept }) => kept < size);
  const rows = cut.slice(0, longest).map(({ group, size, kept }) => [printable(group), String(size), String(kept)]);
  const more = cut.length - rows.length;
  return [
    [
      table([
        ['', 'before', 'after', 'kept'],
        change('MACs (papers: "FLOPs")', macs, count, macs.unknown > 0 ? 'at least ' : ''),
        change('parameters', params, count),
        change('size of the constants', report.bytes, bytes),
      ]),
      ...uncounted(macs),
    ].join('\n'),
    [
      table([['group', 'channels', 'kept'], ...rows]),
      ...(more > 0 ? [`… and ${more} more.`] : []),
      ...(cut.length < widths.length ? [`${widths.length - cut.length} more groups stay whole.`] : []),
    ].join('\n'),
    proof(report.certificate),
    ...(report.notes.length > 0 ? [report.notes.join('\n')] : []),
    file === null
      ? `Nothing was written: the cut of ${printable(model)} is not proven.`
      : [`Wrote ${printable(file)}`, ...(plan === null ? [] : [`the plan ${printable(plan)}`])].join(' and '),
  ].join('\n\n');
}

function uncounted({ uncounted: nodes }: CutReport['macs']): string[] {
  if (nodes.length === 0) return [];
  const named = nodes.slice(0, 3).map(({ node, why }) => `${printable(node)} (${printable(why)})`);
  const more = nodes.length - named.length;
  return [`MACs that are not known, and not counted: ${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}.`];
}

function proof(certificate: CutReport['certificate']): string {
  if (!certificate) return 'Not verified (--no-verify).';
  const { passed, failure, maxAbsError, maxRelError, limit, inputs, argmaxAgreement, notes } = certificate;
  const error = (value: number | null) =>
    value === null ? 'not measured' : value === 0 ? '0' : value.toExponential(1);
  const figures = [
    `Largest error ${error(maxAbsError)} (${error(maxRelError)} of the output's scale, limit ${limit.toExponential(0)})`,
    `on ${inputs} random inputs${argmaxAgreement === null ? '' : `, same argmax on ${percent(argmaxAgreement)}`}.`,
  ].join(' ');
  const verdict = passed
    ? 'Certificate passed: the file computes what the full one computes without the removed channels.'
    : `Certificate FAILED: ${printable(failure ?? 'outputs differ.')}`;
  return [inputs > 0 ? `${verdict} ${figures}` : verdict, ...notes.map(note => `- ${printable(note)}`)].join('\n');
}
