/**
 * The tokens of one prompt as running text, or in columns that wrap together: two prompts over each other, ids under
 * their tokens. Token strings are untrusted and only ever become text. Knows nothing of what colours mean.
 */
import { h } from "../../dom/element";
import { makeToken, mayBreakBefore, RunningText } from "../../dom/running_text";
import type { Pointed } from "./model";
import type { PromptPicture, Side, SideName } from "./picture";

/** How one token is drawn. `kind` is a class of the style sheet, "" for none. */
export interface TokenLook {
  background: string;
  ink: string;
  kind: "" | "miw-unscored" | "miw-partnerless" | "miw-aside";
}

export interface Arrangement {
  picture: PromptPicture;
  ids: boolean;
  /** A number under each column, "" for none. */
  gloss: ((column: number) => string) | null;
}

/** Marks: `resting` is looked at because nothing is chosen. */
export class TokenLines extends RunningText<Pointed, "pointed" | "linked" | "locked" | "resting"> {
  #columns: HTMLElement[] = [];
  #tokens: Record<SideName, (HTMLElement | null)[]> = { A: [], B: [] };
  #looks: Record<SideName, (TokenLook | null)[]> = { A: [], B: [] };
  #look: ((side: SideName, column: number) => TokenLook) | null = null;
  #written = 0;

  protected get count(): number {
    return this.#columns.length;
  }

  protected elementAt(column: number): HTMLElement | undefined {
    return this.#columns[column];
  }

  protected under(target: EventTarget | null): Pointed | null {
    const column = this.closest(target, "[data-column]");
    const side = this.closest(target, "[data-side]")?.dataset["side"];
    return column && { column: Number(column.dataset["column"]), side: side === "B" ? "B" : "A" };
  }

  arrange({ picture, ids, gloss }: Arrangement): void {
    const { a, b } = picture;
    const stacked = !!b || ids;
    this.startOver();
    this.#written = 0;
    this.#tokens = { A: [], B: [] };
    this.#looks = { A: [], B: [] };
    this.#look = null;
    this.element.classList.toggle("miw-stacked", stacked);
    const parts: Node[] = [];
    if (b)
      parts.push(
        h(
          "span",
          { class: "miw-column miw-names", "aria-hidden": "true" },
          ...["A", "B"].flatMap((name) => [h("span", "miw-side", name), ids ? h("span", "miw-id", "id") : null]),
        ),
      );
    this.#columns = picture.columns.map((column, at) => {
      const own = tokenOf(a, column.A);
      const string = a.positions.strings[column.A] ?? "";
      this.#tokens.A.push(own);
      if (!stacked) {
        own!.dataset["column"] = String(at);
        // Marks stand where spaces were: say where the line may break.
        if (mayBreakBefore(a.positions.strings, column.A)) parts.push(document.createElement("wbr"));
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
      if (gloss) cell.append(h("span", "miw-gloss", gloss(at)));
      parts.push(cell);
      if (string.includes("\n") || b?.positions.strings[column.B]?.includes("\n")) parts.push(document.createElement("br"));
      return cell;
    });
    this.text.replaceChildren(...parts);
  }

  /** Gives every token in sight its look. */
  paint(look: (side: SideName, column: number) => TokenLook): void {
    this.#look = look;
    this.paintSight();
  }

  protected paintSight(): void {
    const look = this.#look;
    if (!look) return;
    const last = Math.min(this.#columns.length, this.sight.last);
    for (const side of ["A", "B"] as const) {
      for (let column = this.sight.first; column < last; column++) {
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

  /** Underlines the last `count` tokens of prompt A. */
  underline(count: number): void {
    const tokens = this.#tokens.A.filter((token) => token !== null);
    const first = tokens.length - Math.max(count, this.#written);
    for (let at = Math.max(0, first); at < tokens.length; at++) tokens[at]!.classList.toggle("miw-written", at >= tokens.length - count);
    this.#written = count;
  }
}

function tokenOf(side: Side, position: number): HTMLElement | null {
  if (!side.has(position)) return null;
  const token = makeToken(side.positions.strings[position]!, !!side.positions.special[position], position);
  token.dataset["side"] = side.name;
  return token;
}

function absent(side: SideName): HTMLElement {
  return h("span", { class: "miw-absent", "data-side": side, "aria-label": `no token in ${side}` }, "∅");
}

function idOf(side: Side, position: number): HTMLElement {
  const id = side.idOf(position);
  return h("span", { class: "miw-id", "data-side": side.name }, id >= 0 ? String(id) : "");
}
