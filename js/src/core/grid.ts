/**
 * One square of values and the cells that the attention mask forbids; reduced to fewer cells by the value that counts.
 * Knows nothing of colours or of where the values came from.
 */
import type { Precision } from "./format";

/** Cells of a mask: forbidden ones are 0. */
export type Mask = Uint8Array;

export interface Grid {
  side: number;
  /** `[query, key]`, row by row; NaN is missing. Forbidden cells hold anything. */
  values: Float32Array;
  mask: Mask;
  precision: Precision;
  /** Values may be negative and the one of largest magnitude counts when cells are merged. */
  signed: boolean;
}

/** Which keys a query may read: none after itself if `causal`, and only `window` positions, itself included. */
export function attentionMask(side: number, causal: boolean, window: number | null): Mask {
  const mask = new Uint8Array(side * side);
  for (let query = 0; query < side; query++) {
    const first = window === null ? 0 : Math.max(0, query - window + 1);
    const last = causal ? query + 1 : window === null ? side : Math.min(side, query + window);
    mask.fill(1, query * side + first, query * side + Math.max(first, last));
  }
  return mask;
}

/** The first position of each of `side` patches of `count` positions, and the end; as `wire/attention.py` cuts them. */
export function patchEdges(count: number, side: number): Int32Array {
  const edges = new Int32Array(side + 1);
  for (let patch = 0; patch <= side; patch++) edges[patch] = Math.floor((patch * count) / side);
  return edges;
}

/** The mask of thumbnails: a patch is forbidden where all of its cells are. */
export function patchMask(count: number, side: number, causal: boolean, window: number | null): Mask {
  if (side === count) return attentionMask(side, causal, window);
  const edges = patchEdges(count, side);
  const mask = new Uint8Array(side * side);
  for (let query = 0; query < side; query++) {
    for (let key = 0; key < side; key++) {
      const after = edges[key]! - (edges[query + 1]! - 1);
      const before = edges[query]! - (edges[key + 1]! - 1);
      const forbidden = (causal && after > 0) || (window !== null && (before >= window || (!causal && after >= window)));
      mask[query * side + key] = forbidden ? 0 : 1;
    }
  }
  return mask;
}

/** Calls `both` with every cell of aligned columns that both sides have, and with its place on either side. */
function eachPair(pairs: number[][], sideA: number, sideB: number, both: (cell: number, a: number, b: number) => void): void {
  pairs.forEach(([queryA = -1, queryB = -1], query) => {
    if (queryA < 0 || queryB < 0) return;
    for (let key = 0; key < pairs.length; key++) {
      const [keyA = -1, keyB = -1] = pairs[key]!;
      if (keyA >= 0 && keyB >= 0) both(query * pairs.length + key, queryA * sideA + keyA, queryB * sideB + keyB);
    }
  });
}

/** Both masks on aligned columns: `pairs` holds [position in A or -1, position in B or -1] per column. */
export function pairedMask(pairs: number[][], a: Mask, sideA: number, b: Mask, sideB: number): Mask {
  const mask = new Uint8Array(pairs.length ** 2);
  eachPair(pairs, sideA, sideB, (cell, inA, inB) => (mask[cell] = a[inA]! & b[inB]!));
  return mask;
}

/** A − B on aligned columns; NaN where either side has no such position. */
export function pairedDifference(pairs: number[][], a: Float32Array, sideA: number, b: Float32Array, sideB: number): Float32Array {
  const out = new Float32Array(pairs.length ** 2).fill(NaN);
  eachPair(pairs, sideA, sideB, (cell, inA, inB) => (out[cell] = a[inA]! - b[inB]!));
  return out;
}

/** A thumbnail spread over all positions: each cell the value of its patch. */
export function spread(thumbnail: Float32Array, side: number, count: number): Float32Array {
  if (side === count) return thumbnail;
  const edges = patchEdges(count, side);
  const out = new Float32Array(count * count);
  for (let query = 0; query < side; query++) {
    const row = edges[query]! * count;
    for (let key = 0; key < side; key++) {
      out.fill(thumbnail[query * side + key]!, row + edges[key]!, row + edges[key + 1]!);
    }
    for (let copy = edges[query]! + 1; copy < edges[query + 1]!; copy++) out.copyWithin(copy * count, row, row + count);
  }
  return out;
}

/**
 * Fewer cells: each new cell is the largest value (of largest magnitude if signed) among its allowed cells, NaN only if
 * all are, forbidden only if all are. A thin diagonal stays visible; averaging or skipping would lose it.
 */
export function pooled(grid: Grid, side: number): Grid {
  if (side >= grid.side) return grid;
  const edges = patchEdges(grid.side, side);
  const patchOf = new Int32Array(grid.side);
  for (let patch = 0; patch < side; patch++) patchOf.fill(patch, edges[patch]!, edges[patch + 1]!);
  const values = new Float32Array(side * side).fill(NaN);
  const mask = new Uint8Array(side * side);
  for (let query = 0; query < grid.side; query++) {
    const row = patchOf[query]! * side;
    const from = query * grid.side;
    for (let key = 0; key < grid.side; key++) {
      if (!grid.mask[from + key]) continue;
      const to = row + patchOf[key]!;
      mask[to] = 1;
      const value = grid.values[from + key]!;
      const held = values[to]!;
      if (held !== held || (grid.signed ? Math.abs(value) > Math.abs(held) : value > held)) values[to] = value;
    }
  }
  return { ...grid, side, values, mask };
}

/** The `count` largest allowed values (by magnitude if signed) among cells given by `at`, largest first. */
export function strongest(grid: Grid, count: number, at: (position: number) => number): number[] {
  const order: number[] = [];
  for (let position = 0; position < grid.side; position++) {
    const cell = at(position);
    const value = grid.values[cell]!;
    if (!grid.mask[cell] || value !== value) continue;
    const size = grid.signed ? Math.abs(value) : value;
    let place = order.length;
    while (place > 0) {
      const other = grid.values[at(order[place - 1]!)]!;
      if ((grid.signed ? Math.abs(other) : other) >= size) break;
      place -= 1;
    }
    if (place < count) {
      order.splice(place, 0, position);
      if (order.length > count) order.pop();
    }
  }
  return order;
}
