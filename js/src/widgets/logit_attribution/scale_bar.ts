/** What colours mean, on one line: the two ends of a scale that is symmetric about 0, and its unit. */
import { exact, rounded } from "../../core/format";
import { cssOf, type Mapping } from "../../core/scale";
import { h } from "../../dom/element";

const STOPS = 16;

export class ScaleBar {
  readonly #low = h("span");
  readonly #bar = h("span", "miw-scale-colors");
  readonly #high = h("span");
  readonly element = h("span", { class: "miw-scale-bar", role: "img" }, this.#low, this.#bar, this.#high);

  /** `unit` stands after the numbers where there is room for it; `beyond`: some values have the colour of the ends;
   * `compared`: they are A − B. */
  show(mapping: Mapping, unit = "", beyond = false, compared = false): void {
    const { high, colors } = mapping;
    this.element.hidden = !(high > 0);
    const stops = Array.from({ length: STOPS + 1 }, (_, stop) => cssOf(colors[Math.min(255, Math.round((stop * 256) / STOPS))]!));
    this.#bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    this.#low.textContent = `${beyond ? "≤ " : ""}−${rounded(high)}`;
    this.#high.textContent = `${beyond ? "≥ " : ""}+${rounded(high)}${unit && ` ${unit}`}`;
    this.element.setAttribute("aria-label", `colours from −${exact(high)} to +${exact(high)} logits, 0 in the middle`);
    this.element.dataset["tip"] =
      `Colour: −${exact(high)} to +${exact(high)} logits, 0 in the middle. ${compared ? "Orange: more in A, blue: more in B" : "Orange adds to the answer, blue to the foil"}${beyond ? ". The colours span the heads; an MLP beyond them has the colour of the end" : ""}`;
  }
}
