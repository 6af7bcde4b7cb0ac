/**
 * The reading view: the prompt as text, shaded by what one token reads from, or by who reads it. Up to four heads lie
 * over each other as coloured bars. Knows nothing of the wall or the matrix.
 */
import { CATEGORICAL } from "../../core/color.gen";
import { brief } from "../../core/format";
import { strongest, type Grid } from "../../core/grid";
import { positionName } from "../../core/positions";
import { colorOf, cssOf, inkOn, unitOf, type Mapping } from "../../core/scale";
import { computed } from "../../core/signal";
import { code, faint, h } from "../../dom/element";
import { PLAIN, standingBack, TokenStrip } from "../../dom/strip";
import { tokenLine } from "../../dom/token_line";
import type { Tooltip } from "../../dom/tooltip";
import type { Explorer, Head } from "./explorer";
import { valueText } from "./matrix";

const NUMBERED = 5;
/** A number over a token is worth its ink from this share of the range on. */
const WORTH_A_NUMBER = 0.02;
/** What the mask forbids to read is there to be read by people, and no more. */
const MASKED_TOKEN = standingBack(65);

export class Reading {
  readonly strip: TokenStrip;
  readonly #title = h("div", "miw-panel-title");
  readonly #heads = h("div", { class: "miw-overlay-legend", role: "group", "aria-label": "overlaid heads" });
  readonly element: HTMLElement;
  #explorer: Explorer;
  #tooltip: Tooltip;

