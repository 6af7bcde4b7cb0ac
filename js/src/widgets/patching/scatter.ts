/**
 * Exact effects over estimated ones, a point for each cell: on the line where the estimate is right; those farthest from
 * it have their names. Knows nothing of the grid.
 */
import { makeMapping, ticks } from "../../core/scale";
import { computed, frame, Signal, type Readable } from "../../core/signal";
import { clipped } from "../../core/tokens";
import { disc } from "../../dom/block_grid";
import { h } from "../../dom/element";
import { prepare, sizeOf, type Size } from "../../dom/surface";
import { HiddenTable, listLater } from "../../dom/table";
import type { Ink } from "../../dom/theme";
import type { Tooltip } from "../../dom/tooltip";
import { walkLine, type Walk } from "../../dom/walk";
import { cellLines, describe } from "./details";
import type { PatchingView } from "./model";

const EDGE = { left: 52, right: 12, top: 8, bottom: 34 };
const MARGIN = 0.06;
const NAMED = 5;
/** Of the range: nearer points are not worth a name. */
const NEAR = 0.02;
const RADIUS = 2.5;
const REACH = 12;
const TABLE_ROWS = 100;

interface Point {
  cell: number;
  estimate: number;
  exact: number;
}

export class Scatter {
  readonly #canvas = h("canvas", { "aria-hidden": "true" });
  readonly #none = h("div", { class: "miw-patching-none" });
  readonly #table = new HiddenTable();
  readonly element = h(
    "div",
    { class: "miw-grid miw-patching-scatter", tabindex: 0, role: "group", "aria-label": "exact over estimated effects" },
    ...[this.#canvas, this.#none, this.#table.element],
  );
  readonly size = new Signal<Size>({ width: 0, height: 0 });
  readonly drawn = new Signal(0);
  readonly #view: PatchingView;
  /** Cells that have both, the farthest off first. */
  readonly #points: Readable<Point[]>;

  constructor(view: PatchingView, ink: Readable<Ink>, tooltip: Tooltip) {
    this.#view = view;
    const { scope } = view;
    this.#points = computed(() => {
      const [picture, field] = [view.picture.value, view.field.value];
      if (!picture || !field) return [];
      const [exact, estimates] = [picture.exact(field.shows), picture.estimate(field.shows)];
      const points = [...exact.keys()].map((cell) => ({ cell, estimate: estimates[cell] ?? NaN, exact: exact[cell]! }));
      return points.filter(({ estimate, exact }) => Number.isFinite(estimate - exact)).sort((left, right) => off(right) - off(left));
    });
    scope.effect(() => {
      this.#none.hidden = this.#points.value.length > 0;
      const made = view.picture.value?.manifest.estimated_by;
      this.#none.textContent = made ? "No cell is exact and estimated yet." : "No estimates were made here.";
    });
    scope.effect(() => this.#draw(ink.value), frame);
    const point = (event: MouseEvent | null): void => {
      const cell = event && this.#under(event);
      view.point(cell);
      tooltip.over(cell === null ? [] : cellLines(view, cell), event);
    };
    scope.listen(this.element, "pointermove", (event) => point(event));
    scope.listen(this.element, "pointerleave", () => point(null));
    scope.listen(this.element, "focusout", () => view.point(null));
    scope.listen(this.element, "click", (event) => {
      const cell = this.#under(event);
      if (cell !== null) view.choose(cell);
    });
    listLater(scope, this.#table, () => {
      const [points, field] = [this.#points.value, view.field.value];
      const rows = (): string[][] => points.slice(0, TABLE_ROWS).map(({ cell }) => this.#row(cell));
      return field && (() => [`exact and estimated ${field.shows}s, the farthest off first`, ["where", "exact", "estimate"], rows()]);
    });
  }

  fit(): void {
    this.size.value = sizeOf(this.element, this.size.peek());
  }

  /** From the point that is farthest off to those that are less. */
  get walk(): Walk {
    const view = this.#view;
    const cellAt = (at: number): number => this.#points.peek()[at]!.cell;
    const placeOf = (cell: number | null): number => this.#points.peek().findIndex((point) => point.cell === cell);
    return walkLine(this.element, {
      count: () => this.#points.peek().length,
      from: () => placeOf(view.hover.peek() ?? view.chosen.peek()),
      held: () => (view.hover.peek() === null ? null : placeOf(view.hover.peek())),
      point: (at) => view.point(cellAt(at)),
      pick(at) {
        view.choose(cellAt(at));
        return `locked ${describe(view, cellAt(at))}`;
      },
      describe: (at) => this.#row(cellAt(at)).join(", "),
    });
  }

  #row(cell: number): string[] {
    const picture = this.#view.picture.peek()!;
    const { shows } = this.#view.field.peek()!;
    return [picture.nameOf(cell), picture.say(picture.exact(shows)[cell]!, false), picture.say(picture.estimate(shows)[cell]!, true)];
  }

