/**
 * A square heat map with named rows and columns on one canvas: wheel and drag to zoom and pan, crisp cells, labels that
 * never overlap. Knows nothing of attention: it is given a grid, colours and labels.
 */
import { pooled, type Grid } from "../core/grid";
import { paintGrid } from "../core/paint";
import type { Mapping } from "../core/scale";
import { frame, Signal, type Scope } from "../core/signal";
import { thinned } from "../core/thin";
import { clipped, isolated } from "../core/tokens";
import { h } from "./element";
import { hatch, prepare, resized, type Offscreen } from "./surface";
import type { Ink } from "./theme";

export interface HeatmapContent {
  grid: Grid;
  mapping: Mapping;
  labels: string[];
  /** Changes where zoom and pan would no longer mean the same. */
  identity: string;
  rowTitle: string;
  columnTitle: string;
}

export interface Cell {
  query: number | null;
  key: number | null;
}

export interface HeatmapMarks {
  pointed: Cell | null;
  locked: Cell;
  linked: Cell;
}

export interface HeatmapEvents {
  point(cell: { query: number; key: number } | null, event: MouseEvent): void;
  pick(cell: { query: number; key: number }): void;
}

const LABEL = 11;
const LABEL_ROOM = 13;
const LONGEST_LABEL = 12;
const LABEL_PIXELS = 76;
const LARGEST_CELL = 56;
const TITLE = 15;
/** The widest label is one of this many with the most characters. */
const MEASURED = 16;
/** A grid is painted at full resolution up to this side; larger ones are always merged to it first. */
const LARGEST_IMAGE = 4096;

export class Heatmap {
  readonly canvas = h("canvas", { class: "miw-heatmap-canvas", "aria-hidden": "true" });
  readonly element = h("div", { class: "miw-heatmap", tabindex: 0, role: "group" }, this.canvas);
  readonly content = new Signal<HeatmapContent | null>(null);
  readonly marks = new Signal<HeatmapMarks>({ pointed: null, locked: { query: null, key: null }, linked: { query: null, key: null } });
  readonly size = new Signal({ width: 0, height: 0 });
  readonly ink: Signal<Ink>;
  /** Grows with every picture drawn. */
  readonly drawn = new Signal(0);
  /** Zoom 1 shows everything; left and top in cells. */
  readonly view = new Signal({ zoom: 1, left: 0, top: 0 });
  #image: (Offscreen & { grid: Grid; mapping: Mapping; merged: number }) | null = null;
  #plot = { x: 0, y: 0, width: 0, height: 0, cell: 1, fit: 1 };
  #events: HeatmapEvents;
  #identity = "";
  #longest: { labels: string[]; font: string; pixels: number } | null = null;
  #hatching: { key: string; fill: CanvasPattern | string } | null = null;

