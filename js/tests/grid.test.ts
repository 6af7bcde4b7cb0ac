/** Masks, alignment and reduction of grids agree with what Python does and keep what matters in sight. */
import { expect, test } from "vitest";
import { attentionMask, pairedDifference, pairedMask, patchMask, pooled, spread, strongest, type Grid, type Mask } from "../src/core/grid";

const grid = (side: number, values: number[], mask: Mask = new Uint8Array(side * side).fill(1), signed = false): Grid => ({
  side,
  values: Float32Array.from(values),
  mask,
  precision: "exact",
  signed,
});

test("causal masks and sliding windows allow what the model allows", () => {
  expect([...attentionMask(3, true, null)]).toEqual([1, 0, 0, 1, 1, 0, 1, 1, 1]);
  expect([...attentionMask(3, true, 2)]).toEqual([1, 0, 0, 1, 1, 0, 0, 1, 1]);
  expect([...attentionMask(3, false, 1)]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
  expect([...attentionMask(1, true, null)]).toEqual([1]);
});

test.each([
  [10, 4, true, null],
  [10, 4, true, 3],
  [130, 64, true, 17],
  [9, 4, false, 2],
] as const)("a thumbnail of %i positions in %i cells masks exactly the patches with no allowed cell", (count, side, causal, window) => {
  const full = attentionMask(count, causal, window);
  const mask = patchMask(count, side, causal, window);
  const wanted = new Uint8Array(side * side);
  const edge = (patch: number): number => Math.floor((patch * count) / side);
  for (let row = 0; row < side; row++)
    for (let column = 0; column < side; column++)
      for (let query = edge(row); query < edge(row + 1); query++)
        for (let key = edge(column); key < edge(column + 1); key++) if (full[query * count + key]) wanted[row * side + column] = 1;
  expect([...mask]).toEqual([...wanted]);
});

test("a difference is taken on aligned columns; those without a partner are masked", () => {
  const pairs = [
    [0, 0],
    [1, -1],
    [2, 1],
  ];
  const a = Float32Array.from([1, 0, 0, 4, 5, 0, 7, 8, 9]);
  const b = Float32Array.from([10, 0, 30, 40]);
  expect([...pairedDifference(pairs, a, 3, b, 2)]).toEqual([-9, NaN, 0, NaN, NaN, NaN, -23, NaN, -31]);
  expect([...pairedMask(pairs, attentionMask(3, true, null), 3, attentionMask(2, true, null), 2)]).toEqual([1, 0, 0, 0, 0, 0, 1, 0, 1]);
});

test("merging cells keeps the largest allowed value", () => {
  const merged = pooled(grid(4, [1, 2, 0, 0, 3, 9, 0, 0, 5, 5, NaN, 1, 5, 5, 2, 0], attentionMask(4, true, null)), 2);
  expect([...merged.values]).toEqual([9, NaN, 5, 2]);
  expect([...merged.mask]).toEqual([1, 0, 1, 1]);
});

test("merging signed cells keeps the value of largest magnitude", () => {
  expect([...pooled(grid(2, [1, -3, 2, 0], undefined, true), 1).values]).toEqual([-3]);
});

test("a thumbnail is spread over its positions", () => {
  expect([...spread(Float32Array.from([1, 2, 3, 4]), 2, 3)]).toEqual([1, 2, 2, 3, 4, 4, 3, 4, 4]);
});

test("the strongest cells come first; masked and missing ones never", () => {
  const row = grid(2, [0.5, NaN, 0.9, 0.2], Uint8Array.from([1, 1, 1, 1]));
  expect(strongest(row, 3, (key) => key)).toEqual([0]);
  expect(strongest(row, 1, (key) => 2 + key)).toEqual([0]);
  expect(strongest(row, 5, (key) => 2 + key)).toEqual([0, 1]);
});
