/**
 * The parts as rows with bars: a waterfall that climbs from 0 to the difference, or bars that all start at 0. Under them
 * their sum and what it leaves unexplained. Knows nothing of the map of heads.
 */
import { exact, rounded } from "../../core/format";
import { cssOf, paletteColors } from "../../core/scale";
import { Signal } from "../../core/signal";
import { DIVERGING } from "../../core/color.gen";
import { clipped, visible } from "../../core/tokens";
import { ABLATED_TIP, ablatedMark } from "../../dom/ablated";
import type { PartKind, TokenName } from "../../core/wire.gen";
import { around, code, faint, h } from "../../dom/element";
import type { Tooltip } from "../../dom/tooltip";
import type { Attribution } from "./attribution";
import { barOf, decimalsFor, domainOf, roundValues, signed } from "./rows";

/** Row heights in pixels, from airy to dense; where even the last does not fit, the list scrolls. */
const HEIGHTS = [24, 20, 16];
/** Pixels that one number of the axis needs. */
const TICK_ROOM = 48;
/** About the width of a figure. */
const LETTER = 7;
/** Bars take the palette's colours well inside its ends, which are the same for every value of a sign. */
const MINUS_STEP = 40;
const PLUS_STEP = 215;
const LONGEST_LABEL = 24;

const KINDS: Record<PartKind, string> = {
  embedding: "What the token embedding at this position still says in the last residual stream",
  "position embedding": "What the learned position embedding says",
  layer: "Attention and MLP of this layer together",
  attention: "What this layer's attention writes: all its heads and its bias",
  "attention bias": "The attention's output bias, which no head writes",
  head: "What this head writes",
  mlp: "What this layer's MLP writes",
  "mlp bias": "The MLP's output bias, which no neuron writes",
  neuron: "What this neuron writes: its activation × its output weights",
  feature: "What this feature of the coder writes: its activation × its decoder direction",
  "coder bias": "What the coder writes whatever its features are",
  "coder error": "What the coder leaves out of what stands at its place",
  "norm bias": "The bias of the final norm, as the unembedding reads it",
  "unembedding bias": "The unembedding's own bias for these tokens",
  "output transform": "What the cap on the logits changes. It acts on the sum: no single part has it",
  rest: "The neurons of this layer, or active features of the coder, that are not shown one by one",
  intervention: "What an intervention added to the residual stream itself, which no part of the model wrote",
};

