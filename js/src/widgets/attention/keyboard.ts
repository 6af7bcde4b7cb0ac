/** What keys do in the attention explorer, and the list of them for people. */
import { ATTENTION } from "../../core/options.gen";
import type { AttentionState } from "../../core/wire.gen";
import type { Frame } from "../../dom/frame";
import { PROMPT_KEYS, type KeyRow } from "../../dom/keys";
import { optionKeys } from "../../dom/options";
import { followWays, walkLine } from "../../dom/walk";
import type { Explorer } from "./explorer";
import type { Matrix } from "./matrix";
import type { Reading } from "./reading";
import type { Toolbar } from "./toolbar";
import type { Wall } from "./wall";

export const KEYS: KeyRow[] = [
  ["← ↑ → ↓", "wall: walk the heads · matrix: walk the cells · text: walk the tokens"],
  ["Enter", "lock what is pointed at"],
  ["Esc", "release: first the pointing, then the lock"],
  ["Space, +", "wall: lay this head over the text (Ctrl-click does it too; at most four)"],
  ["+ − 0", "matrix: zoom in, out, show all (wheel, drag and double-click do it too)"],
  ...PROMPT_KEYS,
  ...optionKeys(ATTENTION.options),
  ["?", "this list"],
];

interface Parts {
  explorer: Explorer;
  toolbar: Toolbar;
  wall: Wall;
  matrix: Matrix;
  reading: Reading;
}

export function handleKeys(frame: Frame<AttentionState>, parts: Parts): void {
  const { explorer, toolbar, wall, matrix, reading } = parts;
  const text = walkLine(reading.strip.element, {
    count: () => explorer.positions.peek().count,
    from: () => reading.position.peek() ?? 0,
    held: () => reading.position.peek(),
    point(position) {
      explorer.pointAtPosition(position);
      reading.strip.reveal(position);
    },
    pick(position) {
      explorer.lockPosition(position);
      return `locked ${reading.describe(position)}`;
    },
    describe: (position) => reading.describe(position),
  });
  followWays(frame, [wall, matrix, text], {
    ...toolbar.controls.keys({ filter: () => toolbar.controls.of("filter").focus() }),
    Escape: () => release(parts),
  });
}

/** Escape lets go of the last thing held: what is pointed at, then the cell, then the overlaid heads, then the head. */
function release({ explorer }: Parts): void {
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
