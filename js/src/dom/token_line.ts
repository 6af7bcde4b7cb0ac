/** One position of a prompt as a line of a tooltip: its token as text and nothing else, its number, its details. */
import type { Positions } from "../core/positions";
import { clipped } from "../core/tokens";
import { h } from "./element";

/** "query  ·token  12, id 345". */
export function tokenLine(name: string, positions: Positions, position: number): HTMLElement {
  return h(
    "span",
    {},
    h("span", { class: "miw-faint" }, `${name} `),
    h("code", {}, h("bdi", {}, clipped(positions.labels[position] ?? "", 1000))),
    h("span", { class: "miw-faint" }, `  ${position}${positions.details[position] ? `, ${positions.details[position]}` : ""}`),
  );
}
