/**
 * The prompt as the model ran it: its tokens coloured by how far they were expected, totals in words, legend, what the
 * pointer is over, and the same numbers as a table for screen readers. Knows nothing of the list of candidates.
 */
import { brief, exact, shown } from "../../core/format";
import { positionName } from "../../core/positions";
import { colorOf, cssOf, inkOn } from "../../core/scale";
import { Signal } from "../../core/signal";
import { clipped, visible } from "../../core/tokens";
import { code, faint, h } from "../../dom/element";
import { Legend } from "../../dom/legend";
import { HiddenTable, listLater, type Listed } from "../../dom/table";
import { tokenLine } from "../../dom/token_line";
import type { Tooltip } from "../../dom/tooltip";
import { TokenLines, type TokenLook } from "./lines";
import { valueOf, type Look } from "./looks";
import type { Pointed, PromptView } from "./model";
import type { PromptPicture, Side, SideName } from "./picture";
import { bits, scoreOf, totalsOf, verdict } from "./words";

const TABLE_ROWS = 200;
const INSTEAD = 5;

export class TextPanel {
  readonly lines: TokenLines;
  /** Grows with every drawing. */
  readonly drawn = new Signal(0);
  readonly #totals = h("div", "miw-totals");
  readonly #legend = new Legend();
  readonly #table = new HiddenTable();
  readonly element: HTMLElement;
  #view: PromptView;
  #tooltip: Tooltip;
  /** What the text holds now; all that is drawn on it follows this, never a picture that is not set yet. */
  readonly #arranged = new Signal<{ picture: PromptPicture; ids: boolean; difference: boolean } | null>(null);

