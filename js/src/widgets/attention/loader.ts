/**
 * Fetches what the picture lacks: the heads in view at full resolution, and the thumbnails of the other side. Nothing is
 * fetched while the pointer only passes over a head; what is no longer wanted is cancelled.
 */
import { Signal } from "../../core/signal";
import type { Parcel } from "../../core/blocks";
import type { Asked } from "../../core/requests";
import type { Show } from "../../core/wire.gen";
import type { Explorer, Head } from "./explorer";

/** The pointer must rest on a head this long before its block is fetched. */
const DWELL_MS = 120;
const PATIENCE_MS = 1000;

interface Flight {
  names: string[];
  abort: AbortController;
}

export class Loader {
  #explorer: Explorer;
  #flights = new Set<Flight>();
  #failed = new Set<string>();
  #dwell = 0;
  #patience = 0;
  /** Nothing that could be fetched is missing. */
  readonly complete = new Signal(false);

  constructor(explorer: Explorer) {
    this.#explorer = explorer;
    const { scope } = explorer;
    let selected = explorer.selection.peek();
    let wasLive = true;
    scope.effect(() => {
      const picture = explorer.picture.value;
      const show = explorer.show.value;
      const hovered = explorer.hoverHead.value;
      const live = explorer.source.liveness.value === "live";
      // What failed because the kernel was gone may be asked for again once it is back.
      if (live && !wasLive) this.#failed.clear();
      wasLive = live;
      void explorer.heads.version.value;
      const heads = [explorer.focused.value, explorer.locked.value, ...explorer.overlaid.value];
      if (explorer.selection.value !== selected) {
        selected = explorer.selection.peek();
        this.#retry([explorer.locked.peek(), ...explorer.overlaid.peek()]);
      }
      window.clearTimeout(this.#dwell);
      if (!picture || !live) {
        this.complete.value = true;
        return;
      }
      const fetch = (): void => this.#want(picture.run, show, heads, !picture.atlases.has(show));
      if (hovered) this.#dwell = window.setTimeout(fetch, DWELL_MS);
      else fetch();
    });
    scope.add(() => {
      window.clearTimeout(this.#dwell);
      window.clearTimeout(this.#patience);
      for (const flight of this.#flights) flight.abort.abort();
    });
  }

  /** The reader asks for these heads anew: that they failed before is no reason not to try. */
  #retry(heads: (Head | null)[]): void {
    for (const name of [...this.#failed]) {
      if (heads.some((head) => head && name.endsWith(`/${head.layer}.${head.head}`))) this.#failed.delete(name);
    }
  }

  #want(run: number, show: Show, heads: (Head | null)[], atlas: boolean): void {
    const { heads: held } = this.#explorer;
    const wanted = new Map<string, { head: Head; sides: ("A" | "B")[] }>();
    for (const head of heads) {
      if (!head) continue;
      const sides = held.missing(run, show, head.layer, head.head);
      const name = `${run}/${show}/${head.layer}.${head.head}`;
      if (sides.length && !this.#failed.has(name)) wanted.set(name, { head, sides });
    }
    const atlasName = `${run}/${show}/atlas`;
    const names = new Set(wanted.keys());
    if (atlas && !this.#failed.has(atlasName)) names.add(atlasName);
    for (const flight of [...this.#flights]) {
      if (flight.names.every((name) => !names.has(name))) {
        this.#flights.delete(flight);
        flight.abort.abort();
      }
    }
    for (const flight of this.#flights) for (const name of flight.names) names.delete(name);
    if (names.delete(atlasName)) this.#fetchAtlas(run, show, atlasName);
    if (names.size) this.#fetchHeads(run, show, [...names], wanted);
    this.#settle();
  }

  #fetchHeads(run: number, show: Show, names: string[], wanted: Map<string, { head: Head; sides: ("A" | "B")[] }>): void {
    const entries = names.map((name) => wanted.get(name)!);
    const sides = (["A", "B"] as const).filter((side) => entries.some((entry) => entry.sides.includes(side)));
    const heads = entries.map(({ head }) => [head.layer, head.head]);
    this.#fly(names, run, { want: "heads", run, heads, sides, show }, (parcel) => {
      const held = this.#explorer.heads;
      if (parcel) held.feed(parcel, run);
      // An answer without the block would be asked for for ever.
      names.forEach((name, at) => {
        const { head } = entries[at]!;
        if (held.missing(run, show, head.layer, head.head).length) this.#failed.add(name);
      });
    });
  }

  #fetchAtlas(run: number, show: Show, name: string): void {
    this.#fly([name], run, { want: "atlas", run, heads: [], sides: [], show }, (parcel) => {
      if (parcel?.blocks.has(`atlas/${show}`)) this.#explorer.addAtlas(run, parcel);
      else this.#failed.add(name);
    });
  }

  #fly(names: string[], run: number, asked: Asked, arrived: (parcel: Parcel | null) => void): void {
    const flight: Flight = { names, abort: new AbortController() };
    this.#flights.add(flight);
    const explorer = this.#explorer;
    explorer.source
      .request(asked, flight.abort.signal)
      .then((parcel) => {
        explorer.report(null);
        if (explorer.picture.peek()?.run === run) arrived(parcel);
      })
      .catch((reason: unknown) => {
        if (reason instanceof DOMException && reason.name === "AbortError") return;
        for (const name of names) this.#failed.add(name);
        explorer.report(reason);
      })
      .finally(() => {
        this.#flights.delete(flight);
        this.#settle();
      });
    explorer.expectKernel(false);
    window.clearTimeout(this.#patience);
    this.#patience = window.setTimeout(() => (explorer.waiting.value = this.#flights.size > 0), PATIENCE_MS);
  }

  #settle(): void {
    this.complete.value = this.#flights.size === 0;
    if (this.#flights.size === 0) {
      window.clearTimeout(this.#patience);
      this.#explorer.waiting.value = false;
    }
  }
}
