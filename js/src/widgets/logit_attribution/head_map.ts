/**
 * What every head and every MLP adds, as a map: a row for each layer, a column for each head, and one for the MLPs.
 * Knows nothing of the chart of parts.
 */
import { compact, exact } from "../../core/format";
import { nameOfHead } from "../../core/interventions";
import { colorOf, cssOf, inkOn } from "../../core/scale";
import type { Readable } from "../../core/signal";
import { ABLATED_TIP, markAblated } from "../../dom/ablated";
import { faint, h } from "../../dom/element";
import { cellOf, CellGrid, type Area, type Drawing, type Mark, type Place, type Spot, type Tone } from "../../dom/grid";
import type { Size } from "../../dom/surface";
import type { Ink } from "../../dom/theme";
import type { Tooltip } from "../../dom/tooltip";
import type { Attribution } from "./attribution";
import type { AttributionPicture, Head, Span } from "./picture";
import { ScaleBar } from "./scale_bar";
import { signed } from "./rows";

const GAP = 1;
/** Between the heads and the MLPs. */
const MLP_GAP = 6;
const LEFT = 28;
const TOP = 16;
/** Room for a scroll bar. */
const BAR = 14;
const SMALLEST = { width: 7, height: 7 };
const LARGEST = { width: 56, height: 24 };
/** From this size on a cell has room for its number. */
const WRITTEN = { width: 34, height: 14 };
const NUMBER = 10;
const TABLE_ROWS = 100;

