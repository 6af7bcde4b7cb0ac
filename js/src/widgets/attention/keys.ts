/** The keys of the attention explorer: one table that both the handler and the help panel read. */
export const KEYS: [keys: string, text: string][] = [
  ["← ↑ → ↓", "wall: walk the heads · matrix: walk the cells · text: walk the tokens"],
  ["Enter", "lock what is pointed at"],
  ["Esc", "release: first the pointing, then the lock"],
  ["Space, +", "wall: lay this head over the text (Ctrl-click does it too; at most four)"],
  ["+ − 0", "matrix: zoom in, out, show all (wheel, drag and double-click do it too)"],
  ["/", "edit the prompt (Enter runs it at once, Shift-Enter is a new line)"],
  ["z, y, h", "earlier prompt, later prompt, list of earlier prompts"],
  ["w", "weighting"],
  ["s, g, p", "scale, range, palette"],
  ["o, i, f", "sort by, order, filter by a score"],
  ["a, b, d, x", "when comparing: A, B, difference, the next of them"],
  ["r", "text: reads from, or read by"],
  ["v", "panel: matrix, text, both"],
  ["?", "this list"],
];
