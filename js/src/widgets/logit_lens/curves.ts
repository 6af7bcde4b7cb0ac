/**
 * Pinned tokens over the layers at one position: probability, or rank on a logarithmic scale with 0 on top. Without
 * pins, the model's first choices as far as the top k of the rows tells of them. Knows nothing of how tokens are pinned.
 */
import { shown } from "../../core/format";
import { LENS } from "../../core/options.gen";
import { makeMapping, ticks, type Tick } from "../../core/scale";
import { Signal } from "../../core/signal";
import { thinned } from "../../core/thin";
import { visible } from "../../core/tokens";
import { faint, h } from "../../dom/element";
import { OptionControl } from "../../dom/options";
import { HiddenTable, listLater, type Listed } from "../../dom/table";
import type { Tooltip } from "../../dom/tooltip";
import { cellName, token, whyUnread } from "./details";
import { rankMarks, rankPlace, rankText } from "./field";
import type { Lens } from "./lens";
import type { LensPicture, Side } from "./picture";
import { curveColor, marker, svg, swatch } from "./svg";

const EDGE = { left: 50, right: 10, top: 8, bottom: 30 };
/** Marks closer than this would be a band. */
const APART = 9;
const PREVIEWED = 4;

export interface Curve {
  /** Which colour and mark. */
  index: number;
  side: Side;
  string: string;
  /** Per row; NaN where it is not known. */
  values: Float32Array;
}

export interface Curves {
  curves: Curve[];
  /** The curves are only what the top k of each row tells. */
  preview: boolean;
  /** Largest value of the axis: probability or rank. */
  high: number;
}

/** The curves at `column`. The range is that of the whole picture and both sides: it stays while they change. */
export function curvesAt(lens: Lens, picture: LensPicture, column: number): Curves {
  const rank = lens.options.value.chart === "rank";
  const { at, read } = lens.columns.value;
  void lens.arrived.value;
  const curves: Curve[] = [];
  const pins = lens.pins.value.filter((pin) => pin.target >= 0);
  let high = 0;
  for (const side of picture.sides) {
    const place = at[side][column] ?? -1;
    const on = lens.sides.value.includes(side) && place >= 0 && read[column] === true;
    for (const pin of pins) {
      const all = picture.target(side, rank ? "ranks" : "probs", pin.target);
      if (!all) continue;
      for (const value of all) if (value > high) high = value;
      if (!on) continue;
      const values = new Float32Array(picture.rows.length).map((_, row) => all[row * picture.width(side) + place]!);
      curves.push({ index: pin.target, side, string: pin.string, values });
    }
    if (pins.length || rank || !on) continue;
    const last = picture.rows.length - 1;
    picture
      .guesses(side, last, place)
      .slice(0, PREVIEWED)
      .forEach(({ id, string }, index) => {
        const values = new Float32Array(picture.rows.length).map(
          (_, row) => picture.guesses(side, row, place).find((guess) => guess.id === id)?.probability ?? NaN,
        );
        for (const value of values) if (value > high) high = value;
        curves.push({ index, side, string, values });
      });
  }
  return { curves, preview: !pins.length && curves.length > 0, high: rank ? Math.max(1, high) : roundUp(high) };
}

