/**
 * The tokens of one prompt as running text, or in columns that wrap together: two prompts over each other, ids under
 * their tokens. Token strings are untrusted and only ever become text. Knows nothing of what colours mean.
 */
import type { Scope } from "../../core/signal";
import { h } from "../../dom/element";
import { tokenText } from "../../dom/token_text";
import type { Pointed } from "./model";
import type { PromptPicture, Side, SideName } from "./picture";

/** How one token is drawn. `kind` is a class of the style sheet, "" for none. */
export interface TokenLook {
  background: string;
  ink: string;
  kind: "" | "miw-unscored" | "miw-partnerless" | "miw-aside";
}

export interface Marks {
  pointed: number | null;
  linked: number | null;
  locked: number | null;
  /** Looked at because nothing is chosen. */
  resting: number | null;
}

export interface Arrangement {
  picture: PromptPicture;
  ids: boolean;
  /** A number under each column, "" for none. */
  gloss: ((column: number) => string) | null;
}

export interface LinesEvents {
  point(pointed: Pointed | null, event: PointerEvent): void;
  pick(column: number): void;
}

/** Longer tokens are cut here and shown whole in the tooltip. */
const LONGEST = 40;
/** Before Hebrew in Unicode nothing runs from right to left. */
const MAY_RUN_BACK = /[\u0590-\uffff]/;
/** Painted before the size of the text is known. */
const FIRST_PAINTED = 300;
const MARK_NAMES = ["pointed", "linked", "locked", "resting"] as const;
const NO_MARKS: Marks = { pointed: null, linked: null, locked: null, resting: null };

