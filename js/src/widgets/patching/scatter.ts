/** Exact effects over estimated ones, a point for each cell that has both. Knows nothing of how points are drawn. */
import { computed, type Readable } from "../../core/signal";
import { Scatter } from "../../dom/scatter";
import type { Ink } from "../../dom/theme";
import type { Tooltip } from "../../dom/tooltip";
import { cellLines } from "./details";
import type { PatchingView } from "./model";

export function makeScatter(view: PatchingView, ink: Readable<Ink>, tooltip: Tooltip): Scatter {
  const both = computed(() => {
    const [picture, field] = [view.picture.value, view.field.value];
    return picture && field && { picture, exact: picture.exact(field.shows), estimate: picture.estimate(field.shows), shows: field.shows };
  });
  return new Scatter(view.scope, ink, "exact over estimated effects", {
    points: computed(() => {
      const { exact = new Float32Array(), estimate = exact } = both.value ?? {};
      const points = Array.from(exact, (y, id) => ({ id, x: estimate[id] ?? NaN, y }));
      return points.filter(({ x, y }) => Number.isFinite(x - y));
    }),
    titles: computed(() => {
      const { shows = "effect", picture } = both.value ?? {};
      return [`estimated ${shows} (${picture?.manifest.estimated_by})`, `exact ${shows}`];
    }),
    none: computed(() =>
      view.picture.value?.manifest.estimated_by ? "No cell is exact and estimated yet." : "No estimates were made here.",
    ),
    pointed: view.hover,
    locked: view.chosen,
    name: (cell) => both.peek()!.picture.nameOf(cell),
    row(cell) {
      const { picture, exact, estimate } = both.peek()!;
      return [picture.nameOf(cell), picture.say(exact[cell]!, false), picture.say(estimate[cell]!, true)];
    },
    point(cell, event) {
      view.point(cell);
      tooltip.over(cell === null ? [] : cellLines(view, cell), event);
    },
    pick: (cell) => view.choose(cell),
  });
}