/** The next of 1, 2, 5 × a power of ten; probabilities end at 1. */
export function roundUp(high: number): number {
  if (!(high > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(high));
  const lead = [1, 2, 5, 10].find((step) => step * power >= high * 0.999) ?? 10;
  return Math.min(1, Number((lead * power).toPrecision(1)));
}

export class CurvesPanel {
  readonly #title = h("span", "miw-lens-curves-title");
  readonly #plot = h("div", "miw-lens-plot");
  readonly #note = h("div", "miw-lens-note");
  readonly #table = new HiddenTable();
  readonly element: HTMLElement;
  readonly size = new Signal({ width: 0, height: 0 });
  #lens: Lens;
  #tooltip: Tooltip;
  #rows: { x: (row: number) => number; count: number } = { x: () => 0, count: 0 };

  constructor(lens: Lens, tooltip: Tooltip) {
    this.#lens = lens;
    this.#tooltip = tooltip;
    const { scope } = lens;
    const chart = new OptionControl(lens, "chart", LENS.options.chart, {}, "menu");
    this.element = h(
      "section",
      { class: "miw-lens-curves", "aria-label": "pinned tokens over layers" },
      h("div", "miw-lens-curves-head", this.#title, chart.element!),
      this.#plot,
      this.#note,
      this.#table.element,
    );
    scope.effect(() => this.#draw());
    scope.effect(() => this.#showTitle());
    scope.listen(this.#plot, "pointermove", (event) => this.#point(event));
    scope.listen(this.#plot, "pointerleave", () => {
      lens.point({ row: null, column: null });
      tooltip.hide();
    });
    scope.listen(this.#plot, "click", (event) => {
      const row = this.#rowAt(event);
      if (row !== null) lens.lock({ row, column: null });
    });
    listLater(scope, this.#table, () => this.#listed());
  }

  get plot(): HTMLElement {
    return this.#plot;
  }

  #showTitle(): void {
    const lens = this.#lens;
    const columns = lens.columns.value;
    const reading = lens.reading.value;
    if (!reading) return this.#title.replaceChildren();
    this.#title.replaceChildren(
      faint("after "),
      token(columns.strings[reading.column] ?? "", 16),
      faint(` at ${columns.numbers[reading.column]}`),
    );
  }

  #draw(): void {
    const lens = this.#lens;
    const picture = lens.picture.value;
    const reading = lens.reading.value;
    const { width, height } = this.size.value;
    const rank = lens.options.value.chart === "rank";
    if (!picture || !reading || width < 80 || height < 60) return this.#plot.replaceChildren();
    const { curves, preview, high } = curvesAt(lens, picture, reading.column);
    this.#note.textContent = !lens.columns.value.read[reading.column]
      ? `This position is ${whyUnread(lens)}.`
      : preview
        ? `The model's first choices, where they are in a row's top ${picture.manifest.top_k}. Pinned tokens have whole curves.`
        : curves.length
          ? lens.sides.value.length > 1
            ? "A drawn out, B dashed"
            : ""
          : lens.pins.value.length
            ? ""
            : `Pin a token to see its ${rank ? "rank" : "probability"} at every layer.`;
    const rows = picture.rows.length;
    const [right, bottom] = [width - EDGE.right, height - EDGE.bottom];
    const step = rows > 1 ? (right - EDGE.left - 8) / (rows - 1) : 0;
    const x = (row: number): number => (rows > 1 ? EDGE.left + 4 + row * step : (EDGE.left + right) / 2);
    const unit = (value: number): number => (rank ? 1 - rankPlace(value) / rankPlace(high) : value / high);
    const y = (value: number): number => bottom - Math.max(0, Math.min(1, unit(value))) * (bottom - EDGE.top);
    this.#rows = { x, count: rows };
    const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    drawing.append(
      ...axes(picture, rank ? rankAxis(high) : probabilityAxis(high), { x, step, right, bottom, title: rank ? "rank" : "probability" }),
    );
    const held = lens.pointed.value.row ?? lens.locked.value.row;
    if (held !== null && held < rows) {
      const look = lens.pointed.value.row === null ? "miw-lens-line miw-lens-line-locked" : "miw-lens-line";
      drawing.append(svg("path", { class: look, d: `M${x(held)} ${EDGE.top}V${bottom}` }));
    }
    for (const curve of curves) drawing.append(...drawn(curve, x, y, step, preview));
    this.#plot.replaceChildren(drawing);
  }

  /** The same numbers for screen readers. */
  #listed(): (() => Listed) | null {
    const lens = this.#lens;
    const picture = lens.picture.value;
    const column = lens.reading.value?.column;
    if (!picture || column === undefined) return null;
    const { curves } = curvesAt(lens, picture, column);
    const caption = `${lens.options.value.chart} of tokens over layers, ${cellName(lens, { row: null, column })}`;
    const names = curves.map(({ string, side }) => `${visible(string)}${lens.sides.value.length > 1 ? ` (${side})` : ""}`);
    const line = (row: number): string[] => curves.map(({ values }) => this.#say(values[row]!));
    return () => [caption, ["layer", ...names], picture.rows.map(({ label }, row) => [label, ...line(row)])];
  }

  #say(value: number): string {
    if (value !== value) return "not known";
    return this.#lens.options.peek().chart === "rank"
      ? rankText(value)
      : shown(value, this.#lens.picture.peek()?.precision("A", "target_probs") ?? "half");
  }

  #rowAt(event: MouseEvent): number | null {
    const { x, count } = this.#rows;
    if (!count) return null;
    const at = event.clientX - this.#plot.getBoundingClientRect().left;
    return Math.max(0, Math.min(count - 1, Math.round((at - x(0)) / (x(1) - x(0) || 1))));
  }

  #point(event: PointerEvent): void {
    const lens = this.#lens;
    const picture = lens.picture.peek();
    const row = this.#rowAt(event);
    const column = lens.cell.peek()?.column;
    if (row === null || column === undefined || !picture) return;
    lens.point({ row, column });
    const { curves } = curvesAt(lens, picture, column);
    const named = lens.sides.peek().length > 1;
    const lines = curves.map(({ index, side, string, values }) =>
      h("span", "miw-swatch-row", swatch(index), token(string, 22), ` ${named ? `${side} ` : ""}${this.#say(values[row]!)}`),
    );
    this.#tooltip.show([h("strong", {}, cellName(lens, { row, column })), ...lines], event.clientX, event.clientY);
  }
}

