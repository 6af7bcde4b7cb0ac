/**
 * What may come next after one token: the likeliest candidates with bars, the token that follows marked; at the end of
 * the prompt a candidate can be appended. Knows nothing of the text.
 */
import { exact, shown } from "../../core/format";
import { isolated, clipped, visible } from "../../core/tokens";
import { around, code, faint, freshId, h } from "../../dom/element";
import { tokenText } from "../../dom/token_text";
import type { CandidateList, PromptView, Row } from "./model";
import { about, figures, plural, scoreOf } from "./words";

const LONGEST = 40;

export class NextPanel {
  readonly #title = h("div", "miw-next-title");
  readonly #head = h("div", { class: "miw-candidate miw-candidate-head", "aria-hidden": "true" });
  readonly list = h("div", { class: "miw-candidates", role: "listbox", tabindex: 0, "aria-label": "candidates for the next token" });
  readonly #foot = h("div", "miw-next-foot");
  readonly element = h("section", { class: "miw-next", "aria-label": "next token" }, this.#title, this.#head, this.list, this.#foot);
  readonly #id = freshId("candidate");
  #rows: HTMLElement[] = [];
  #view: PromptView;

  constructor(view: PromptView) {
    this.#view = view;
    const { scope } = view;
    scope.listen(this.list, "click", (event) => {
      const row = around(event.target, "[data-candidate]");
      if (row) view.append(Number(row.dataset["candidate"]));
    });
    scope.effect(() => this.#showTitle());
    scope.effect(() => this.#showRows());
    scope.effect(() => {
      const cursor = view.cursor.value;
      void view.list.value;
      this.#rows.forEach((row, at) => row.setAttribute("aria-selected", String(at === cursor)));
      const chosen = cursor === null ? null : this.#rows[cursor];
      if (chosen) this.list.setAttribute("aria-activedescendant", chosen.id);
      else this.list.removeAttribute("aria-activedescendant");
    });
    scope.effect(() => {
      const can = view.canAppend.value;
      this.element.classList.toggle("miw-appendable", can);
    });
  }

  /** Moves the keyboard's row; says what it is on. */
  step(by: number): string {
    const { rows } = this.#view.list.peek();
    if (!rows.length) return "no candidates here";
    const from = this.#view.cursor.peek();
    const to = from === null || from >= rows.length ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, from + by));
    this.#view.cursor.value = to;
    this.#reveal(to);
    return `candidate ${to + 1} of ${rows.length}: ${describe(rows[to]!, this.#view.list.peek())}`;
  }

  /** Appends the row that the keyboard is on; says what came of it. */
  appendChosen(): string {
    const view = this.#view;
    const cursor = view.cursor.peek();
    const row = cursor === null ? undefined : view.list.peek().rows[cursor];
    if (!row) return "no candidate is chosen: arrow down chooses one";
    if (!view.append(row.id)) return this.#reason();
    // The next Enter takes the likeliest that comes then.
    view.cursor.value = 0;
    return `${isolated(clipped(visible(row.string), 60))} appended`;
  }

  #appending(): string {
    if (!this.#view.canCompute.value) return "Appending needs the model: no kernel here.";
    if (!this.#view.current.value) return "The picture is of an earlier run.";
    return this.#view.picture.value?.b ? "Click or Enter appends to A." : "Click or Enter appends.";
  }

  #reason(): string {
    const view = this.#view;
    if (!view.canCompute.peek()) return "appending needs the model; this picture stands without a kernel";
    if (view.busy.peek()) return "the model is still at work";
    if (!view.atEnd.peek()) return "only at the end of the prompt a candidate can be appended: End goes there";
    return "the picture is of an earlier run";
  }

  #reveal(at: number): void {
    const row = this.#rows[at];
    if (!row) return;
    const box = this.list;
    const top = row.offsetTop - box.offsetTop;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + row.offsetHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + row.offsetHeight - box.clientHeight;
  }

