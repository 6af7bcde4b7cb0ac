/**
 * Rows × columns of cells on one canvas that draws what is in sight: labels that stay while cells scroll under them, what
 * lies under the pointer, marks, keys, and the same as a table for screen readers. A view says where the cells are, paints
 * them, and hears what is pointed at and picked. Knows nothing of what the cells mean.
 */
import { beginOf, indexAt, indexesIn, lengthOf, pitchOf, slotOf, slotsIn, type Axis } from "../core/axis";
import { computed, frame, Signal, type Readable, type Scope } from "../core/signal";
import { thinned } from "../core/thin";
import { h } from "./element";
import { dots, hatch, prepare, sizeOf, type Size } from "./surface";
import { HiddenTable } from "./table";
import type { Ink } from "./theme";
import type { Tooltip } from "./tooltip";
import { STEPS, type Step } from "./walk";

export interface Place {
  row: number;
  column: number;
}

/** A place, or the label of a row or a column, whose other part is null. */
export interface Spot {
  row: number | null;
  column: number | null;
}

/** Where the cells are; `right` and `bottom`: where the part of the canvas ends that shows them, else at its edges. */
export interface Area {
  columns: Axis;
  rows: Axis;
  right?: number;
  bottom?: number;
}

export type Tone = "linked" | "likely" | "locked" | "pointed";

/** A frame around a cell, or around cells of a row up to `last`; around all of a row or column where the other is null. */
export interface Mark extends Spot {
  tone: Tone;
  last?: number;
}

export interface Labels {
  text?: (index: number) => string;
  size?: number;
  font?: string;
  /** Pixels from one label to the next. */
  room?: number;
  always?: number[];
  /** Which of those in sight, from … to (not included). */
  only?: [number, number];
  /** Those that are not faint even where nothing marks them. */
  strong?: (index: number) => boolean;
  /** Writes the text in a way of its own, at the origin. */
  write?: (index: number) => void;
}

/** What one drawing needs. */
export interface Drawing {
  context: CanvasRenderingContext2D;
  ink: Ink;
  area: Area;
  marks: Mark[];
  scroll: { x: number; y: number };
  /** Of the window on the cells: where it ends on the canvas. */
  right: number;
  bottom: number;
  /** In sight, from … to (not included). */
  sight: { columns: { first: number; last: number }; rows: { first: number; last: number } };
  /** Where a cell begins on the canvas. */
  left(column: number): number;
  top(row: number): number;
}

const LABEL = 10;
/** Between a row's label and its first cell. */
const PAD = 5;
/** Of a frame around a first cell, over the labels' side. */
const MARGIN = 2;
/** Frames of whole rows and columns have their ends out of sight. */
const BEYOND = 8;
const THICK: Record<Tone, number> = { linked: 1, likely: 1, locked: 2, pointed: 1.5 };
const RANK: Tone[] = ["likely", "linked", "pointed", "locked"];

export abstract class CellGrid {
  readonly canvas: HTMLCanvasElement;
  readonly #spacer = h("div", "miw-grid-spacer");
  readonly scroller: HTMLElement;
  readonly table = new HiddenTable();
  /** Takes the focus; its ring stands over the canvas. */
  readonly element: HTMLElement;
  readonly size = new Signal<Size>({ width: 0, height: 0 });
  /** Grows with every picture drawn. */
  readonly drawn = new Signal(0);
  protected readonly scrolled = new Signal({ x: 0, y: 0 });
  /** What rests under the pointer. */
  #under: { spot: Spot; event: MouseEvent } | null = null;
  #patterns = new Map<string, CanvasPattern | string>();

