/** Number of single-character insertions, deletions and replacements that make `b` of `a` (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}

/** The candidate that is the fewest edits away from what was typed, whatever the case; of equals the first. */
export function nearest(typed: string, candidates: readonly string[]): string {
  const edits = candidates.map(candidate => distance(typed.toLowerCase(), candidate));
  return candidates[edits.indexOf(Math.min(...edits))];
}