interface Frame {
  x: (row: number) => number;
  step: number;
  right: number;
  bottom: number;
  title: string;
}

/** Hairlines at round values, layers below, titles at both axes. */
function axes(picture: LensPicture, marks: Tick[], { x, step, right, bottom, title }: Frame): SVGElement[] {
  const parts: SVGElement[] = [];
  for (const { unit, text } of marks) {
    const y = bottom - unit * (bottom - EDGE.top);
    parts.push(svg("path", { class: "miw-lens-grid", d: `M${EDGE.left} ${Math.round(y) + 0.5}H${right}` }));
    parts.push(svg("text", { class: "miw-lens-tick", x: EDGE.left - 5, y: y + 3.5, "text-anchor": "end" }, text));
  }
  const last = picture.rows.length - 1;
  const { stream } = picture.rows[0]!;
  for (const row of thinned(0, picture.rows.length, step || 100, 20, [last])) {
    parts.push(
      svg(
        "text",
        { class: "miw-lens-tick", x: x(row), y: bottom + 13, "text-anchor": "middle" },
        row === last && picture.rows[last]!.stream !== stream ? "out" : String(picture.rows[row]!.layer),
      ),
    );
  }
  parts.push(
    svg("text", { class: "miw-lens-tick", x: (EDGE.left + right) / 2, y: bottom + 26, "text-anchor": "middle" }, `layer (${stream})`),
  );
  const middle = (EDGE.top + bottom) / 2;
  parts.push(
    svg("text", { class: "miw-lens-tick", x: 0, y: 0, "text-anchor": "middle", transform: `translate(9 ${middle}) rotate(-90)` }, title),
  );
  return parts;
}

function drawn(
  { index, side, values }: Curve,
  x: (row: number) => number,
  y: (value: number) => number,
  step: number,
  preview: boolean,
): SVGElement[] {
  let path = "";
  let pen = false;
  values.forEach((value, row) => {
    if (value !== value) pen = false;
    else {
      path += `${pen ? "L" : "M"}${x(row).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = true;
    }
  });
  const look = { class: "miw-lens-curve", stroke: curveColor(index), "stroke-width": preview ? 1 : 1.5 };
  const line = svg("path", { ...look, d: path, "stroke-dasharray": side === "B" ? "4 3" : null });
  const every = Math.max(1, Math.ceil(APART / (step || APART)));
  const marks: SVGElement[] = [];
  // Curves have their marks at different rows, so that those that lie over each other can be told apart.
  values.forEach((value, row) => {
    if (value === value && (row % every === index % every || every === 1)) marks.push(marker(index, x(row), y(value), preview ? 2 : 2.6));
  });
  return [line, ...marks];
}

function probabilityAxis(high: number): Tick[] {
  const mapping = makeMapping({ low: 0, high, scale: "linear", palette: "grey", diverging: false }, "light");
  return ticks(mapping, 5);
}

function rankAxis(high: number): Tick[] {
  return rankMarks(high).map(({ unit, text }) => ({ unit: 1 - unit, text }));
}
