/** A table for screen readers behind a canvas: the same numbers, hidden from sight. */
import type { Scope } from "../core/signal";
import { h } from "./element";

export class HiddenTable {
  readonly #caption = h("caption");
  readonly #body = h("tbody");
  readonly #head = h("thead");
  readonly element = h("div", "miw-hidden", h("table", {}, this.#caption, this.#head, this.#body));

  /** A table of the shape that is there already gets its new texts and no new elements. */
  show(caption: string, columns: string[], rows: string[][]): void {
    write(this.#caption, caption);
    fill(this.#head, [columns], () => h("th", { scope: "col" }));
    fill(this.#body, rows, (column) => (column === 0 ? h("th", { scope: "row" }) : h("td")));
  }
}

/** What a table holds. */
export type Listed = [caption: string, columns: string[], rows: string[][]];

/** Nobody reads a table while the pointer still runs over the picture. */
const REST_MS = 250;

/** Shows what was due last, once nothing more has come for a moment; `due` is followed. */
export function listLater(scope: Scope, table: HiddenTable, due: () => (() => Listed) | null): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  scope.effect(() => {
    const make = due();
    clearTimeout(timer);
    if (make) timer = setTimeout(() => table.show(...make()), REST_MS);
  });
  scope.add(() => clearTimeout(timer));
}

function fill(part: HTMLElement, rows: string[][], cell: (column: number) => HTMLElement): void {
  while (part.childElementCount > rows.length) part.lastElementChild!.remove();
  const held = [...part.children];
  rows.forEach((texts, at) => {
    let row = held[at];
    if (row?.childElementCount !== texts.length) {
      const made = h("tr", {}, ...texts.map((_, column) => cell(column)));
      if (row) row.replaceWith(made);
      else part.append(made);
      row = made;
    }
    for (let column = 0; column < texts.length; column++) write(row.children[column]!, texts[column]!);
  });
}

function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
