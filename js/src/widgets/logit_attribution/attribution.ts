/**
 * What the logit attribution knows beyond what every view does: the answer and its foil, the rows of the chart, what is
 * pointed at on the chart and on the map of heads, and how both answer to each other. Knows nothing of the DOM.
 */
import { Answers } from "../../core/answers";
import type { Parcel } from "../../core/blocks";
import { kindOf } from "../../core/described";
import { Linked, type Given } from "../../core/linked";
import { ATTRIBUTION } from "../../core/options.gen";
import { EMPTY_POSITIONS, type Positions } from "../../core/positions";
import { makeMapping, type Mapping } from "../../core/scale";
import { computed, Signal, type Readable } from "../../core/signal";
import type { AttributionManifest, AttributionOptions, AttributionState, Show } from "../../core/wire.gen";
import { AttributionPicture, largest, type Head, type Span } from "./picture";
import { makeRows, type Row } from "./rows";

/** How a row answers to a place on the map: it is that place, or holds it among others. */
export type Relation = "same" | "holds" | null;

export class Attribution extends Linked<AttributionState, AttributionOptions, AttributionPicture> {
  readonly answers = new Answers(
    this,
    computed(() => this.picture.value?.manifest ?? null),
  );
  /** Pointed at in this view: a row of the chart, a cell of the map, a token of the prompt, a source of the head. */
  readonly hoverRow = new Signal<number | null>(null);
  readonly hoverCell = new Signal<{ layer: number; column: number } | null>(null);
  readonly hoverPosition = new Signal<number | null>(null);
  readonly hoverSource = new Signal<number | null>(null);

  constructor(given: Given<AttributionState>) {
    super(given, kindOf(ATTRIBUTION));
    this.begin(["answer", "foil", "refused", "picture"]);
    // A row or a token of one side is another's on the other.
    this.scope.effect(() => {
      void this.show.value;
      this.hoverRow.value = this.hoverPosition.value = this.hoverSource.value = null;
    });
  }

  // ---- what follows from the state -------------------------------------------------------------------------------

  /** Which side the page can show now. */
  readonly show: Readable<Show> = computed(() => (this.picture.value?.manifest.compare ? this.options.value.show : "A"));

  /** The picture of that side. */
  readonly shown: Readable<AttributionPicture | null> = computed(() => this.picture.value?.of(this.show.value) ?? null);

  readonly positions: Readable<Positions> = computed(() => this.shown.value?.positions ?? EMPTY_POSITIONS);

  readonly rows: Readable<Row[]> = computed(() => {
    const picture = this.shown.value;
    return picture ? makeRows(picture, this.options.value) : [];
  });

  /** The position asked for, as what is shown counts: that of the picture, unless the kernel is about to show another. */
  readonly position: Readable<number | null> = computed(() => {
    const picture = this.picture.value;
    const shown = this.shown.value;
    if (!picture || !shown) return null;
    const asked = this.options.value.position ?? -1;
    const resolved = asked < 0 ? picture.positions.count + asked : asked;
    const open = this.canCompute.value && this.status.value.state !== "error" && resolved !== picture.manifest.position;
    return (open ? shown.positions.fromA.get(resolved) : undefined) ?? shown.manifest.position;
  });

  /** The head that was chosen, here or in a linked view. */
  readonly chosen: Readable<Head | null> = computed(() => {
    const { layer, head } = this.selection.value;
    return this.shown.value?.has(layer, head) ? { layer: layer!, head: head! } : null;
  });

  /** What is chosen, on the map: a head, or the row of a layer. */
  readonly chosenSpan: Readable<Span | null> = computed(() => {
    const chosen = this.chosen.value;
    if (chosen) return { layer: chosen.layer, first: chosen.head, last: chosen.head };
    const { layer, head } = this.selection.value;
    const picture = this.shown.value;
    if (!picture || layer === null || head !== null || layer < 0 || layer >= picture.manifest.n_layers) return null;
    return { layer, first: 0, last: picture.columns - 1 };
  });

  /** The cells that the pointer is over, on the map or by way of a row. */
  readonly pointedSpan: Readable<Span | null> = computed(() => {
    const cell = this.hoverCell.value;
    if (cell) return { layer: cell.layer, first: cell.column, last: cell.column };
    const row = this.rows.value[this.hoverRow.value ?? -1];
    return row?.kind === "part" ? (this.shown.value?.spanOf(row.part) ?? null) : null;
  });

  /** The head that a linked view points at. */
  readonly remoteHead: Readable<Head | null> = computed(() => {
    const { layer, head } = this.remote.value;
    return this.shown.value?.has(layer, head) ? { layer: layer!, head: head! } : null;
  });

  /** The head whose sources are shown: pointed at here or in a linked view, else chosen, else the one that adds most. */
  readonly head: Readable<Head | null> = computed(() => {
    const picture = this.shown.value;
    if (!picture) return null;
    const span = this.pointedSpan.value;
    if (span && span.first === span.last && picture.has(span.layer, span.first)) return { layer: span.layer, head: span.first };
    return this.remoteHead.value ?? this.chosen.value ?? picture.strongest();
  });

  /** The head that is held, whatever the pointer is over. */
  readonly held: Readable<Head[]> = computed(() => {
    const held = this.chosen.value ?? this.shown.value?.strongest();
    return held ? [held] : [];
  });

