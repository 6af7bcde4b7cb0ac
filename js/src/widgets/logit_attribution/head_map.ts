/**
 * What every head and every MLP adds, as a map: a row for each layer, a column for each head, and one for the MLPs. On
 * one canvas that draws what is in sight. Knows nothing of the chart of parts.
 */
import { exact } from "../../core/format";
import { nameOfHead } from "../../core/interventions";
import { colorOf, cssOf, inkOn } from "../../core/scale";
import { computed, frame, Signal, type Readable } from "../../core/signal";
import { thinned } from "../../core/thin";
import { ABLATED_TIP, markAblated } from "../../dom/ablated";
import { h } from "../../dom/element";
import { prepare } from "../../dom/surface";
import { HiddenTable } from "../../dom/table";
import type { Ink } from "../../dom/theme";
import type { Tooltip } from "../../dom/tooltip";
import type { Attribution } from "./attribution";
import type { AttributionPicture, Span } from "./picture";
import { ScaleBar } from "./scale_bar";
import { compact, signed } from "./rows";

const GAP = 1;
/** Between the heads and the MLPs. */
const MLP_GAP = 6;
const LEFT = 28;
const TOP = 16;
const SMALLEST = { width: 7, height: 7 };
const LARGEST = { width: 56, height: 24 };
/** From this size on a cell has room for its number. */
const WRITTEN = { width: 34, height: 14 };
const LABEL = 10;
const TABLE_ROWS = 100;

interface Layout {
  cellWidth: number;
  cellHeight: number;
  /** Of all cells and labels. */
  width: number;
  height: number;
}

