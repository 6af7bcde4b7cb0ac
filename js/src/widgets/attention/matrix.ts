/** The focused head as a query × key heat map with its legend, and the same numbers as a table for screen readers. */
import { shown } from "../../core/format";
import { strongest, type Grid } from "../../core/grid";
import { positionName } from "../../core/positions";
import { nameOfHead } from "../../core/interventions";
import { ATTENTION } from "../../core/options.gen";
import { computed, Signal, type Readable } from "../../core/signal";
import { ablatedBadge } from "../../dom/ablated";
import { faint, h, tipped } from "../../dom/element";
import { type Mark, type Place, type Spot, type Tone } from "../../dom/grid";
import { Heatmap } from "../../dom/heatmap";
import { Legend } from "../../dom/legend";
import { listLater, type Listed } from "../../dom/table";
import { tokenLine } from "../../dom/token_line";
import type { Ink } from "../../dom/theme";
import type { Tooltip } from "../../dom/tooltip";
import type { Explorer, Head } from "./explorer";
import type { Picture } from "./picture";

const TABLE_ROWS = 200;
const GROUP_TIP = "Query heads of one group read keys and values of the same KV head (grouped-query attention)";
const HALF_TIP = "Sent in half precision: values are rounded to about three digits";

export class Matrix extends Heatmap {
  readonly #title = h("div", "miw-panel-title");
  readonly #legend = new Legend();
  readonly section: HTMLElement;
  #explorer: Explorer;

  constructor(explorer: Explorer, ink: Signal<Ink>, tooltip: Tooltip) {
    const { scope } = explorer;
    super(scope, ink, "heatmap", "focused head, query by key", tooltip);
    this.#explorer = explorer;
    this.section = h(
      "section",
      { class: "miw-matrix", "aria-label": "focused head" },
      this.#title,
      h("div", "miw-matrix-body", this.element, this.#legend.element),
    );
    this.begin();
    scope.effect(() => this.#showContent());
    scope.effect(() => this.#showTitle());
    listLater(scope, this.table, () => this.#listed.value);
  }

  describe({ row, column }: Place): string {
    const grid = this.#explorer.grid.peek();
    const positions = this.#explorer.positions.peek();
    if (!grid) return "";
    return `${positionName(positions, row)} reads ${positionName(positions, column)}: ${valueText(grid, row, column)}`;
  }

  protected cursor(): { at: Place | null; fresh: boolean; held: boolean } {
    const { grid, hoverCell, query, key } = this.#explorer;
    const side = grid.peek()?.side ?? 0;
    const held = hoverCell.peek();
    const { query: row, key: column } = held ?? { query: query.peek() ?? side - 1, key: key.peek() ?? 0 };
    return {
      at: side ? { row: row ?? 0, column: column ?? 0 } : null,
      fresh: !held && query.peek() === null,
      held: held !== null && row !== null && column !== null,
    };
  }

  override key(key: string): string | null {
    const { hoverCell, query, key: column } = this.#explorer;
    const held = hoverCell.peek() ?? { query: query.peek(), key: column.peek() };
    const centre = { row: held.query, column: held.key };
    if (key === "+" || key === "=") this.zoomAt(1.4, centre);
    else if (key === "-" || key === "−") this.zoomAt(1 / 1.4, centre);
    else if (key === "0") this.reset();
    else return super.key(key);
    return "";
  }

  protected pick({ row, column }: Spot): void {
    if (row !== null && column !== null) this.#explorer.lockCell(row, column);
  }

  protected point(spot: Spot | null): void {
    this.#explorer.pointAtCell(spot?.row ?? null, spot?.column ?? null);
  }

  /** Strips along the row and the column, and around the cell where both are there. */
  protected marks(): Mark[] {
    const { query, key } = this.#explorer;
    const crossed = (at: { query: number | null; key: number | null } | null, tone: Tone): Mark[] => [
      { row: at?.query ?? null, column: null, tone },
      { row: null, column: at?.key ?? null, tone },
    ];
    const locked = { query: query.value, key: key.value };
    return [
      ...crossed(this.#linked.value, "linked"),
      ...crossed(locked, "locked"),
      ...crossed(this.#pointed.value, "pointed"),
      ...(locked.query !== null && locked.key !== null ? [{ row: locked.query, column: locked.key, tone: "locked" } as const] : []),
    ];
  }

  readonly #pointed = computed(() => {
    const cell = this.#explorer.hoverCell.value;
    if (cell) return cell;
    const position = this.#explorer.hoverPosition.value;
    if (position === null) return null;
    return this.#explorer.options.value.direction === "reads" ? { query: position, key: null } : { query: null, key: position };
  });

  readonly #linked = computed(() => {
    const remote = this.#explorer.remote.value;
    const { fromA } = this.#explorer.positions.value;
    const at = (position: number | null): number | null => (position === null ? null : (fromA.get(position) ?? null));
    return { query: at(remote.query ?? remote.position), key: at(remote.key) };
  });

  /** What the query that is locked reads, or what every query reads most. */
  readonly #listed: Readable<() => Listed> = computed(() => {
    const grid = this.#explorer.grid.value;
    const positions = this.#explorer.positions.value;
    const head = this.#explorer.locked.value;
    const query = this.#explorer.query.value;
    const unit = this.#explorer.picture.value?.manifest.unit ?? "";
    const name = head ? `layer ${head.layer} head ${head.head}` : "no head";
    if (!grid) return () => [name, [], []];
    const { side } = grid;
    const of = (row: number, key: number): [string, string] => [positionName(positions, key), valueText(grid, row, key)];
    const reads = (row: number, count: number): number[] => strongest(grid, count, (key) => row * side + key);
    if (query !== null && query < side) {
      const caption = `${name}: what ${positionName(positions, query)} reads from, ${unit}`;
      return () => [caption, ["key token", "value"], reads(query, 20).map((key) => of(query, key))];
    }
    const rows = Math.min(side, TABLE_ROWS);
    const caption = `${name}: the three strongest reads of each query${side > rows ? `, first ${rows}` : ""}, ${unit}`;
    const line = (row: number): string[] => [positionName(positions, row), ...reads(row, 3).map((key) => of(row, key).join(" "))];
    return () => [caption, ["query token", "first", "second", "third"], Array.from({ length: rows }, (_, row) => line(row))];
  });

