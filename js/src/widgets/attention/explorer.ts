/**
 * What the attention explorer knows beyond what every view does: heads and their pictures, what is pointed at, and
 * everything that follows from them. Its parts read its signals and call its actions. Knows nothing of the DOM.
 */
import { openParcel, type Parcel } from "../../core/blocks";
import type { Grid } from "../../core/grid";
import type { Head } from "../../core/interventions";
import { kindOf } from "../../core/described";
import { Linked, type Given } from "../../core/linked";
import { ATTENTION } from "../../core/options.gen";
import "../../core/palettes";
import { EMPTY_POSITIONS, type Positions } from "../../core/positions";
import { makeMapping, type Mapping } from "../../core/scale";
import { toggled } from "../../core/selection";
import { computed, Signal, type Readable } from "../../core/signal";
import type { AttentionOptions, AttentionState, ScoreColumn, Show } from "../../core/wire.gen";
import { thumbnailCodes, Heads } from "./heads";
import { Picture } from "./picture";

export type { Head };

/** A head on the wall: its place in the order, the score it is sorted by, and whether the filter dims it. */
export interface WallHead extends Head {
  score: number | null;
  dimmed: boolean;
}

export class Explorer extends Linked<AttentionState, AttentionOptions, Picture> {
  /** Pointed at in this view: positions count along the shown axes. */
  readonly hoverHead = new Signal<Head | null>(null);
  readonly hoverCell = new Signal<{ query: number | null; key: number | null } | null>(null);
  readonly hoverPosition = new Signal<number | null>(null);
  readonly heads = new Heads();

  constructor(given: Given<AttentionState>) {
    super(given, kindOf(ATTENTION));
    this.begin(["picture", "focus", "store"]);
  }

  // ---- what follows from the state -------------------------------------------------------------------------------

  /** What the page can show now, which may be less than what was asked for. */
  readonly show: Readable<Show> = computed(() => (this.picture.value?.manifest.compare ? this.options.value.show : "A"));

  readonly positions: Readable<Positions> = computed(() => this.picture.value?.positions(this.show.value) ?? EMPTY_POSITIONS);

