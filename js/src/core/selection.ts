/**
 * Who is right when several views, and Python, change one selection: the larger stamp is the newer.
 * Knows nothing of how a selection is drawn or sent.
 */
import { NOTHING, type SelectionValue } from "./wire.gen";

export { NOTHING };

export const MAX_OVERLAID = 4;

/** Whether `offered` is to replace `known`. */
export function isNewer(offered: SelectionValue, known: SelectionValue): boolean {
  return (offered.stamp ?? 0) > (known.stamp ?? 0);
}

/** `known` with some fields changed, newer than anything seen so far. */
export function changed(known: SelectionValue, change: Partial<SelectionValue>, highestStamp = 0): SelectionValue {
  return { ...known, ...change, stamp: Math.max(known.stamp ?? 0, highestStamp) + 1 };
}

/** The overlaid heads with one more, or one less if it was there; at most four, the oldest leaves first. */
export function toggled(heads: number[][], layer: number, head: number): number[][] {
  const without = heads.filter((pair) => pair[0] !== layer || pair[1] !== head);
  if (without.length < heads.length) return without;
  return [...without, [layer, head]].slice(-MAX_OVERLAID);
}
