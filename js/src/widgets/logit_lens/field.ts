/**
 * What the cells of the table are coloured by: one number per row and column, its range, and how it is said. Knows
 * nothing of canvases.
 */
import type { Measure as Described } from "../../core/described";
import { shown as said, type Precision } from "../../core/format";
import { LENS, SCALES } from "../../core/options.gen";
import "../../core/palettes";
import { clearance, makeMapping, ticks, type Mapping, type Theme, type Tick } from "../../core/scale";
import { clipped, isolated, visible } from "../../core/tokens";
import type { LensOptions, Show } from "../../core/wire.gen";
import type { Columns, LensPicture, Side } from "./picture";

export type Measure = LensOptions["color"];

export interface Field {
  measure: Measure;
  show: Show;
  columns: number;
  /** Whether a column is read already. */
  read: boolean[];
  /** As drawn, [row, column]: ranks as log10(1 + rank). NaN is missing. */
  values: Float32Array;
  /** 0 where a cell has no such number at all, or none yet. */
  mask: Uint8Array;
  mapping: Mapping;
  /** What the legend says over the colours. */
  title: string;
  /** Marks of the legend. */
  marks: Tick[];
  scaleText: string;
  /** What cells without the number are called; "" where every cell has one. */
  none: string;
  missing: boolean;
  precision: Precision;
  rank: boolean;
}

/** For how many ticks the legend has room. */
const TICKS = 5;

/** What can be shown of one side, or of two. */
export function measuresOf(show: Show): Partial<Record<Measure, Described>> {
  return show === "difference" ? LENS.differences : LENS.measures;
}

/** The measure that can be shown: pinned ones need a pin, and of two sides only divergence and pins have a difference. */
export function possible(measure: Measure, show: Show, targets: number): Measure {
  const pinned = targets > 0 && (measure === "target_probability" || measure === "target_rank");
  if (show === "difference") return pinned ? "target_probability" : "kl";
  return measure.startsWith("target_") && !pinned ? "probability" : measure;
}

/** The place of a rank on the colour scale. */
export function rankPlace(rank: number): number {
  return rank < 0 ? NaN : Math.log10(1 + rank);
}

/** A value of the field in words. */
export function sayValue(field: Field, cell: number): string {
  if (!field.read[cell % field.columns]) return "not read yet";
  if (!field.mask[cell]) return field.none;
  const value = field.values[cell]!;
  if (value !== value) return "–";
  return field.rank ? rankText(Math.round(10 ** value - 1)) : said(value, field.precision);
}

export function rankText(rank: number): string {
  return rank < 0 ? "–" : String(rank);
}

export function fieldOf(picture: LensPicture, show: Show, options: LensOptions, theme: Theme): Field {
  const { manifest } = picture;
  const target = Math.max(0, Math.min(options.target, manifest.targets.length - 1));
  const measure = possible(options.color, show, manifest.targets.length);
  const pinned = isolated(clipped(visible(manifest.targets[target]?.string ?? ""), 24));
  const columns = picture.columns(show);
  const described = measuresOf(show)[measure]!;
  const title = described.legend.replace("{token}", () => pinned);
  const shared = { measure, show, columns: columns.count, read: columns.read, title, scaleText: SCALES[described.scale] };
  if (show === "difference") {
    const { values, mask } = measure === "kl" ? divergence(picture, columns) : difference(picture, columns, target);
    leaveOut(mask, columns);
    const diverging = !!described.signed;
    const largest = extreme([values], mask) || (diverging ? 0.01 : 1);
    const mapping = makeMapping({ low: 0, high: largest, scale: "sqrt", palette: options.palette, diverging }, theme);
    return {
      ...shared,
      values,
      mask,
      mapping,
      marks: ticks(mapping, TICKS),
      none: columns.at.A.some((a, column) => a < 0 || columns.at.B[column]! < 0) ? described.none! : "",
      missing: holes(values, mask),
      precision: picture.precision("A", "target_probs"),
      rank: false,
    };
  }
  const { block, lacking } = described;
  const rank = described.scale === "rank";
  // Both sides share one range: one colour means one value on either.
  const sides = picture.sides.map((side) => drawn(picture.cells(side, block, target) ?? new Float32Array(0), rank));
  const values = sides[show === "B" ? 1 : 0] ?? new Float32Array(0);
  const mask = new Uint8Array(values.length).fill(1);
  if (lacking === "first row") mask.fill(0, 0, columns.count);
  if (lacking === "last position") {
    const side: Side = show === "B" ? "B" : "A";
    const last = columns.at[side].map((at) => picture.tokenAt(side, at, 1) === null);
    values.forEach((_, cell) => (mask[cell] = last[cell % columns.count] ? 0 : 1));
  }
  const high = described.high ?? Math.max(...sides.map((side) => extreme([side], null)), rank ? rankPlace(1) : 1e-6);
  const scale = described.scale === "rank" ? "linear" : described.scale;
  const mapping = makeMapping({ low: 0, high, scale, palette: options.palette, diverging: false }, theme);
  const none = mask.includes(0) ? described.none! : "";
  leaveOut(mask, columns);
  return {
    ...shared,
    values,
    mask,
    mapping,
    marks: rank ? rankMarks(Math.round(10 ** high - 1)) : ticks(mapping, TICKS),
    none,
    missing: holes(values, mask),
    precision: rank ? "exact" : picture.precision("A", block),
    rank,
  };
}