export class HeadMap extends CellGrid {
  readonly #title = h("span");
  readonly #scale = new ScaleBar();
  readonly #why = h("div", "miw-faint miw-map-why");
  readonly section = h(
    "section",
    { class: "miw-heads", "aria-label": "heads and MLPs" },
    h("div", "miw-panel-title", this.#title, this.#scale.element),
    this.#why,
    this.element,
  );
  readonly #attribution: Attribution;

  constructor(attribution: Attribution, ink: Readable<Ink>, tooltip: Tooltip) {
    super(attribution.scope, ink, "map", "heads and MLPs, layer by head", tooltip);
    this.#attribution = attribution;
    this.begin();
    attribution.scope.effect(() => this.#list());
    attribution.scope.effect(() => this.#showTitle());
  }

  protected lay({ width, height }: Size): Area | null {
    const picture = this.#attribution.shown.value;
    if (!picture) return null;
    const { columns, manifest } = picture;
    const down = (height - TOP - 2) / Math.max(1, manifest.n_layers) - GAP;
    const room = width - LEFT - 2 - MLP_GAP - (down < SMALLEST.height ? BAR : 0);
    const across = room / Math.max(1, columns) - GAP;
    const size = (least: number, most: number, fair: number): number => Math.floor(Math.max(least, Math.min(most, fair)));
    return {
      columns: {
        count: columns,
        start: LEFT,
        cell: size(SMALLEST.width, LARGEST.width, across),
        gap: GAP,
        each: Math.max(1, manifest.n_heads),
        apart: MLP_GAP,
      },
      rows: { count: manifest.n_layers, start: TOP, cell: size(SMALLEST.height, LARGEST.height, down), gap: GAP, end: 2 },
    };
  }

  /** The height for rows as tall as they may be, within `fair` pixels; up to `most` where they would not all be seen. */
  idealHeight(picture: AttributionPicture, fair: number, most: number): number {
    const rows = (height: number): number => TOP + picture.manifest.n_layers * (height + GAP) + 8;
    return Math.max(Math.min(fair, rows(LARGEST.height)), Math.min(most, rows(SMALLEST.height)));
  }

  describe({ row, column }: Place): string {
    const picture = this.#attribution.shown.peek();
    if (!picture) return "";
    const ablated = this.#isAblated(row, column) ? ", ablated" : "";
    return `${nameOf(picture, row, column)}${ablated}: ${signed(picture.valueAt(row, column), 3)} logits`;
  }

  protected point(spot: Spot | null): void {
    const cell = cellOf(spot);
    this.#attribution.pointAtCell(cell && { layer: cell.row, column: cell.column });
  }

  protected pick(spot: Spot): void {
    const cell = cellOf(spot);
    if (cell) this.#attribution.chooseCell(cell.row, cell.column);
  }

  protected cursor(): { at: Place | null; fresh: boolean; held: boolean } {
    const attribution = this.#attribution;
    const held = attribution.hoverCell.peek();
    const head = attribution.head.peek();
    const { layer: row, column } = held ?? { layer: head?.layer ?? 0, column: head?.head ?? 0 };
    return { at: attribution.shown.peek() && { row, column }, fresh: !held && !attribution.chosen.peek(), held: held !== null };
  }

  #isAblated(layer: number, column: number): boolean {
    return this.#attribution.ablatedShown.peek().has(nameOfHead({ layer, head: column }));
  }

  protected override tip({ row, column }: Spot): Node[] {
    const picture = this.#attribution.shown.peek();
    if (!picture || row === null || column === null) return [];
    const value = picture.valueAt(row, column);
    const known = Number.isFinite(value);
    return [
      h("span", "miw-tip-value", known ? `${value > 0 ? "+" : ""}${exact(value)} logits` : "not known"),
      h("span", {}, nameOf(picture, row, column)),
      ...(this.#isAblated(row, column) ? [faint(ABLATED_TIP)] : []),
    ];
  }

  #showTitle(): void {
    const attribution = this.#attribution;
    const picture = attribution.shown.value;
    if (!picture) return;
    const { n_heads, why_no_heads } = picture.manifest;
    const compared = attribution.show.value === "difference";
    this.#title.textContent = `${n_heads ? "heads and MLPs" : "MLPs"}${compared ? ", A − B" : ""}`;
    this.#why.textContent = n_heads ? "" : why_no_heads || "The heads are not told apart here.";
    this.#why.hidden = n_heads > 0;
    const mapping = attribution.mapMapping.value;
    this.#scale.show(mapping, "logits", picture.extreme > mapping.high, compared);
  }

  /** The same numbers for screen readers, the largest first. */
  #list(): void {
    const picture = this.#attribution.shown.value;
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
    this.table.show(
      `heads and MLPs, largest contribution first${part}`,
      ["where", "logits"],
      shown.map(({ name, value }) => [name, signed(value, 3)]),
    );
  }

  protected paint({ context, ink, area, sight, left, top }: Drawing): void {
    const picture = this.#attribution.shown.value!;
    const mapping = this.#attribution.mapMapping.value;
    const ablated = this.#attribution.ablatedShown.value;
    const [wide, high] = [area.columns.cell, area.rows.cell];
    const written = wide >= WRITTEN.width && high >= WRITTEN.height;
    context.font = `${NUMBER}px ${ink.font}`;
    context.textAlign = "center";
    for (let layer = sight.rows.first; layer < sight.rows.last; layer++) {
      for (let column = sight.columns.first; column < sight.columns.last; column++) {
        const [x, y] = [left(column), top(layer)];
        const value = picture.valueAt(layer, column);
        const color = colorOf(value, mapping);
        context.fillStyle = cssOf(color);
        context.fillRect(x, y, wide, high);
        if (column < picture.manifest.n_heads && ablated.has(nameOfHead({ layer, head: column })))
          markAblated(context, x, y, wide, high, ink);
        if (!written || !Number.isFinite(value)) continue;
        context.fillStyle = inkOn(color);
        context.fillText(compact(value, picture.extreme), x + wide / 2, y + high / 2 + 0.5);
      }
    }
  }

  protected marks(): Mark[] {
    const attribution = this.#attribution;
    const mark = (span: Span | null | undefined, tone: Tone): Mark[] =>
      span && span.last >= span.first ? [{ row: span.layer, column: span.first, last: span.last, tone }] : [];
    const of = (head: Head | null | undefined): Span | null => (head ? { layer: head.layer, first: head.head, last: head.head } : null);
    const chosen = attribution.chosenSpan.value;
    return [
      ...mark(of(attribution.remoteHead.value), "linked"),
      ...(chosen ? mark(chosen, "locked") : mark(of(attribution.shown.value?.strongest()), "likely")),
      ...mark(attribution.pointedSpan.value, "pointed"),
    ];
  }

  protected label(drawing: Drawing): void {
    const { cell, gap } = drawing.area.columns;
    const { columns, manifest } = this.#attribution.shown.value!;
    const heads = manifest.n_heads;
    this.labelRows(drawing, { text: (layer) => `L${layer}` });
    // "MLP" is wider than a narrow cell: the heads next to it stay unnamed.
    const free = columns > heads && cell < 22 ? heads - Math.ceil((20 - cell / 2) / (cell + gap)) : heads;
    this.labelColumns(drawing, TOP - 8, { text: (head) => `H${head}`, room: heads > 10 ? 24 : 20, only: [0, free] });
    this.labelColumns(drawing, TOP - 8, { text: () => "MLP", always: [heads], only: [heads, columns] });
  }
}

function nameOf(picture: AttributionPicture, layer: number, column: number): string {
  return column < picture.manifest.n_heads ? `L${layer} H${column}` : `L${layer} MLP`;
}
