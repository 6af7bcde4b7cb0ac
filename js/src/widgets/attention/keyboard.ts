/** What keys do in the attention explorer; `keys.ts` lists them for people. */
import { rounded } from "../../core/format";
import { nameOfHead } from "../../core/interventions";
import { clipped } from "../../core/tokens";
import { ARROWS, followKeys, promptKey, type KeyHelp } from "../../dom/keys";
import type { Prompts } from "../../dom/prompts";
import type { Tooltip } from "../../dom/tooltip";
import type { Explorer } from "./explorer";
import type { Matrix } from "./matrix";
import type { Reading } from "./reading";
import type { Toolbar } from "./toolbar";
import type { Wall } from "./wall";

interface Parts {
  explorer: Explorer;
  prompts: Prompts;
  toolbar: Toolbar;
  help: KeyHelp;
  wall: Wall;
  matrix: Matrix;
  reading: Reading;
  tooltip: Tooltip;
  root: HTMLElement;
  announcer: HTMLElement;
}

export function handleKeys(parts: Parts): void {
  const { explorer, root } = parts;
  followKeys(
    explorer.scope,
    root,
    (key, target) =>
      (!!target.closest(".miw-wall") && wallKey(parts, key)) ||
      (!!target.closest(".miw-heatmap") && matrixKey(parts, key)) ||
      (!!target.closest(".miw-strip") && textKey(parts, key)) ||
      promptKey(parts.prompts, key) ||
      anywhere(parts, key),
  );
}

function say(parts: Parts, text: string): true {
  parts.announcer.textContent = clipped(text, 300);
  return true;
}

function wallKey(parts: Parts, key: string): boolean {
  const { explorer, wall } = parts;
  const head = explorer.focused.peek();
  if (!head) return false;
  const arrow = ARROWS[key];
  if (arrow) {
    const next = wall.step(head, arrow[0], arrow[1]);
    if (!next) return true;
    explorer.pointAtHead({ layer: next.layer, head: next.head });
    wall.reveal(next);
    const sort = explorer.sortColumn.peek();
    const score = sort && next.score !== null ? `, ${sort.label} ${rounded(next.score)}` : "";
    const ablated = explorer.ablatedShown.peek().has(nameOfHead(next)) ? ", ablated" : "";
    return say(parts, `layer ${next.layer} head ${next.head}${ablated}${score}${next.dimmed ? ", below the filter" : ""}`);
  }
  if (key === "Enter") {
    explorer.lockHead(head);
    explorer.pointAtHead(null);
    return say(parts, `locked layer ${head.layer} head ${head.head}`);
  }
  if (key === " " || key === "+") {
    explorer.toggleOverlay(head);
    return say(
      parts,
      `heads over the text: ${
        explorer.overlaid
          .peek()
          .map((other) => `${other.layer}.${other.head}`)
          .join(", ") || "none"
      }`,
    );
  }
  return false;
}

function matrixKey(parts: Parts, key: string): boolean {
  const { explorer, matrix } = parts;
  const { heatmap } = matrix;
  const side = explorer.grid.peek()?.side ?? 0;
  const arrow = ARROWS[key];
  if (arrow && side) {
    const at = explorer.hoverCell.peek();
    const start = at ?? { query: explorer.query.peek() ?? side - 1, key: explorer.key.peek() ?? 0 };
    const stay = (position: number): number => Math.max(0, Math.min(side - 1, position));
    const first = at === null && explorer.query.peek() === null;
    const query = stay((start.query ?? 0) + (first ? 0 : arrow[1]));
    const column = stay((start.key ?? 0) + (first ? 0 : arrow[0]));
    explorer.pointAtCell(query, column);
    heatmap.reveal(query, column);
    matrix.showTooltipAt(query, column);
    return say(parts, matrix.describe(query, column));
  }
  if (key === "Enter") {
    const at = explorer.hoverCell.peek();
    if (!at || at.query === null || at.key === null) return true;
    explorer.lockCell(at.query, at.key);
    return say(parts, `locked ${matrix.describe(at.query, at.key)}`);
  }
  const centre = explorer.hoverCell.peek() ?? { query: explorer.query.peek(), key: explorer.key.peek() };
  if (key === "+" || key === "=") heatmap.zoomBy(1.4, heatmap.placeOf(centre.query, centre.key));
  else if (key === "-" || key === "−") heatmap.zoomBy(1 / 1.4, heatmap.placeOf(centre.query, centre.key));
  else if (key === "0") heatmap.reset();
  else return false;
  return true;
}

function textKey(parts: Parts, key: string): boolean {
  const { explorer, reading } = parts;
  const count = explorer.positions.peek().count;
  const arrow = ARROWS[key];
  if (arrow && count) {
    const from = reading.position.peek() ?? 0;
    const next = Math.max(0, Math.min(count - 1, from + (arrow[0] || arrow[1])));
    explorer.pointAtPosition(next);
    reading.strip.reveal(next);
    return say(parts, reading.describe(next));
  }
  if (key === "Enter" || key === " ") {
    const at = reading.position.peek();
    if (at === null) return true;
    explorer.lockPosition(at);
    return say(parts, `locked ${reading.describe(at)}`);
  }
  return false;
}

function anywhere(parts: Parts, key: string): boolean {
  const { toolbar } = parts;
  switch (key) {
    case "Escape":
      release(parts);
      return true;
    case "?":
      parts.help.toggle();
      return true;
    default:
      return toolbar.controls.key(key, { filter: () => toolbar.controls.of("filter").focus() });
  }
}

/** Escape lets go of the last thing held: what is pointed at, then the cell, then the overlaid heads, then the head. */
function release(parts: Parts): void {
  const { explorer, tooltip } = parts;
  tooltip.hide();
  const pointing = explorer.hoverHead.peek() ?? explorer.hoverCell.peek() ?? explorer.hoverPosition.peek();
  if (pointing !== null) {
    explorer.pointAtHead(null);
    explorer.pointAtCell(null, null);
    explorer.pointAtPosition(null);
    return;
  }
  const selection = explorer.selection.peek();
  if (selection.query !== null || selection.key !== null || selection.position !== null) {
    explorer.select({ query: null, key: null, position: null });
  } else if (selection.heads.length) explorer.select({ heads: [] });
  else if (selection.layer !== null) explorer.select({ layer: null, head: null });
}
