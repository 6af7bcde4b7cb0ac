/**
 * What the logit lens knows beyond what every view does: the cell that is pointed at or locked, pinned tokens, and the
 * colours that follow from the options. Its parts read its signals and call its actions. Knows nothing of the DOM.
 */
import { openParcel, type Parcel } from "../../core/blocks";
import { kindOf } from "../../core/described";
import { Linked, refusal, type Given } from "../../core/linked";
import { LENS } from "../../core/options.gen";
import { computed, Signal, type Readable } from "../../core/signal";
import type { LensOptions, LensState, RefusedToken, Show } from "../../core/wire.gen";
import { fieldOf, type Field } from "./field";
import { EMPTY_COLUMNS, LensPicture, type Columns, type Side } from "./picture";

export const MAX_PINS = LENS.options.targets.most!;

/** A place in the table; a null row or column means all of it. */
export interface Cell {
  row: number | null;
  column: number | null;
}

/** A pinned token: what the option holds, and once the kernel has it, the token and its place among the targets. */
export interface Pin {
  given: string | number;
  string: string;
  /** -1 while the kernel has not answered. */
  target: number;
}

const NOWHERE: Cell = { row: null, column: null };

export class Lens extends Linked<LensState, LensOptions, LensPicture> {
  /** Pointed at in the table or in the chart. */
  readonly pointed = new Signal<Cell>(NOWHERE);
  /** The last pinned word that is no single token. */
  readonly refused = new Signal<RefusedToken | null>(null);
  /** Grows with every row that arrives after the picture. */
  readonly arrived = new Signal(0);
  /** A layer may stand in two rows (its attention and the model's output): which of them was locked. */
  readonly #row = new Signal(-1);

  constructor(given: Given<LensState>) {
    super(given, kindOf(LENS));
    this.begin(["picture", "focus", "store", "refused"]);
  }

  // ---- what follows from the state -------------------------------------------------------------------------------

  /** What the page can show now, which may be less than what was asked for. */
  readonly show: Readable<Show> = computed(() => (this.picture.value?.manifest.compare ? this.options.value.show : "A"));

  /** The sides that are on screen. */
  readonly sides: Readable<Side[]> = computed(() => {
    const show = this.show.value;
    return show === "difference" ? ["A", "B"] : [show];
  });

  /** Fuller pictures of the same run are on their way. */
  readonly filling: Readable<boolean> = computed(() => {
    const picture = this.picture.value;
    const { state, run } = this.status.value;
    return !!picture?.progress && this.canCompute.value && state === "computing" && run === picture.run;
  });

  readonly columns: Readable<Columns> = computed(() => this.picture.value?.columns(this.show.value) ?? EMPTY_COLUMNS);

  readonly field: Readable<Field | null> = computed(() => {
    const picture = this.picture.value;
    return picture ? fieldOf(picture, this.show.value, this.options.value, this.theme.value) : null;
  });