  /** Where values stand, from the lower left corner; both axes are alike. */
  readonly #place = computed(() => {
    const { width, height } = this.size.value;
    let [low, high] = [0, 0];
    for (const { estimate, exact } of this.#points.value) {
      low = Math.min(low, estimate, exact);
      high = Math.max(high, estimate, exact);
    }
    const margin = MARGIN * (high - low) || 0.5;
    const [wide, tall] = [width - EDGE.left - EDGE.right, height - EDGE.top - EDGE.bottom];
    const side = Math.max(0, Math.min(wide, tall * 1.6));
    const unit = (value: number): number => (value - low + margin) / (high - low + 2 * margin);
    return {
      ...{ low: low - margin, high: high + margin, right: EDGE.left + side, bottom: EDGE.top + tall },
      x: (value: number): number => EDGE.left + unit(value) * side,
      y: (value: number): number => EDGE.top + (1 - unit(value)) * tall,
    };
  });

  #under(event: MouseEvent): number | null {
    const { x, y } = this.#place.peek();
    const box = this.#canvas.getBoundingClientRect();
    let [found, least]: [number | null, number] = [null, REACH];
    for (const { cell, estimate, exact } of this.#points.peek()) {
      const away = Math.hypot(x(estimate) - event.clientX + box.left, y(exact) - event.clientY + box.top);
      if (away < least) [found, least] = [cell, away];
    }
    return found;
  }

  #draw(ink: Ink): void {
    const view = this.#view;
    const [points, picture, field] = [this.#points.value, view.picture.value, view.field.value];
    const { low, high, x, y, right, bottom } = this.#place.value;
    const marked = [
      [view.chosen.value, ink.accent],
      [view.hover.value, ink.ink],
    ] as const;
    const { width, height } = this.size.value;
    const context = width > 80 && height > 60 && points.length ? prepare(this.#canvas, width, height) : null;
    this.drawn.value = this.drawn.peek() + 1;
    this.#canvas.style.visibility = points.length ? "" : "hidden";
    if (!context || !picture || !field) return;
    const line = (fromX: number, fromY: number, toX: number, toY: number, color: string): void => {
      context.strokeStyle = color;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
      context.stroke();
    };
    const write = (text: string, across: number, down: number, align: CanvasTextAlign): void => {
      context.textAlign = align;
      context.fillText(text, across, down);
    };
    context.font = `10px ${ink.font}`;
    context.textBaseline = "middle";
    context.fillStyle = ink.faint;
    const axis = makeMapping({ low, high, scale: "linear", palette: "grey", diverging: false }, view.theme.value);
    // The ends are margins and no values.
    for (const { unit, text } of ticks(axis, 9).slice(1, -1)) {
      const value = low + unit * (high - low);
      line(Math.round(x(value)) + 0.5, EDGE.top, Math.round(x(value)) + 0.5, bottom, ink.line);
      line(EDGE.left, Math.round(y(value)) + 0.5, right, Math.round(y(value)) + 0.5, ink.line);
      write(text, x(value), bottom + 9, "center");
      write(text, EDGE.left - 5, y(value), "right");
    }
    line(x(low), y(low), x(high), y(high), ink.faint);
    const { estimated_by } = picture.manifest;
    write(`estimated ${field.shows} (${estimated_by})`, (EDGE.left + right) / 2, bottom + 25, "center");
    context.save();
    context.translate(9, (EDGE.top + bottom) / 2);
    context.rotate(-Math.PI / 2);
    write(`exact ${field.shows}`, 0, 0, "center");
    context.restore();
    context.beginPath();
    for (const { estimate, exact } of points) disc(context, x(estimate), y(exact), RADIUS);
    context.globalAlpha = 0.55;
    context.fillStyle = ink.ink;
    context.fill();
    context.globalAlpha = 1;
    for (const { cell, estimate, exact } of points.slice(0, NAMED)) {
      if (off({ cell, estimate, exact }) < NEAR * (high - low)) break;
      // On the side away from the line, unless that is the edge.
      const start = exact < estimate ? x(estimate) < right - 60 : x(estimate) < EDGE.left + 60;
      write(clipped(picture.nameOf(cell), 40), x(estimate) + (start ? 6 : -6), y(exact), start ? "left" : "right");
    }
    for (const [held, color] of marked) {
      const point = points.find(({ cell }) => cell === held);
      if (!point) continue;
      context.strokeStyle = color;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(x(point.estimate), y(point.exact), RADIUS + 3, 0, 7);
      context.stroke();
    }
  }
}

function off({ estimate, exact }: Point): number {
  return Math.abs(exact - estimate);
}
