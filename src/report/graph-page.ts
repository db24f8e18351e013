import { createHash } from 'node:crypto';
import { amount, count, percent } from '../util/format.ts';
import { printable } from '../util/printable.ts';
import { script, style } from './graph-page-parts.ts';
import { layered } from './layered.ts';

/** A node of the picture; what only computes shapes or constants is left out. */
export interface PictureNode {
  readonly name: string;
  readonly opType: string;
  /** `1x64x56x56` of every output. */
  readonly shapes: readonly string[];
  /** Groups whose channels lie on its outputs, walls likewise. */
  readonly groups: readonly number[];
  readonly walled: readonly number[];
  /** Groups that it sums over. */
  readonly sums: readonly number[];
  /** Walls that it is the reason of. */
  readonly causes: readonly number[];
  /** Sentences for the hover. */
  readonly lines: readonly string[];
}

/** A graph with its groups, as plain data. */
export interface Picture {
  readonly title: string;
  readonly nodes: readonly PictureNode[];
  /** The group that the value carries, -1: none. Edges lead from lower to higher numbers. */
  readonly edges: readonly (readonly [from: number, to: number, group: number])[];
  readonly groups: readonly {
    readonly name: string;
    readonly size: number;
    readonly kept?: number;
    readonly macs: number | null;
    readonly params: number | null;
    readonly members: readonly string[];
  }[];
  readonly walls: readonly {
    readonly reason: string;
    readonly unlock: string | null;
    readonly groups: readonly string[];
  }[];
}

/**
 * The picture as one page that needs no network: names from the file enter it as JSON and are set as text only, and its
 * policy allows nothing but its own script.
 */
export function renderPicture(picture: Picture): string {
  const { x, row, bend } = layered(
    picture.nodes.length,
    picture.edges.map(([from, to]) => [from, to]),
  );
  const data = {
    nodes: picture.nodes.map(({ name, opType, shapes, lines, ...rest }, i) => ({
      ...rest,
      name: printable(name),
      op: printable(opType),
      lines: [...shapes, ...lines].map(printable),
      x: rounded(x[i]),
      y: row[i],
    })),
    edges: picture.edges.map((edge, i) => (Number.isNaN(bend[i]) ? edge : [...edge, rounded(bend[i])])),
    groups: picture.groups.map(({ name, size, kept, macs, params, members }) => ({
      name: printable(name),
      lines: [
        `${kept === undefined ? '' : `${kept} of `}${size} channels`,
        ...(macs === null ? [] : [`${percent(macs)} of the MACs depend on it`]),
        ...(params === null ? [] : [`${percent(params)} of the parameters`]),
        ...members.map(printable),
      ],
    })),
    walls: picture.walls.map(({ reason, unlock, groups }) => ({
      name: printable(reason),
      lines: [...(unlock === null ? [] : [unlock]), ...(groups.length > 0 ? [`keeps ${groups.join(', ')}`] : [])].map(
        printable,
      ),
    })),
  };
  const channels = picture.groups.reduce((sum, group) => sum + group.size, 0);
  const summary = `${amount(picture.nodes.length, 'node')}, ${amount(picture.groups.length, 'group')} of ${count(channels)} channels, ${amount(picture.walls.length, 'wall')}`;
  const policy = `default-src 'none'; style-src 'sha256-${hashOf(style)}'; script-src 'sha256-${hashOf(script)}'`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escaped(picture.title)}</title>
<style>${style}</style>
<aside>
<h1>${escaped(picture.title)}</h1>
<p>${escaped(summary)}</p>
<p>Colours are groups of channels that go together. Grey: channels that stay; a red frame: the node that is the reason. Drag to move, wheel to zoom, hover to read, click a group or a wall to find it.</p>
<input id="search" type="search" placeholder="find a node" aria-label="find a node">
<div id="found"></div>
<h2>Groups</h2><ul id="groups"></ul>
<h2>Walls</h2><ul id="walls"></ul>
</aside>
<canvas id="graph" tabindex="0" aria-label="the graph"></canvas>
<div id="tip" hidden></div>
<script type="application/json" id="data">${json(data)}</script>
<script>${script}</script>
</html>
`;
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64');

/** JSON that cannot end the element that it stands in. */
const json = (data: unknown): string => JSON.stringify(data).replaceAll('<', '\\u003c');

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for HTML. */
const escaped = (text: string): string => printable(text).replace(/[&<>"']/g, character => entities[character]);