  /** The selection as a place in the table. */
  readonly locked: Readable<Cell> = computed(() => {
    const { layer, position } = this.selection.value;
    return { row: this.#rowOf(layer), column: this.#columnOf(position) };
  });

  /** Where a linked view points. */
  readonly linked: Readable<Cell> = computed(() => {
    const { layer, position, query } = this.remote.value;
    return { row: this.#rowOf(layer), column: this.#columnOf(position ?? query) };
  });

  /** The cell whose likeliest tokens can be pinned: the locked one, else the model's output at the last position. */
  readonly cell: Readable<{ row: number; column: number } | null> = computed(() => this.#filled(this.locked.value));

  /** The cell that is read now: pointed at, else locked. */
  readonly reading: Readable<{ row: number; column: number } | null> = computed(() => {
    const { row, column } = this.pointed.value;
    const locked = this.locked.value;
    return this.#filled({ row: row ?? locked.row, column: column ?? locked.column });
  });

  readonly pins: Readable<Pin[]> = computed(() => {
    const targets = this.picture.value?.manifest.targets ?? [];
    // Without a kernel the pins are those of the picture.
    const given = this.canCompute.value ? this.options.value.targets : targets.map(({ id }) => id);
    const free = new Set(targets.keys());
    const take = (fits: (id: number, string: string) => boolean): number => {
      for (const at of free) {
        if (!fits(targets[at]!.id, targets[at]!.string)) continue;
        free.delete(at);
        return at;
      }
      return -1;
    };
    // First what is the same letter by letter, then what differs by a space: a token is looked up in its place.
    const exact = given.map((word) => take((id, string) => (typeof word === "number" ? id === word : string === word)));
    return given.map((word, at) => {
      const target = exact[at]! >= 0 || typeof word === "number" ? exact[at]! : take((_, string) => string.trim() === word.trim());
      return { given: word, target, string: targets[target]?.string ?? this.#stringOf(word) };
    });
  });

  // ---- actions ---------------------------------------------------------------------------------------------------

  /** Points at a place of the table; linked views hear of it. */
  point(cell: Cell): void {
    const held = this.pointed.peek();
    if (held.row === cell.row && held.column === cell.column) return;
    this.pointed.value = cell;
    const picture = this.picture.peek();
    const layer = cell.row === null ? null : (picture?.rows[cell.row]?.layer ?? null);
    this.publishHover({ layer, position: this.#positionOf(cell.column) });
  }

  /** Locks a cell, a row or a column; what is null stays as it was. */
  lock({ row, column }: Cell): void {
    const change: { layer?: number; position?: number | null; query?: number | null } = {};
    const layer = row === null ? undefined : this.picture.peek()?.rows[row]?.layer;
    if (row !== null && layer !== undefined) {
      this.#row.value = row;
      change.layer = layer;
    }
    // Views of attention read from the query: it follows.
    if (column !== null) change.position = change.query = this.#positionOf(column);
    this.select(change);
  }

  /** Lets go of the cell. */
  release(): void {
    this.select({ layer: null, position: null, query: null });
  }

  /** Pins a token by its id, or a word for the kernel to look up. */
  pin(word: string | number): void {
    const present = this.options.peek().targets;
    const string = typeof word === "number" ? this.#stringOf(word) : word;
    if (this.pins.peek().some((pin) => pin.given === word || pin.string === string)) return;
    if (present.length >= MAX_PINS) return;
    // A word that was refused gives its place to the one that is offered for it.
    const refused = this.refused.peek()?.text;
    this.refused.value = null;
    this.setOptions({ targets: [...present.filter((other) => other !== refused), word] });
  }

  unpin(at: number): void {
    const targets = this.options.peek().targets.filter((_, place) => place !== at);
    const { target } = this.options.peek();
    this.setOptions({ targets, target: target > at ? target - 1 : target });
  }

  dismissRefusal(): void {
    const refused = this.refused.peek()?.text;
    this.refused.value = null;
    const { targets } = this.options.peek();
    if (refused !== undefined && targets.includes(refused)) this.setOptions({ targets: targets.filter((word) => word !== refused) });
  }

  // ---- within ----------------------------------------------------------------------------------------------------

  protected override take(names: Set<string>): void {
    if (names.has("refused")) this.refused.value = refusal(this.source.get("refused"));
    for (const name of ["store", "focus"] as const) {
      const parcel = names.has(name) ? openParcel(this.source.get(name)) : null;
      if (parcel && this.picture.peek()?.feed(parcel)) this.arrived.value = this.arrived.peek() + 1;
    }
  }

  /** A part was taken back. */
  protected override unpictured(): void {
    this.picture.value = null;
  }

  protected pictured(parcel: Parcel): LensPicture {
    const picture = new LensPicture(parcel);
    const present = this.picture.peek();
    if (present?.run === picture.run) picture.inherit(present);
    else if (present && (present.rows.length !== picture.rows.length || present.columns("A").count !== picture.columns("A").count)) {
      this.pointed.value = NOWHERE;
    }
    return picture;
  }

  #filled({ row, column }: Cell): { row: number; column: number } | null {
    const picture = this.picture.value;
    const { count } = this.columns.value;
    if (!picture || !count) return null;
    return { row: Math.min(row ?? Infinity, picture.rows.length - 1), column: Math.min(column ?? Infinity, count - 1) };
  }

  #rowOf(layer: number | null): number | null {
    const rows = this.picture.value?.rows ?? [];
    if (layer === null) return null;
    const locked = this.#row.value;
    if (rows[locked]?.layer === layer) return locked;
    const row = rows.findIndex((candidate) => candidate.layer === layer);
    return row < 0 ? null : row;
  }

  #columnOf(position: number | null): number | null {
    return position === null ? null : (this.columns.value.fromA.get(position) ?? null);
  }

  #positionOf(column: number | null): number | null {
    const position = column === null ? -1 : (this.columns.peek().position[column] ?? -1);
    return position < 0 ? null : position;
  }

  #stringOf(word: string | number): string {
    return typeof word === "string" ? word : (this.picture.peek()?.nameOf(word) ?? `#${word}`);
  }
}