export class Parts {
  readonly #title = h("div", "miw-panel-title");
  readonly #axis = h("span", "miw-part-plot");
  readonly #rows = h("div", { role: "list", "aria-label": "parts" });
  readonly #sum = h("div", { role: "list", "aria-label": "sum" });
  readonly #residue = h("div", "miw-part miw-part-residue");
  /** Scrolls; axis and sum stay in sight. */
  readonly list = h(
    "div",
    { class: "miw-parts-list", tabindex: 0, role: "group", "aria-label": "parts of the logit difference" },
    h(
      "div",
      { class: "miw-part miw-parts-axis", "aria-hidden": "true" },
      h("span", "miw-part-label"),
      this.#axis,
      h("span", "miw-part-value", "logits"),
    ),
    this.#rows,
    h("div", "miw-parts-foot", this.#sum, this.#residue),
  );
  readonly element = h("section", { class: "miw-parts", "aria-label": "parts" }, this.#title, this.list);
  readonly size = new Signal({ width: 0, height: 0 });
  readonly drawn = new Signal(0);
  readonly #attribution: Attribution;
  readonly #tooltip: Tooltip;
  #elements: HTMLElement[] = [];

  constructor(attribution: Attribution, tooltip: Tooltip) {
    this.#attribution = attribution;
    this.#tooltip = tooltip;
    const { scope } = attribution;
    const rowAt = (event: Event): number | null => {
      const element = around(event.target, "[data-row]");
      return element ? Number(element.dataset["row"]) : null;
    };
    scope.listen(this.list, "pointermove", (event) => this.#point(rowAt(event), event));
    scope.listen(this.list, "pointerleave", (event) => this.#point(null, event));
    scope.listen(this.list, "focusout", () => attribution.pointAtRow(null));
    scope.listen(this.list, "click", (event) => {
      const row = attribution.rows.peek()[rowAt(event) ?? -1];
      if (row) attribution.chooseRow(row);
    });
    scope.effect(() => this.#showTitle());
    scope.effect(() => this.#draw());
    scope.effect(() => this.#mark());
    scope.effect(() => {
      const colors = paletteColors(DIVERGING, attribution.theme.value);
      this.element.style.setProperty("--minus", cssOf(colors[MINUS_STEP]!));
      this.element.style.setProperty("--plus", cssOf(colors[PLUS_STEP]!));
    });
  }

  /** One row in words, as keys tell of it. */
  describe(at: number): string {
    const row = this.#attribution.rows.peek()[at];
    if (!row) return "";
    const total = row.kind === "sum" ? "" : `, total ${rounded(row.to)}`;
    const ablated = this.#attribution.shown.peek()?.isAblated(row.part) ? ", ablated" : "";
    return `${row.label}${ablated}: ${signed(row.value, decimalsFor([row.value]))} logits${total}`;
  }

  /** Scrolls the list, and nothing around it, until the row is in sight; the axis and the sum cover its ends. */
  reveal(at: number): void {
    const element = this.#elements[at];
    if (!element || element.parentElement !== this.#rows) return;
    const { list } = this;
    const top = element.offsetTop - (this.#axis.parentElement?.offsetHeight ?? 0);
    const bottom = element.offsetTop + element.offsetHeight + (this.#sum.parentElement?.offsetHeight ?? 0);
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  }

  showTooltipAt(at: number): void {
    const place = this.#elements[at]?.querySelector(".miw-part-plot")?.getBoundingClientRect();
    if (place) this.#tooltip.show(this.#tooltipLines(at), place.left + place.width / 2, place.bottom - 12);
  }

  #showTitle(): void {
    const manifest = this.#attribution.shown.value?.manifest;
    if (!manifest) return this.#title.replaceChildren();
    const tip =
      "Direct contributions: what each part writes into the last residual stream, as the final norm (its scale held fixed) and the unembedding read it. " +
      "What a part does by way of later layers counts for those layers";
    const compared = this.#attribution.show.value === "difference";
    const what = `${manifest.foil ? "logit difference" : "logit"}${compared ? ", A − B" : ""}`;
    const toward = (sign: string, token: TokenName | null, otherwise: string): Node[] => [
      h("span", `miw-toward-color miw-toward-${sign}`),
      token ? code(clipped(visible(token.string), 16)) : h("span", {}, otherwise),
    ];
    const colors = compared
      ? [...toward("plus", null, "more in A"), ...toward("minus", null, "more in B")]
      : [...toward("plus", manifest.foil && manifest.answer, "raises it"), ...toward("minus", manifest.foil, "lowers it")];
    this.#title.replaceChildren(
      h("span", { "data-tip": tip }, h("strong", {}, what), ` by ${manifest.by}${manifest.coder ? ` of ${manifest.coder}` : ""}`),
      h("span", "miw-toward", manifest.foil && !compared ? "for" : "", ...colors),
    );
  }

  #draw(): void {
    const attribution = this.#attribution;
    const picture = attribution.shown.value;
    const rows = attribution.rows.value;
    const { chart } = attribution.options.value;
    const { width, height } = this.size.value;
    if (!picture) return;
    const { manifest } = picture;
    const [low, high] = domainOf(rows, chart);
    const shareOf = (value: number): number => (100 * (value - low)) / (high - low);
    const decimals = decimalsFor(rows.map((row) => row.value));
    const longest = Math.max(...rows.map((row) => row.label.length));
    const digits = Math.max(...rows.map((row) => signed(row.value, decimals).length), 9);
    const letters = Math.min(LONGEST_LABEL, longest + 1);
    const room = width ? width - (letters + digits) * LETTER : 240;
    const values = roundValues(low, high, Math.min(6, Math.max(2, Math.floor(room / TICK_ROOM))));
    const { list } = this;
    list.style.setProperty("--label", `${letters}ch`);
    list.style.setProperty("--value", `${digits}ch`);
    list.style.setProperty("--row", `${rowHeight(rows.length + 2, height)}px`);
    list.style.setProperty("--lines", values.map((value) => lineAt(shareOf(value), value === 0)).join(", "));
    const put = (kind: string, at: number, text: string | null = null): HTMLElement =>
      h("span", { class: kind, style: { left: `${shareOf(at)}%` } }, text);
    this.#axis.replaceChildren(...values.map((value) => put("miw-part-tick", value, rounded(value))));
    this.#elements = rows.map((row, at) => {
      const plot = h("span", "miw-part-plot");
      const ends = barOf(row, chart);
      if (chart === "waterfall" && at > 0 && row.kind !== "sum") {
        plot.append(put("miw-part-join", row.from));
      }
      if (ends && row.value === row.value) {
        const kind = row.kind === "sum" ? "total" : row.value < 0 ? "minus" : "plus";
        const bar = h("span", `miw-part-bar miw-part-${kind}`);
        bar.style.left = `${shareOf(Math.min(...ends))}%`;
        bar.style.width = `${Math.abs(shareOf(ends[1]) - shareOf(ends[0]))}%`;
        plot.append(bar);
      }
      const ablated = row.kind === "part" && picture.isAblated(row.part);
      if (ablated) {
        plot.append(put("miw-part-note", Math.max(row.from, chart === "bars" ? 0 : row.to), "ablated"));
      }
      const click = row.kind === "part" && picture.spanOf(row.part) !== null;
      const name = `miw-part${row.kind === "part" ? "" : ` miw-part-${row.kind}`}${click ? " miw-part-place" : ""}`;
      return h(
        "div",
        { class: name, role: "listitem", "data-row": at },
        h("span", "miw-part-label", ablated ? ablatedMark() : null, row.label),
        plot,
        h("span", "miw-part-value", signed(row.value, decimals)),
      );
    });
    this.#rows.replaceChildren(...this.#elements.slice(0, -1));
    this.#sum.replaceChildren(this.#elements.at(-1)!);
    const failed = manifest.checks.some((check) => !check.ok && check.label.includes("sum"));
    this.#residue.dataset["tip"] =
      `What the parts leave unexplained: the model's own ${manifest.foil ? "logit difference" : "logit"}${attribution.show.value === "difference" ? ", A − B" : ""}, ${exact(manifest.difference)}, minus their sum`;
    this.#residue.classList.toggle("miw-part-failed", failed);
    this.#residue.replaceChildren(
      h("span", "miw-part-label", "residue"),
      h("span", {}),
      h("span", "miw-part-value", residueText(manifest.residue)),
    );
    this.#mark();
    this.drawn.value = this.drawn.peek() + 1;
  }

  #mark(): void {
    const attribution = this.#attribution;
    const rows = attribution.rows.value;
    const own = attribution.hoverRow.value;
    const cell = attribution.hoverCell.value;
    const span = cell ? { layer: cell.layer, first: cell.column, last: cell.column } : null;
    const chosen = attribution.chosenSpan.value;
    const remote = attribution.remoteHead.value;
    const there = remote ? { layer: remote.layer, first: remote.head, last: remote.head } : null;
    this.#elements.forEach((element, at) => {
      const row = rows[at];
      if (!row) return;
      const locked = attribution.relation(row, chosen);
      element.classList.toggle("miw-part-pointed", at === own || attribution.relation(row, span) !== null);
      element.classList.toggle("miw-part-linked", attribution.relation(row, there) !== null);
      element.classList.toggle("miw-part-locked", locked === "same");
      element.classList.toggle("miw-part-holds", locked === "holds");
    });
  }

  #point(at: number | null, event: MouseEvent): void {
    this.#attribution.pointAtRow(at);
    if (at === null) {
      // The residue has a tooltip of its own.
      if (event.type === "pointerleave" || !around(event.target, "[data-tip]")) this.#tooltip.hide();
    } else this.#tooltip.show(this.#tooltipLines(at), event.clientX, event.clientY);
  }