  readonly sortColumn: Readable<ScoreColumn | null> = computed(() => this.#column(this.options.value.sort));
  readonly filterColumn: Readable<ScoreColumn | null> = computed(() => this.#column(this.options.value.filter));

  /** Every head in the order of the wall. */
  readonly order: Readable<WallHead[]> = computed(() => {
    const picture = this.picture.value;
    if (!picture) return [];
    const { filter_min, descending } = this.options.value;
    const sort = this.sortColumn.value;
    const filter = this.filterColumn.value;
    const heads: WallHead[] = [];
    picture.manifest.layers.forEach((layer, row) => {
      for (let head = 0; head < picture.manifest.heads; head++) {
        const at = row * picture.manifest.heads + head;
        const filtered = filter?.values[at] ?? null;
        const dimmed = filter !== null && (filtered === null || filtered < filter_min);
        heads.push({ layer, head, score: sort?.values[at] ?? null, dimmed });
      }
    });
    if (sort) {
      const sign = descending ? -1 : 1;
      heads.sort((left, right) => {
        if (left.score === null || right.score === null) return Number(left.score === null) - Number(right.score === null);
        return sign * (left.score - right.score);
      });
    }
    return heads;
  });

  /** The head that is locked: selected, or the first on the wall of the selected layer, or the first of all. */
  readonly locked: Readable<Head | null> = computed(() => {
    const picture = this.picture.value;
    const { layer, head } = this.selection.value;
    if (picture?.has(layer, head)) return { layer: layer!, head: head! };
    const order = this.order.value;
    return order.find((candidate) => candidate.layer === layer) ?? order[0] ?? null;
  });

  /** The locked head is of the selection, and does not only stand in for one that this picture lacks. */
  readonly selected: Readable<boolean> = computed(() => {
    const picture = this.picture.value;
    const { layer, head } = this.selection.value;
    return !!picture && (head === null ? picture.rowOf(layer) >= 0 : picture.has(layer, head));
  });

  /** The head in the large panel: the one pointed at, else the locked one. */
  readonly focused: Readable<Head | null> = computed(() => {
    const hovered = this.hoverHead.value;
    return hovered && this.picture.value?.has(hovered.layer, hovered.head) ? hovered : this.locked.value;
  });

  /** Heads laid over each other in the reading view, as far as this picture has them. */
  readonly overlaid: Readable<Head[]> = computed(() => {
    const picture = this.picture.value;
    return this.selection.value.heads
      .map(([layer = -1, head = -1]) => ({ layer, head }))
      .filter(({ layer, head }) => picture?.has(layer, head));
  });

  /** The heads that are held, whatever the pointer is over: the locked one, and those laid over the text. */
  readonly held: Readable<Head[]> = computed(() => {
    const overlaid = this.overlaid.value;
    const locked = this.locked.value;
    const first = locked && (this.picture.value?.has(locked.layer, this.selection.value.head) || !overlaid.length) ? [locked] : [];
    return [...first, ...overlaid.filter((head) => !first.some((other) => other.layer === head.layer && other.head === head.head))];
  });

  override readonly aimed: Readable<Head[]> = computed(() => {
    const pointed = this.hoverHead.value;
    return pointed && this.picture.value?.has(pointed.layer, pointed.head) ? [pointed] : this.held.value;
  });

  /** The names of the heads that are ablated in what is shown. */
  readonly ablatedShown: Readable<ReadonlySet<string>> = computed(() => this.ablatedIn(this.show.value));

  readonly grid: Readable<Grid | null> = computed(() => {
    const focused = this.focused.value;
    return focused ? this.gridOf(focused) : null;
  });

  readonly mapping: Readable<Mapping> = computed(() => this.mappingOf(this.focused.value));

  /** The mapping of all thumbnails, where they share one range. */
  readonly sharedMapping: Readable<Mapping> = computed(() => this.mappingOf(null));

  readonly query: Readable<number | null> = computed(() => this.#fromA(this.selection.value.query));
  readonly key: Readable<number | null> = computed(() => this.#fromA(this.selection.value.key));

  /** The token of the reading view: pointed at (here or in a linked view), else locked. */
  readonly readFrom: Readable<number | null> = computed(() => {
    const here = this.hoverPosition.value;
    if (here !== null) return here;
    const reads = this.options.value.direction === "reads";
    const cell = this.hoverCell.value;
    const inCell = cell && (reads ? cell.query : cell.key);
    if (inCell !== null && inCell !== undefined) return inCell;
    const remote = this.remote.value;
    const there = (reads ? remote.query : remote.key) ?? remote.position;
    const pointed = there === null ? null : this.#fromA(there);
    return pointed ?? this.lockedPosition.value;
  });

  readonly lockedPosition: Readable<number | null> = computed(() => {
    const selection = this.selection.value;
    const own = this.options.value.direction === "reads" ? selection.query : selection.key;
    return this.#fromA(own ?? selection.position);
  });

  gridOf({ layer, head }: Head): Grid | null {
    void this.heads.version.value;
    const picture = this.picture.value;
    return picture ? this.heads.grid(picture, this.show.value, layer, head) : null;
  }

  /** How values become colours; with a range per head, that of `of`. */
  mappingOf(of: Head | null): Mapping {
    const { scale, palette, shared_range } = this.options.value;
    const picture = this.picture.value;
    const theme = this.theme.value;
    if (!picture) return makeMapping({ low: 0, high: 1, scale, palette, diverging: false }, theme);
    const { manifest } = picture;
    const show = this.show.value;
    if (show === "difference") {
      const high = shared_range || !of ? this.#differenceHigh(picture) : this.#headDifference(picture, of);
      return makeMapping({ low: -high, high, scale: "linear", palette, diverging: true }, theme);
    }
    const own = of ? (manifest.head_high[picture.rowOf(of.layer) * manifest.heads + of.head] ?? manifest.high) : manifest.high;
    const high = shared_range ? manifest.high : own;
    const honest = manifest.weighting === "scores" ? "linear" : scale;
    return makeMapping({ low: manifest.low, high, scale: honest, palette, diverging: false }, theme);
  }

  // ---- actions ---------------------------------------------------------------------------------------------------

  lockHead(head: Head): void {
    this.select({ layer: head.layer, head: head.head });
  }

  toggleOverlay(head: Head): void {
    this.select({ heads: toggled(this.selection.peek().heads, head.layer, head.head) });
  }

  /** Locks one cell of the shown axes, and the head it belongs to. */
  lockCell(query: number, key: number): void {
    const head = this.focused.peek();
    const own = head ? { layer: head.layer, head: head.head } : {};
    const queryA = this.#toA(query);
    this.select({ ...own, query: queryA, key: this.#toA(key), position: queryA });
  }

  lockPosition(position: number | null): void {
    const a = position === null ? null : this.#toA(position);
    const reads = this.options.peek().direction === "reads";
    this.select(reads ? { query: a, position: a } : { key: a, position: a });
  }

  pointAtHead(head: Head | null): void {
    const held = this.hoverHead.peek();
    if (held?.layer === head?.layer && held?.head === head?.head) return;
    this.hoverHead.value = head;
    this.#tellHover();
  }

  pointAtCell(query: number | null, key: number | null): void {
    const held = this.hoverCell.peek();
    if ((held?.query ?? null) === query && (held?.key ?? null) === key) return;
    this.hoverCell.value = query === null && key === null ? null : { query, key };
    this.#tellHover();
  }

  pointAtPosition(position: number | null): void {
    if (this.hoverPosition.peek() === position) return;
    this.hoverPosition.value = position;
    this.#tellHover();
  }

  // ---- within ----------------------------------------------------------------------------------------------------

  protected override take(names: Set<string>): void {
    for (const name of ["store", "focus"] as const) {
      const parcel = names.has(name) ? openParcel(this.source.get(name)) : null;
      if (!parcel) continue;
      // A parcel that names its run belongs to that run, whatever picture is on screen.
      const run = (parcel.manifest as { run?: number } | null)?.run ?? this.picture.peek()?.run ?? 0;
      this.heads.feed(parcel, run);
    }
  }

  protected pictured(parcel: Parcel): Picture {
    const manifest = parcel.manifest as Picture["manifest"];
    const picture = new Picture(manifest);
    const present = this.picture.peek();
    if (present?.run === manifest.run && present.manifest.weighting === manifest.weighting) {
      for (const [show, atlas] of present.atlases) picture.atlases.set(show, atlas);
    }
    picture.addAtlases(parcel);
    return picture;
  }

  /** Thumbnails that came by request. */
  addAtlas(run: number, parcel: Parcel): void {
    const picture = this.picture.peek();
    if (!picture || picture.run !== run) return;
    const next = new Picture(picture.manifest);
    for (const [show, atlas] of picture.atlases) next.atlases.set(show, atlas);
    next.addAtlases(parcel);
    this.picture.value = next;
  }

  #column(name: string | null): ScoreColumn | null {
    return this.picture.value?.manifest.scores.find((column) => column.name === name) ?? null;
  }

  #fromA(position: number | null): number | null {
    return position === null ? null : (this.positions.value.fromA.get(position) ?? null);
  }

  #toA(position: number): number | null {
    const a = this.positions.peek().toA[position];
    return a === undefined || a < 0 ? null : a;
  }

  #tellHover(): void {
    const head = this.hoverHead.peek();
    const cell = this.hoverCell.peek();
    const position = this.hoverPosition.peek();
    const inA = (at: number | null | undefined): number | null => (at === null || at === undefined ? null : this.#toA(at));
    this.publishHover({
      layer: head?.layer ?? null,
      head: head?.head ?? null,
      query: inA(cell?.query),
      key: inA(cell?.key),
      position: inA(position ?? cell?.query),
    });
  }

  #differenceHigh(picture: Picture): number {
    const header = picture.atlases.get("difference")?.header;
    return picture.manifest.difference_high ?? (header ? Math.max(Math.abs(header.low), Math.abs(header.high)) : 1);
  }

  /** The largest |A − B| of one head, as its thumbnail keeps it: the value of largest magnitude survives shrinking. */
  #headDifference(picture: Picture, of: Head): number {
    const atlas = picture.atlases.get("difference");
    if (!atlas || !picture.has(of.layer, of.head)) return this.#differenceHigh(picture);
    const { codes } = thumbnailCodes(picture, atlas, of.layer, of.head);
    let extreme = 0;
    for (const code of codes) if (code < 255) extreme = Math.max(extreme, Math.abs(code - 127));
    const unit = extreme / 127;
    return unit * unit * atlas.header.high || this.#differenceHigh(picture);
  }
}