export class HeadMap {
  readonly canvas = h("canvas", { class: "miw-map-canvas", "aria-hidden": "true" });
  readonly #spacer = h("div", { class: "miw-map-spacer" });
  readonly scroller = h("div", { class: "miw-map-scroll" }, this.canvas, this.#spacer);
  readonly #title = h("span");
  readonly #scale = new ScaleBar();
  readonly #why = h("div", { class: "miw-faint miw-map-why" });
  readonly #table = new HiddenTable();
  /** Takes the focus; `scroller` leaves its ring free. */
  readonly map = h(
    "div",
    { class: "miw-map", tabindex: 0, role: "group", "aria-label": "heads and MLPs, layer by head" },
    this.scroller,
    this.#table.element,
  );
  readonly element = h(
    "section",
    { class: "miw-heads", "aria-label": "heads and MLPs" },
    h("div", { class: "miw-panel-title" }, this.#title, this.#scale.element),
    this.#why,
    this.map,
  );
  readonly size = new Signal({ width: 0, height: 0 });
  readonly drawn = new Signal(0);
  readonly #scroll = new Signal({ left: 0, top: 0 });
  readonly #attribution: Attribution;
  readonly #ink: Readable<Ink>;
  readonly #tooltip: Tooltip;

  constructor(attribution: Attribution, ink: Readable<Ink>, tooltip: Tooltip) {
    this.#attribution = attribution;
    this.#ink = ink;
    this.#tooltip = tooltip;
    const { scope } = attribution;
    scope.effect(() => this.#draw(), frame);
    scope.effect(() => this.#list());
    scope.effect(() => this.#showTitle());
    scope.listen(this.scroller, "scroll", () => {
      this.#scroll.value = { left: this.scroller.scrollLeft, top: this.scroller.scrollTop };
    });
    scope.listen(this.map, "pointermove", (event) => {
      const cell = this.#cellAt(event);
      attribution.pointAtCell(cell);
      if (cell) tooltip.show(this.#tooltipLines(cell), event.clientX, event.clientY);
      else tooltip.hide();
    });
    const leave = (): void => {
      attribution.pointAtCell(null);
      tooltip.hide();
    };
    scope.listen(this.map, "pointerleave", leave);
    scope.listen(this.map, "focusout", leave);
    scope.listen(this.map, "click", (event) => {
      const cell = this.#cellAt(event);
      if (cell) attribution.chooseCell(cell.layer, cell.column);
    });
  }

  readonly #layout: Readable<Layout> = computed(() => {
    const picture = this.#attribution.picture.value;
    const { width, height } = this.size.value;
    if (!picture) return { cellWidth: 0, cellHeight: 0, width: 0, height: 0 };
    const { columns, manifest } = picture;
    const across = (width - LEFT - 2 - MLP_GAP) / Math.max(1, columns) - GAP;
    const down = (height - TOP - 2) / Math.max(1, manifest.n_layers) - GAP;
    const cellWidth = Math.floor(Math.max(SMALLEST.width, Math.min(LARGEST.width, across)));
    const cellHeight = Math.floor(Math.max(SMALLEST.height, Math.min(LARGEST.height, down)));
    return {
      cellWidth,
      cellHeight,
      width: LEFT + columns * (cellWidth + GAP) + MLP_GAP,
      height: TOP + manifest.n_layers * (cellHeight + GAP) + 2,
    };
  });

  /** The height for rows as tall as they may be, within `fair` pixels; up to `most` where they would not all be seen. */
  idealHeight(picture: AttributionPicture, fair: number, most: number): number {
    const rows = (height: number): number => TOP + picture.manifest.n_layers * (height + GAP) + 8;
    return Math.max(Math.min(fair, rows(LARGEST.height)), Math.min(most, rows(SMALLEST.height)));
  }

  /** One cell in words. */
  describe({ layer, column }: { layer: number; column: number }): string {
    const picture = this.#attribution.picture.peek();
    if (!picture) return "";
    return `${nameOf(picture, layer, column)}${this.#isAblated(layer, column) ? ", ablated" : ""}: ${signed(picture.valueAt(layer, column), 3)} logits`;
  }

  #isAblated(layer: number, column: number): boolean {
    return this.#attribution.ablatedShown.peek().has(nameOfHead({ layer, head: column }));
  }

  showTooltipAt(cell: { layer: number; column: number }): void {
    const box = this.scroller.getBoundingClientRect();
    const { x, y } = this.#placeOf(cell.layer, cell.column);
    const { left, top } = this.#scroll.peek();
    const { cellWidth, cellHeight } = this.#layout.peek();
    this.#tooltip.show(this.#tooltipLines(cell), box.left + x - left + cellWidth / 2, box.top + y - top + cellHeight / 2);
  }

  /** Scrolls until the cell is in sight. */
  reveal({ layer, column }: { layer: number; column: number }): void {
    const box = this.scroller;
    const { x, y } = this.#placeOf(layer, column);
    const { cellWidth, cellHeight } = this.#layout.peek();
    if (y < box.scrollTop + TOP) box.scrollTop = y - TOP;
    else if (y + cellHeight > box.scrollTop + box.clientHeight) box.scrollTop = y + cellHeight - box.clientHeight + 2;
    if (x < box.scrollLeft + LEFT) box.scrollLeft = x - LEFT;
    else if (x + cellWidth > box.scrollLeft + box.clientWidth) box.scrollLeft = x + cellWidth - box.clientWidth + 2;
  }

  #placeOf(layer: number, column: number): { x: number; y: number } {
    const { cellWidth, cellHeight } = this.#layout.peek();
    const heads = this.#attribution.picture.peek()?.manifest.n_heads ?? 0;
    return { x: LEFT + column * (cellWidth + GAP) + (column >= heads ? MLP_GAP : 0), y: TOP + layer * (cellHeight + GAP) };
  }

  #cellAt(event: MouseEvent): { layer: number; column: number } | null {
    const picture = this.#attribution.picture.peek();
    if (!picture) return null;
    const { cellWidth, cellHeight } = this.#layout.peek();
    const { left, top } = this.#scroll.peek();
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    if (x < LEFT || y < TOP) return null;
    const { n_heads, n_layers } = picture.manifest;
    const right = LEFT + n_heads * (cellWidth + GAP);
    const across = x + left;
    const column =
      across < right
        ? Math.floor((across - LEFT) / (cellWidth + GAP))
        : across < right + MLP_GAP
          ? -1
          : n_heads + Math.floor((across - right - MLP_GAP) / (cellWidth + GAP));
    const layer = Math.floor((y + top - TOP) / (cellHeight + GAP));
    return column >= 0 && column < picture.columns && layer >= 0 && layer < n_layers ? { layer, column } : null;
  }

  #tooltipLines({ layer, column }: { layer: number; column: number }): Node[] {
    const picture = this.#attribution.picture.peek();
    if (!picture) return [];
    const value = picture.valueAt(layer, column);
    const known = Number.isFinite(value);
    return [
      h("span", { class: "miw-tip-value" }, known ? `${value > 0 ? "+" : ""}${exact(value)} logits` : "not known"),
      h("span", {}, nameOf(picture, layer, column)),
      ...(this.#isAblated(layer, column) ? [h("span", { class: "miw-faint" }, ABLATED_TIP)] : []),
    ];
  }

  #showTitle(): void {
    const attribution = this.#attribution;
    const picture = attribution.picture.value;
    if (!picture) return;
    const { n_heads, why_no_heads } = picture.manifest;
    this.#title.textContent = n_heads ? "heads and MLPs" : "MLPs";
    this.#why.textContent = n_heads ? "" : why_no_heads || "The heads are not told apart here.";
    this.#why.hidden = n_heads > 0;
    this.#scale.show(attribution.mapMapping.value, "logits", picture.extreme > picture.span);
  }