  constructor(view: PromptView, tooltip: Tooltip) {
    this.#view = view;
    this.#tooltip = tooltip;
    const { scope } = view;
    this.lines = new TokenLines(scope, {
      point: (pointed, event) => this.#point(pointed, event),
      pick: ({ column }) => view.lock(view.locked.peek() === column ? null : column),
    });
    this.lines.element.classList.add("miw-lines");
    this.lines.element.setAttribute("aria-label", "tokens as the model ran them; arrow keys walk them");
    this.element = h(
      "section",
      { class: "miw-text", "aria-label": "the prompt as run" },
      this.#totals,
      h("div", "miw-text-body", this.lines.element, this.#legend.element),
      this.#table.element,
    );
    scope.effect(() => this.#arrange());
    scope.effect(() => this.#paint());
    scope.effect(() => {
      void this.#arranged.value;
      // What is being written is underlined once it is in the picture.
      if (view.state.value !== "computing") this.lines.underline(view.written.value);
    });
    scope.effect(() => {
      void this.#arranged.value;
      const locked = view.locked.value;
      const pointed = view.hover.value?.column ?? null;
      this.lines.mark({
        pointed,
        linked: pointed === null ? view.remoteColumn.value : null,
        locked,
        resting: locked === null ? view.column.value : null,
      });
    });
    scope.effect(() => this.#showTotals());
    listLater(scope, this.#table, () => {
      const picture = view.picture.value;
      return picture && (() => listed(picture));
    });
    // The text follows what is chosen and what is written, never the pointer: nothing moves under the reader's eyes.
    scope.effect(() => {
      const picture = view.picture.value;
      const locked = view.locked.value;
      const column = locked ?? (picture && view.written.value ? view.column.value : null);
      void this.#arranged.value;
      if (column !== null) this.lines.reveal(column);
    });
  }

  /** Tells of one column at the keyboard, as the tooltip does at the pointer. */
  describe(column: number): string {
    const picture = this.#view.picture.peek();
    const places = picture?.columns[column];
    if (!picture || !places) return "";
    const show = this.#view.show.peek();
    const names: SideName[] = show === "difference" ? ["A", "B"] : [show];
    return names
      .map((name) => {
        const side = picture.side(name);
        const at = places[name];
        const prefix = picture.b ? `${name} ` : "";
        return side?.has(at) ? `${prefix}${positionName(side.positions, at)}: ${scoreOf(side, at)}` : `${prefix}no token here`;
      })
      .join("; ");
  }

  #arrange(): void {
    const picture = this.#view.picture.value;
    const difference = this.#view.show.value === "difference";
    const { ids } = this.#view.options.value;
    const held = this.#arranged.peek();
    if (!picture || (held?.picture === picture && held.ids === ids && held.difference === difference)) return;
    this.lines.arrange({ picture, ids, gloss: difference ? (at) => signed(picture.difference(at)) : null });
    this.#arranged.value = { picture, ids, difference };
  }

  #paint(): void {
    const view = this.#view;
    const picture = this.#arranged.value?.picture;
    const look = view.look.value;
    const show = view.show.value;
    if (!picture || !look) return;
    const present = { unscored: false, partnerless: false, missing: false, clipped: 0 };
    for (const side of picture.b ? (["A", "B"] as const) : (["A"] as const)) {
      picture.columns.forEach((places, column) => {
        if (places[side] < 0) return;
        const token = lookOf(picture, look, show, side, column);
        present.unscored ||= token.kind === "miw-unscored";
        present.partnerless ||= token.kind === "miw-partnerless";
        present.missing ||= token.missing;
        present.clipped += Number(token.clipped);
      });
    }
    this.lines.paint((side, column) => lookOf(picture, look, show, side, column));
    this.#legend.element.hidden = look.coloring === "none";
    const extra: Node[] = [];
    const key = (kind: string, text: string): HTMLElement => h("div", "miw-swatch-row", h("span", `miw-key ${kind}`, "a"), text);
    if (present.unscored) extra.push(key("miw-unscored", "not scored"));
    if (present.partnerless) extra.push(key("miw-partnerless", "no partner"));
    if (view.written.value) extra.push(key("miw-written", "by the model"));
    this.#legend.show({
      mapping: look.mapping,
      unit: look.unit,
      masked: false,
      missing: present.missing,
      clipped: present.clipped,
      ...(look.marks ? { marks: look.marks } : {}),
      scaleText: look.scale,
      extra,
    });
    this.drawn.value = this.drawn.peek() + 1;
  }

  #showTotals(): void {
    const picture = this.#view.picture.value;
    if (!picture) return;
    const { a, b, manifest } = picture;
    const line = (side: Side, name: string): HTMLElement =>
      h(
        "div",
        {},
        name ? h("strong", "miw-side", name) : null,
        ...totalsOf(side, manifest.prepended).map((text, at) => h("span", { "data-tip": TIPS[at] }, text)),
      );
    const lines = [line(a, b ? "A" : "")];
    if (b) {
      const { difference, likelier, power, factor } = verdict(picture);
      const said = likelier
        ? h(
            "span",
            {
              class: "miw-verdict",
              "data-tip": "p(A) / p(B) as the model has it, each given its first token: 2 to the difference of their total surprisal",
            },
            h("strong", {}, likelier),
            " is 2",
            h("sup", {}, power),
            factor ? ` ≈ ${factor}` : "",
            " × likelier",
          )
        : h("span", {}, "equally likely");
      lines.push(line(b, "B"), h("div", {}, h("span", {}, `A − B = ${difference} bits`), said));
    }
    this.#totals.replaceChildren(...lines);
  }

  #point(pointed: Pointed | null, event: PointerEvent): void {
    this.#view.point(pointed);
    this.#tooltip.over(pointed ? this.#tooltipLines(pointed) : [], event);
  }

  #tooltipLines({ column, side: name }: Pointed): Node[] {
    const picture = this.#view.picture.peek();
    const places = picture?.columns[column];
    const side = picture?.side(name);
    if (!picture || !places || !side) return [];
    const at = places[name];
    const lines: Node[] = [];
    const both = picture.b !== null;
    if (!side.has(at)) lines.push(tokenLineOrNone(side, at));
    else {
      lines.push(tokenLine(both ? name : "", side.positions, at));
      if (side.surprisal[at]! >= 0) {
        lines.push(
          h("span", {}, faint("surprisal "), h("span", "miw-tip-value", bits(side.surprisal[at]!))),
          h("span", {}, faint("probability "), exact(side.probability(at)), faint("   rank "), side.rank[at]!.toLocaleString("en")),
          h("span", {}, faint("entropy before it "), exact(side.entropy[at - 1]!), faint(", after it "), bits(side.entropy[at]!)),
        );
        const instead = side.instead(at, INSTEAD);
        if (instead.length) {
          const rows = instead.map(({ string, probability }) =>
            h("tr", {}, h("td", {}, code(clipped(visible(string), 40))), h("td", {}, shown(probability, side.precision))),
          );
          lines.push(
            h(
              "div",
              "miw-instead",
              faint(side.rank[at] === 0 ? "next likeliest" : "expected instead"),
              h("table", {}, h("tbody", {}, ...rows)),
            ),
          );
        }
      } else lines.push(faint(scoreOf(side, at)), h("span", {}, faint("entropy after it "), bits(side.entropy[at]!)));
    }
    if (both) lines.push(...this.#otherSide(picture, column, name));
    return lines;
  }

  #otherSide(picture: PromptPicture, column: number, name: SideName): Node[] {
    const other = picture.side(name === "A" ? "B" : "A")!;
    const at = picture.columns[column]![other.name];
    const difference = picture.difference(column);
    const lines = [tokenLineOrNone(other, at)];
    if (Number.isFinite(difference)) lines.push(h("span", {}, faint("A − B = "), h("span", "miw-tip-value", bits(difference))));
    return lines;
  }
}

