/** A table for screen readers behind a canvas: the same numbers, hidden from sight. */
import { h } from "./element";

export class HiddenTable {
  readonly #caption = h("caption");
  readonly #body = h("tbody");
  readonly #head = h("thead");
  readonly element = h("div", { class: "miw-hidden" }, h("table", {}, this.#caption, this.#head, this.#body));

  /** A table of the shape that is there already gets its new texts and no new elements. */
  show(caption: string, columns: string[], rows: string[][]): void {
    write(this.#caption, caption);
    fill(this.#head, [columns], () => h("th", { scope: "col" }));
    fill(this.#body, rows, (column) => (column === 0 ? h("th", { scope: "row" }) : h("td")));
  }
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
