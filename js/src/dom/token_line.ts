/** One position of a prompt as a line of a tooltip: its token as text and nothing else, its number, its details. */
import type { Positions } from "../core/positions";
import { clipped } from "../core/tokens";
import { code, faint, h } from "./element";

/** "query  ·token  12, id 345". */
export function tokenLine(name: string, positions: Positions, position: number): HTMLElement {
  return h(
    "span",
    {},
    faint(`${name} `),
    code(clipped(positions.labels[position] ?? "", 1000)),
    faint(`  ${position}${positions.details[position] ? `, ${positions.details[position]}` : ""}`),
  );
}
