/**
 * What the prompt view knows beyond what every view does: which token is looked at, what may follow it, and what the
 * model is to write. Its parts read its signals and call its actions. Knows nothing of the DOM.
 */
import type { Parcel } from "../../core/blocks";
import { kindOf } from "../../core/described";
import { Linked, type Given } from "../../core/linked";
import { PROMPT } from "../../core/options.gen";
import { computed, Signal, type Readable } from "../../core/signal";
import type { Order, PromptManifest, PromptOptions, PromptState, Show } from "../../core/wire.gen";
import { makeLook, type Look } from "./looks";
import { PromptPicture, type Candidate, type Column, type Side, type SideName } from "./picture";

/** What the pointer is over: a token of one prompt, or a column as a whole. */
export interface Pointed {
  column: number;
  side: SideName;
}

/** One row of the list of candidates; with two prompts, one for both. */
export interface Row {
  id: number;
  string: string;
  /** By side as listed; null where that side's candidates do not reach so far. */
  probabilities: (number | null)[];
  /** 0 is the likeliest; by side as above. */
  ranks: (number | null)[];
  /** On which sides this token is the one that follows. */
  follows: SideName[];
}

/** What may come next at one place. */
export interface CandidateList {
  sides: { side: Side; position: number }[];
  rows: Row[];
}

export class PromptView extends Linked<PromptState, PromptOptions, PromptPicture> {
  readonly hover = new Signal<Pointed | null>(null);
  /** The row of the list that the keyboard is on. */
  readonly cursor = new Signal<number | null>(null);
  /** How many of the last tokens the model wrote. */
  readonly written = new Signal(0);
  /** A chosen column in which prompt A, and so the selection, has no position. */
  readonly #besideA = new Signal<number | null>(null);
  /** Something was ordered, and nothing has come back yet. */
  readonly #ordered = new Signal(false);

  constructor(given: Given<PromptState>) {
    super(given, kindOf(PROMPT));
    this.begin(["picture", "written"]);
    this.scope.effect(() => {
      if (this.selection.value.position !== null) this.#besideA.value = null;
    });
  }

  // ---- what follows from the state -------------------------------------------------------------------------------

  /** What the page can show now, which may be less than what was asked for. */
  readonly show: Readable<Show> = computed(() => (this.picture.value?.b ? this.options.value.show : "A"));

  readonly look: Readable<Look | null> = computed(() => {
    const picture = this.picture.value;
    const coloring = this.show.value === "difference" ? "difference" : this.options.value.color;
    return picture ? makeLook(picture, coloring, this.theme.value) : null;
  });

  /** The column that was chosen, here or in a linked view. */
  readonly locked: Readable<number | null> = computed(() => {
    const picture = this.picture.value;
    const own = this.#besideA.value;
    if (own !== null && picture && own < picture.columns.length) return own;
    return picture?.columnOfA(this.selection.value.position) ?? null;
  });

  /** Pointed at in a linked view. */
  readonly remoteColumn: Readable<number | null> = computed(() => {
    const remote = this.remote.value;
    return this.picture.value?.columnOfA(remote.position ?? remote.query) ?? null;
  });

  /** The positions whose next token is asked for: of the chosen column, else the last of each prompt. */
  readonly places: Readable<Column> = computed(() => {
    const picture = this.picture.value;
    if (!picture) return { A: -1, B: -1 };
    const locked = this.locked.value;
    return locked === null ? { A: picture.a.count - 1, B: (picture.b?.count ?? 0) - 1 } : picture.columns[locked]!;
  });

  /** The column that the list of candidates belongs to. */
  readonly column: Readable<number> = computed(() => {
    const picture = this.picture.value;
    const locked = this.locked.value;
    if (!picture || locked !== null) return locked ?? 0;
    if (this.show.value === "A") return picture.columnOfA(picture.a.count - 1) ?? 0;
    return picture.columns.length - 1;
  });

  readonly list: Readable<CandidateList> = computed(() => {
    const picture = this.picture.value;
    const places = this.places.value;
    const show = this.show.value;
    const names: SideName[] = show === "difference" ? ["A", "B"] : [show];
    const sides = names.flatMap((name) => {
      const side = picture?.side(name);
      return side?.has(places[name]) ? [{ side, position: places[name] }] : [];
    });
    return { sides, rows: rowsOf(sides) };
  });

