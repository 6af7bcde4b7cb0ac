/** Sizes and places of the table's cells. The last row stands on top. Knows nothing of canvases. */
import { pitchOf } from "../../core/axis";
import type { Area } from "../../dom/grid";

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
/** Cells at least this large are set apart by hairlines. */
export const GAPS = 10;
/** Room for the frame of a last cell. */
const END = 4;

/** `cell` is the width that the reader chose, or null. */
export function layOut(
  rows: number,
  columns: number,
  left: number,
  place: { width: number; height: number },
  cell: number | null,
): Area | null {
  if (!rows || !columns || place.width < 80 || place.height < 60) return null;
  const wide = cell ?? fittingCell(columns, place.width - left - END);
  const text = wide >= TEXT_CELL;
  const top = text ? HEAD : TURNED_HEAD;
  const bar = left + columns * wide + END > place.width ? BAR : 0;
  const limits = text ? TEXT_ROW : COMPACT_ROW;
  const high = Math.max(limits.low, Math.min(limits.high, Math.floor((place.height - top - bar - END) / rows)));
  const apart = (pitch: number): { cell: number; gap: number } => ({ cell: pitch - Number(pitch >= GAPS), gap: Number(pitch >= GAPS) });
  return {
    columns: { count: columns, start: left, ...apart(wide), end: END },
    rows: { count: rows, start: top, ...apart(high), reversed: true, end: END },
  };
}

/** Whether the cells hold text, and in how many lines. */
export function textIn({ columns, rows }: Area): { text: boolean; lines: 1 | 2 } {
  return { text: pitchOf(columns) >= TEXT_CELL, lines: pitchOf(rows) >= TWO_LINES ? 2 : 1 };
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