  constructor(explorer: Explorer, tooltip: Tooltip) {
    this.#explorer = explorer;
    this.#tooltip = tooltip;
    const { scope } = explorer;
    this.strip = new TokenStrip(scope, "the prompt as text", {
      point: (position, event) => this.#point(position, event),
      pick: (position) => explorer.lockPosition(explorer.lockedPosition.peek() === position ? null : position),
    });
    this.element = h(
      "section",
      { class: "miw-reading", "aria-label": "reading view" },
      h("div", "miw-reading-head", this.#title, this.#heads),
      this.strip.element,
    );
    scope.effect(() => {
      // A text that is not shown is not set either.
      if (explorer.options.value.panel !== "matrix") this.strip.setTokens(explorer.positions.value);
    });
    scope.effect(() => this.#paint());
    scope.effect(() => this.strip.mark({ pointed: this.position.value, locked: explorer.lockedPosition.value }));
    scope.effect(() => this.#showTitle());
    scope.effect(() => this.#showHeads());
    // The text follows what is locked, never the pointer: nothing moves under the reader's eyes.
    scope.effect(() => {
      const count = explorer.positions.value.count;
      const locked = explorer.lockedPosition.value ?? count - 1;
      this.strip.reveal(locked);
    });
  }

  /** The token read from: pointed at or locked, else the last one, which reads most, or the first, which is read most. */
  readonly position = computed(() => {
    const count = this.#explorer.positions.value.count;
    const chosen = this.#explorer.readFrom.value;
    if (chosen !== null && chosen < count) return chosen;
    if (!count) return null;
    // In a difference the last token may have no partner, and so nothing to show.
    const grid = this.#explorer.grid.value;
    const reads = this.#explorer.options.value.direction === "reads";
    if (!reads) return 0;
    for (let position = count - 1; grid?.side === count && position > 0; position--) {
      const cell = cellsOf(grid, position, reads);
      if (grid.mask[cell(position)]) return position;
    }
    return count - 1;
  });

  describe(position: number): string {
    const grid = this.#explorer.grid.peek();
    const positions = this.#explorer.positions.peek();
    if (!grid) return positionName(positions, position);
    const reads = this.#explorer.options.peek().direction === "reads";
    const cell = cellsOf(grid, position, reads);
    const top = strongest(grid, 3, cell).map((other) =>
      reads
        ? `${positionName(positions, other)} ${valueText(grid, position, other)}`
        : `${positionName(positions, other)} ${valueText(grid, other, position)}`,
    );
    return `${positionName(positions, position)} ${reads ? "reads" : "is read by"} ${top.join(", ") || "nothing"}`;
  }

  #paint(): void {
    const explorer = this.#explorer;
    const position = this.position.value;
    const grid = explorer.grid.value;
    const mapping = explorer.mapping.value;
    const reads = explorer.options.value.direction === "reads";
    const overlaid = explorer.overlaid.value;
    // The strip may hold other tokens for a moment; it is set in the same turn.
    void explorer.positions.value;
    if (position === null || !grid || position >= grid.side) {
      this.strip.paint(0, () => PLAIN);
      this.strip.number(new Map());
      return;
    }
    const cell = cellsOf(grid, position, reads);
    const range = mapping.high - mapping.low;
    const numbers = new Map(
      strongest(grid, NUMBERED, cell)
        .filter((other) => Math.abs(grid.values[cell(other)]!) > (mapping.diverging ? mapping.high : range) * WORTH_A_NUMBER)
        .map((other) => [other, brief(grid.values[cell(other)]!)]),
    );
    const layers = overlaid.map((head, at) => ({
      grid: explorer.gridOf(head),
      mapping: explorer.mappingOf(head),
      color: CATEGORICAL[at % CATEGORICAL.length]!,
    }));
    this.strip.paint(layers.length, (other) => {
      const at = cell(other);
      const bars = layers.map((layer) => (layer.grid ? barColor(layer.grid, layer.mapping, at, layer.color) : ""));
      if (!grid.mask[at]) return { ...MASKED_TOKEN, bars };
      const color = colorOf(grid.values[at]!, mapping);
      return { background: cssOf(color), ink: inkOn(color), bars };
    });
    this.strip.number(numbers);
  }

  #showTitle(): void {
    const explorer = this.#explorer;
    const position = this.position.value;
    const head = explorer.focused.value;
    const positions = explorer.positions.value;
    const reads = explorer.options.value.direction === "reads";
    if (position === null || !head) {
      this.#title.replaceChildren();
      return;
    }
    const chosen = explorer.readFrom.value !== null;
    this.#title.replaceChildren(
      faint(reads ? "what " : "who reads "),
      code((positions.labels[position] ?? "").slice(0, 24)),
      faint(reads ? ` reads in L${head.layer} H${head.head}` : ` in L${head.layer} H${head.head}`),
      chosen ? "" : faint(reads ? " (last token; point at another)" : " (first token; point at another)"),
    );
  }

  #showHeads(): void {
    const explorer = this.#explorer;
    const overlaid = explorer.overlaid.value;
    const entry = (head: Head, at: number): HTMLElement => {
      const look = { class: "miw-overlay-head", style: { "--swatch": CATEGORICAL[at % CATEGORICAL.length]! } };
      const said = { "aria-label": `remove layer ${head.layer} head ${head.head}`, "data-tip": "Click to take this head off the text" };
      const click = (): void => explorer.toggleOverlay(head);
      return h("button", { ...look, ...said, click }, h("span", "miw-swatch"), `L${head.layer} H${head.head} ×`);
    };
    this.#heads.replaceChildren(...overlaid.map(entry));
  }

  #point(position: number | null, event: PointerEvent): void {
    this.#explorer.pointAtPosition(position);
    const grid = this.#explorer.grid.peek();
    const positions = this.#explorer.positions.peek();
    this.#tooltip.over(position === null || !grid ? [] : [tokenLine("", positions, position)], event);
  }
}

/** The cell of each other position: along the query's row, or along the key's column. */
function cellsOf(grid: Grid, position: number, reads: boolean): (other: number) => number {
  return reads ? (key) => position * grid.side + key : (query) => query * grid.side + position;
}

function barColor(grid: Grid, mapping: Mapping, at: number, color: string): string {
  if (!grid.mask[at]) return "";
  const value = grid.values[at]!;
  if (value !== value) return "";
  const strength = mapping.diverging ? Math.abs(2 * unitOf(value, mapping) - 1) : unitOf(value, mapping);
  const share = Math.round(strength * 50) * 2;
  return share ? `color-mix(in srgb, ${color} ${share}%, transparent)` : "";
}