  /** The same numbers for screen readers, the largest first. */
  #list(): void {
    const picture = this.#attribution.picture.value;
    if (!picture) return;
    const cells: { name: string; value: number }[] = [];
    for (let layer = 0; layer < picture.manifest.n_layers; layer++) {
      for (let column = 0; column < picture.columns; column++) {
        const value = picture.valueAt(layer, column);
        if (Number.isFinite(value)) cells.push({ name: nameOf(picture, layer, column), value });
      }
    }
    cells.sort((left, right) => Math.abs(right.value) - Math.abs(left.value));
    const shown = cells.slice(0, TABLE_ROWS);
    const part = cells.length > shown.length ? `, the first ${shown.length} of ${cells.length}` : "";
    this.#table.show(
      `heads and MLPs, largest contribution first${part}`,
      ["where", "logits"],
      shown.map(({ name, value }) => [name, signed(value, 3)]),
    );
  }

  #draw(): void {
    const attribution = this.#attribution;
    const picture = attribution.picture.value;
    const layout = this.#layout.value;
    const scroll = this.#scroll.value;
    const ink = this.#ink.value;
    const { width, height } = this.size.value;
    this.#spacer.style.width = `${layout.width}px`;
    this.#spacer.style.height = `${layout.height}px`;
    if (!picture) return;
    const visibleWidth = Math.min(width, this.scroller.clientWidth || width);
    const visibleHeight = Math.min(height, this.scroller.clientHeight || height);
    const context = visibleWidth > 0 && visibleHeight > 0 ? prepare(this.canvas, visibleWidth, visibleHeight) : null;
    if (context) {
      this.#drawCells(context, picture, layout, scroll, visibleWidth, visibleHeight, ink);
      this.#drawMarks(context, picture, layout, scroll, ink);
      this.#drawLabels(context, picture, layout, scroll, visibleWidth, visibleHeight, ink);
    }
    this.drawn.value = this.drawn.peek() + 1;
  }

  #drawCells(
    context: CanvasRenderingContext2D,
    picture: AttributionPicture,
    layout: Layout,
    scroll: { left: number; top: number },
    width: number,
    height: number,
    ink: Ink,
  ): void {
    const mapping = this.#attribution.mapMapping.value;
    const ablated = this.#attribution.ablatedShown.value;
    const { cellWidth, cellHeight } = layout;
    const written = cellWidth >= WRITTEN.width && cellHeight >= WRITTEN.height;
    context.font = `${LABEL}px ${ink.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let layer = 0; layer < picture.manifest.n_layers; layer++) {
      for (let column = 0; column < picture.columns; column++) {
        const place = this.#placeOf(layer, column);
        const x = place.x - scroll.left;
        const y = place.y - scroll.top;
        if (x + cellWidth < LEFT || y + cellHeight < TOP || x > width || y > height) continue;
        const value = picture.valueAt(layer, column);
        const color = colorOf(value, mapping);
        context.fillStyle = cssOf(color);
        context.fillRect(x, y, cellWidth, cellHeight);
        if (column < picture.manifest.n_heads && ablated.has(nameOfHead({ layer, head: column })))
          markAblated(context, x, y, cellWidth, cellHeight, ink);
        if (!written || !Number.isFinite(value)) continue;
        context.fillStyle = inkOn(color);
        context.fillText(compact(value, picture.extreme), x + cellWidth / 2, y + cellHeight / 2 + 0.5);
      }
    }
  }

  #drawMarks(
    context: CanvasRenderingContext2D,
    picture: AttributionPicture,
    layout: Layout,
    scroll: { left: number; top: number },
    ink: Ink,
  ): void {
    const attribution = this.#attribution;
    const mark = (span: Span | null, color: string, thick: number, dash: number[] = []): void => {
      if (!span || span.last < span.first) return;
      const first = this.#placeOf(span.layer, span.first);
      const last = this.#placeOf(span.layer, span.last);
      context.strokeStyle = color;
      context.lineWidth = thick;
      context.setLineDash(dash);
      const out = thick / 2;
      context.strokeRect(
        first.x - scroll.left - out,
        first.y - scroll.top - out,
        last.x - first.x + layout.cellWidth + 2 * out,
        layout.cellHeight + 2 * out,
      );
      context.setLineDash([]);
    };
    const of = (head: { layer: number; head: number } | null): Span | null =>
      head ? { layer: head.layer, first: head.head, last: head.head } : null;
    const chosen = attribution.chosenSpan.value;
    mark(of(attribution.remoteHead.value), ink.faint, 1, [3, 3]);
    if (chosen) mark(chosen, ink.accent, 2);
    else mark(of(picture.strongest()), ink.faint, 1);
    mark(attribution.pointedSpan.value, ink.ink, 1.5);
  }

  #drawLabels(
    context: CanvasRenderingContext2D,
    picture: AttributionPicture,
    layout: Layout,
    scroll: { left: number; top: number },
    width: number,
    height: number,
    ink: Ink,
  ): void {
    const { n_layers, n_heads } = picture.manifest;
    const { cellWidth, cellHeight } = layout;
    const pointed = this.#attribution.pointedSpan.value ?? this.#attribution.chosenSpan.value;
    // Labels stay in sight while the cells scroll under them.
    context.fillStyle = ink.paper;
    context.fillRect(0, 0, width, TOP - 2);
    context.fillRect(0, 0, LEFT - 3, height);
    context.font = `${LABEL}px ${ink.font}`;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const layer of thinned(0, n_layers, cellHeight + GAP, 12, pointed ? [pointed.layer] : [])) {
      const y = this.#placeOf(layer, 0).y - scroll.top + cellHeight / 2;
      if (y < TOP) continue;
      context.fillStyle = layer === pointed?.layer ? ink.ink : ink.faint;
      context.fillText(`L${layer}`, LEFT - 6, y);
    }
    context.textAlign = "center";
    const one = pointed && pointed.first === pointed.last ? pointed.first : null;
    const label = (column: number, text: string): void => {
      const x = this.#placeOf(0, column).x - scroll.left + cellWidth / 2;
      if (x < LEFT) return;
      context.fillStyle = column === one ? ink.ink : ink.faint;
      context.fillText(text, x, TOP - 8);
    };
    const hasMlps = picture.columns > n_heads;
    // "MLP" is wider than a narrow cell: the heads next to it stay unnamed.
    const free = hasMlps && cellWidth < 22 ? n_heads - Math.ceil((20 - cellWidth / 2) / (cellWidth + GAP)) : n_heads;
    for (const column of thinned(0, Math.max(0, free), cellWidth + GAP, n_heads > 10 ? 24 : 20, one === null ? [] : [one]))
      label(column, `H${column}`);
    if (hasMlps) label(n_heads, "MLP");
  }
}

function nameOf(picture: AttributionPicture, layer: number, column: number): string {
  return column < picture.manifest.n_heads ? `L${layer} H${column}` : `L${layer} MLP`;
}
