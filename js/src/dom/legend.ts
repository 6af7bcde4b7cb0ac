/** The legend beside a picture: palette with round values, and swatches of every look a cell can have. */
import { exact, rounded } from "../core/format";
import { MASKED, NOT_A_NUMBER, SCALES } from "../core/options.gen";
import { LOG_FLOOR, ticks, type Mapping } from "../core/scale";
import { h } from "./element";
import { context2d } from "./surface";

export interface LegendContent {
  mapping: Mapping;
  unit: string;
  masked: boolean;
  missing: boolean;
  /** Cells outside the range, drawn in its end colours. */
  clipped: number;
  /** What masked cells are called; "masked" where nothing is said. */
  maskedText?: string;
  /** Marks beside the colours and the name of the scale, where values stand for something else (ranks, logarithms). */
  marks?: { unit: number; text: string }[];
  scaleText?: string;
  /** Further looks and what they mean. */
  extra?: Node[];
}

export class Legend {
  readonly #bar = h("canvas", { class: "miw-legend-bar", width: 1, height: 256, "aria-hidden": "true" });
  readonly #ticks = h("div", "miw-legend-ticks");
  readonly #unit = h("div", "miw-legend-unit");
  readonly #notes = h("div", "miw-legend-notes");
  readonly element = h(
    "div",
    { class: "miw-legend", role: "group", "aria-label": "legend" },
    this.#unit,
    h("div", "miw-legend-scale", this.#bar, this.#ticks),
    this.#notes,
  );

  show(content: LegendContent): void {
    const { mapping } = content;
    this.#unit.textContent = content.unit;
    const context = context2d(this.#bar);
    if (context) {
      const pixels = context.createImageData(1, 256);
      const words = new Uint32Array(pixels.data.buffer);
      for (let step = 0; step < 256; step++) words[255 - step] = mapping.colors[step]!;
      context.putImageData(pixels, 0, 0);
    }
    this.#ticks.replaceChildren(
      ...(content.marks ?? ticks(mapping)).map(({ unit, text }) =>
        h("div", { class: "miw-legend-tick", style: { bottom: `${unit * 100}%` } }, text),
      ),
    );
    const notes: HTMLElement[] = [h("div", {}, content.scaleText ?? SCALES[mapping.scale])];
    if (mapping.scale === "log") {
      notes.push(h("div", {}, `floor ${rounded(LOG_FLOOR)} of max`));
    }
    if (content.masked) notes.push(swatch("miw-swatch-masked", mapping.masked, content.maskedText ?? MASKED));
    if (content.missing) {
      const missing = mapping.missing;
      notes.push(swatch("", `rgb(${missing & 255} ${(missing >> 8) & 255} ${(missing >> 16) & 255})`, NOT_A_NUMBER));
    }
    if (content.clipped) notes.push(h("div", {}, `${content.clipped} clipped`));
    this.#notes.replaceChildren(...notes, ...(content.extra ?? []));
    if (!content.marks) this.element.title = `${exact(mapping.low)} … ${exact(mapping.high)}`;
    else this.element.removeAttribute("title");
  }
}

function swatch(kind: string, color: string, text: string): HTMLElement {
  return h("div", "miw-swatch-row", h("span", { class: `miw-swatch ${kind}`, style: { "--swatch": color } }), text);
}