  override readonly aimed: Readable<Head[]> = computed(() => {
    const span = this.pointedSpan.value;
    if (!span) return this.held.value;
    const head = { layer: span.layer, head: span.first };
    return span.first === span.last && this.shown.value?.has(head.layer, head.head) ? [head] : [];
  });

  /** The names of the heads that are ablated. */
  readonly ablatedShown: Readable<ReadonlySet<string>> = computed(() => this.ablatedIn(this.show.value));

  readonly sources: Readable<Float32Array | null> = computed(() => {
    const head = this.head.value;
    return head ? (this.shown.value?.sourcesOf(head) ?? null) : null;
  });

  /** A and B have one scale: what has one colour is as much on either. */
  readonly mapMapping: Readable<Mapping> = computed(() => {
    const show = this.show.value;
    const sides = (show === "difference" ? [show] : (["A", "B"] as const)).map((side) => this.picture.value?.of(side).span ?? 0);
    return this.#diverging(Math.max(...sides));
  });
  readonly sourceMapping: Readable<Mapping> = computed(() => this.#diverging(this.sources.value ? largest(this.sources.value) : 0));

  /** Where a position of prompt A, as linked views count, stands in what is shown. */
  placeOf(position: number | null): number | null {
    return position === null ? null : (this.positions.value.fromA.get(position) ?? null);
  }

  /** How a row answers to cells of the map. */
  relation(row: Row, span: Span | null): Relation {
    const picture = this.shown.peek();
    const own = row.kind === "part" ? picture?.spanOf(row.part) : null;
    if (!span || !own || own.layer !== span.layer) return null;
    if (own.first === span.first && own.last === span.last) return "same";
    return own.first <= span.first && own.last >= span.last ? "holds" : null;
  }

  // ---- actions ---------------------------------------------------------------------------------------------------

  /** Attributes the prediction after this token; the last one stays the last when the prompt grows. */
  choosePosition(position: number): void {
    if (!this.canCompute.peek() || position === this.position.peek()) return;
    const own = this.positions.peek().toA[position] ?? -1;
    const last = this.picture.peek()!.positions.count - 1;
    if (own >= 0) this.setOptions({ position: own === last ? null : own });
  }

  chooseCell(layer: number, column: number): void {
    const picture = this.picture.peek();
    if (!picture) return;
    this.select({ layer, head: picture.has(layer, column) ? column : null });
  }

  /** A row's head; of a layer's attention the head that counts most in it; of all else in a layer, the layer. */
  chooseRow(row: Row): boolean {
    const picture = this.shown.peek();
    const span = row.kind === "part" ? picture?.spanOf(row.part) : null;
    if (!picture || !span) return false;
    const attention = picture.manifest.part_kinds[row.part] === "attention";
    const strongest = attention ? picture.strongest(span.layer) : null;
    if (strongest) this.select({ ...strongest });
    else this.chooseCell(span.layer, span.first === span.last ? span.first : -1);
    return true;
  }

  /** One read: the head in sight, from the position that is attributed, of this token. */
  chooseSource(key: number | null): void {
    const manifest = this.picture.peek()?.manifest;
    const head = this.head.peek();
    if (!manifest || !head) return;
    const own = key === null ? -1 : (this.positions.peek().toA[key] ?? -1);
    if (own < 0) this.select({ key: null });
    else this.select({ ...head, query: manifest.position, key: own });
  }

  pointAtRow(row: number | null): void {
    if (this.hoverRow.peek() === row) return;
    this.hoverRow.value = row;
    this.#tellHover();
  }

  pointAtCell(cell: { layer: number; column: number } | null): void {
    const held = this.hoverCell.peek();
    if (held?.layer === cell?.layer && held?.column === cell?.column) return;
    this.hoverCell.value = cell;
    this.#tellHover();
  }

  pointAtPosition(position: number | null): void {
    if (this.hoverPosition.peek() === position) return;
    this.hoverPosition.value = position;
    this.#tellHover();
  }

  pointAtSource(position: number | null): void {
    if (this.hoverSource.peek() === position) return;
    this.hoverSource.value = position;
    this.#tellHover();
  }

  // ---- within ----------------------------------------------------------------------------------------------------

  protected pictured(parcel: Parcel): AttributionPicture {
    const picture = new AttributionPicture(parcel.manifest as AttributionManifest, parcel);
    // Rows and cells of the last picture mean nothing in this one.
    this.hoverRow.value = this.hoverCell.value = null;
    return picture;
  }

  protected override take(names: Set<string>): void {
    this.answers.read(names);
  }

  #diverging(extreme: number): Mapping {
    return makeMapping({ low: -extreme, high: extreme, scale: "linear", palette: "blue", diverging: true }, this.theme.value);
  }

  #tellHover(): void {
    const picture = this.picture.peek();
    const span = this.pointedSpan.peek();
    const toA = (position: number | null): number | null => {
      const own = position === null ? -1 : (this.positions.peek().toA[position] ?? -1);
      return own < 0 ? null : own;
    };
    const key = toA(this.hoverSource.peek());
    const head = span && span.first === span.last && picture?.has(span.layer, span.first) ? span.first : null;
    if (key !== null && picture) {
      this.publishHover({ ...this.head.peek(), query: picture.manifest.position, key });
    } else this.publishHover({ layer: span?.layer ?? null, head, position: toA(this.hoverPosition.peek()) });
  }
}
