import { amount, bytes, count, percent, table } from '../util/format.ts';
import { printable } from '../util/printable.ts';

interface Cost {
  readonly full: number;
  readonly lowest: number;
  readonly unknown: readonly { readonly node: string; readonly why: string }[];
}

/** What the report reads of an inspection. */
export interface InspectReport {
  readonly file: string;
  readonly html: string | null;
  readonly nodes: number;
  readonly groups: readonly {
    readonly name: string;
    readonly size: number;
    readonly members: readonly unknown[];
    readonly macs: number | null;
    readonly params: number | null;
    readonly whole: boolean;
    readonly kept?: number;
  }[];
  readonly walls: readonly {
    readonly reason: string;
    readonly unlock: string | null;
    readonly groups: readonly { readonly name: string; readonly size: number }[];
  }[];
  readonly costs: { readonly macs: Cost; readonly params: Cost; readonly size: Cost };
  readonly dynamic: readonly string[];
  readonly budget: null | {
    readonly resource: string;
    readonly value: number;
    readonly reachable: boolean;
    readonly why?: string;
    readonly reached?: number;
    readonly criterion: string;
    readonly scope: string;
  };
  readonly notes: readonly string[];
}

/** An inspection for people. */
export function renderInspection(report: InspectReport): string {
  const { file, nodes, groups, walls } = report;
  const channels = groups.reduce((sum, group) => sum + group.size, 0);
  const found = groups.length
    ? `${amount(groups.length, 'group')} of ${channels} channels can be pruned`
    : 'no channels can be pruned';
  return [
    `${printable(file)}: ${amount(nodes, 'node')}; ${found}, ${amount(walls.length, 'wall')}.`,
    ...(groups.length > 0 ? [groupTable(report)] : []),
    ...(walls.length > 0 ? [wallList(walls)] : []),
    costTable(report),
    ...(report.budget ? [verdict(report.budget)] : []),
    ...report.notes.map(printable),
    ...(report.html === null ? [] : [`Drew ${printable(report.html)}`]),
  ].join('\n\n');
}

const longest = 100;

function groupTable({ groups, costs, budget }: InspectReport): string {
  const share = (value: number | null) => (value === null ? '-' : percent(value));
  const isWhole = groups.some(group => group.whole);
  const hasWidths = budget?.reachable === true;
  const head = [
    'group',
    'channels',
    ...(hasWidths ? ['kept'] : []),
    'axes',
    costs.macs.unknown.length > 0 ? 'of known MACs' : 'of MACs',
    'of parameters',
    ...(isWhole ? [''] : []),
  ];
  const rows = groups
    .slice(0, longest)
    .map(({ name, size, kept, members, macs, params, whole }) => [
      printable(name),
      String(size),
      ...(hasWidths ? [String(kept)] : []),
      String(members.length),
      share(macs),
      share(params),
      ...(isWhole ? [whole ? 'stays whole' : ''] : []),
    ]);
  const more = groups.length - rows.length;
  return [table([head, ...rows]), ...(more > 0 ? [`… and ${more} more; --json has all, with their axes.`] : [])].join(
    '\n',
  );
}

function wallList(walls: InspectReport['walls']): string {
  const told = new Set<string>();
  const lines = walls.slice(0, longest).flatMap(({ reason, unlock, groups }) => {
    const names = groups.slice(0, 5).map(({ name, size }) => `${printable(name)} (${size})`);
    const more = groups.length - names.length;
    const behind = names.length > 0 ? `: ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}` : '';
    const isNew = unlock !== null && !told.has(unlock);
    if (isNew) told.add(unlock);
    return [`- ${printable(reason)}${behind}`, ...(isNew ? [`  ${printable(unlock)}`] : [])];
  });
  const rest = walls.length > longest ? [`… and ${walls.length - longest} more; --json has all.`] : [];
  return ['Walls: channels that have to stay, and why', ...lines, ...rest].join('\n');
}

function costTable({ costs, dynamic, groups }: InspectReport): string {
  const row = (name: string, { full, lowest, unknown }: Cost, format: (n: number) => string) => [
    name,
    `${unknown.length > 0 ? 'at least ' : ''}${format(full)}`,
    unknown.length > 0 && dynamic.length > 0
      ? 'unknown'
      : groups.length > 0
        ? `${percent(lowest)} to 100 %${unknown.length > 0 ? ' of these' : ''}`
        : 'all of it',
  ];
  const rows = [
    ['', 'now', 'can be kept'],
    row('MACs (papers: "FLOPs")', costs.macs, count),
    row('parameters', costs.params, count),
    row('size of the constants', costs.size, bytes),
  ];
  const { unknown } = costs.macs;
  const reasons = unknown.slice(0, 3).map(({ node, why }) => `${printable(node)} (${printable(why)})`);
  const more = unknown.length - reasons.length;
  const sentence = `MACs of ${amount(unknown.length, 'node')} are not known: ${reasons.join(', ')}${more > 0 ? ` and ${more} more` : ''}.`;
  const hint = dynamic.length
    ? ` Give the lengths of dynamic axes: ${dynamic.map(shape => `--shape ${printable(shape)}`).join(' ')}`
    : ' They are not counted: a budget of MACs is one of the others.';
  return [table(rows), ...(unknown.length > 0 ? [sentence + hint] : [])].join('\n');
}

const resourceNames: Readonly<Record<string, string>> = { macs: 'MACs', params: 'parameters', size: 'size' };

function verdict({
  resource,
  value,
  reachable,
  why,
  reached,
  criterion,
  scope,
}: NonNullable<InspectReport['budget']>): string {
  const name = resourceNames[resource] ?? resource;
  const asked =
    value <= 1 ? `${percent(value)} of the ${name}` : `${resource === 'size' ? bytes(value) : count(value)} ${name}`;
  return reachable
    ? `The budget of ${asked} can be met: these widths, chosen by ${criterion} (${scope}), keep ${percent(reached ?? 0, 2)}.`
    : `The budget of ${asked} cannot be met. ${printable(why ?? '')}`;
}