  constructor(
    protected readonly scope: Scope,
    protected readonly ink: Readable<Ink>,
    name: string,
    label: string,
    private readonly tooltip: Tooltip | null = null,
  ) {
    this.canvas = h("canvas", { class: `miw-${name}-canvas`, "aria-hidden": "true" });
    this.scroller = h("div", "miw-grid-scroll", this.canvas, this.#spacer);
    this.element = h(
      "div",
      { class: `miw-grid miw-${name}`, tabindex: 0, role: "group", "aria-label": label },
      this.scroller,
      this.table.element,
    );
  }

  // ---- what a view says ------------------------------------------------------------------------------------------

  /** Where the cells are; null where there are none. What it reads is followed, as in all of these. */
  protected abstract lay(size: Size): Area | null;
  protected abstract paint(drawing: Drawing): void;
  protected abstract label(drawing: Drawing): void;
  protected abstract marks(): Mark[];
  /** Hears what lies under the pointer, or where keys went. */
  protected abstract point(spot: Spot | null): void;
  protected abstract pick(spot: Spot, event: MouseEvent | null): void;
  /** The cell that is read; whether a first step only says which one it is, and whether Enter picks it. */
  protected abstract cursor(): { at: Place | null; fresh: boolean; held?: boolean };
  /** One cell in words. */
  abstract describe(place: Place): string;
  /** The lines of the tooltip there. */
  protected tip(_spot: Spot): Node[] {
    return [];
  }
  protected has(_place: Place): boolean {
    return true;
  }

  /** A view calls this once its own fields are there. */
  protected begin(): void {
    const { scope, scroller } = this;
    scope.effect(() => this.#draw(), frame);
    scope.listen(scroller, "scroll", () => (this.scrolled.value = { x: scroller.scrollLeft, y: scroller.scrollTop }));
    this.listen();
  }

  protected listen(): void {
    const { element, scope } = this;
    scope.listen(element, "pointermove", (event) => this.pointOver(this.spotAt(event), event));
    scope.listen(element, "pointerleave", (event) => this.pointOver(null, event));
    // What keys pointed at is let go of with the focus; the pointer stays where it is.
    scope.listen(element, "focusout", () => this.point(this.#under?.spot ?? null));
    scope.listen(element, "click", (event) => {
      const spot = this.spotAt(event);
      if (spot) this.pick(spot, event);
    });
  }

  /** The pointer is over this now. */
  protected pointOver(spot: Spot | null, event: MouseEvent): void {
    this.#under = spot && { spot, event };
    this.point(spot);
    this.tooltip?.over(spot ? this.tip(spot) : [], event);
  }

  /** What is told of the cell under a pointer that rests may have changed. */
  protected tellAgain(): void {
    if (this.#under) this.tooltip?.over(this.tip(this.#under.spot), this.#under.event);
  }

  // ---- places ----------------------------------------------------------------------------------------------------

  readonly area: Readable<Area | null> = computed(() => this.lay(this.size.value));

  /** The rows or columns in sight, from … to (not included). */
  inSight(which: "columns" | "rows"): { first: number; last: number } {
    const area = this.area.value;
    const [{ x, y }, { width, height }] = [this.scrolled.value, this.size.value];
    return area ? (which === "rows" ? indexesIn(area.rows, y, height) : indexesIn(area.columns, x, width)) : { first: 0, last: 0 };
  }

  /** Takes the size of the place it stands in; not of what scroll bars leave, which follows from the drawing. */
  fit(): void {
    this.size.value = sizeOf(this.scroller, this.size.peek());
  }

  /** What lies under the pointer. */
  spotAt(event: MouseEvent): Spot | null {
    const area = this.area.peek();
    if (!area) return null;
    const box = this.canvas.getBoundingClientRect();
    const { columns, rows } = area;
    const scroll = this.offset(area);
    const { right, bottom } = this.#window(area);
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (x < 0 || y < 0 || x >= right || y >= bottom) return null;
    const column = x < columns.start ? null : indexAt(columns, x + scroll.x);
    const row = y < rows.start ? null : indexAt(rows, y + scroll.y);
    if ((x >= columns.start && column === null) || (y >= rows.start && row === null)) return null;
    return column === null && row === null ? null : { row, column };
  }

  /** A point below a cell, in the window's coordinates. */
  pointOf({ row, column }: Place): { x: number; y: number } {
    const area = this.area.peek();
    const box = this.canvas.getBoundingClientRect();
    if (!area) return { x: box.left, y: box.top };
    const { x, y } = this.offset(area);
    return {
      x: box.left + beginOf(area.columns, column) - x + area.columns.cell / 2,
      y: box.top + beginOf(area.rows, row) - y + area.rows.cell,
    };
  }

  /** Scrolls, where it must, until the place is in sight. */
  reveal({ row, column }: Spot): void {
    const area = this.area.peek();
    if (!area) return;
    const { right, bottom } = this.#window(area);
    const moved = (axis: Axis, index: number | null, scrolled: number, edge: number): number => {
      if (index === null) return scrolled;
      const begin = beginOf(axis, index) - axis.start;
      const room = edge - axis.start;
      return begin < scrolled ? begin : begin + axis.cell > scrolled + room ? begin + axis.cell - room + 2 * MARGIN : scrolled;
    };
    const { x, y } = this.offset(area);
    const [left, top] = [moved(area.columns, column, x, right), moved(area.rows, row, y, bottom)];
    if (left !== x || top !== y) this.scrollTo(left, top);
  }

  protected scrollTo(x: number, y: number): void {
    const { scroller } = this;
    this.#stretch(this.area.peek());
    scroller.scrollLeft = x;
    scroller.scrollTop = y;
    this.scrolled.value = { x: scroller.scrollLeft, y: scroller.scrollTop };
  }

  /** How far the cells are scrolled: what was scrolled to may be more than a smaller grid has. */
  protected offset(area: Area): { x: number; y: number } {
    const { x, y } = this.scrolled.value;
    const { right, bottom } = this.#window(area);
    return {
      x: Math.round(Math.max(0, Math.min(x, lengthOf(area.columns) - right))),
      y: Math.round(Math.max(0, Math.min(y, lengthOf(area.rows) - bottom))),
    };
  }

  /** The edges of the part that shows cells; scroll bars leave the rest. */
  #window({ right, bottom }: Area): { width: number; height: number; right: number; bottom: number } {
    const { clientWidth, clientHeight } = this.scroller;
    const size = this.size.peek();
    const [width, height] = [Math.min(size.width, clientWidth || size.width), Math.min(size.height, clientHeight || size.height)];
    return { width, height, right: right ?? width, bottom: bottom ?? height };
  }

  // ---- keys ------------------------------------------------------------------------------------------------------

  /** Does what the key does to a grid; what is to be said of it, or null where it is no such key. */
  key(key: string, taken = "locked"): string | null {
    const step = STEPS[key];
    const { at, fresh, held = true } = this.cursor();
    if (!at || !(step || key === "Enter")) return null;
    if (!step) {
      if (!held) return "";
      this.pick(at, null);
      return `${taken} ${this.describe(at)}`;
    }
    const next = this.#moved(at, fresh && Math.abs(step[0]) <= 1 ? [0, 0] : step);
    this.point(next);
    this.reveal(next);
    const { x, y } = this.pointOf(next);
    this.tooltip?.show(this.tip(next), x, y);
    return this.describe(next);
  }

  #moved(from: Place, [across, down]: Step): Place {
    const { columns, rows } = this.area.peek() ?? { columns: null, rows: null };
    const stay = (axis: Axis | null, index: number, by: number): number =>
      axis ? slotOf(axis, Math.max(0, Math.min(axis.count - 1, slotOf(axis, index) + by))) : index;
    const next = { row: stay(rows, from.row, down), column: stay(columns, from.column, across) };
    return this.has(next) ? next : from;
  }

  // ---- drawing ---------------------------------------------------------------------------------------------------

  /** Draws cells as a texture: of what the mask forbids, or of what is not known yet. */
  protected textured(context: CanvasRenderingContext2D, kind: "hatch" | "dots", ground: string, line: string): CanvasPattern | string {
    const key = `${kind} ${ground} ${line} ${window.devicePixelRatio}`;
    const known = this.#patterns.get(key);
    if (known) return known;
    const made = (kind === "hatch" ? hatch : dots)(context, ground, line);
    this.#patterns.set(key, made);
    return made;
  }

  /** Writes labels of the rows beside them. */
  protected labelRows(drawing: Drawing, labels: Labels): void {
    const { context, area, scroll, bottom, marks } = drawing;
    const { columns, rows } = area;
    context.textAlign = "right";
    for (const row of this.#thinned(rows, slotsIn(rows, scroll.y, bottom), labels, given(marks.map((mark) => mark.row)))) {
      const y = drawing.top(row) + rows.cell / 2;
      if (y < rows.start || y > bottom) continue;
      const own = marks.filter((mark) => mark.row === row);
      style(drawing, labels, row, own);
      context.fillText(labels.text?.(row) ?? "", columns.start - PAD, Math.max(y, (labels.size ?? LABEL) / 2 + 1));
    }
  }

  /** Writes labels of the columns at `y`: upright, or turned up from there, or down. */
  protected labelColumns(drawing: Drawing, y: number, labels: Labels, turned: "up" | "down" | null = null): void {
    const { context, area, scroll, right, marks } = drawing;
    const { columns } = area;
    context.textAlign = turned === "up" ? "left" : turned ? "right" : "center";
    for (const column of this.#thinned(columns, slotsIn(columns, scroll.x, right), labels, given(marks.map(columnOf)))) {
      const x = drawing.left(column) + columns.cell / 2;
      if (x < columns.start - MARGIN || x > right) continue;
      this.styleColumn(drawing, column, labels);
      context.save();
      context.translate(x, y);
      if (turned) context.rotate(-Math.PI / 2);
      if (labels.write) labels.write(column);
      else context.fillText(labels.text?.(column) ?? "", 0, 0);
      context.restore();
    }
  }

  /** Font and colour of a column's label, as it is marked. */
  protected styleColumn(drawing: Drawing, column: number, labels: Labels): void {
    const own = drawing.marks.filter((mark) => columnOf(mark) === column);
    style(drawing, labels, column, own);
  }

  #thinned(axis: Axis, [from, to]: [number, number], { room, size = LABEL, always = [], only }: Labels, marked: number[]): number[] {
    const [first, last] = only ? [Math.max(from, only[0]), Math.min(to, only[1])] : [from, to];
    const kept = [...always, ...marked].map((index) => slotOf(axis, index));
    return thinned(first, last, pitchOf(axis), room ?? size + 2, kept).map((slot) => slotOf(axis, slot));
  }

  #draw(): void {
    const area = this.area.value;
    const ink = this.ink.value;
    this.#stretch(area);
    if (!area) return;
    const { width, height, right, bottom } = this.#window(area);
    const context = width > 0 && height > 0 ? prepare(this.canvas, width, height) : null;
    const scroll = this.offset(area);
    if (context) {
      const { columns, rows } = area;
      const drawing: Drawing = {
        ...{ context, ink, area, scroll, right, bottom, marks: this.marks() },
        sight: { columns: indexesIn(columns, scroll.x, right), rows: indexesIn(rows, scroll.y, bottom) },
        left: (column) => beginOf(columns, column) - scroll.x,
        top: (row) => beginOf(rows, row) - scroll.y,
      };
      context.direction = "ltr";
      context.textBaseline = "middle";
      within(drawing, 0, () => this.paint(drawing));
      within(drawing, MARGIN, () => drawing.marks.forEach((mark) => frameOf(drawing, mark)));
      this.label(drawing);
    }
    this.drawn.value = this.drawn.peek() + 1;
  }

  #stretch(area: Area | null): void {
    this.#spacer.style.width = `${area ? lengthOf(area.columns) : 0}px`;
    this.#spacer.style.height = `${area ? lengthOf(area.rows) : 0}px`;
  }
}