export class TokenLines {
  readonly #text = h("div", { class: "miw-strip-text" });
  readonly element = h("div", { class: "miw-strip miw-lines", tabindex: 0, role: "group" }, this.#text);
  #columns: HTMLElement[] = [];
  #tokens: Record<SideName, (HTMLElement | null)[]> = { A: [], B: [] };
  #looks: Record<SideName, (TokenLook | null)[]> = { A: [], B: [] };
  #look: ((side: SideName, column: number) => TokenLook) | null = null;
  /** The columns in sight and a little more: a long prompt has thousands, and only these are painted. */
  #sight = { first: 0, last: FIRST_PAINTED };
  #marks: Marks = NO_MARKS;
  #written = 0;

  constructor(scope: Scope, events: LinesEvents) {
    const at = (event: Event): Pointed | null => {
      const target = event.target instanceof Element ? event.target : null;
      const column = target?.closest<HTMLElement>("[data-column]");
      if (!column || !this.element.contains(column)) return null;
      const side = target?.closest<HTMLElement>("[data-side]")?.dataset["side"];
      return { column: Number(column.dataset["column"]), side: side === "B" ? "B" : "A" };
    };
    scope.listen(this.element, "pointermove", (event) => events.point(at(event), event));
    scope.listen(this.element, "pointerleave", (event) => events.point(null, event));
    scope.listen(this.element, "scroll", () => this.look());
    scope.listen(this.element, "click", (event) => {
      const picked = at(event);
      if (picked) events.pick(picked.column);
    });
  }

  arrange({ picture, ids, gloss }: Arrangement): void {
    const { a, b } = picture;
    const stacked = !!b || ids;
    this.#marks = NO_MARKS;
    this.#written = 0;
    this.#tokens = { A: [], B: [] };
    this.#looks = { A: [], B: [] };
    this.#look = null;
    this.#sight = { first: 0, last: FIRST_PAINTED };
    this.element.classList.toggle("miw-stacked", stacked);
    const parts: Node[] = [];
    if (b)
      parts.push(
        h(
          "span",
          { class: "miw-column miw-names", "aria-hidden": "true" },
          ...["A", "B"].flatMap((name) => [h("span", { class: "miw-side" }, name), ids ? h("span", { class: "miw-id" }, "id") : null]),
        ),
      );
    this.#columns = picture.columns.map((column, at) => {
      const own = tokenOf(a, column.A);
      const string = a.positions.strings[column.A] ?? "";
      this.#tokens.A.push(own);
      if (!stacked) {
        own!.dataset["column"] = String(at);
        // Marks stand where spaces were: say where the line may break.
        if (/^\s/.test(string) || /\s$/.test(a.positions.strings[column.A - 1] ?? "")) parts.push(document.createElement("wbr"));
        parts.push(own!);
        if (string.includes("\n")) parts.push(document.createElement("br"));
        return own!;
      }
      const cell = h("span", { class: "miw-column", "data-column": at }, own ?? absent("A"), ids ? idOf(a, column.A) : null);
      if (b) {
        const other = tokenOf(b, column.B);
        this.#tokens.B.push(other);
        cell.append(other ?? absent("B"), ...(ids ? [idOf(b, column.B)] : []));
        if (a.idOf(column.A) !== b.idOf(column.B)) cell.classList.add("miw-differs");
      }
      if (gloss) cell.append(h("span", { class: "miw-gloss" }, gloss(at)));
      parts.push(cell);
      if (string.includes("\n") || b?.positions.strings[column.B]?.includes("\n")) parts.push(document.createElement("br"));
      return cell;
    });
    this.#text.replaceChildren(...parts);
  }

  /** Gives every token in sight its look. */
  paint(look: (side: SideName, column: number) => TokenLook): void {
    this.#look = look;
    this.#paint();
  }

  /** Finds out which columns are in sight; called when the size of the text has changed. */
  look(): void {
    const columns = this.#columns;
    const { scrollTop, clientHeight } = this.element;
    if (!clientHeight) return;
    // Columns stand in reading order, so their tops only grow.
    const firstAt = (height: number): number => {
      let low = 0;
      let high = columns.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (columns[middle]!.offsetTop < height) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    this.#sight = { first: firstAt(scrollTop - clientHeight), last: firstAt(scrollTop + 2 * clientHeight) };
    this.#paint();
  }

  #paint(): void {
    const look = this.#look;
    if (!look) return;
    const last = Math.min(this.#columns.length, this.#sight.last);
    for (const side of ["A", "B"] as const) {
      for (let column = this.#sight.first; column < last; column++) {
        const token = this.#tokens[side][column];
        if (!token) continue;
        const next = look(side, column);
        const held = this.#looks[side][column];
        if (held && held.background === next.background && held.ink === next.ink && held.kind === next.kind) continue;
        this.#looks[side][column] = next;
        token.style.backgroundColor = next.background;
        token.style.color = next.ink;
        if (held?.kind) token.classList.remove(held.kind);
        if (next.kind) token.classList.add(next.kind);
      }
    }
  }

  mark(marks: Marks): void {
    for (const name of MARK_NAMES) {
      const before = this.#marks[name];
      const after = marks[name];
      if (before === after) continue;
      if (before !== null) this.#columns[before]?.classList.remove(`miw-token-${name}`);
      if (after !== null) this.#columns[after]?.classList.add(`miw-token-${name}`);
    }
    this.#marks = marks;
  }

  /** Underlines the last `count` tokens of prompt A. */
  underline(count: number): void {
    const tokens = this.#tokens.A.filter((token) => token !== null);
    const first = tokens.length - Math.max(count, this.#written);
    for (let at = Math.max(0, first); at < tokens.length; at++) tokens[at]!.classList.toggle("miw-written", at >= tokens.length - count);
    this.#written = count;
  }

  /** Scrolls the text, and nothing around it, until the column is in sight. */
  reveal(column: number): void {
    const shown = this.#columns[column];
    if (!shown) return;
    const box = this.element;
    const top = shown.offsetTop;
    const bottom = top + shown.offsetHeight;
    if (top < box.scrollTop + 8) box.scrollTop = Math.max(0, top - 24);
    else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight + 12;
  }

  /** A column's place in the window's coordinates. */
  placeOf(column: number): DOMRect | null {
    return this.#columns[column]?.getBoundingClientRect() ?? null;
  }
}

function tokenOf(side: Side, position: number): HTMLElement | null {
  if (!side.has(position)) return null;
  const string = side.positions.strings[position]!;
  const kinds = [
    "miw-token",
    side.positions.special[position] ? "miw-token-special" : "",
    MAY_RUN_BACK.test(string) ? "miw-token-isolated" : "",
  ];
  const token = h("span", { class: kinds.filter(Boolean).join(" "), "data-side": side.name, "data-position": position });
  tokenText(token, string, LONGEST);
  return token;
}

function absent(side: SideName): HTMLElement {
  return h("span", { class: "miw-absent", "data-side": side, "aria-label": `no token in ${side}` }, "∅");
}

function idOf(side: Side, position: number): HTMLElement {
  const id = side.idOf(position);
  return h("span", { class: "miw-id", "data-side": side.name }, id >= 0 ? String(id) : "");
}
