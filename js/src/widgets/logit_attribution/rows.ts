/**
 * The rows of the chart: the parts that count most, all others in one, and their sum; with the running total that a
 * waterfall climbs. Knows nothing of the DOM.
 */
import { NOT_A_NUMBER } from "../../core/options.gen";
import type { AttributionOptions } from "../../core/wire.gen";
import type { AttributionPicture } from "./picture";

export interface Row {
  kind: "part" | "others" | "sum";
  /** Index of the part, -1 where the row is none. */
  part: number;
  label: string;
  /** In logits. */
  value: number;
  /** The running total before and after; of the sum, 0 and itself. */
  from: number;
  to: number;
  /** How many parts stand in the row. */
  count: number;
}

/** The `rows` parts of largest magnitude and the heads that are ablated, in model order or largest first; then all others, then the sum. */
export function makeRows(picture: AttributionPicture, options: Pick<AttributionOptions, "sort" | "rows">): Row[] {
  const { contribution, manifest, sum } = picture;
  const size = (part: number): number => Math.abs(contribution[part]!) || 0;
  const bySize = [...contribution.keys()].sort((left, right) => size(right) - size(left));
  const most = Math.max(1, Math.round(options.rows) || 1);
  // A row "all others (1)" would take the place of the part itself.
  const kept = bySize.length <= most + 1 ? bySize : bySize.filter((part, place) => place < most || picture.isAblated(part));
  const shown = options.sort === "size" ? kept : [...kept].sort((left, right) => left - right);
  const rows: Row[] = [];
  let total = 0;
  const add = (row: Pick<Row, "kind" | "part" | "label" | "value" | "count">): void => {
    rows.push({ ...row, from: total, to: total + row.value });
    total += row.value;
  };
  for (const part of shown) {
    add({ kind: "part", part, label: manifest.part_labels[part] ?? "", value: contribution[part]!, count: 1 });
  }
  const count = contribution.length - shown.length;
  if (count) {
    const apart = new Set(shown);
    const value = bySize.filter((part) => !apart.has(part)).reduce((others, part) => others + contribution[part]!, 0);
    add({ kind: "others", part: -1, label: `all others (${count})`, value, count });
  }
  rows.push({ kind: "sum", part: -1, label: "sum", value: sum, from: 0, to: sum, count: contribution.length });
  return rows;
}

/** From and to of a row's bar: along the running total, or from 0. The sum of bars has none: it would dwarf them. */
export function barOf(row: Row, chart: AttributionOptions["chart"]): [from: number, to: number] | null {
  if (chart === "waterfall") return [row.from, row.to];
  return row.kind === "sum" ? null : [0, row.value];
}

/** The least range that holds 0 and every bar. */
export function domainOf(rows: Row[], chart: AttributionOptions["chart"]): [low: number, high: number] {
  let low = 0;
  let high = 0;
  for (const row of rows) {
    for (const end of barOf(row, chart) ?? []) {
      if (end < low) low = end;
      if (end > high) high = end;
    }
  }
  return high > low ? [low, high] : [0, 1];
}

/** Round values in a range, about `count` of them. */
export function roundValues(low: number, high: number, count: number): number[] {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((lead) => lead * power).find((candidate) => candidate >= rough * 0.999)!;
  const values: number[] = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++)
    values.push(at === 0 ? 0 : Number((at * step).toPrecision(12)));
  return values;
}

/** Decimals that give the largest of `values` about four digits; the same for all, so that they stand in line. */
export function decimalsFor(values: number[]): number {
  const size = Math.max(...values.map((value) => (Number.isFinite(value) ? Math.abs(value) : 0)), 0);
  return size ? Math.min(6, Math.max(0, 3 - Math.floor(Math.log10(size)))) : 2;
}

/** "+1.250", "−0.031", "0.000": a contribution with its sign. */
export function signed(value: number, decimals: number): string {
  if (!Number.isFinite(value)) return NOT_A_NUMBER;
  const text = Math.abs(value).toFixed(decimals);
  return value === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
}