  /** The kernel is at work, or about to be. */
  readonly busy: Readable<boolean> = computed(() => this.state.value === "computing" || (this.#ordered.value && !this.source.silent.value));

  /** The list is of the end of the prompt itself, to which a candidate can be appended. */
  readonly atEnd: Readable<boolean> = computed(() => {
    const picture = this.picture.value;
    return !!picture && this.show.value !== "B" && this.places.value.A === picture.a.count - 1;
  });

  /** The picture is of the prompt that the kernel has now. */
  readonly current: Readable<boolean> = computed(() => {
    const picture = this.picture.value;
    return !!picture && this.status.value.run <= picture.run;
  });

  readonly canWrite: Readable<boolean> = computed(
    () => this.canCompute.value && this.prompt.value !== null && !this.busy.value && this.current.value,
  );

  readonly canAppend: Readable<boolean> = computed(() => this.canWrite.value && this.atEnd.value);

  // ---- actions ---------------------------------------------------------------------------------------------------

  /** Chooses a column, or with null none: then the last token is looked at. */
  lock(column: number | null): void {
    const position = column === null ? null : (this.picture.peek()?.columns[column]?.A ?? -1);
    this.cursor.value = null;
    this.#besideA.value = position !== null && position < 0 ? column : null;
    this.select({ position: position !== null && position >= 0 ? position : null });
  }

  point(pointed: Pointed | null): void {
    const held = this.hover.peek();
    if (held?.column === pointed?.column && held?.side === pointed?.side) return;
    this.hover.value = pointed;
    if (held?.column === pointed?.column) return;
    const position = pointed ? (this.picture.peek()?.columns[pointed.column]?.A ?? -1) : -1;
    this.publishHover({ position: position < 0 ? null : position });
  }

  /** Puts a token after the prompt; whether that could be ordered. */
  append(id: number): boolean {
    if (!this.canAppend.peek()) return false;
    this.#order({ order: "append", ids: [id] });
    return true;
  }

  /** Lets the model write as many tokens as the options say; whether that could be ordered. */
  write(): boolean {
    if (!this.canWrite.peek()) return false;
    this.#order({ order: "sample", tokens: this.options.peek().length });
    return true;
  }

  // ---- within ----------------------------------------------------------------------------------------------------

  #order(order: Omit<Order, "kind">): void {
    // What is written is looked at: the list follows the end.
    if (this.locked.peek() !== null) this.lock(null);
    this.#ordered.value = true;
    this.source.order(order);
    this.expectKernel();
  }

  protected pictured(parcel: Parcel): PromptPicture {
    const picture = new PromptPicture(parcel.manifest as PromptManifest, parcel);
    this.point(null);
    this.#ordered.value = false;
    return picture;
  }

  protected override take(names: Set<string>): void {
    if (names.has("status")) this.#ordered.value = false;
    if (names.has("written")) this.written.value = this.source.get("written") ?? 0;
  }
}

/** Both sides' candidates in one list, the likeliest on either side first, and the tokens that follow even if none is. */
function rowsOf(sides: CandidateList["sides"]): Row[] {
  const rows = new Map<number, Row>();
  const put = (candidate: Candidate, at: number): Row => {
    let row = rows.get(candidate.id);
    if (!row) {
      const none = sides.map(() => null);
      row = { id: candidate.id, string: candidate.string, probabilities: [...none], ranks: [...none], follows: [] };
      rows.set(candidate.id, row);
    }
    row.probabilities[at] = candidate.probability;
    row.ranks[at] = candidate.rank;
    return row;
  };
  sides.forEach(({ side, position }, at) => {
    for (const candidate of side.candidates(position)) put(candidate, at);
  });
  sides.forEach(({ side, position }, at) => {
    const follower = side.follower(position);
    if (!follower) return;
    // Among the candidates it stands with their number already; the one from its surprisal is the same.
    const known = rows.get(follower.id);
    const row = known && known.probabilities[at] !== null ? known : put(follower, at);
    row.follows.push(side.name);
  });
  const best = (row: Row): number => Math.max(...row.probabilities.map((probability) => probability ?? 0));
  const list = [...rows.values()];
  return sides.length < 2 ? list : list.sort((left, right) => best(right) - best(left));
}
