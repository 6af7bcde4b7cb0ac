/**
 * What the logit lens lacks: the whole top k of the rows in sight, fetched after the picture is drawn, so that the
 * pointer never waits for the kernel. The locked row comes first.
 */
import { Fetcher } from "../../core/fetcher";
import type { Readable } from "../../core/signal";
import type { Lens } from "./lens";

/** Rows that only scroll by are not fetched. */
const REST_MS = 150;
/** Rows in one answer: about a megabyte at a thousand positions. */
const TOGETHER = 16;

/** `sight`: the rows in sight, from … to (not included). */
export function loadRows(lens: Lens, sight: Readable<{ first: number; last: number }>): Fetcher<number> {
  return new Fetcher(
    lens,
    () => {
      const pieces = new Map<string, number>();
      const picture = lens.picture.value;
      void lens.arrived.value;
      const { first, last } = sight.value;
      const rows = [lens.cell.value?.row ?? -1];
      for (let row = last - 1; row >= first; row--) rows.push(row);
      const sides = lens.sides.value;
      for (const row of lens.canCompute.value && picture ? rows : []) {
        const missing = sides.filter((side) => row >= 0 && !picture!.hasRow(side, row));
        // A partial picture has fuller successors in the same run.
        if (missing.length) pieces.set([picture!.run, picture!.progress?.read ?? "", ...missing, row].join("/"), row);
      }
      return { pieces, rest: REST_MS };
    },
    (pieces) => {
      const picture = lens.picture.peek()!;
      const [names, rows] = [[...pieces.keys()], [...pieces.values()]].map((all) => all.slice(0, TOGETHER)) as [string[], number[]];
      const sides = lens.sides.peek().filter((side) => rows.some((row) => !picture.hasRow(side, row)));
      return [
        {
          names,
          asked: { want: "rows", run: picture.run, heads: [], sides, show: lens.show.peek(), rows },
          arrived(parcel) {
            if (parcel) picture.feed(parcel);
            lens.arrived.value = lens.arrived.peek() + 1;
          },
        },
      ];
    },
    1,
  );
}
