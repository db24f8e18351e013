import { createHash } from 'node:crypto';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { type Picture, renderPicture } from '../../src/report/graph-page.ts';

const nasty = `</script><script>alert("x")</script><img src=x onerror='y'>&amp;\u001b[2J\u202e__proto__`;

const picture: Picture = {
  title: nasty,
  nodes: [
    { name: 'a', opType: 'Conv', shapes: ['a: [1, 8]'], groups: [0], walled: [], sums: [], causes: [], lines: [] },
    { name: nasty, opType: nasty, shapes: [], groups: [], walled: [0], sums: [0], causes: [0], lines: [nasty] },
  ],
  edges: [[0, 1, 0]],
  groups: [{ name: nasty, size: 8, kept: 4, macs: 0.5, params: null, members: [nasty] }],
  walls: [{ reason: nasty, unlock: nasty, groups: [nasty] }],
};

const between = (page: string, start: string, end: string) => {
  const from = page.indexOf(start) + start.length;
  return page.slice(from, page.indexOf(end, from));
};

test('nothing of a name reaches the page as markup, and nothing comes from the network', () => {
  const page = renderPicture(picture);
  expect(page.match(/<script/g)).toHaveLength(2);
  expect(page.match(/<\/script>/g)).toHaveLength(2);
  expect(page).not.toContain('<img');
  for (const character of ['\u001b', '\u202e']) expect(page).not.toContain(character);
  expect(page).not.toMatch(/https?:|src=(?!x)|href=|@import|url\(/);
  expect(between(page, '<title>', '</title>')).toMatch(/^&lt;\/script&gt;.*&quot;x&quot;.*&amp;amp;\\u001b/);
  const data = JSON.parse(between(page, 'id="data">', '</script>'));
  expect(data.nodes[1]).toMatchObject({ groups: [], sums: [0], causes: [0], y: 1 });
  expect(data.nodes[1].name).toContain('</script><script>alert("x")');
  expect(data.groups[0].lines.slice(0, 2)).toEqual(['4 of 8 channels', '50.0 % of the MACs depend on it']);
});

test('the policy allows its own script and style only', () => {
  const page = renderPicture(picture);
  const hash = (text: string) => `sha256-${createHash('sha256').update(text).digest('base64')}`;
  const policy = between(page, 'Content-Security-Policy" content="', '"');
  expect(policy).toBe(
    `default-src 'none'; style-src '${hash(between(page, '<style>', '</style>'))}'; script-src '${hash(between(page, '<script>', '</script>'))}'`,
  );
});

/** Just enough of a browser for the page's script: it records what is drawn and who listens. */
function browser(data: string) {
  const drawn: unknown[][] = [];
  const element = () => {
    const listeners = new Map<string, (event: object) => void>();
    return {
      style: {} as Record<string, string>,
      classList: { add() {}, remove() {} },
      children: [] as unknown[],
      clientWidth: 800,
      clientHeight: 600,
      textContent: '',
      hidden: true,
      listeners,
      append(child: unknown) {
        this.children.push(child);
      },
      addEventListener: (name: string, listener: (event: object) => void) => void listeners.set(name, listener),
      getBoundingClientRect: () => ({ left: 0, top: 0 }),
      setPointerCapture() {},
      getContext: () =>
        new Proxy(
          {},
          {
            get:
              (_, name) =>
              (...args: unknown[]) =>
                drawn.push([name, ...args]),
            set: () => true,
          },
        ),
    };
  };
  const elements: Record<string, ReturnType<typeof element>> = {};
  const document = {
    getElementById: (id: string) =>
      (elements[id] ??= Object.assign(element(), id === 'data' ? { textContent: data } : {})),
    createElement: element,
    querySelectorAll: () => [],
  };
  const globals = {
    document,
    matchMedia: () => ({ matches: false }),
    requestAnimationFrame: (paint: () => void) => paint(),
    addEventListener() {},
    devicePixelRatio: 1,
    innerWidth: 1000,
    innerHeight: 700,
  };
  return { globals, elements, drawn };
}

test('its script draws, answers the hover with the text of the node, and finds a group', () => {
  const page = renderPicture(picture);
  const { globals, elements, drawn } = browser(between(page, 'id="data">', '</script>'));
  runInNewContext(between(page, '<script>', '</script>'), globals);
  expect(drawn.filter(([name]) => name === 'strokeRect')).toHaveLength(2);
  expect(drawn.filter(([name]) => name === 'fillText').map(([, text]) => text)).toContain('Conv');
  expect([elements.groups.children.length, elements.walls.children.length]).toEqual([1, 1]);
  const box = drawn.find(([name]) => name === 'strokeRect') as [string, number, number];
  elements.graph.listeners.get('pointermove')!({ clientX: box[1] + 5, clientY: box[2] + 5 });
  expect(elements.tip).toMatchObject({ hidden: false, textContent: 'Conv  a\na: [1, 8]' });
  const before = drawn.length;
  const [group] = elements.groups.children as ReturnType<typeof browser>['elements'][string][];
  group.listeners.get('click')!({});
  expect(drawn.length).toBeGreaterThan(before);
});
