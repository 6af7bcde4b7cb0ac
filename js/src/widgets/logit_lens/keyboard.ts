/** What keys do in the logit lens, and the list of them for people. */
import { LENS } from "../../core/options.gen";
import { clipped, visible } from "../../core/tokens";
import { followKeys, promptKey, PROMPT_KEYS, type KeyHelp, type KeyRow } from "../../dom/keys";
import { optionKeys } from "../../dom/options";
import type { Prompts } from "../../dom/prompts";
import type { Tooltip } from "../../dom/tooltip";
import { cellLines, describe } from "./details";
import { MAX_PINS, type Lens } from "./lens";
import type { PinsPanel } from "./pins";
import type { LensTable } from "./table";
import type { Toolbar } from "./toolbar";

export const KEYS: KeyRow[] = [
  ["← ↑ → ↓", "walk the cells; Home and End: first and last position"],
  ["Enter", "lock the cell: linked views follow, its likeliest tokens can be pinned"],
  ["Space", "pin the cell's top token, or take it off"],
  ["Esc", "release: first the pointing, then the lock"],
  ["+ − 0", "wider cells, narrower cells, fit"],
  ...PROMPT_KEYS,
  ...optionKeys(LENS.options),
  ["?", "this list"],
];

interface Parts {
  lens: Lens;
  prompts: Prompts;
  toolbar: Toolbar;
  help: KeyHelp;
  table: LensTable;
  pins: PinsPanel;
  tooltip: Tooltip;
  root: HTMLElement;
  announcer: HTMLElement;
}

/** Across columns, and up the rows: the last row stands on top. */
const ARROWS: Record<string, [across: number, up: number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
  Home: [-Infinity, 0],
  End: [Infinity, 0],
};
const ZOOM = 1.25;

export function handleKeys(parts: Parts): void {
  followKeys(
    parts.lens.scope,
    parts.root,
    (key, target) => (!!target.closest(".miw-lens-table") && tableKey(parts, key)) || promptKey(parts.prompts, key) || anywhere(parts, key),
  );
}

function say(parts: Parts, text: string): true {
  parts.announcer.textContent = clipped(text, 300);
  return true;
}

function tableKey(parts: Parts, key: string): boolean {
  const { lens, table } = parts;
  const arrow = ARROWS[key];
  const at = lens.reading.peek();
  if (arrow && at) {
    // The first key only says where one is.
    const held = lens.pointed.peek();
    const started = (held.row !== null && held.column !== null) || lens.locked.peek().row !== null;
    const stay = (value: number, count: number): number => Math.max(0, Math.min(count - 1, value));
    const row = stay(at.row + (started ? arrow[1] : 0), lens.picture.peek()?.rows.length ?? 1);
    const column = stay(at.column + (started || Math.abs(arrow[0]) > 1 ? arrow[0] : 0), lens.columns.peek().count);
    lens.point({ row, column });
    table.reveal(row, column);
    const { x, y } = table.pointOf(row, column);
    parts.tooltip.show(cellLines(lens, row, column), x, y);
    return say(parts, describe(lens, row, column));
  }
  if (key === "Enter") {
    if (at) lens.lock(at);
    return !at || say(parts, `locked ${describe(lens, at.row, at.column)}`);
  }
  if (key === " ") {
    const picture = lens.picture.peek();
    if (!at || !picture || !lens.canCompute.peek()) return true;
    const side = lens.sides.peek()[0]!;
    const id = picture.topId(side, at.row, lens.columns.peek().at[side][at.column] ?? -1);
    const before = lens.options.peek().targets.length;
    const pinned = lens.pins.peek().findIndex((pin) => pin.given === id || picture.manifest.targets[pin.target]?.id === id);
    if (pinned >= 0) lens.unpin(pinned);
    else if (id >= 0) lens.pin(id);
    const count = lens.options.peek().targets.length;
    return say(
      parts,
      `${visible(picture.nameOf(id))} ${pinned >= 0 ? "is taken off" : `is ${count > before ? "" : "not "}pinned`}, ${count} of ${MAX_PINS}`,
    );
  }
  return false;
}

function anywhere(parts: Parts, key: string): boolean {
  const { table, toolbar } = parts;
  const pin = (): void => {
    const why = parts.pins.focus();
    if (why) say(parts, why);
  };
  if (toolbar.controls.key(key, { first: () => toolbar.controls.of("first").focus(), targets: pin })) return true;
  if (key === "+" || key === "=") table.zoom(Math.ceil(table.layout.peek().cell * ZOOM));
  else if (key === "-" || key === "−") table.zoom(table.layout.peek().cell / ZOOM);
  else if (key === "0") table.zoom(null);
  else if (key === "?") parts.help.toggle();
  else if (key === "Escape") release(parts);
  else return false;
  return true;
}

/** Escape lets go of the last thing held: what is pointed at, then the lock. */
function release({ lens, tooltip }: Parts): void {
  tooltip.hide();
  const { row, column } = lens.pointed.peek();
  if (row !== null || column !== null) lens.point({ row: null, column: null });
  else lens.release();
}
