/** The keys of the attention explorer: one table that both the handler and the help panel read. */
import { ATTENTION } from "../../core/options.gen";
import { PROMPT_KEYS, type KeyRow } from "../../dom/keys";
import { optionKeys } from "../../dom/options";

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
