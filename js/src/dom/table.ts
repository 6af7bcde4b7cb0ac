/** A table for screen readers behind a canvas: the same numbers, hidden from sight. */
import { h } from "./element";

export class HiddenTable {
  readonly #caption = h("caption");
  readonly #body = h("tbody");
  readonly #head = h("thead");
  readonly element = h("div", { class: "miw-hidden" }, h("table", {}, this.#caption, this.#head, this.#body));

  show(caption: string, columns: string[], rows: string[][]): void {
    this.#caption.textContent = caption;
    this.#head.replaceChildren(h("tr", {}, ...columns.map((column) => h("th", { scope: "col" }, column))));
    this.#body.replaceChildren(
      ...rows.map((row) =>
        h("tr", {}, ...row.map((text, at) => (at === 0 ? h("th", { scope: "row" }, text) : h("td", {}, text)))),
      ),
    );
  }
}