  #showContent(): void {
    const grid = this.#explorer.grid.value;
    const picture = this.#explorer.picture.value;
    const mapping = this.#explorer.mapping.value;
    const positions = this.#explorer.positions.value;
    const show = this.#explorer.show.value;
    if (!grid || !picture) {
      this.content.value = null;
      return;
    }
    this.content.value = { grid, mapping, labels: positions.labels, identity: `${picture.run}/${show}/${grid.side}` };
    let masked = false;
    let missing = false;
    let clippedCells = 0;
    const { low, high } = mapping;
    const slack = (high - low) * 1e-3;
    for (let at = 0; at < grid.values.length; at++) {
      if (!grid.mask[at]) masked = true;
      else {
        const value = grid.values[at]!;
        if (value !== value) missing = true;
        else if (value > high + slack || value < low - slack) clippedCells += 1;
      }
    }
    const { weighting } = picture.manifest;
    const unit = (show === "difference" ? ATTENTION.differences : ATTENTION.measures)[weighting].legend;
    const alone = show === "difference" && alignedApart(picture);
    this.#legend.show({
      mapping,
      unit,
      masked,
      missing,
      clipped: clippedCells,
      ...(alone ? { maskedText: "masked, or no counterpart" } : {}),
    });
  }

  #showTitle(): void {
    const explorer = this.#explorer;
    const head = explorer.focused.value;
    const picture = explorer.picture.value;
    const grid = explorer.grid.value;
    const previewed = explorer.hoverHead.value !== null;
    if (!head || !picture) return this.#title.replaceChildren();
    const { kv_heads, heads, windows } = picture.manifest;
    const parts: HTMLElement[] = [h("strong", {}, nameOfHead(head))];
    if (explorer.ablatedShown.value.has(nameOfHead(head))) parts.push(ablatedBadge());
    const row = picture.rowOf(head.layer);
    if (kv_heads && kv_heads < heads) parts.push(tipped(`KV ${Math.floor(head.head / (heads / kv_heads))}`, GROUP_TIP));
    const window = windows[row];
    if (window) parts.push(tipped(`window ${window}`, `A query of this layer reads only the last ${window} positions, itself included`));
    const column = explorer.sortColumn.value;
    const score = column?.values[row * heads + head.head];
    if (column && score !== undefined) {
      parts.push(tipped(`${column.label} ${score === null ? "–" : score.toPrecision(3)}`, column.description));
    }
    const live = explorer.source.liveness.value === "live";
    if (grid?.precision === "reduced") parts.push(tipped("≈ reduced", reducedTip(live), "miw-reduced"));
    else if (grid?.precision === "half") parts.push(tipped("≈ f16", HALF_TIP, "miw-reduced"));
    if (previewed) parts.push(faint("preview"));
    this.#title.replaceChildren(...parts);
  }

  protected override tip({ row: query, column: key }: Spot): Node[] {
    const grid = this.#explorer.grid.peek();
    const positions = this.#explorer.positions.peek();
    const show = this.#explorer.show.peek();
    if (!grid || query === null || key === null || query >= grid.side || key >= grid.side) return [];
    const lines = [
      h("span", "miw-tip-value", valueText(grid, query, key)),
      tokenLine("query", positions, query),
      tokenLine("key", positions, key),
    ];
    const head = this.#explorer.focused.peek();
    if (show === "difference" && head && grid.mask[query * grid.side + key]) lines.push(this.#bothSides(head, query, key));
    return lines;
  }

  #bothSides(head: Head, query: number, key: number): HTMLElement {
    const picture = this.#explorer.picture.peek();
    const pairs = picture?.manifest.compare?.pairs;
    const text = (["A", "B"] as const).map((side, at) => {
      const grid = picture && this.#explorer.heads.grid(picture, side, head.layer, head.head);
      const row = pairs?.[query]?.[at] ?? -1;
      const column = pairs?.[key]?.[at] ?? -1;
      return grid && row >= 0 && column >= 0 ? `${side} ${shown(grid.values[row * grid.side + column]!, grid.precision)}` : `${side} –`;
    });
    return faint(text.join("   "));
  }
}

function reducedTip(live: boolean): string {
  const drawn = "Drawn from the thumbnail: each cell is the largest value of its patch, in 254 steps";
  return live ? `${drawn}. Rest on the head to fetch it in full` : `${drawn}. Of this head only the thumbnail was saved`;
}

/** Whether some token of one prompt answers to none of the other, so that its row and column hold no difference. */
function alignedApart(picture: Picture): boolean {
  return !!picture.manifest.compare?.pairs.some(([a = -1, b = -1]) => a < 0 || b < 0);
}

export function valueText(grid: Grid, query: number, key: number): string {
  const at = query * grid.side + key;
  if (!grid.mask[at]) return "masked";
  const text = shown(grid.values[at]!, grid.precision);
  return grid.precision === "reduced" ? `${text} (reduced)` : text;
}
