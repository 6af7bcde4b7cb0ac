/**
 * A square of cells with named rows and columns that is zoomed by wheel and panned by drag: crisp at any size, merged by
 * the value that counts where cells are smaller than pixels. Knows nothing of attention.
 */
import { lengthOf } from "../core/axis";
import { pooled, type Grid } from "../core/grid";
import { paintGrid } from "../core/paint";
import type { Mapping } from "../core/scale";
import { computed, Signal } from "../core/signal";
import { clipped, isolated } from "../core/tokens";
import { CellGrid, cellOf, type Area, type Drawing, type Labels, type Place, type Spot } from "./grid";
import { context2d, resized, type Offscreen, type Size } from "./surface";

export interface HeatmapContent {
  grid: Grid;
  mapping: Mapping;
  labels: string[];
  /** Changes where zoom and pan would no longer mean the same. */
  identity: string;
}

const LABEL = 11;
const LONGEST_LABEL = 12;
const LABEL_PIXELS = 76;
const LARGEST_CELL = 56;
/** The largest that zooming makes a cell. */
const ZOOMED_CELL = 64;
const TITLE = 15;
/** Beside a label. */
const PAD = 4;
/** The widest label is one of this many with the most characters. */
const MEASURED = 16;
/** A grid is painted at full resolution up to this side; larger ones are always merged to it first. */
const LARGEST_IMAGE = 4096;
const TITLES = { rows: "query", columns: "key" };

