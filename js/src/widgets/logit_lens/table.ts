/**
 * The table of layers and positions: cells of colour that hold text where they are wide enough. Knows nothing of the
 * chart and the controls.
 */
import { beginOf, pitchOf } from "../../core/axis";
import { brief } from "../../core/format";
import { colorOf, inkOn } from "../../core/scale";
import { computed, Signal, type Readable } from "../../core/signal";
import { CellGrid, type Area, type Drawing, type Mark, type Place, type Spot, type Tone } from "../../dom/grid";
import { offscreen, type Size } from "../../dom/surface";
import type { Ink } from "../../dom/theme";
import type { Tooltip } from "../../dom/tooltip";
import { cellLines, columnLines, describe, rowLines } from "./details";
import { rankText, type Field } from "./field";
import { GAPS, layOut, SLIDER, textIn, WIDEST } from "./layout";
import type { Lens } from "./lens";
import { Pen } from "./pen";

const TOKEN = 12;
const LABEL = 11;
const NUMBER = 10;
const PAD = 4;
/** Where the two lines of a column's label stand. */
const HEADS = [11, 25] as const;
const NOWHERE: Spot = { row: null, column: null };

export class LensTable extends CellGrid {
  /** The cell width that the reader chose, or null for one that fits. */
  readonly cellWidth = new Signal<number | null>(null);
  /** What is fetched and read first. */
  readonly rowsInSight = computed(() => this.inSight("rows"));
  readonly columnsInSight = computed(() => this.inSight("columns"));
  readonly text: Readable<boolean> = computed(() => !!this.area.value && textIn(this.area.value).text);
  /** The prompt whose cell was brought into sight, and how far the table was scrolled for it. */
  #revealed = { prompt: "", left: 0 };
  #lens: Lens;
  #pen: Pen | null = null;

  constructor(lens: Lens, ink: Readable<Ink>, tooltip: Tooltip) {
    super(lens.scope, ink, "lens-table", "logit lens: layers by positions", tooltip);
    this.#lens = lens;
    this.begin();
    // What has just arrived is shown under a pointer that rests.
    lens.scope.effect(() => {
      void lens.arrived.value;
      void lens.field.value;
      this.tellAgain();
    });
  }

