/** Where cells of a grid stand in pixels, and which of them are in sight. */
import { expect, test } from "vitest";
import { beginOf, indexAt, indexesIn, lengthOf, slotOf, type Axis } from "../src/core/axis";
import { layOut } from "../src/widgets/logit_lens/layout";

const HEADS: Axis = { count: 8, start: 28, cell: 20, gap: 2, each: 4, apart: 3 };

test("a point finds its cell again, the gap after it included", () => {
  for (let head = 0; head < HEADS.count; head++) {
    expect(indexAt(HEADS, beginOf(HEADS, head))).toBe(head);
    expect(indexAt(HEADS, beginOf(HEADS, head) + HEADS.cell + 1)).toBe(head);
  }
});

test("between groups, among the labels and beyond the end there is no cell", () => {
  expect(beginOf(HEADS, 4) - beginOf(HEADS, 3)).toBe(25);
  expect(indexAt(HEADS, beginOf(HEADS, 4) - 1)).toBeNull();
  expect(indexAt(HEADS, 27)).toBeNull();
  expect(indexAt(HEADS, lengthOf(HEADS) + 1)).toBeNull();
});

test("only what is in sight is drawn, whole rows and columns of it, and the last row stands on top", () => {
  const { columns, rows } = layOut(48, 1000, 60, { width: 760, height: 436 }, 56)!;
  expect(indexesIn(columns, 560, 760)).toEqual({ first: 10, last: 23 });
  const { first, last } = indexesIn(rows, 0, 436);
  expect([last, slotOf(rows, 47)]).toEqual([48, 0]);
  expect(beginOf(rows, first)).toBeLessThan(436);
  expect(beginOf(rows, first - 1)).toBeGreaterThanOrEqual(436);
});

test("cells of groups are in sight from the first that shows to the last", () => {
  expect(indexesIn(HEADS, 0, beginOf(HEADS, 4) - 1)).toEqual({ first: 0, last: 4 });
  expect(indexesIn(HEADS, beginOf(HEADS, 5) - HEADS.start, 1000)).toEqual({ first: 5, last: 8 });
});

test("an axis without cells has none in sight", () => {
  expect(indexesIn({ ...HEADS, count: 0 }, 0, 400)).toEqual({ first: 0, last: 0 });
});