export abstract class Heatmap extends CellGrid {
  readonly content = new Signal<HeatmapContent | null>(null);
  /** Zoom 1 shows everything; left and top in cells. */
  readonly view = new Signal({ zoom: 1, left: 0, top: 0 });
  #image: (Offscreen & { grid: Grid; mapping: Mapping; merged: number }) | null = null;
  #identity: string | null = null;
  /** The width of the longest label, in pixels. */
  readonly #longest = computed(() => {
    const labels = this.#labels.value;
    const context = context2d(this.canvas);
    if (!context) return 0;
    context.font = `${LABEL}px ${this.ink.value.code}`;
    return Math.max(0, ...widest(labels, MEASURED).map((label) => context.measureText(label).width));
  });
  readonly #labels = computed(() => this.content.value?.labels ?? []);

  protected override begin(): void {
    super.begin();
    this.scope.effect(() => {
      const identity = this.content.value?.identity ?? this.#identity;
      if (identity !== this.#identity) this.reset();
      this.#identity = identity;
    });
  }

  reset(): void {
    this.view.value = { zoom: 1, left: 0, top: 0 };
  }

  /** Zooms about a point of the canvas. */
  zoomBy(factor: number, pointer: { x: number; y: number }): void {
    const area = this.area.peek();
    if (!area) return;
    const { columns, rows } = area;
    const { zoom } = this.view.peek();
    const { x, y } = this.offset(area);
    const fit = columns.cell / zoom;
    const next = Math.min(Math.max(1, zoom * factor), Math.max(1, ZOOMED_CELL / fit));
    const cell = fit * next;
    const held = (scrolled: number, over: number): number => (scrolled + over) / columns.cell - over / cell;
    this.view.value = { zoom: next, left: held(x, pointer.x - columns.start), top: held(y, pointer.y - rows.start) };
  }

  /** Zooms about a cell; about the middle of all that is in sight where none is given. */
  zoomAt(factor: number, { row, column }: Spot): void {
    const area = this.area.peek();
    if (!area) return;
    const { columns, rows, right = 0, bottom = 0 } = area;
    const { x, y } = this.offset(area);
    this.zoomBy(factor, {
      x: column === null ? (columns.start + right) / 2 : columns.start + (column + 0.5) * columns.cell - x,
      y: row === null ? (rows.start + bottom) / 2 : rows.start + (row + 0.5) * rows.cell - y,
    });
  }

  protected lay({ width, height }: Size): Area | null {
    const content = this.content.value;
    if (!content || width < 20 || height < 20) return null;
    const count = content.grid.side;
    const longest = Math.min(this.#longest.value, LABEL_PIXELS);
    const start = TITLE + Math.ceil(Math.min(longest, width * 0.26)) + 6;
    const low = TITLE + Math.ceil(Math.min(longest, height * 0.28)) + 6;
    const [wide, high] = [width - start - 1, height - low - 1];
    const cell = Math.min(wide / count, high / count, LARGEST_CELL) * this.view.value.zoom;
    return {
      columns: { count, start, cell, gap: 0 },
      rows: { count, start: 1, cell, gap: 0 },
      right: start + Math.min(count * cell, wide),
      bottom: 1 + Math.min(count * cell, high),
    };
  }

  protected override offset({ columns, rows, right = 0, bottom = 0 }: Area): { x: number; y: number } {
    const { left, top } = this.view.value;
    return {
      x: Math.max(0, Math.min(left * columns.cell, lengthOf(columns) - right)),
      y: Math.max(0, Math.min(top * rows.cell, lengthOf(rows) - bottom)),
    };
  }

  protected override scrollTo(x: number, y: number): void {
    const cell = this.area.peek()?.columns.cell ?? 1;
    this.view.value = { ...this.view.peek(), left: x / cell, top: y / cell };
  }

  protected paint({ context, ink, area, scroll, right, bottom }: Drawing): void {
    const { grid, mapping } = this.content.value!;
    const { columns, rows } = area;
    const [wide, high] = [right - columns.start, bottom - rows.start];
    context.fillStyle = this.textured(context, "hatch", mapping.masked, ink.line);
    context.fillRect(columns.start, rows.start, wide, high);
    const perPixel = 1 / (columns.cell * (window.devicePixelRatio || 1));
    const merged = Math.min(perPixel > 1 ? Math.max(1, Math.ceil(grid.side / Math.ceil(perPixel))) : grid.side, LARGEST_IMAGE);
    const image = this.#imageOf(grid, mapping, merged);
    if (!image) return;
    const share = merged / grid.side / columns.cell;
    context.imageSmoothingEnabled = false;
    context.drawImage(image, scroll.x * share, scroll.y * share, wide * share, high * share, columns.start, rows.start, wide, high);
  }

  #imageOf(grid: Grid, mapping: Mapping, merged: number): HTMLCanvasElement | null {
    const held = this.#image;
    if (held && held.grid === grid && held.mapping === mapping && held.merged === merged) return held.canvas;
    const small = pooled(grid, merged);
    const target = resized(held, small.side, small.side);
    if (!target) return null;
    const pixels = target.context.createImageData(small.side, small.side);
    paintGrid(small, mapping, new Uint32Array(pixels.data.buffer));
    target.context.putImageData(pixels, 0, 0);
    this.#image = { ...target, grid, mapping, merged };
    return target.canvas;
  }

  protected label(drawing: Drawing): void {
    const { context, ink, area, right, bottom } = drawing;
    const { columns, rows } = area;
    const { labels } = this.content.value!;
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.strokeRect(columns.start - 0.5, rows.start - 0.5, right - columns.start + 1, bottom - rows.start + 1);
    const foot = bottom + PAD;
    const depth = this.size.peek().height - foot - TITLE;
    const within = (room: number): Labels => ({ text: (index) => fitted(context, labels[index] ?? "", room), size: LABEL, font: ink.code });
    this.labelRows(drawing, within(columns.start - TITLE - PAD));
    this.labelColumns(drawing, foot, within(depth), "down");
    context.fillStyle = ink.faint;
    context.font = `${LABEL}px ${ink.font}`;
    context.textAlign = "center";
    context.fillText(TITLES.columns, (columns.start + right) / 2, foot + Math.min(depth, this.#longest.value) + TITLE / 2 + 1);
    context.save();
    context.translate(TITLE / 2, (rows.start + bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(TITLES.rows, 0, 0);
    context.restore();
  }

  protected override listen(): void {
    const { element, scope } = this;
    const cellAt = (event: MouseEvent): Place | null => cellOf(this.spotAt(event));
    const pointAgain = scope.guard((event: WheelEvent) => this.pointOver(cellAt(event), event));
    let drag: { x: number; y: number; left: number; top: number; moved: boolean } | null = null;
    scope.listen(element, "pointerdown", (event) => {
      const area = this.area.peek();
      if (event.button !== 0 || !area) return;
      const { x, y } = this.offset(area);
      drag = { x: event.clientX, y: event.clientY, left: x, top: y, moved: false };
    });
    scope.listen(element, "pointermove", (event) => {
      if (drag && event.buttons & 1) {
        const across = event.clientX - drag.x;
        const down = event.clientY - drag.y;
        if (!drag.moved && Math.hypot(across, down) > 4) {
          drag.moved = true;
          element.setPointerCapture?.(event.pointerId);
        }
        if (drag.moved) return this.scrollTo(drag.left - across, drag.top - down);
      }
      this.pointOver(cellAt(event), event);
    });
    scope.listen(element, "pointerup", (event) => {
      const before = drag;
      drag = null;
      const area = this.area.peek();
      if (before?.moved && area) {
        // Where a drag went beyond the ends, the next begins at them.
        const { x, y } = this.offset(area);
        return this.scrollTo(x, y);
      }
      const cell = before && event.button === 0 ? cellAt(event) : null;
      if (cell) this.pick(cell, event);
    });
    scope.listen(element, "pointercancel", () => (drag = null));
    scope.listen(element, "pointerleave", (event) => this.pointOver(null, event));
    scope.listen(element, "dblclick", () => this.reset());
    // Someone who scrolls the notebook must not be caught by a heat map that comes by under the pointer.
    let passing = -Infinity;
    scope.listen(
      window,
      "wheel",
      (event: Event) => {
        if (!(event.target instanceof Node && element.contains(event.target))) passing = event.timeStamp;
      },
      { passive: true, capture: true },
    );
    scope.listen(
      element,
      "wheel",
      (event: WheelEvent) => {
        if (event.timeStamp - passing < 400 && !event.ctrlKey) {
          passing = event.timeStamp;
          return;
        }
        const place = this.canvas.getBoundingClientRect();
        if (event.deltaY > 0 && this.view.peek().zoom <= 1) return;
        event.preventDefault();
        const amount = Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) * 0.006);
        this.zoomBy(amount, { x: event.clientX - place.left, y: event.clientY - place.top });
        // Another cell lies under the pointer once this is drawn.
        requestAnimationFrame(() => pointAgain(event));
      },
      { passive: false },
    );
  }
}

/** The cut labels that are likely the widest: measuring takes far longer than counting. Scripts after Greek count double. */
function widest(labels: string[], count: number): string[] {
  const sized = [...new Set(labels)].map((label) => {
    const text = clipped(label, LONGEST_LABEL);
    let size = text.length;
    for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x3ff) size += 1;
    return { text, size };
  });
  return sized
    .sort((left, right) => right.size - left.size)
    .slice(0, count)
    .map(({ text }) => text);
}

/** The label cut to `room` pixels, isolated from its neighbours' reading direction. */
function fitted(context: CanvasRenderingContext2D, label: string, room: number): string {
  let length = LONGEST_LABEL;
  let text = clipped(label, length);
  while (length > 1 && context.measureText(text).width > room) text = clipped(label, --length);
  return isolated(text);
}
