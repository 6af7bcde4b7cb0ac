/** The keys of the attention explorer: one table that both the handler and the help panel read. */
import { PROMPT_KEYS, type KeyRow } from "../../dom/keys";

export const KEYS: KeyRow[] = [
  ["← ↑ → ↓", "wall: walk the heads · matrix: walk the cells · text: walk the tokens"],
  ["Enter", "lock what is pointed at"],
  ["Esc", "release: first the pointing, then the lock"],
  ["Space, +", "wall: lay this head over the text (Ctrl-click does it too; at most four)"],
  ["+ − 0", "matrix: zoom in, out, show all (wheel, drag and double-click do it too)"],
  ...PROMPT_KEYS,
  ["w", "weighting"],
  ["s, g, p", "scale, range, palette"],
  ["o, i, f", "sort by, order, filter by a score"],
  ["a, b, d, x", "when comparing: A, B, difference, the next of them"],
  ["r", "text: reads from, or read by"],
  ["v", "panel: matrix, text, both"],
  ["?", "this list"],
];
