/** What is said of one cell: its likeliest tokens with bars, and its numbers. For the tooltip and for screen readers. */
import { shown } from "../../core/format";
import { clipped, isolated, visible } from "../../core/tokens";
import { code, faint, h } from "../../dom/element";
import { rankText, sayValue } from "./field";
import type { Cell, Lens } from "./lens";
import type { Columns, Guess, LensPicture, Side } from "./picture";

/** Why a cell of a partial picture is empty. */
export function whyUnread(lens: Lens): string {
  if (lens.filling.value) return "not read yet";
  return lens.canCompute.value ? "not read: the reading was stopped" : "not read: the picture was saved before it was done";
}

const LONGEST = 22;
const FEW = 3;

/** "L5 post · 7 ·Tom": the cell in words. */
export function cellName(lens: Lens, { row, column }: Cell): string {
  const picture = lens.picture.peek();
  const columns = lens.columns.peek();
  const parts: string[] = [];
  if (row !== null && picture?.rows[row]) parts.push(picture.rows[row].label);
  if (column !== null && column < columns.count) {
    parts.push(`position ${columns.numbers[column]} ${isolated(clipped(columns.labels[column] ?? "", 40))}`);
  }
  return parts.join(", ");
}

/** The cell for a live region: its name, its value, its first guesses. */
export function describe(lens: Lens, row: number, column: number): string {
  const picture = lens.picture.peek();
  const field = lens.field.peek();
  if (!picture || !field) return "";
  const columns = lens.columns.peek();
  if (!columns.read[column]) return `${cellName(lens, { row, column })}: ${whyUnread(lens)}`;
  const guesses = lens.sides.peek().map((side) => {
    const top = picture.guesses(side, row, columns.at[side][column] ?? -1).slice(0, FEW);
    const list = top.map(({ string, probability }) => `${isolated(clipped(visible(string), 30))} ${probability.toFixed(2)}`).join(", ");
    return lens.sides.peek().length > 1 ? `${side}: ${list}` : list;
  });
  const value = sayValue(field, row * field.columns + column);
  return `${cellName(lens, { row, column })}: ${guesses.join("; ")}; ${field.title} ${value}`;
}

/** The tooltip of a cell. */
export function cellLines(lens: Lens, row: number, column: number): Node[] {
  const picture = lens.picture.peek();
  const columns = lens.columns.peek();
  const field = lens.field.peek();
  const at = picture?.rows[row];
  if (!picture || !field || !at || column >= columns.count) return [];
  if (!columns.read[column]) {
    return [
      h("span", {}, h("strong", {}, at.label), faint(`  ${at.detail}`)),
      positionLine(columns, column),
      h("span", {}, whyUnread(lens)),
    ];
  }
  const sides = lens.sides.peek();
  const value = h("span", {}, faint(`${field.title}  `), h("span", "miw-tip-value", sayValue(field, row * field.columns + column)));
  const cells = sides.map((side): SideCell => ({ lens, picture, side, row, at: columns.at[side][column] ?? -1 }));
  const facts = cells.map(factsOf);
  return [
    h("span", {}, h("strong", {}, at.label), faint(`  ${at.detail}`)),
    positionLine(columns, column),
    ...(sides.length > 1 ? [value] : []),
    h("div", "miw-lens-sides", ...cells.map((cell) => guessesOf(cell, sides.length > 1))),
    h(
      "table",
      "miw-lens-facts",
      h(
        "tbody",
        {},
        ...FACTS.filter((name) => facts.some((side) => side.has(name))).map((name) =>
          h("tr", {}, h("th", { scope: "row" }, name), ...facts.map((side) => h("td", {}, side.get(name) ?? "–"))),
        ),
      ),
    ),
  ];
}

/** The tooltip of a column's label. */
export function columnLines(lens: Lens, column: number): Node[] {
  const columns = lens.columns.peek();
  return column < columns.count ? [positionLine(columns, column)] : [];
}

/** The tooltip of a row's label. */
export function rowLines(lens: Lens, row: number): Node[] {
  const at = lens.picture.peek()?.rows[row];
  return at ? [h("span", {}, h("strong", {}, at.label), faint(`  layer ${at.layer}: ${at.detail}`))] : [];
}