  protected lay(size: Size): Area | null {
    const picture = this.#lens.picture.value;
    if (!picture) return null;
    const longest = Math.max(...picture.rows.map((row) => row.label.length));
    const left = Math.ceil((longest * 6 + 12) / 4) * 4;
    return layOut(picture.rows.length, this.#lens.columns.value.count, left, size, this.cellWidth.value);
  }

  /** The width that the table has with cells of the chosen width, or of `each` pixels. */
  idealWidth(each = WIDEST): number {
    const { count } = this.#lens.columns.peek();
    return (this.area.peek()?.columns.start ?? 64) + Math.max(1, count) * (this.cellWidth.peek() ?? each) + 4;
  }

  /** The cell that is read is in sight when a prompt is new, and stays so until the reader scrolls. */
  revealFirst(): void {
    const cell = this.#lens.cell.peek();
    if (!cell || !this.area.peek()) return;
    const prompt = this.#lens.columns.peek().strings.join("\0");
    if (prompt === this.#revealed.prompt && this.scroller.scrollLeft !== this.#revealed.left) return;
    this.reveal(cell);
    this.#revealed = { prompt, left: this.scroller.scrollLeft };
  }

  /** Makes the cells wider or narrower; null fits them again. */
  zoomBy(factor: number | null): void {
    const width = this.area.peek() ? pitchOf(this.area.peek()!.columns) : 0;
    this.zoom(factor === null ? null : factor > 1 ? Math.ceil(width * factor) : width * factor);
  }

  /** Sets the width of the cells, and keeps in place what is looked at; null fits it again. */
  zoom(cell: number | null): void {
    const before = this.area.peek();
    const { column } = this.#lens.reading.peek() ?? { column: 0 };
    const width = this.size.peek().width;
    const scroll = before ? this.offset(before) : { x: 0, y: 0 };
    this.cellWidth.value = cell === null ? null : Math.max(SLIDER.low, Math.min(SLIDER.high, cell));
    const after = this.area.peek();
    if (!before || !after) return;
    const { start } = before.columns;
    const seen = beginOf(before.columns, column) - scroll.x;
    // A cell that is out of sight is no place to hold on to.
    const inside = seen >= start && seen < width;
    const share = inside ? seen : (start + width) / 2;
    const held = inside ? column : (scroll.x + share - start) / pitchOf(before.columns);
    this.scrollTo(after.columns.start + held * pitchOf(after.columns) - share, scroll.y);
  }

  // ---- pointer and keys ------------------------------------------------------------------------------------------

  describe({ row, column }: Place): string {
    return describe(this.#lens, row, column);
  }

  protected cursor(): { at: Place | null; fresh: boolean } {
    const { row, column } = this.#lens.pointed.peek();
    const started = (row !== null && column !== null) || this.#lens.locked.peek().row !== null;
    return { at: this.#lens.reading.peek(), fresh: !started };
  }

  protected point(spot: Spot | null): void {
    this.#lens.point(spot ?? NOWHERE);
  }

  protected pick(spot: Spot): void {
    this.#lens.lock(spot);
  }

  protected override tip({ row, column }: Spot): Node[] {
    const lens = this.#lens;
    if (row !== null && column !== null) return cellLines(lens, row, column);
    return column !== null ? columnLines(lens, column) : rowLines(lens, row!);
  }

  // ---- drawing ---------------------------------------------------------------------------------------------------

  protected paint(drawing: Drawing): void {
    const { context, area, ink } = drawing;
    // Both are read here, so that they are followed.
    const field = this.#lens.field.value;
    void this.#lens.columns.value;
    if (!field) return;
    if (this.#pen?.context !== context) this.#pen = new Pen(context);
    this.#paintCells(drawing, field);
    if (textIn(area).text) this.#writeCells(drawing, field, ink);
  }

  /** Colours as an image of one pixel per cell in sight, drawn large; hairlines and hatching over it. */
  #paintCells({ context, area, sight, ink, left, top }: Drawing, field: Field): void {
    const { rows, columns } = sight;
    const [wide, high] = [pitchOf(area.columns), pitchOf(area.rows)];
    const [across, down] = [columns.last - columns.first, rows.last - rows.first];
    const image = across > 0 && down > 0 ? offscreen(across, down) : null;
    if (!image) return;
    const pixels = image.context.createImageData(across, down);
    const words = new Uint32Array(pixels.data.buffer);
    const holes: [number, number][] = [];
    for (let line = 0; line < down; line++) {
      const row = rows.last - 1 - line;
      for (let column = columns.first; column < columns.last; column++) {
        const cell = row * field.columns + column;
        if (!field.read[column]) continue;
        if (field.mask[cell]) words[line * across + column - columns.first] = colorOf(field.values[cell]!, field.mapping);
        else holes.push([row, column]);
      }
    }
    image.context.putImageData(pixels, 0, 0);
    const [x, y] = [left(columns.first), top(rows.last - 1)];
    context.imageSmoothingEnabled = false;
    context.drawImage(image.canvas, 0, 0, across, down, x, y, across * wide, down * high);
    context.fillStyle = this.textured(context, "hatch", field.mapping.masked, ink.line);
    for (const [row, column] of holes) context.fillRect(left(column), top(row), wide, high);
    context.fillStyle = this.textured(context, "dots", ink.paper, ink.line);
    for (let column = columns.first; column < columns.last; column++) {
      if (!field.read[column]) context.fillRect(left(column), y, wide, down * high);
    }
    context.fillStyle = ink.paper;
    const { gap } = area.columns;
    for (let column = columns.first; gap && column < columns.last; column++)
      context.fillRect(left(column) + wide - gap, y, gap, down * high);
    for (let row = rows.first; area.rows.gap && row < rows.last; row++) context.fillRect(x, top(row) + high - 1, across * wide, 1);
  }

  #writeCells({ context, area, sight, left, top }: Drawing, field: Field, ink: Ink): void {
    const lens = this.#lens;
    const pen = this.#pen!;
    const picture = lens.picture.peek()!;
    const columns = lens.columns.peek();
    const show = lens.show.peek();
    const side = show === "B" ? "B" : "A";
    const follows = picture.values(side, "next_rank");
    const width = picture.width(side);
    const { lines } = textIn(area);
    const room = pitchOf(area.columns) - 2 * PAD;
    const middle = pitchOf(area.rows) / 2;
    const fonts = { plain: `${TOKEN}px ${ink.code}`, bold: `700 ${TOKEN}px ${ink.code}`, number: `${NUMBER}px ${ink.font}` };
    context.textAlign = "left";
    for (let row = sight.rows.first; row < sight.rows.last; row++) {
      const first = top(row) + (lines === 2 ? middle - 6 : middle);
      const second = top(row) + middle + 8;
      for (let column = sight.columns.first; column < sight.columns.last; column++) {
        if (!field.read[column]) continue;
        const cell = row * field.columns + column;
        const x = left(column) + PAD;
        context.fillStyle = field.mask[cell] ? inkOn(colorOf(field.values[cell]!, field.mapping)) : ink.faint;
        context.font = fonts.plain;
        if (show === "difference") {
          const [a, b] = (["A", "B"] as const).map((which) => {
            const at = columns.at[which][column]!;
            return at < 0 ? null : picture.nameOf(picture.topId(which, row, at));
          });
          this.#writePair(a ?? null, b ?? null, x, lines === 2 ? [first, second - 1] : [first, first], room);
          continue;
        }
        const at = columns.at[side][column]!;
        if (follows?.[row * width + at] === 0) context.font = fonts.bold;
        pen.write(picture.nameOf(picture.topId(side, row, at)), x, first, room);
        if (lines === 1 || !field.mask[cell]) continue;
        context.font = fonts.number;
        context.globalAlpha = 0.8;
        context.fillText(numberText(field, cell), x, second);
        context.globalAlpha = 1;
      }
    }
  }

  /** One token where A and B agree; else "A→B", under each other where there is room for two lines. */
  #writePair(a: string | null, b: string | null, x: number, [first, second]: readonly [number, number], room: number): void {
    const pen = this.#pen!;
    if (a === b || b === null || a === null) {
      pen.write(a ?? b ?? "", x, first, room);
      return;
    }
    if (first !== second) {
      pen.write(a, x, first, room);
      const arrow = pen.write("→", x, second, room);
      pen.write(b, x + arrow, second, room - arrow);
      return;
    }
    const arrow = pen.widthOf("→", room);
    const each = (room - arrow) / 2;
    // Where one token is short, the other has its room.
    const wide = [pen.widthOf(a, room), pen.widthOf(b, room)];
    const left = pen.write(a, x, first, Math.max(each, room - arrow - wide[1]!));
    pen.write("→", x + left, first, room);
    pen.write(b, x + left + arrow, first, room - left - arrow);
  }

  protected marks(): Mark[] {
    const lens = this.#lens;
    const wide = pitchOf(this.area.value!.columns);
    const mark = (spot: Spot, tone: Tone): Mark[] => [
      // A cell of a few pixels is found by its column.
      ...(spot.row !== null && wide < GAPS ? [{ row: null, column: spot.column, tone }] : []),
      { ...spot, tone },
    ];
    return [...mark(lens.linked.value, "linked"), ...mark(lens.locked.value, "locked"), ...mark(lens.pointed.value, "pointed")];
  }

  protected label(drawing: Drawing): void {
    const { context, area, ink, right } = drawing;
    const { columns, rows } = area;
    const { rows: named } = this.#lens.picture.peek()!;
    const { special, strings } = this.#lens.columns.peek();
    const last = rows.count - 1;
    // The last row is the model's own output and always named.
    this.labelRows(drawing, { text: (row) => named[row]!.label, size: LABEL, always: [last], strong: (row) => row === last });
    const { text } = textIn(area);
    context.save();
    context.beginPath();
    // Half a label more: one of the first column stands over the row labels.
    const before = text ? 0 : LABEL / 2 + 1;
    context.rect(columns.start - before, 0, right - columns.start + before, rows.start);
    context.clip();
    const strong = (column: number): boolean => !special[column];
    if (text) this.#headColumns(drawing, strong);
    else {
      const write = (column: number): void => void this.#pen?.write(strings[column] ?? "", 0, 0, rows.start - 10);
      this.labelColumns(drawing, rows.start - 5, { write, size: LABEL, font: ink.code, strong }, "up");
    }
    context.restore();
  }

  /** Labels of columns that are wide enough for them: the token, and its number under it. */
  #headColumns(drawing: Drawing, strong: (column: number) => boolean): void {
    const { context, area, sight, ink, left, marks } = drawing;
    const picture = this.#lens.picture.peek()!;
    const columns = this.#lens.columns.peek();
    const room = pitchOf(area.columns) - 2 * PAD;
    context.textAlign = "left";
    for (let column = sight.columns.first; column < sight.columns.last; column++) {
      const x = left(column) + PAD;
      this.styleColumn(drawing, column, { size: TOKEN, font: ink.code, strong });
      const [a, b] = [picture.tokenAt("A", columns.at.A[column]!), picture.tokenAt("B", columns.at.B[column]!)];
      if (a !== b && a !== null && b !== null) {
        this.#writePair(a, b, x, HEADS, room);
        continue;
      }
      this.#pen?.write(columns.strings[column] ?? "", x, HEADS[0], room);
      context.font = `${NUMBER}px ${ink.font}`;
      context.fillStyle = marks.some((mark) => mark.column === column && mark.tone === "locked") ? ink.accent : ink.faint;
      context.fillText(columns.numbers[column] ?? "", x, HEADS[1]);
    }
  }
}

/** The small number under a token. */
function numberText(field: Field, cell: number): string {
  const value = field.values[cell]!;
  return field.rank ? `#${rankText(Math.round(10 ** value - 1))}` : brief(value);
}
