/** What keys do in the attention explorer; `keys.ts` lists them for people. */
import { followWays, walkLine, type Keyed } from "../../dom/walk";
import type { Explorer } from "./explorer";
import type { Matrix } from "./matrix";
import type { Reading } from "./reading";
import type { Toolbar } from "./toolbar";
import type { Wall } from "./wall";

interface Parts extends Keyed {
  explorer: Explorer;
  toolbar: Toolbar;
  wall: Wall;
  matrix: Matrix;
  reading: Reading;
}

export function handleKeys(parts: Parts): void {
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
  followWays(parts, [wall, matrix, text], {
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