/** The cell of a spot that is no label. */
export function cellOf(spot: Spot | null): Place | null {
  return spot && spot.row !== null && spot.column !== null ? { row: spot.row, column: spot.column } : null;
}

function within({ context, area, right, bottom }: Drawing, margin: number, draw: () => void): void {
  const [x, y] = [area.columns.start - margin, area.rows.start - margin];
  context.save();
  context.beginPath();
  context.rect(x, y, right + margin - x, bottom + margin - y);
  context.clip();
  draw();
  context.restore();
}

function frameOf({ context, area, ink, scroll, right, bottom, ...at }: Drawing, { row, column, last, tone }: Mark): void {
  if (row === null && column === null) return;
  const thick = row === null || column === null ? 1 : THICK[tone];
  const { columns, rows } = area;
  const x = column === null ? columns.start - BEYOND : Math.round(at.left(column));
  const y = row === null ? rows.start - BEYOND : Math.round(at.top(row));
  const end = column === null ? Math.min(right, lengthOf(columns) - scroll.x) + BEYOND : at.left(last ?? column) + columns.cell;
  const foot = row === null ? Math.min(bottom, lengthOf(rows) - scroll.y) + BEYOND : at.top(row) + rows.cell;
  context.strokeStyle = tone === "locked" ? ink.accent : tone === "likely" ? ink.faint : ink.ink;
  context.lineWidth = thick;
  context.setLineDash(tone === "linked" ? [3, 3] : []);
  context.strokeRect(x - thick / 2, y - thick / 2, Math.max(2, Math.round(end - x)) + thick, Math.max(2, Math.round(foot - y)) + thick);
  context.setLineDash([]);
}

function given(indexes: (number | null)[]): number[] {
  return indexes.filter((index) => index !== null);
}

/** The column that a mark is of, if it is one. */
function columnOf({ column, last }: Mark): number | null {
  return last === undefined || last === column ? column : null;
}

/** Font and colour of a label: as the mark says that tells most of those on it. */
function style({ context, ink }: Drawing, { size = LABEL, font = ink.font, strong }: Labels, index: number, marks: Mark[]): void {
  const tone = RANK[Math.max(-1, ...marks.map((mark) => RANK.indexOf(mark.tone)))];
  context.font = `${tone === "pointed" || tone === "locked" ? "600 " : ""}${size}px ${font}`;
  const shown = (tone ?? null) !== null || strong?.(index);
  context.fillStyle = tone === "locked" ? ink.accent : shown ? ink.ink : ink.faint;
}
