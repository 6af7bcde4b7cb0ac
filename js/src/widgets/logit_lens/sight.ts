/**
 * Tells the kernel where the reader looks while a partial picture is filled: what is in sight there is read next. Knows
 * nothing of how the table is drawn.
 */
import type { Readable } from "../../core/signal";
import type { Lens } from "./lens";
import type { Side } from "./picture";

/** Columns that only scroll by are not looked at. */
const REST_MS = 150;

/** `sight`: the columns in sight, from … to (not included). */
export function followSight(lens: Lens, sight: Readable<{ first: number; last: number }>): void {
  let told = "";
  let rest = 0;
  lens.scope.effect(() => {
    const { first, last } = sight.value;
    const columns = lens.columns.value;
    window.clearTimeout(rest);
    if (!lens.filling.value || columns.read.slice(first, last).every(Boolean)) return;
    const picture = lens.picture.value!;
    const key = [picture.run, lens.show.value, first, last].join("/");
    if (key === told) return;
    rest = window.setTimeout(() => {
      const looked = positionsOf(lens, first, last);
      if (!looked) return;
      told = key;
      lens.source.order({ order: "look", ...looked });
    }, REST_MS);
  });
  lens.scope.add(() => window.clearTimeout(rest));
}

/** The first and the last position of these columns, in the prompt of A, or of B where A has none of them. */
function positionsOf(lens: Lens, first: number, last: number): { side: Side; positions: number[] } | null {
  const { at } = lens.columns.peek();
  const manifest = lens.picture.peek()?.manifest;
  const axes = { A: manifest?.positions ?? [], B: manifest?.compare?.positions ?? [] };
  for (const side of ["A", "B"] as const) {
    const positions = at[side].slice(first, last).flatMap((place) => (place < 0 ? [] : [axes[side][place]!]));
    if (positions.length) return { side, positions: [Math.min(...positions), Math.max(...positions)] };
  }
  return null;
}