/** 0, 1, 10, 100 … and the largest, as far as they do not touch. */
export function rankMarks(largest: number): Tick[] {
  const end = rankPlace(Math.max(1, largest));
  const clear = clearance(TICKS);
  const marks = [
    { unit: 0, text: "0" },
    { unit: 1, text: brief(Math.max(1, largest)) },
  ];
  for (let rank = 1; rank < largest; rank *= 10) {
    const unit = rankPlace(rank) / end;
    if (marks.every((mark) => Math.abs(mark.unit - unit) >= clear)) marks.push({ unit, text: brief(rank) });
  }
  return marks.sort((left, right) => left.unit - right.unit);
}

/** 12, 999, 1.2k, 50k. */
function brief(rank: number): string {
  return rank < 1000 ? String(rank) : `${Number((rank / 1000).toPrecision(2))}k`;
}

function drawn(values: Float32Array, rank: boolean): Float32Array {
  return rank ? values.map(rankPlace) : values;
}

function divergence(picture: LensPicture, columns: Columns): { values: Float32Array; mask: Uint8Array } {
  const cells = picture.rows.length * columns.count;
  const values = picture.divergence ?? new Float32Array(cells).fill(NaN);
  return { values, mask: pairedMask(picture.rows.length, columns) };
}

/** A − B of one pinned token's probability. */
function difference(picture: LensPicture, columns: Columns, target: number): { values: Float32Array; mask: Uint8Array } {
  const [a, b] = [picture.target("A", "probs", target), picture.target("B", "probs", target)];
  const mask = pairedMask(picture.rows.length, columns);
  const values = new Float32Array(mask.length).fill(NaN);
  for (let cell = 0; cell < mask.length; cell++) {
    if (!mask[cell] || !a || !b) continue;
    const row = Math.floor(cell / columns.count);
    const column = cell % columns.count;
    values[cell] = a[row * picture.width("A") + columns.at.A[column]!]! - b[row * picture.width("B") + columns.at.B[column]!]!;
  }
  return { values, mask };
}

function pairedMask(rows: number, { count, at }: Columns): Uint8Array {
  const mask = new Uint8Array(rows * count);
  for (let cell = 0; cell < mask.length; cell++) mask[cell] = at.A[cell % count]! >= 0 && at.B[cell % count]! >= 0 ? 1 : 0;
  return mask;
}

/** Masks the columns that are not read yet. */
function leaveOut(mask: Uint8Array, { count, read }: Columns): void {
  if (read.every(Boolean)) return;
  for (let cell = 0; cell < mask.length; cell++) if (!read[cell % count]) mask[cell] = 0;
}

function extreme(arrays: Float32Array[], mask: Uint8Array | null): number {
  let largest = 0;
  for (const values of arrays) {
    for (let cell = 0; cell < values.length; cell++) {
      const size = Math.abs(values[cell]!);
      if (size > largest && size < Infinity && (!mask || mask[cell])) largest = size;
    }
  }
  return largest;
}

function holes(values: Float32Array, mask: Uint8Array): boolean {
  return values.some((value, cell) => value !== value && mask[cell] === 1);
}
