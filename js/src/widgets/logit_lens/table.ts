/**
 * The table of layers and positions on one canvas: a window over a scrollable area that draws only what is in sight.
 * Labels of rows and columns stay while the cells scroll under them. Knows nothing of tooltips, chart and controls.
 */
import { brief } from "../../core/format";
import { colorOf, inkOn } from "../../core/scale";
import { computed, frame, Signal, type Readable } from "../../core/signal";
import { thinned } from "../../core/thin";
import { h } from "../../dom/element";
import { dots, hatch, offscreen, prepare } from "../../dom/surface";
import type { Ink } from "../../dom/theme";
import { rankText, type Field } from "./field";
import { columnLeft, inSight, layOut, NO_LAYOUT, placeAt, rowTop, SLIDER, WIDEST, type Layout } from "./layout";
import type { Cell, Lens } from "./lens";
import { Pen } from "./pen";
import type { Columns, LensPicture } from "./picture";

const TOKEN = 12;
const LABEL = 11;
const NUMBER = 10;
const PAD = 4;
/** One label of a row or of a turned column needs this much. */
const LABEL_ROOM = 13;
/** Cells at least this large are set apart by hairlines. */
const GAPS = 10;

export interface TableEvents {
  point(cell: Cell | null, event: PointerEvent): void;
}

interface Size {
  width: number;
  height: number;
}

/** What one drawing needs, so that its steps need no long lists of arguments. */
interface Drawing {
  context: CanvasRenderingContext2D;
  pen: Pen;
  layout: Layout;
  scroll: { x: number; y: number };
  place: Size;
  sight: ReturnType<typeof inSight>;
  picture: LensPicture;
  columns: Columns;
  field: Field;
  ink: Ink;
}

export class LensTable {
  readonly canvas = h("canvas", { class: "miw-lens-canvas", "aria-hidden": "true" });
  readonly #spacer = h("div", { class: "miw-lens-spacer" });
  readonly element = h(
    "div",
    { class: "miw-lens-table", tabindex: 0, role: "group", "aria-label": "logit lens: layers by positions" },
    this.canvas,
    this.#spacer,
  );
  readonly size = new Signal<Size>({ width: 0, height: 0 });
  /** The cell width that the reader chose, or null for one that fits. */
  readonly cellWidth = new Signal<number | null>(null);
  readonly drawn = new Signal(0);
  /** The prompt whose cell was brought into sight, and how far the table was scrolled for it. */
  #revealed = { prompt: "", left: 0 };
  readonly #scroll = new Signal({ x: 0, y: 0 });
  #lens: Lens;
  #ink: Readable<Ink>;
  #pen: Pen | null = null;
  #hatching: { key: string; fill: CanvasPattern | string } | null = null;
  #dotting: { key: string; fill: CanvasPattern | string } | null = null;