function tokenLineOrNone(side: Side, position: number): HTMLElement {
  if (!side.has(position)) return faint(`${side.name} has no token here`);
  return h("span", {}, tokenLine(side.name, side.positions, position), faint(`  ${bits(side.surprisal[position]!)}`));
}

const TIPS = [
  "Every token that the model saw, special ones too",
  "Surprisal is −log₂ p of a token given those before it. The sum is that of the whole prompt given its first token",
  "2 to the mean surprisal: the model was as unsure as with so many equally likely tokens at each step",
];

/** The tokens and their numbers, one row each; of two prompts, their columns. */
function listed(picture: PromptPicture): Listed {
  const { a, b, columns } = picture;
  if (b) {
    const cell = (side: Side, at: number): string[] =>
      side.has(at) ? [positionName(side.positions, at), bits(side.surprisal[at]!)] : ["none", ""];
    const rows = columns.slice(0, TABLE_ROWS).map(({ A, B }, at) => [...cell(a, A), ...cell(b, B), bits(picture.difference(at))]);
    return [`two prompts aligned${cut(columns.length)}`, ["A", "surprisal A", "B", "surprisal B", "A − B"], rows];
  }
  const rows = a.positions.labels.slice(0, TABLE_ROWS).map((_, at) => {
    const scored = Number.isFinite(a.surprisal[at]!);
    const numbers = [scored ? exact(a.probability(at)) : "", scored ? String(a.rank[at]) : "", bits(a.entropy[at]!)];
    return [positionName(a.positions, at), String(a.idOf(at)), bits(a.surprisal[at]!), ...numbers];
  });
  const names = ["token", "id", "surprisal", "probability", "rank", "entropy of the next token"];
  return [`tokens of the prompt${cut(a.count)}`, names, rows];
}

function cut(count: number): string {
  return count > TABLE_ROWS ? `, first ${TABLE_ROWS}` : "";
}

function signed(value: number): string {
  return Number.isFinite(value) ? `${value >= 0.005 ? "+" : ""}${brief(value)}` : "";
}

/** How one token of `side` is drawn where `show` is shown, and what the legend must say of it. */
function lookOf(
  picture: PromptPicture,
  look: Look,
  show: "A" | "B" | "difference",
  name: SideName,
  column: number,
): TokenLook & { missing: boolean; clipped: boolean } {
  const plain = { background: "", ink: "", kind: "" as TokenLook["kind"], missing: false, clipped: false };
  const places = picture.columns[column]!;
  const side = picture.side(name)!;
  const at = places[name];
  const scored = at > 0 || look.coloring === "entropy";
  let value: number;
  if (show === "difference") {
    if (places[name === "A" ? "B" : "A"] < 0) return { ...plain, kind: "miw-partnerless" };
    if (places.A === 0 || places.B === 0) return { ...plain, kind: "miw-unscored" };
    value = picture.difference(column);
  } else {
    if (show !== name) return { ...plain, kind: "miw-aside" };
    if (look.coloring === "none") return plain;
    if (!scored) return { ...plain, kind: "miw-unscored" };
    value = valueOf(side, at, look.coloring);
  }
  const color = colorOf(value, look.mapping);
  return { ...plain, background: cssOf(color), ink: inkOn(color), missing: value !== value, clipped: value > look.mapping.high * 1.001 };
}