  #tooltipLines(at: number): Node[] {
    const attribution = this.#attribution;
    const row = attribution.rows.peek()[at];
    const picture = attribution.shown.peek();
    if (!row || !picture) return [];
    const { manifest } = picture;
    const lines: Node[] = [h("span", "miw-tip-value", `${row.value > 0 ? "+" : ""}${exact(row.value)} logits`), h("span", {}, row.label)];
    const { difference } = manifest;
    if (row.kind !== "sum") {
      const share =
        Math.abs(difference) > Math.abs(row.value) / 50
          ? `${((100 * row.value) / difference).toFixed(1).replace("-", "−")} % of ${rounded(difference)}; `
          : "";
      lines.push(faint(`${share}total ${rounded(row.from)} → ${rounded(row.to)}`));
    } else lines.push(faint(`of ${row.count} parts; the model itself: ${exact(difference)}`));
    if (row.kind === "part") {
      lines.push(faint(picture.isAblated(row.part) ? ABLATED_TIP : (KINDS[manifest.part_kinds[row.part]!] ?? "")));
      const span = picture.spanOf(row.part);
      if (span) {
        const strongest = manifest.part_kinds[row.part] === "attention" ? picture.strongest(span.layer) : null;
        lines.push(
          faint(
            strongest
              ? `click: choose its strongest head, L${strongest.layer} H${strongest.head}`
              : picture.has(span.layer, span.first) && span.first === span.last
                ? "click: choose this head"
                : "click: choose this layer",
          ),
        );
      }
    }
    return lines;
  }
}

function rowHeight(count: number, height: number): number {
  return HEIGHTS.find((candidate) => count * candidate <= height) ?? HEIGHTS.at(-1)!;
}

function lineAt(share: number, zero: boolean): string {
  const color = zero ? "var(--miw-faint)" : "var(--miw-line)";
  return `linear-gradient(${color} 0 0) ${share}% 0 / 1px 100% no-repeat`;
}

function residueText(residue: number): string {
  return residue === 0 ? "0" : `${residue > 0 ? "+" : "−"}${Math.abs(residue).toExponential(0).replace("-", "−").replace("e+", "e")}`;
}
