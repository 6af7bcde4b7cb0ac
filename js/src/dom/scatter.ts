/**
 * Points about the line on which both of their values are the same: one can be pointed at and picked, those farthest from
 * the line have their names. Knows nothing of what points mean.
 */
import { makeMapping, ticks } from "../core/scale";
import { computed, frame, Signal, type Readable, type Scope } from "../core/signal";
import { clipped } from "../core/tokens";
import { h } from "./element";
import { disc, prepare, sizeOf, type Size } from "./surface";
import { HiddenTable, listLater } from "./table";
import type { Ink } from "./theme";
import { walkLine, type Walk } from "./walk";

export interface Point {
  id: number;
  x: number;
  y: number;
}

/** What a view says of the points. */
export interface Points {
  points: Readable<Point[]>;
  /** Below the axes and in the table. */
  titles: Readable<[x: string, y: string]>;
  /** What is said while there are none. */
  none: Readable<string>;
  pointed: Readable<number | null>;
  locked: Readable<number | null>;
  /** Short, beside the point; and its values in words. */
  name(id: number): string;
  row(id: number): string[];
  point(id: number | null, event: MouseEvent | null): void;
  pick(id: number): void;
}

const EDGE = { left: 52, right: 12, top: 8, bottom: 34 };
/** Of the range, beyond the outermost points. */
const MARGIN = 0.06;
const NAMED = 5;
/** Of the range: nearer points are not worth a name. In pixels: how near the pointer has to be. */
const NEAR = 0.02;
const REACH = 12;
const RADIUS = 2.5;
/** Wider than high at most so many times. */
const WIDEST = 1.6;
const TABLE_ROWS = 100;

export class Scatter {
  readonly #canvas = h("canvas", { "aria-hidden": "true" });
  readonly #none = h("div", "miw-scatter-none");
  readonly #table = new HiddenTable();
  readonly element: HTMLElement;
  readonly size = new Signal<Size>({ width: 0, height: 0 });
  readonly drawn = new Signal(0);
  /** The farthest from the line first, in which order keys walk them. */
  readonly #points: Readable<Point[]>;

