/**
 * Fetches the whole top k of the rows in sight after the picture is drawn, so that the pointer never waits for the
 * kernel. The locked row comes first; what failed is not asked for again in the same run.
 */
import { Signal, type Readable } from "../../core/signal";
import type { Lens } from "./lens";
import type { LensPicture, Side } from "./picture";

/** Rows that only scroll by are not fetched. */
const REST_MS = 150;
/** Rows in one answer: about a megabyte at a thousand positions. */
const TOGETHER = 16;
const PATIENCE_MS = 1000;

/** A row of one picture; a partial one has fuller successors in the same run. */
function nameOf(picture: LensPicture, side: Side, row: number): string {
  return [picture.run, picture.progress?.read ?? "", side, row].join("/");
}

export class Loader {
  /** Nothing that could be fetched is missing. */
  readonly complete = new Signal(true);
  #lens: Lens;
  #sight: Readable<{ first: number; last: number }>;
  #failed = new Set<string>();
  #flight: AbortController | null = null;
  #rest = 0;
  #patience = 0;

  constructor(lens: Lens, sight: Readable<{ first: number; last: number }>) {
    this.#lens = lens;
    this.#sight = sight;
    const { scope } = lens;
    let wasLive = true;
    scope.effect(() => {
      const live = lens.canCompute.value;
      // What failed because the kernel was gone may be asked for again once it is back.
      if (live && !wasLive) this.#failed.clear();
      wasLive = live;
      void lens.picture.value;
      void lens.arrived.value;
      void lens.sides.value;
      void lens.cell.value;
      void sight.value;
      const filling = lens.filling.value;
      window.clearTimeout(this.#rest);
      const wanted = this.#wanted();
      this.complete.value = wanted.length === 0 && !filling;
      if (wanted.length) this.#rest = window.setTimeout(() => this.#fetch(), REST_MS);
    });
    // Rows of a picture that is gone are of no use.
    let shown = lens.picture.peek();
    scope.effect(() => {
      const picture = lens.picture.value;
      if (picture === shown) return;
      shown = picture;
      this.#flight?.abort();
      this.#flight = null;
    });
    scope.add(() => {
      window.clearTimeout(this.#rest);
      window.clearTimeout(this.#patience);
      this.#flight?.abort();
    });
  }

  #wanted(): number[] {
    const lens = this.#lens;
    const picture = lens.picture.peek();
    if (!picture || !lens.canCompute.peek()) return [];
    const { first, last } = this.#sight.peek();
    const rows = new Set([lens.cell.peek()?.row ?? -1]);
    for (let row = last - 1; row >= first; row--) rows.add(row);
    const sides = lens.sides.peek();
    const missing = (row: number): boolean =>
      row >= 0 && sides.some((side) => !picture.hasRow(side, row) && !this.#failed.has(nameOf(picture, side, row)));
    return [...rows].filter(missing);
  }

  #fetch(): void {
    const lens = this.#lens;
    const picture = lens.picture.peek();
    const rows = this.#wanted().slice(0, TOGETHER);
    if (!picture || !rows.length || this.#flight) return;
    const sides: Side[] = lens.sides.peek().filter((side) => rows.some((row) => !picture.hasRow(side, row)));
    const flight = new AbortController();
    this.#flight = flight;
    const landed = (): void => {
      if (this.#flight === flight) this.#flight = null;
      window.clearTimeout(this.#patience);
      lens.waiting.value = false;
      // What is still missing was not given: asking again would go on for ever.
      for (const row of rows) for (const side of sides) if (!picture.hasRow(side, row)) this.#failed.add(nameOf(picture, side, row));
      lens.arrived.value = lens.arrived.peek() + 1;
    };
    lens.source
      .request({ want: "rows", run: picture.run, heads: [], sides, show: lens.show.peek(), rows }, flight.signal)
      .then((parcel) => {
        lens.report(null);
        if (parcel) picture.feed(parcel);
      })
      .catch((reason: unknown) => {
        if (!flight.signal.aborted) lens.report(reason);
      })
      .finally(() => {
        if (!flight.signal.aborted) landed();
      });
    lens.expectKernel(false);
    window.clearTimeout(this.#patience);
    this.#patience = window.setTimeout(() => (lens.waiting.value = this.#flight !== null), PATIENCE_MS);
  }
}