  constructor(scope: Scope, ink: Signal<Ink>, events: HeatmapEvents) {
    this.ink = ink;
    this.#events = events;
    scope.effect(() => this.#draw(), frame);
    this.#listen(scope);
  }

  reset(): void {
    this.view.value = { zoom: 1, left: 0, top: 0 };
  }

  /** Zooms about a point of the canvas. */
  zoomBy(factor: number, pointer: { x: number; y: number }): void {
    const { x, y, cell, fit } = this.#plot;
    const { zoom, left, top } = this.#clamped(this.content.peek()?.grid.side ?? 1);
    const next = Math.min(Math.max(1, zoom * factor), Math.max(1, 64 / fit));
    const overX = left + (pointer.x - x) / cell;
    const overY = top + (pointer.y - y) / cell;
    const newCell = fit * next;
    this.view.value = { zoom: next, left: overX - (pointer.x - x) / newCell, top: overY - (pointer.y - y) / newCell };
  }

  /** Moves the window so that the cell is in it. */
  reveal(query: number, key: number): void {
    const { zoom, left, top } = this.view.peek();
    const across = this.#plot.width / this.#plot.cell;
    const down = this.#plot.height / this.#plot.cell;
    const moved = {
      zoom,
      left: key < left ? key : key + 1 > left + across ? key + 1 - across : left,
      top: query < top ? query : query + 1 > top + down ? query + 1 - down : top,
    };
    if (moved.left !== left || moved.top !== top) this.view.value = moved;
  }

  /** The cell under a point of the window, or null. */
  cellAt(clientX: number, clientY: number): { query: number; key: number } | null {
    const content = this.content.peek();
    if (!content) return null;
    const place = this.canvas.getBoundingClientRect();
    const { x, y, cell, width, height } = this.#plot;
    const across = clientX - place.left - x;
    const down = clientY - place.top - y;
    if (across < 0 || down < 0 || across >= width || down >= height) return null;
    const { left, top } = this.#clamped(content.grid.side);
    const key = Math.floor(left + across / cell);
    const query = Math.floor(top + down / cell);
    return key < content.grid.side && query < content.grid.side ? { query, key } : null;
  }

  /** The middle of a cell on the canvas; of all that is in sight where no cell is given. */
  placeOf(query: number | null, key: number | null): { x: number; y: number } {
    const { left, top } = this.#clamped(this.content.peek()?.grid.side ?? 1);
    const { x, y, cell, width, height } = this.#plot;
    return {
      x: key === null ? x + width / 2 : x + (key + 0.5 - left) * cell,
      y: query === null ? y + height / 2 : y + (query + 0.5 - top) * cell,
    };
  }

  /** The same in the window's coordinates, for tooltips at the keyboard. */
  pointOf(query: number, key: number): { x: number; y: number } {
    const frame = this.canvas.getBoundingClientRect();
    const place = this.placeOf(query, key);
    return { x: frame.left + place.x, y: frame.top + place.y };
  }

  #clamped(side: number): { zoom: number; left: number; top: number } {
    const { zoom, left, top } = this.view.peek();
    const { width, height, cell } = this.#plot;
    return { zoom, left: Math.max(0, Math.min(left, side - width / cell)), top: Math.max(0, Math.min(top, side - height / cell)) };
  }