function positionLine(columns: Columns, column: number): HTMLElement {
  const detail = columns.details[column];
  return h(
    "span",
    {},
    faint("after "),
    token(columns.strings[column] ?? "", 1000),
    faint(`  position ${columns.numbers[column]}${detail ? `, ${detail}` : ""}`),
  );
}

const FACTS = ["entropy", "KL to the model", "model's choice", "change (KL)", "what follows", "pinned"] as const;

/** A cell of one side, whose prompt has position `at` there, or -1. */
interface SideCell {
  lens: Lens;
  picture: LensPicture;
  side: Side;
  row: number;
  at: number;
}

/** One side's numbers by name. */
function factsOf({ lens, picture, side, row, at }: SideCell): Map<(typeof FACTS)[number], Node | string> {
  const facts = new Map<(typeof FACTS)[number], Node | string>();
  if (at < 0) return facts;
  const cell = row * picture.width(side) + at;
  const last = picture.rows.length - 1;
  const number = (quantity: "entropy" | "kl" | "change" | "next_prob"): string =>
    shown(picture.values(side, quantity)?.[cell] ?? NaN, picture.precision(side, quantity));
  const rank = (quantity: "final_rank" | "next_rank"): string => rankText(picture.values(side, quantity)?.[cell] ?? -1);
  facts.set("entropy", `${number("entropy")} nats`);
  if (row < last) {
    facts.set("KL to the model", `${number("kl")} nats`);
    facts.set(
      "model's choice",
      h("span", {}, token(picture.nameOf(picture.topId(side, last, at)), LONGEST), ` rank ${rank("final_rank")}`),
    );
  }
  if (row > 0) facts.set("change (KL)", `${number("change")} nats`);
  const next = picture.tokenAt(side, at, 1);
  if (next !== null) facts.set("what follows", h("span", {}, token(next, LONGEST), ` ${number("next_prob")}, rank ${rank("next_rank")}`));
  const { target } = lens.options.peek();
  const pinned = picture.manifest.targets[target];
  if (pinned && lens.field.peek()?.measure.startsWith("target_")) {
    const [probs, ranks] = [picture.target(side, "probs", target), picture.target(side, "ranks", target)];
    facts.set(
      "pinned",
      h(
        "span",
        {},
        token(pinned.string, LONGEST),
        ` ${shown(probs?.[cell] ?? NaN, picture.precision(side, "target_probs"))}, rank ${rankText(ranks?.[cell] ?? -1)}`,
      ),
    );
  }
  return facts;
}

/** One side's likeliest tokens. */
function guessesOf({ lens, picture, side, row, at }: SideCell, named: boolean): HTMLElement {
  if (at < 0) return h("div", "miw-faint", `${side}: no such position`);
  return h(
    "div",
    "miw-lens-side",
    named ? h("strong", {}, side) : null,
    guessTable(picture.guesses(side, row, at)),
    picture.hasRow(side, row)
      ? null
      : h("div", "miw-faint", lens.canCompute.peek() ? "the others are on their way" : "only the first was kept"),
  );
}

function guessTable(guesses: Guess[]): HTMLElement {
  const rows = guesses.map(({ string, probability }) => {
    const bar = h("span", { class: "miw-lens-bar", style: { width: `${Math.round(probability * 1000) / 10}%` } });
    return h("tr", {}, h("th", { scope: "row" }, token(string, LONGEST)), h("td", "miw-lens-bars", bar), h("td", {}, percent(probability)));
  });
  return h("table", "miw-lens-guesses", h("tbody", {}, ...rows));
}

/** A probability with three digits; half precision carries no more. */
export function percent(probability: number): string {
  if (!(probability >= 0)) return "–";
  return probability >= 0.001 ? probability.toFixed(3) : probability > 0 ? probability.toExponential(0).replace("-", "−") : "0";
}

/** A token as code, whitespace visible, in its own reading direction. */
export function token(string: string, longest: number): HTMLElement {
  return code(clipped(visible(string), longest) || "∅");
}
