/**
 * Fetches what a view lacks, piece by piece: what is wanted most comes first, what is no longer wanted is cancelled, what
 * failed is not asked for again until there is a reason. Knows nothing of what the pieces hold or how they are kept.
 */
import type { Parcel } from "./blocks";
import type { Asked } from "./requests";
import { Signal, type Readable, type Scope } from "./signal";
import type { Liveness } from "./source";

/** The reader is told that the kernel has not answered once it takes this long. */
const PATIENCE_MS = 1000;

/** Pieces that one request asks for; a piece is known by its name, which no other picture has. */
export interface Order {
  names: string[];
  asked: Asked;
  /** Takes what came; not called where it is no longer wanted. */
  arrived(parcel: Parcel | null): void;
}

/** What a view lacks now. */
export interface Wants<Piece> {
  /** By name, in the order in which they are wanted. */
  pieces: Map<string, Piece>;
  /** They are asked for once nothing has changed for so long: what the reader only passes by is not. */
  rest: number;
}

/** What is seen of the view that the pieces are for. */
export interface Fetching {
  readonly scope: Scope;
  readonly source: { readonly liveness: Readable<Liveness>; request(asked: Asked, signal: AbortSignal): Promise<Parcel | null> };
  readonly waiting: Signal<boolean>;
  report(reason: unknown): void;
  expectKernel(edit: boolean): void;
}

export class Fetcher<Piece> {
  /** Nothing that could be fetched is missing. */
  readonly complete = new Signal(true);
  readonly #view: Fetching;
  readonly #lacks: () => Wants<Piece>;
  readonly #order: (pieces: Map<string, Piece>) => Order[];
  readonly #most: number;
  readonly #flights = new Map<AbortController, string[]>();
  readonly #failed = new Set<string>();
  /** Grows when a request has ended or what failed may be asked for again. */
  readonly #ended = new Signal(0);
  #rest: ReturnType<typeof setTimeout> | undefined;
  #patience: ReturnType<typeof setTimeout> | undefined;

  /** `lacks` is followed; `order` makes requests of what it named, of which `most` are under way at a time. */
  constructor(view: Fetching, lacks: () => Wants<Piece>, order: (pieces: Map<string, Piece>) => Order[], most = Infinity) {
    this.#view = view;
    this.#lacks = lacks;
    this.#order = order;
    this.#most = most;
    const { scope, source } = view;
    let wasLive = true;
    scope.effect(() => {
      const live = source.liveness.value === "live";
      // What failed because the kernel was gone may be asked for again once it is back.
      if (live && !wasLive) this.#failed.clear();
      wasLive = live;
      void this.#ended.value;
      clearTimeout(this.#rest);
      const { pieces, rest } = this.#wanted();
      this.complete.value = !live || pieces.size === 0;
      if (!live) return;
      this.#cancel(pieces);
      if (rest && pieces.size) this.#rest = setTimeout(() => this.#fetch(this.#wanted().pieces), rest);
      else this.#fetch(pieces);
    });
    scope.add(() => {
      clearTimeout(this.#rest);
      clearTimeout(this.#patience);
      for (const flight of this.#flights.keys()) flight.abort();
    });
  }

  /** The reader asks for these anew: that they failed before is no reason not to try. */
  retry(anew: (name: string) => boolean): void {
    for (const name of [...this.#failed]) if (anew(name)) this.#failed.delete(name);
  }

  #wanted(): Wants<Piece> {
    const { pieces, rest } = this.#lacks();
    for (const name of this.#failed) pieces.delete(name);
    return { pieces, rest };
  }

  #cancel(pieces: Map<string, Piece>): void {
    for (const [flight, names] of this.#flights) {
      if (names.some((name) => pieces.has(name))) continue;
      this.#flights.delete(flight);
      flight.abort();
    }
    this.#settle();
  }

  #fetch(pieces: Map<string, Piece>): void {
    const free = new Map(pieces);
    for (const names of this.#flights.values()) for (const name of names) free.delete(name);
    if (free.size && this.#flights.size < this.#most) {
      for (const order of this.#order(free).slice(0, this.#most - this.#flights.size)) this.#fly(order);
    }
  }

  #fly({ names, asked, arrived }: Order): void {
    const view = this.#view;
    const flight = new AbortController();
    this.#flights.set(flight, names);
    view.source
      .request(asked, flight.signal)
      .then((parcel) => {
        view.report(null);
        if (!flight.signal.aborted) arrived(parcel);
        // An answer without the piece would be asked for for ever.
        const { pieces } = this.#lacks();
        for (const name of names) if (pieces.has(name)) this.#failed.add(name);
      })
      .catch((reason: unknown) => {
        if (flight.signal.aborted) return;
        for (const name of names) this.#failed.add(name);
        view.report(reason);
      })
      .finally(() => {
        this.#flights.delete(flight);
        this.#settle();
        this.#ended.value = this.#ended.peek() + 1;
      });
    view.expectKernel(false);
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => (view.waiting.value = this.#flights.size > 0), PATIENCE_MS);
  }

  #settle(): void {
    if (this.#flights.size) return;
    clearTimeout(this.#patience);
    this.#view.waiting.value = false;
  }
}