  #draw(): void {
    const content = this.content.value;
    const { width, height } = this.size.value;
    const marks = this.marks.value;
    const ink = this.ink.value;
    void this.view.value;
    if (width < 20 || height < 20) return;
    const context = prepare(this.canvas, width, height);
    if (!context) return;
    if (content) {
      if (content.identity !== this.#identity) {
        this.#identity = content.identity;
        this.view.value = { zoom: 1, left: 0, top: 0 };
      }
      this.#layOut(context, content, width, height, ink);
      this.#drawCells(context, content, ink);
      this.#drawMarks(context, content, marks, ink);
      this.#drawAxes(context, content, marks, ink);
    }
    this.drawn.value = this.drawn.peek() + 1;
  }

  #layOut(context: CanvasRenderingContext2D, content: HeatmapContent, width: number, height: number, ink: Ink): void {
    const { side } = content.grid;
    const longest = this.#longestLabel(context, content.labels, ink);
    const room = Math.ceil(Math.min(longest, LABEL_PIXELS, width * 0.26)) + 6;
    const low = Math.ceil(Math.min(longest, LABEL_PIXELS, height * 0.28)) + 6;
    const x = TITLE + room;
    const fit = Math.min((width - x - 1) / side, (height - low - TITLE - 1) / side, LARGEST_CELL);
    const zoom = this.view.peek().zoom;
    const cell = fit * zoom;
    this.#plot = {
      x,
      y: 1,
      cell,
      fit,
      width: Math.min(side * cell, width - x - 1),
      height: Math.min(side * cell, height - low - TITLE - 1),
    };
  }

  #longestLabel(context: CanvasRenderingContext2D, labels: string[], ink: Ink): number {
    const held = this.#longest;
    if (held && held.labels === labels && held.font === ink.code) return held.pixels;
    context.font = `${LABEL}px ${ink.code}`;
    let pixels = 0;
    for (const label of widest(labels, MEASURED)) pixels = Math.max(pixels, context.measureText(label).width);
    this.#longest = { labels, font: ink.code, pixels };
    return pixels;
  }

  #hatchOf(context: CanvasRenderingContext2D, color: string, line: string): CanvasPattern | string {
    const key = `${color} ${line} ${window.devicePixelRatio}`;
    if (this.#hatching?.key !== key) this.#hatching = { key, fill: hatch(context, color, line) };
    return this.#hatching.fill;
  }

  #drawCells(context: CanvasRenderingContext2D, content: HeatmapContent, ink: Ink): void {
    const { grid, mapping } = content;
    const plot = this.#plot;
    const { left, top } = this.#clamped(grid.side);
    context.fillStyle = this.#hatchOf(context, mapping.masked, ink.line);
    context.fillRect(plot.x, plot.y, plot.width, plot.height);
    const ratio = window.devicePixelRatio || 1;
    const perPixel = 1 / (plot.cell * ratio);
    const merged = Math.min(perPixel > 1 ? Math.max(1, Math.ceil(grid.side / Math.ceil(perPixel))) : grid.side, LARGEST_IMAGE);
    const image = this.#imageOf(grid, mapping, merged);
    if (!image) return;
    const share = merged / grid.side;
    context.save();
    context.beginPath();
    context.rect(plot.x, plot.y, plot.width, plot.height);
    context.clip();
    context.imageSmoothingEnabled = false;
    context.drawImage(
      image,
      left * share,
      top * share,
      (plot.width / plot.cell) * share,
      (plot.height / plot.cell) * share,
      plot.x,
      plot.y,
      plot.width,
      plot.height,
    );
    context.restore();
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.strokeRect(plot.x - 0.5, plot.y - 0.5, plot.width + 1, plot.height + 1);
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

  #drawMarks(context: CanvasRenderingContext2D, content: HeatmapContent, marks: HeatmapMarks, ink: Ink): void {
    const plot = this.#plot;
    const { left, top } = this.#clamped(content.grid.side);
    const cell = Math.max(plot.cell, 2);
    context.save();
    context.beginPath();
    context.rect(plot.x - 1, plot.y - 1, plot.width + 2, plot.height + 2);
    context.clip();
    const strip = (at: Cell, color: string, dash: number[]): void => {
      context.strokeStyle = color;
      context.lineWidth = 1;
      context.setLineDash(dash);
      if (at.query !== null) {
        const y = plot.y + (at.query - top) * plot.cell;
        context.strokeRect(plot.x - 2.5, Math.round(y) - 0.5, plot.width + 5, Math.round(cell) + 1);
      }
      if (at.key !== null) {
        const x = plot.x + (at.key - left) * plot.cell;
        context.strokeRect(Math.round(x) - 0.5, plot.y - 2.5, Math.round(cell) + 1, plot.height + 5);
      }
    };
    strip(marks.linked, ink.faint, [3, 3]);
    strip(marks.locked, ink.accent, []);
    if (marks.pointed) strip(marks.pointed, ink.ink, []);
    context.setLineDash([]);
    const { query, key } = marks.locked;
    if (query !== null && key !== null) {
      context.strokeStyle = ink.accent;
      context.lineWidth = 2;
      const x = plot.x + (key - left) * plot.cell;
      const y = plot.y + (query - top) * plot.cell;
      context.strokeRect(Math.round(x) - 1, Math.round(y) - 1, Math.round(cell) + 2, Math.round(cell) + 2);
    }
    context.restore();
  }

  #drawAxes(context: CanvasRenderingContext2D, content: HeatmapContent, marks: HeatmapMarks, ink: Ink): void {
    const plot = this.#plot;
    const { side } = content.grid;
    const { left, top } = this.#clamped(side);
    const lastRow = Math.min(side, Math.ceil(top + plot.height / plot.cell));
    const lastColumn = Math.min(side, Math.ceil(left + plot.width / plot.cell));
    const given = (at: number | null | undefined): number[] => (at === null || at === undefined ? [] : [at]);
    const rows = [...given(marks.pointed?.query), ...given(marks.locked.query), ...given(marks.linked.query)];
    const columns = [...given(marks.pointed?.key), ...given(marks.locked.key), ...given(marks.linked.key)];
    context.textBaseline = "middle";
    const style = (pointed: boolean, locked: boolean): void => {
      context.font = `${pointed || locked ? "600 " : ""}${LABEL}px ${ink.code}`;
      context.fillStyle = locked ? ink.accent : pointed ? ink.ink : ink.faint;
    };
    const room = plot.x - TITLE - 4;
    context.textAlign = "right";
    for (const row of thinned(Math.floor(top), lastRow, plot.cell, LABEL_ROOM, rows)) {
      const y = plot.y + (row + 0.5 - top) * plot.cell;
      if (y < plot.y || y > plot.y + plot.height) continue;
      style(marks.pointed?.query === row, marks.locked.query === row);
      context.fillText(fitted(context, content.labels[row] ?? "", room), plot.x - 4, Math.max(y, LABEL / 2 + 1));
    }
    const foot = plot.y + plot.height + 4;
    const depth = this.size.peek().height - foot - TITLE;
    for (const column of thinned(Math.floor(left), lastColumn, plot.cell, LABEL_ROOM, columns)) {
      const x = plot.x + (column + 0.5 - left) * plot.cell;
      if (x < plot.x || x > plot.x + plot.width) continue;
      style(marks.pointed?.key === column, marks.locked.key === column);
      context.save();
      context.translate(x, foot);
      context.rotate(-Math.PI / 2);
      context.fillText(fitted(context, content.labels[column] ?? "", depth), 0, 0);
      context.restore();
    }
    context.fillStyle = ink.faint;
    context.font = `${LABEL}px ${ink.font}`;
    context.textAlign = "center";
    context.save();
    context.translate(TITLE / 2, plot.y + plot.height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(content.rowTitle, 0, 0);
    context.restore();
    const longest = Math.min(depth, this.#labelDepth(context, content, ink, left, lastColumn));
    context.textAlign = "center";
    context.fillText(content.columnTitle, plot.x + plot.width / 2, foot + longest + TITLE / 2 + 1);
  }

  #labelDepth(context: CanvasRenderingContext2D, content: HeatmapContent, ink: Ink, left: number, last: number): number {
    context.save();
    context.font = `${LABEL}px ${ink.code}`;
    let longest = 0;
    for (const column of thinned(Math.floor(left), last, this.#plot.cell, LABEL_ROOM)) {
      longest = Math.max(longest, context.measureText(clipped(content.labels[column] ?? "", LONGEST_LABEL)).width);
    }
    context.restore();
    return longest;
  }

  #listen(scope: Scope): void {
    const pointAgain = scope.guard((event: WheelEvent) => this.#events.point(this.cellAt(event.clientX, event.clientY), event));
    const { element } = this;
    let drag: { x: number; y: number; left: number; top: number; moved: boolean } | null = null;
    scope.listen(element, "pointerdown", (event) => {
      if (event.button !== 0) return;
      const { left, top } = this.#clamped(this.content.peek()?.grid.side ?? 1);
      drag = { x: event.clientX, y: event.clientY, left, top, moved: false };
    });
    scope.listen(element, "pointermove", (event) => {
      if (drag && event.buttons & 1) {
        const across = event.clientX - drag.x;
        const down = event.clientY - drag.y;
        if (!drag.moved && Math.hypot(across, down) > 4) {
          drag.moved = true;
          element.setPointerCapture?.(event.pointerId);
        }
        if (drag.moved) {
          const { zoom } = this.view.peek();
          this.view.value = { zoom, left: drag.left - across / this.#plot.cell, top: drag.top - down / this.#plot.cell };
          return;
        }
      }
      this.#events.point(this.cellAt(event.clientX, event.clientY), event);
    });
    scope.listen(element, "pointerup", (event) => {
      const wasDrag = drag?.moved ?? false;
      const wasDown = drag !== null;
      drag = null;
      if (wasDrag) {
        this.view.value = this.#clamped(this.content.peek()?.grid.side ?? 1);
        return;
      }
      const cell = wasDown && event.button === 0 ? this.cellAt(event.clientX, event.clientY) : null;
      if (cell) this.#events.pick(cell);
    });
    scope.listen(element, "pointercancel", () => (drag = null));
    scope.listen(element, "pointerleave", (event) => this.#events.point(null, event));
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
        const zoomingOut = event.deltaY > 0;
        if (zoomingOut && this.view.peek().zoom <= 1) return;
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
