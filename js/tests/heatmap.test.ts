// @vitest-environment jsdom
/** The heat map without drawing: what it keeps in sight, and where a zoom holds on to. */
import { expect, test } from "vitest";
import { makeMapping } from "../src/core/scale";
import { Scope, Signal } from "../src/core/signal";
import type { Mark, Place, Spot } from "../src/dom/grid";
import { Heatmap, type HeatmapContent } from "../src/dom/heatmap";
import { readInk } from "../src/dom/theme";
import { useStage } from "./stage";

const SIDE = 40;

class Shown extends Heatmap {
  picked: Spot[] = [];
  at: Place = { row: 0, column: 0 };

  constructor() {
    super(new Scope(), new Signal(readInk(document.body)), "heatmap", "cells");
    this.begin();
    this.size.value = { width: 500, height: 500 };
  }

  describe({ row, column }: Place): string {
    return `${row}, ${column}`;
  }

  protected point(spot: Spot | null): void {
    if (spot?.row != null && spot.column != null) this.at = { row: spot.row, column: spot.column };
  }

  protected pick(spot: Spot): void {
    this.picked.push(spot);
  }

  protected cursor(): { at: Place; fresh: boolean } {
    return { at: this.at, fresh: false };
  }

  protected marks(): Mark[] {
    return [];
  }
}

const content = (identity: string): HeatmapContent => ({
  grid: { side: SIDE, values: new Float32Array(SIDE * SIDE), mask: new Uint8Array(SIDE * SIDE).fill(1), precision: "exact", signed: false },
  mapping: makeMapping({ low: 0, high: 1, scale: "linear", palette: "blue", diverging: false }, "light"),
  labels: Array.from({ length: SIDE }, (_, at) => `w${at}`),
  identity,
});

useStage();

const turn = (): Promise<void> => Promise.resolve();

test("zoom and place stay while the picture is of the same, and begin anew with another", async () => {
  const shown = new Shown();
  shown.content.value = content("run 1");
  await turn();
  shown.zoomAt(2, { row: 20, column: 20 });
  const zoomed = shown.view.value;
  expect(zoomed.zoom).toBe(2);
  shown.content.value = content("run 1");
  await turn();
  expect(shown.view.value).toEqual(zoomed);
  shown.content.value = content("run 2");
  await turn();
  expect(shown.view.value).toEqual({ zoom: 1, left: 0, top: 0 });
});

test("the cell that a zoom is about stays where it is on the screen", async () => {
  const shown = new Shown();
  shown.content.value = content("run 1");
  await turn();
  const before = shown.pointOf({ row: 20, column: 30 });
  const cell = shown.area.value!.columns.cell;
  shown.zoomAt(2, { row: 20, column: 30 });
  const after = shown.pointOf({ row: 20, column: 30 });
  expect(after.x).toBeCloseTo(before.x);
  expect(after.y - cell * 2).toBeCloseTo(before.y - cell - cell / 2);
});

test("keys walk to the ends and no farther, and bring the cell into a zoomed window", async () => {
  const shown = new Shown();
  shown.content.value = content("run 1");
  await turn();
  shown.zoomAt(3, { row: 0, column: 0 });
  expect(shown.key("End")).toBe("0, 39");
  expect(shown.view.value.left).toBeGreaterThan(SIDE / 2);
  expect([shown.key("ArrowRight"), shown.key("ArrowUp"), shown.key("ArrowDown")]).toEqual(["0, 39", "0, 39", "1, 39"]);
  expect(shown.key("Enter")).toBe("locked 1, 39");
  expect(shown.picked).toEqual([{ row: 1, column: 39 }]);
  expect(shown.key("q")).toBeNull();
});
