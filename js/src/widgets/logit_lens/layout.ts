/** Sizes and places of the table's cells. The last row stands on top. Knows nothing of canvases. */

/** Cells at least this wide hold text. */
export const TEXT_CELL = 34;
const COMFORTABLE = 56;
/** Somewhat narrower ones are better than a part out of sight. */
const READABLE = 44;
export const WIDEST = 88;
export const SLIDER = { low: 2, high: 128 };
/** A table of readable cells may be this many times wider than its place; beyond that, all of it is shown as colour. */
const SCREENS = 6;
const TEXT_ROW = { low: 18, high: 36 };
const COMPACT_ROW = { low: 6, high: 36 };
/** Rows at least this high hold a number under the token. */
const TWO_LINES = 29;
const HEAD = 36;
const TURNED_HEAD = 64;
/** Room for a scroll bar. */
const BAR = 12;

export interface Layout {
  /** Width and height of a cell, in pixels. */
  cell: number;
  row: number;
  /** Where the first cell begins: right of the row labels, under the column labels. */
  left: number;
  top: number;
  /** Of the whole table. */
  width: number;
  height: number;
  rows: number;
  columns: number;
  text: boolean;
  lines: 1 | 2;
}

export const NO_LAYOUT: Layout = { cell: 0, row: 0, left: 0, top: 0, width: 0, height: 0, rows: 0, columns: 0, text: false, lines: 1 };

/** `cell` is the width that the reader chose, or null. */
export function layOut(rows: number, columns: number, left: number, place: { width: number; height: number }, cell: number | null): Layout {
  if (!rows || !columns || place.width < 80 || place.height < 60) return NO_LAYOUT;
  const wide = cell ?? fittingCell(columns, place.width - left - 2);
  const text = wide >= TEXT_CELL;
  const top = text ? HEAD : TURNED_HEAD;
  const width = left + columns * wide + 2;
  const bar = width > place.width ? BAR : 0;
  const limits = text ? TEXT_ROW : COMPACT_ROW;
  const high = Math.max(limits.low, Math.min(limits.high, Math.floor((place.height - top - bar - 2) / rows)));
  return { cell: wide, row: high, left, top, width, height: top + rows * high + 2, rows, columns, text, lines: high >= TWO_LINES ? 2 : 1 };
}

/** The heights of a table of text between which its rows hold two lines. */
export function goodHeight(rows: number): { low: number; high: number } {
  const around = HEAD + BAR + 4;
  return { low: around + rows * TWO_LINES, high: around + rows * TEXT_ROW.high };
}

/** Readable cells where they are few enough to scroll through; else as narrow as shows them all. */
export function fittingCell(columns: number, room: number): number {
  const each = room / columns;
  if (each >= READABLE) return Math.min(WIDEST, Math.floor(each));
  if (columns * COMFORTABLE <= SCREENS * room) return COMFORTABLE;
  return Math.max(SLIDER.low, each);
}

/** The part of the table that is in sight: columns and rows from … to (not included). Rows count from the first. */
export function inSight(layout: Layout, scroll: { x: number; y: number }, place: { width: number; height: number }) {
  const { cell, row, left, top, rows, columns } = layout;
  const within = (value: number, most: number): number => Math.max(0, Math.min(most, value));
  const above = within(Math.floor(scroll.y / row), rows);
  const below = within(Math.ceil((scroll.y + place.height - top) / row), rows);
  return {
    firstColumn: within(Math.floor(scroll.x / cell), columns),
    lastColumn: within(Math.ceil((scroll.x + place.width - left) / cell), columns),
    firstRow: rows - below,
    lastRow: rows - above,
  };
}

/** Where a column begins and where a row begins, on a table scrolled by `scroll`. */
export function columnLeft(layout: Layout, column: number, scroll: { x: number }): number {
  return layout.left + column * layout.cell - scroll.x;
}

export function rowTop(layout: Layout, row: number, scroll: { y: number }): number {
  return layout.top + (layout.rows - 1 - row) * layout.row - scroll.y;
}

/** What lies at a point of the window on the table: a cell, a row's or a column's label, or null. */
export function placeAt(
  layout: Layout,
  x: number,
  y: number,
  scroll: { x: number; y: number },
): { row: number | null; column: number | null } | null {
  const { cell, row, left, top, rows, columns } = layout;
  if (!cell || x < 0 || y < 0) return null;
  const column = x < left ? null : Math.floor((x - left + scroll.x) / cell);
  const down = y < top ? null : Math.floor((y - top + scroll.y) / row);
  if ((column === null && down === null) || (column ?? 0) >= columns || (down ?? 0) >= rows) return null;
  return { row: down === null ? null : rows - 1 - down, column };
}