  constructor(
    scope: Scope,
    ink: Readable<Ink>,
    label: string,
    readonly of: Points,
  ) {
    const parts = [this.#canvas, this.#none, this.#table.element];
    this.element = h("div", { class: "miw-grid miw-scatter", tabindex: 0, role: "group", "aria-label": label }, ...parts);
    this.#points = computed(() => [...of.points.value].sort((left, right) => off(right) - off(left)));
    scope.effect(() => {
      this.#none.hidden = this.#points.value.length > 0;
      this.#none.textContent = of.none.value;
    });
    scope.effect(() => this.#draw(ink.value), frame);
    scope.listen(this.element, "pointermove", (event) => of.point(this.#under(event), event));
    scope.listen(this.element, "pointerleave", (event) => of.point(null, event));
    scope.listen(this.element, "focusout", () => of.point(null, null));
    scope.listen(this.element, "click", (event) => {
      const id = this.#under(event);
      if (id !== null) of.pick(id);
    });
    listLater(scope, this.#table, () => {
      const [points, [x, y]] = [this.#points.value, of.titles.value];
      return () => [`${label}, the farthest off first`, ["where", y, x], points.slice(0, TABLE_ROWS).map(({ id }) => of.row(id))];
    });
  }

  fit(): void {
    this.size.value = sizeOf(this.element, this.size.peek());
  }

  get walk(): Walk {
    const { of } = this;
    const idAt = (at: number): number => this.#points.peek()[at]!.id;
    const placeOf = (id: number | null): number => this.#points.peek().findIndex((point) => point.id === id);
    return walkLine(this.element, {
      count: () => this.#points.peek().length,
      from: () => placeOf(of.pointed.peek() ?? of.locked.peek()),
      held: () => (of.pointed.peek() === null ? null : placeOf(of.pointed.peek())),
      point: (at) => of.point(idAt(at), null),
      pick(at) {
        of.pick(idAt(at));
        return `locked ${of.row(idAt(at)).join(", ")}`;
      },
      describe: (at) => of.row(idAt(at)).join(", "),
    });
  }

  /** Where values stand. Both axes have the same range, which holds 0. */
  readonly #place = computed(() => {
    const { width, height } = this.size.value;
    let [low, high] = [0, 0];
    for (const { x, y } of this.#points.value) [low, high] = [Math.min(low, x, y), Math.max(high, x, y)];
    const margin = MARGIN * (high - low) || 0.5;
    const tall = height - EDGE.top - EDGE.bottom;
    const wide = Math.max(0, Math.min(width - EDGE.left - EDGE.right, tall * WIDEST));
    const unit = (value: number): number => (value - low + margin) / (high - low + 2 * margin);
    return {
      ...{ low: low - margin, high: high + margin, right: EDGE.left + wide, bottom: EDGE.top + tall },
      across: (value: number): number => EDGE.left + unit(value) * wide,
      down: (value: number): number => EDGE.top + (1 - unit(value)) * tall,
    };
  });

  #under(event: MouseEvent): number | null {
    const { across, down } = this.#place.peek();
    const box = this.#canvas.getBoundingClientRect();
    let [found, least]: [number | null, number] = [null, REACH];
    for (const { id, x, y } of this.#points.peek()) {
      const away = Math.hypot(across(x) - event.clientX + box.left, down(y) - event.clientY + box.top);
      if (away < least) [found, least] = [id, away];
    }
    return found;
  }

  #draw(ink: Ink): void {
    const { of } = this;
    const points = this.#points.value;
    const { low, high, across, down, right, bottom } = this.#place.value;
    const held = [[of.locked.value, ink.accent] as const, [of.pointed.value, ink.ink] as const];
    const [titleX, titleY] = of.titles.value;
    const { width, height } = this.size.value;
    this.drawn.value = this.drawn.peek() + 1;
    this.#canvas.style.visibility = points.length ? "" : "hidden";
    const context = width > 80 && height > 60 && points.length ? prepare(this.#canvas, width, height) : null;
    if (!context) return;
    const line = (color: string, ...[fromX, fromY, toX, toY]: [number, number, number, number]): void => {
      context.strokeStyle = color;
      context.beginPath();
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
      context.stroke();
    };
    const write = (text: string, x: number, y: number, align: CanvasTextAlign): void => {
      context.textAlign = align;
      context.fillText(text, x, y);
    };
    context.font = `10px ${ink.font}`;
    context.textBaseline = "middle";
    context.fillStyle = ink.faint;
    context.lineWidth = 1;
    const axis = makeMapping({ low, high, scale: "linear", palette: "grey", diverging: false }, "light");
    // The ends are margins and no values.
    for (const { unit, text } of ticks(axis, 9).slice(1, -1)) {
      const value = low + unit * (high - low);
      const [x, y] = [Math.round(across(value)) + 0.5, Math.round(down(value)) + 0.5];
      line(ink.line, x, EDGE.top, x, bottom);
      line(ink.line, EDGE.left, y, right, y);
      write(text, x, bottom + 9, "center");
      write(text, EDGE.left - 5, y, "right");
    }
    line(ink.faint, across(low), down(low), across(high), down(high));
    write(titleX, (EDGE.left + right) / 2, bottom + 25, "center");
    context.save();
    context.translate(9, (EDGE.top + bottom) / 2);
    context.rotate(-Math.PI / 2);
    write(titleY, 0, 0, "center");
    context.restore();
    context.beginPath();
    for (const { x, y } of points) disc(context, across(x), down(y), RADIUS);
    context.globalAlpha = 0.55;
    context.fillStyle = ink.ink;
    context.fill();
    context.globalAlpha = 1;
    const named: [x: number, y: number][] = [];
    for (const { id, x, y } of points.slice(0, NAMED)) {
      if (Math.abs(x - y) < NEAR * (high - low)) break;
      // One name over another would be none.
      if (named.some(([other, level]) => Math.abs(across(x) - other) < 90 && Math.abs(down(y) - level) < 12)) continue;
      named.push([across(x), down(y)]);
      // On the side away from the line, unless that is the edge.
      const after = y < x ? across(x) < right - 60 : across(x) < EDGE.left + 60;
      write(clipped(of.name(id), 40), across(x) + (after ? 6 : -6), down(y), after ? "left" : "right");
    }
    context.lineWidth = 2;
    for (const [id, color] of held) {
      const point = points.find((point) => point.id === id);
      if (!point) continue;
      context.strokeStyle = color;
      context.beginPath();
      disc(context, across(point.x), down(point.y), RADIUS + 3);
      context.stroke();
    }
  }
}

function off({ x, y }: Point): number {
  return Math.abs(y - x);
}