  constructor(lens: Lens, ink: Readable<Ink>, events: TableEvents) {
    this.#lens = lens;
    this.#ink = ink;
    const { scope } = lens;
    const { element } = this;
    scope.effect(() => this.#draw(), frame);
    scope.listen(element, "scroll", () => (this.#scroll.value = { x: element.scrollLeft, y: element.scrollTop }));
    scope.listen(element, "pointermove", (event) => events.point(this.placeOf(event), event));
    scope.listen(element, "pointerleave", (event) => events.point(null, event));
    scope.listen(element, "click", (event) => {
      const place = this.placeOf(event);
      if (place) lens.lock(place);
    });
  }

  readonly layout: Readable<Layout> = computed(() => {
    const picture = this.#lens.picture.value;
    if (!picture) return NO_LAYOUT;
    const longest = Math.max(...picture.rows.map((row) => row.label.length));
    const left = Math.ceil((longest * 6 + 12) / 4) * 4;
    return layOut(picture.rows.length, this.#lens.columns.value.count, left, this.size.value, this.cellWidth.value);
  });

  /** The rows in sight, from … to (not included): what is fetched first. */
  readonly rowsInSight: Readable<{ first: number; last: number }> = computed(() => {
    const layout = this.layout.value;
    if (!layout.cell) return { first: 0, last: 0 };
    const { firstRow, lastRow } = inSight(layout, this.#scroll.value, this.size.value);
    return { first: firstRow, last: lastRow };
  });

  /** The columns in sight, from … to (not included): what is read first. */
  readonly columnsInSight: Readable<{ first: number; last: number }> = computed(() => {
    const layout = this.layout.value;
    if (!layout.cell) return { first: 0, last: 0 };
    const { firstColumn, lastColumn } = inSight(layout, this.#scroll.value, this.size.value);
    return { first: firstColumn, last: lastColumn };
  });

  /** The width that the table has with cells of the chosen width, or of `each` pixels. */
  idealWidth(each = WIDEST): number {
    const { count } = this.#lens.columns.peek();
    return (this.layout.peek().left || 64) + Math.max(1, count) * (this.cellWidth.peek() ?? each) + 4;
  }

  /** What lies under the pointer. */
  placeOf(event: MouseEvent): Cell | null {
    const frame = this.canvas.getBoundingClientRect();
    const { width, height } = this.#window();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    return x >= width || y >= height ? null : placeAt(this.layout.peek(), x, y, this.#scroll.peek());
  }

  /** A point below a cell, in the window's coordinates, for the tooltip at the keyboard. */
  pointOf(row: number, column: number): { x: number; y: number } {
    const frame = this.canvas.getBoundingClientRect();
    const layout = this.layout.peek();
    const scroll = this.#scroll.peek();
    return {
      x: frame.left + columnLeft(layout, column, scroll) + layout.cell / 2,
      y: frame.top + rowTop(layout, row, scroll) + layout.row,
    };
  }

  /** Scrolls, where it must, until the cell is in sight. */
  reveal(row: number | null, column: number | null): void {
    const { element } = this;
    const layout = this.layout.peek();
    const { width, height } = this.#window();
    if (column !== null) {
      const left = column * layout.cell;
      const room = width - layout.left;
      if (left < element.scrollLeft) element.scrollLeft = left;
      else if (left + layout.cell > element.scrollLeft + room) element.scrollLeft = left + layout.cell - room + 2;
    }
    if (row !== null) {
      const top = (layout.rows - 1 - row) * layout.row;
      const room = height - layout.top;
      if (top < element.scrollTop) element.scrollTop = top;
      else if (top + layout.row > element.scrollTop + room) element.scrollTop = top + layout.row - room + 2;
    }
    this.#scroll.value = { x: element.scrollLeft, y: element.scrollTop };
  }

  /** The cell that is read is in sight when a prompt is new, and stays so until the reader scrolls. */
  revealFirst(): void {
    const layout = this.layout.peek();
    const cell = this.#lens.cell.peek();
    if (!cell || !layout.cell) return;
    const prompt = this.#lens.columns.peek().strings.join("\0");
    if (prompt === this.#revealed.prompt && this.element.scrollLeft !== this.#revealed.left) return;
    this.#resize(layout);
    this.reveal(cell.row, cell.column);
    this.#revealed = { prompt, left: this.element.scrollLeft };
  }

  /** Sets the width of the cells, and keeps in place what is looked at; null fits it again. */
  zoom(cell: number | null): void {
    const before = this.layout.peek();
    const { column } = this.#lens.reading.peek() ?? { column: 0 };
    const { width } = this.#window();
    const seen = columnLeft(before, column, this.#scroll.peek());
    // A cell that is out of sight is no place to hold on to.
    const inside = seen >= before.left && seen < width;
    const share = inside ? seen : (before.left + width) / 2;
    const held = inside ? column : (this.#scroll.peek().x + share - before.left) / (before.cell || 1);
    this.cellWidth.value = cell === null ? null : Math.max(SLIDER.low, Math.min(SLIDER.high, cell));
    const after = this.layout.peek();
    this.#resize(after);
    this.element.scrollLeft = after.left + held * after.cell - share;
    this.#scroll.value = { x: this.element.scrollLeft, y: this.element.scrollTop };
  }

  #resize({ width, height }: Layout): void {
    this.#spacer.style.width = `${width}px`;
    this.#spacer.style.height = `${height}px`;
  }

  /** The part of the element that scroll bars leave. */
  #window(): Size {
    const { clientWidth, clientHeight } = this.element;
    const { width, height } = this.size.peek();
    return { width: Math.min(width, clientWidth || width), height: Math.min(height, clientHeight || height) };
  }

  #draw(): void {
    const layout = this.layout.value;
    const scrolled = this.#scroll.value;
    const ink = this.#ink.value;
    const lens = this.#lens;
    const [picture, columns, field] = [lens.picture.value, lens.columns.value, lens.field.value];
    void this.size.value;
    this.#resize(layout);
    const place = this.#window();
    const context = layout.cell && place.width > 0 && place.height > 0 ? prepare(this.canvas, place.width, place.height) : null;
    if (!context || !picture || !field) return;
    // What was scrolled to may be more than a smaller table has.
    const scroll = {
      x: Math.round(Math.max(0, Math.min(scrolled.x, layout.width - place.width))),
      y: Math.round(Math.max(0, Math.min(scrolled.y, layout.height - place.height))),
    };
    if (this.#pen?.context !== context) this.#pen = new Pen(context);
    const sight = inSight(layout, scroll, place);
    const drawing: Drawing = { context, pen: this.#pen, layout, scroll, place, sight, picture, columns, field, ink };
    context.direction = "ltr";
    context.textBaseline = "middle";
    context.save();
    context.beginPath();
    context.rect(layout.left, layout.top, place.width - layout.left, place.height - layout.top);
    context.clip();
    this.#paintCells(drawing);
    if (layout.text) this.#writeCells(drawing);
    this.#markCells(drawing);
    context.restore();
    this.#labelColumns(drawing);
    this.#labelRows(drawing);
    this.drawn.value = this.drawn.peek() + 1;
  }

  /** Colours as an image of one pixel per cell in sight, drawn large; hairlines and hatching over it. */
  #paintCells({ context, layout, scroll, sight, field, ink }: Drawing): void {
    const { firstColumn, lastColumn, firstRow, lastRow } = sight;
    const [across, down] = [lastColumn - firstColumn, lastRow - firstRow];
    const image = across > 0 && down > 0 ? offscreen(across, down) : null;
    if (!image) return;
    const pixels = image.context.createImageData(across, down);
    const words = new Uint32Array(pixels.data.buffer);
    const holes: [number, number][] = [];
    for (let line = 0; line < down; line++) {
      const row = lastRow - 1 - line;
      for (let column = firstColumn; column < lastColumn; column++) {
        const cell = row * field.columns + column;
        if (!field.read[column]) continue;
        if (field.mask[cell]) words[line * across + column - firstColumn] = colorOf(field.values[cell]!, field.mapping);
        else holes.push([row, column]);
      }
    }
    image.context.putImageData(pixels, 0, 0);
    const left = columnLeft(layout, firstColumn, scroll);
    const top = rowTop(layout, lastRow - 1, scroll);
    context.imageSmoothingEnabled = false;
    context.drawImage(image.canvas, 0, 0, across, down, left, top, across * layout.cell, down * layout.row);
    context.fillStyle = this.#hatchOf(context, field.mapping.masked, ink.line);
    for (const [row, column] of holes) {
      context.fillRect(columnLeft(layout, column, scroll), rowTop(layout, row, scroll), layout.cell, layout.row);
    }
    context.fillStyle = this.#dotsOf(context, ink.paper, ink.line);
    for (let column = firstColumn; column < lastColumn; column++) {
      if (!field.read[column]) context.fillRect(columnLeft(layout, column, scroll), top, layout.cell, down * layout.row);
    }
    context.fillStyle = ink.paper;
    if (layout.cell >= GAPS) {
      for (let column = firstColumn; column < lastColumn; column++) {
        context.fillRect(columnLeft(layout, column + 1, scroll) - 1, top, 1, down * layout.row);
      }
    }
    if (layout.row >= GAPS) {
      for (let row = firstRow; row < lastRow; row++)
        context.fillRect(left, rowTop(layout, row, scroll) + layout.row - 1, across * layout.cell, 1);
    }
  }

  #writeCells(drawing: Drawing): void {
    const { context, pen, layout, scroll, sight, picture, columns, field, ink } = drawing;
    const lens = this.#lens;
    const show = lens.show.peek();
    const side = show === "B" ? "B" : "A";
    const follows = picture.values(side, "next_rank");
    const width = picture.width(side);
    const room = layout.cell - 2 * PAD;
    const fonts = { plain: `${TOKEN}px ${ink.code}`, bold: `700 ${TOKEN}px ${ink.code}`, number: `${NUMBER}px ${ink.font}` };
    context.textAlign = "left";
    for (let row = sight.firstRow; row < sight.lastRow; row++) {
      const top = rowTop(layout, row, scroll);
      for (let column = sight.firstColumn; column < sight.lastColumn; column++) {
        if (!field.read[column]) continue;
        const cell = row * field.columns + column;
        const x = columnLeft(layout, column, scroll) + PAD;
        const first = top + (layout.lines === 2 ? layout.row / 2 - 6 : layout.row / 2);
        const second = top + layout.row / 2 + 8;
        context.fillStyle = field.mask[cell] ? inkOn(colorOf(field.values[cell]!, field.mapping)) : ink.faint;
        context.font = fonts.plain;
        if (show === "difference") {
          const [a, b] = (["A", "B"] as const).map((which) => {
            const at = columns.at[which][column]!;
            return at < 0 ? null : picture.nameOf(picture.topId(which, row, at));
          });
          this.#writePair(pen, a ?? null, b ?? null, x, layout.lines === 2 ? [first, second - 1] : [first, first], room);
          continue;
        }
        const at = columns.at[side][column]!;
        if (follows?.[row * width + at] === 0) context.font = fonts.bold;
        pen.write(picture.nameOf(picture.topId(side, row, at)), x, first, room);
        if (layout.lines === 1 || !field.mask[cell]) continue;
        context.font = fonts.number;
        context.globalAlpha = 0.8;
        context.fillText(numberText(field, cell), x, second);
        context.globalAlpha = 1;
      }
    }
  }

  /** One token where A and B agree; else "A→B", under each other where there is room for two lines. */
  #writePair(pen: Pen, a: string | null, b: string | null, x: number, [first, second]: number[], room: number): void {
    if (a === b || b === null || a === null) {
      pen.write(a ?? b ?? "", x, first!, room);
      return;
    }
    if (first !== second) {
      pen.write(a, x, first!, room);
      const arrow = pen.write("→", x, second!, room);
      pen.write(b, x + arrow, second!, room - arrow);
      return;
    }
    const arrow = pen.widthOf("→", room);
    const each = (room - arrow) / 2;
    // Where one token is short, the other has its room.
    const wide = [pen.widthOf(a, room), pen.widthOf(b, room)];
    const left = pen.write(a, x, first!, Math.max(each, room - arrow - wide[1]!));
    pen.write("→", x + left, first!, room);
    pen.write(b, x + left + arrow, first!, room - left - arrow);
  }

  #markCells({ context, layout, scroll, ink, place }: Drawing): void {
    const lens = this.#lens;
    const frameOf = ({ row, column }: Cell, color: string, thick: number, dash: number[]): void => {
      if (row === null && column === null) return;
      context.strokeStyle = color;
      context.lineWidth = thick;
      context.setLineDash(dash);
      const x = column === null ? layout.left - 8 : columnLeft(layout, column, scroll);
      const y = row === null ? layout.top - 8 : rowTop(layout, row, scroll);
      const width = column === null ? Math.min(place.width, layout.width) - layout.left + 16 : Math.max(2, layout.cell - 1);
      const height = row === null ? Math.min(place.height, layout.height) - layout.top + 16 : layout.row - 1;
      context.strokeRect(x + (thick % 2) / 2, y + (thick % 2) / 2, width - (thick % 2), height - (thick % 2));
      context.setLineDash([]);
    };
    const mark = (cell: Cell, color: string, dash: number[] = []): void => {
      const whole = cell.row !== null && cell.column !== null;
      // A cell of a few pixels is found by its column.
      if (whole && layout.cell < GAPS) frameOf({ row: null, column: cell.column }, color, 1, dash);
      frameOf(cell, color, whole && !dash.length ? 2 : 1, dash);
    };
    mark(lens.linked.value, ink.ink, [3, 3]);
    mark(lens.locked.value, ink.accent);
    mark(lens.pointed.value, ink.ink);
  }

  #labelColumns({ context, pen, layout, scroll, place, sight, picture, columns, ink }: Drawing): void {
    const lens = this.#lens;
    const [pointed, locked, linked] = [lens.pointed.value.column, lens.locked.value.column, lens.linked.value.column];
    context.fillStyle = ink.paper;
    context.fillRect(0, 0, place.width, layout.top - 1);
    context.save();
    context.beginPath();
    // Half a label more: one of the first column stands over the row labels.
    const before = layout.text ? 0 : LABEL / 2 + 1;
    context.rect(layout.left - before, 0, place.width - layout.left + before, layout.top);
    context.clip();
    context.textAlign = "left";
    const style = (column: number, size: number, font: string): void => {
      const chosen = column === pointed || column === locked;
      context.font = `${chosen ? "600 " : ""}${size}px ${font}`;
      context.fillStyle =
        column === locked ? ink.accent : column === pointed || column === linked ? ink.ink : columns.special[column] ? ink.faint : ink.ink;
    };
    if (layout.text) {
      for (let column = sight.firstColumn; column < sight.lastColumn; column++) {
        const x = columnLeft(layout, column, scroll) + PAD;
        style(column, TOKEN, ink.code);
        const room = layout.cell - 2 * PAD;
        const [a, b] = [picture.tokenAt("A", columns.at.A[column]!), picture.tokenAt("B", columns.at.B[column]!)];
        if (a !== b && a !== null && b !== null) {
          this.#writePair(pen, a, b, x, [11, 25], room);
          continue;
        }
        pen.write(columns.strings[column] ?? "", x, 11, room);
        context.font = `${NUMBER}px ${ink.font}`;
        context.fillStyle = column === locked ? ink.accent : ink.faint;
        context.fillText(columns.numbers[column] ?? "", x, 25);
      }
    } else {
      const always = [pointed, locked, linked].filter((column): column is number => column !== null);
      for (const column of thinned(sight.firstColumn, sight.lastColumn, layout.cell, LABEL_ROOM, always)) {
        context.save();
        context.translate(columnLeft(layout, column, scroll) + layout.cell / 2, layout.top - 5);
        context.rotate(-Math.PI / 2);
        style(column, LABEL, ink.code);
        pen.write(columns.strings[column] ?? "", 0, 0, layout.top - 10);
        context.restore();
      }
    }
    context.restore();
  }

  #labelRows({ context, layout, scroll, place, sight, picture, ink }: Drawing): void {
    const lens = this.#lens;
    const [pointed, locked, linked] = [lens.pointed.value.row, lens.locked.value.row, lens.linked.value.row];
    context.fillStyle = ink.paper;
    context.fillRect(0, layout.top, layout.left - 1, place.height);
    context.save();
    context.beginPath();
    context.rect(0, layout.top - LABEL / 2, layout.left, place.height);
    context.clip();
    context.textAlign = "right";
    const always = [pointed, locked, linked].filter((row): row is number => row !== null);
    // Thinned from the last row on, which is the model's own output and always named.
    const last = layout.rows - 1;
    for (const at of thinned(last - sight.lastRow + 1, last - sight.firstRow + 1, layout.row, LABEL_ROOM, [
      0,
      ...always.map((row) => last - row),
    ])) {
      const row = last - at;
      context.font = `${row === pointed || row === locked ? "600 " : ""}${LABEL}px ${ink.font}`;
      context.fillStyle = row === locked ? ink.accent : row === pointed || row === linked || row === last ? ink.ink : ink.faint;
      context.fillText(picture.rows[row]!.label, layout.left - 5, rowTop(layout, row, scroll) + layout.row / 2);
    }
    context.restore();
  }

  /** The look of what is not read yet. */
  #dotsOf(context: CanvasRenderingContext2D, ground: string, dot: string): CanvasPattern | string {
    const key = `${ground} ${dot} ${window.devicePixelRatio}`;
    if (this.#dotting?.key !== key) this.#dotting = { key, fill: dots(context, ground, dot) };
    return this.#dotting.fill;
  }

  #hatchOf(context: CanvasRenderingContext2D, color: string, line: string): CanvasPattern | string {
    const key = `${color} ${line} ${window.devicePixelRatio}`;
    if (this.#hatching?.key !== key) this.#hatching = { key, fill: hatch(context, color, line) };
    return this.#hatching.fill;
  }
}

/** The small number under a token. */
function numberText(field: Field, cell: number): string {
  const value = field.values[cell]!;
  return field.rank ? `#${rankText(Math.round(10 ** value - 1))}` : brief(value);
}
