/** Which labels of a dense axis are written so that none overlap. Knows nothing of text or canvases. */

/**
 * Positions between `first` and `last` (excluded) to label.
 *
 * `cell` is the length of one position and `room` the length one label needs, both in pixels. Labels stand at a
 * regular step, so that they stay where they are while the axis moves. `always` are written in any case, and
 * neighbours that would touch them are left out.
 */
export function thinned(first: number, last: number, cell: number, room: number, always: number[] = []): number[] {
  if (cell <= 0 || last <= first) return [];
  const step = Math.max(1, roundUp(room / cell));
  const inside = always.filter((position) => position >= first && position < last);
  const kept = [...new Set(inside)].filter(
    (position, at, all) => !all.slice(0, at).some((other) => Math.abs(other - position) * cell < room),
  );
  const out = [...kept];
  for (let position = Math.ceil(first / step) * step; position < last; position += step) {
    if (kept.every((other) => Math.abs(other - position) * cell >= room)) out.push(position);
  }
  return out.sort((left, right) => left - right);
}

/** The next of 1, 2, 5, 10, 20, 50 … that is at least `size`. */
function roundUp(size: number): number {
  if (size <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(size));
  for (const lead of [1, 2, 5, 10]) if (lead * power >= size - 1e-9) return lead * power;
  return 10 * power;
}
