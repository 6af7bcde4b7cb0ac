/** What keys do in the logit lens, and the list of them for people. */
import { LENS } from "../../core/options.gen";
import { visible } from "../../core/tokens";
import type { LensState } from "../../core/wire.gen";
import type { Frame } from "../../dom/frame";
import { PROMPT_KEYS, type KeyRow } from "../../dom/keys";
import { optionKeys } from "../../dom/options";
import { followWays } from "../../dom/walk";
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
  toolbar: Toolbar;
  table: LensTable;
  pins: PinsPanel;
}

const ZOOM = 1.25;

export function handleKeys(frame: Frame<LensState>, parts: Parts): void {
  const { lens, table, toolbar } = parts;
  followWays(frame, [{ element: table.element, key: (key) => (key === " " ? pinTop(lens) : table.key(key)) }], {
    ...toolbar.controls.keys({ first: () => toolbar.controls.of("first").focus(), targets: () => parts.pins.focus() || undefined }),
    "+": () => table.zoomBy(ZOOM),
    "=": () => table.zoomBy(ZOOM),
    "-": () => table.zoomBy(1 / ZOOM),
    "−": () => table.zoomBy(1 / ZOOM),
    "0": () => table.zoomBy(null),
    Escape: () => release(parts),
  });
}

/** Pins the top token of the cell that is read, or takes it off. */
function pinTop(lens: Lens): string {
  const at = lens.reading.peek();
  const picture = lens.picture.peek();
  if (!at || !picture || !lens.canCompute.peek()) return "";
  const side = lens.sides.peek()[0]!;
  const id = picture.topId(side, at.row, lens.columns.peek().at[side][at.column] ?? -1);
  const before = lens.options.peek().targets.length;
  const pinned = lens.pins.peek().findIndex((pin) => pin.given === id || picture.manifest.targets[pin.target]?.id === id);
  if (pinned >= 0) lens.unpin(pinned);
  else if (id >= 0) lens.pin(id);
  const count = lens.options.peek().targets.length;
  const done = pinned >= 0 ? "is taken off" : `is ${count > before ? "" : "not "}pinned`;
  return `${visible(picture.nameOf(id))} ${done}, ${count} of ${MAX_PINS}`;
}

/** Escape lets go of the last thing held: what is pointed at, then the lock. */
function release({ lens }: Parts): void {
  const { row, column } = lens.pointed.peek();
  if (row !== null || column !== null) lens.point({ row: null, column: null });
  else lens.release();
}