  #showTitle(): void {
    const view = this.#view;
    const { sides } = view.list.value;
    const picture = view.picture.value;
    if (!picture) return;
    const both = picture.b !== null;
    const lines = sides.map(({ side, position }) => {
      const last = position === side.count - 1;
      const token = h(
        "div",
        "miw-next-token",
        both ? h("strong", "miw-side", side.name) : null,
        faint("after "),
        code(clipped(side.positions.labels[position] ?? "", LONGEST)),
        faint(` ${position}${last && sides.length < 2 ? ", the last" : ""}`),
      );
      const spread = about(side.entropy[position]!);
      const tipped = {
        class: "miw-faint",
        "data-tip": "Entropy of the distribution over the next token, in bits: the surprisal to expect of it",
      };
      const entropy = h("div", tipped, sides.length === 2 ? `entropy ${spread}` : `next token: entropy ${spread} bits`);
      // Of two prompts the text says the tokens' own numbers.
      if (sides.length === 2) return h("div", "miw-next-after", token, entropy);
      return h("div", "miw-next-after", token, h("div", "miw-faint", scoreOf(side, position)), entropy);
    });
    this.#title.replaceChildren(...(lines.length ? lines : [faint(`${view.show.value} has no token here`)]));
  }

  #showRows(): void {
    const view = this.#view;
    const list = view.list.value;
    const { sides, rows } = list;
    const two = sides.length === 2;
    this.element.classList.toggle("miw-two", two);
    this.#head.replaceChildren(
      h("span", {}, ""),
      h("span", "miw-candidate-rank", two ? "" : "rank"),
      h("span", {}, "token"),
      h("span", {}, ""),
      ...sides.map(({ side }) => h("span", "miw-candidate-figure", two ? `p(${side.name}) ≈` : "p ≈")),
    );
    this.#rows = rows.map((row, at) => this.#row(row, at, list));
    this.list.replaceChildren(...this.#rows);
    const { d_vocab = 0, top_k = 0 } = view.picture.value?.manifest ?? {};
    const rest = sides.map(({ side, position }) => {
      const held = side.candidates(position).reduce((sum, { probability }) => sum + probability, 0);
      return `${two ? `${side.name} ` : ""}≈ ${figures(Math.max(0, 1 - held))}`;
    });
    const foot = sides.length && d_vocab > top_k ? [h("div", {}, `${plural(d_vocab - top_k, "other")}: ${rest.join(", ")}`)] : [];
    if (sides.length && view.atEnd.value && view.prompt.value !== null) foot.push(h("div", {}, this.#appending()));
    this.#foot.replaceChildren(...foot);
  }

  #row(row: Row, at: number, list: CandidateList): HTMLElement {
    const { sides } = list;
    const two = sides.length === 2;
    const token = h("span", "miw-candidate-token");
    tokenText(token, row.string, LONGEST);
    const bars = h(
      "span",
      { class: "miw-candidate-bars", "aria-hidden": "true" },
      ...row.probabilities.map((probability, which) => {
        const kind = two ? sides[which]!.side.name.toLowerCase() : "one";
        return h("span", { class: `miw-bar miw-bar-${kind}`, style: { width: `${100 * (probability ?? 0)}%` } });
      }),
    );
    const follows = row.follows.length ? (two ? `${row.follows.join("")}→` : "→") : "";
    const rank = two ? "" : row.ranks[0]!.toLocaleString("en");
    const number = (probability: number | null, which: number): HTMLElement => {
      const { side, position } = sides[which]!;
      const text = probability === null ? `≤ ${figures(side.candidates(position).at(-1)?.probability ?? 0)}` : figures(probability);
      return h("span", "miw-candidate-figure", text);
    };
    return h(
      "div",
      {
        class: `miw-candidate${row.follows.length ? " miw-follows" : ""}`,
        id: `${this.#id}-${at}`,
        role: "option",
        "aria-selected": "false",
        "aria-label": describe(row, list),
        "data-candidate": row.id,
        "data-tip": tip(row, list),
      },
      h("span", "miw-candidate-mark", follows),
      h("span", "miw-candidate-rank", rank),
      token,
      bars,
      ...row.probabilities.map(number),
    );
  }
}

function describe(row: Row, { sides }: CandidateList): string {
  const name = isolated(clipped(visible(row.string), 60));
  const said = row.probabilities.map((probability, which) => {
    const { side } = sides[which]!;
    const prefix = sides.length === 2 ? `${side.name} ` : "";
    if (probability === null) return `${prefix}not among the candidates`;
    return `${prefix}probability ${shown(probability, side.precision)}, rank ${row.ranks[which]!.toLocaleString("en")}`;
  });
  return `${name} ${said.join("; ")}${row.follows.length ? ", this token follows" : ""}`;
}

function tip(row: Row, { sides }: CandidateList): string {
  const said = row.probabilities.map((probability, which) => {
    const { side } = sides[which]!;
    const prefix = sides.length === 2 ? `${side.name}: ` : "";
    if (probability === null) return `${prefix}less likely than all listed`;
    return `${prefix}p ${shown(probability, side.precision)}, ${exact(-Math.log2(probability))} bits, rank ${row.ranks[which]!.toLocaleString("en")}`;
  });
  const follows = row.follows.length ? [sides.length === 2 ? `follows in ${row.follows.join(" and ")}` : "follows in this prompt"] : [];
  return [`id ${row.id}`, ...said, ...follows].join("; ");
}
