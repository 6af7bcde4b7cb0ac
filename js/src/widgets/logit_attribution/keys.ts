/** The keys of the logit attribution: one table that both the handler and the help panel read. */
import { ATTRIBUTION } from "../../core/options.gen";
import { PROMPT_KEYS, type KeyRow } from "../../dom/keys";
import { optionKeys } from "../../dom/options";

export const KEYS: KeyRow[] = [
  ["← ↑ → ↓", "parts: walk the rows · map: walk heads and MLPs · prompt, sources: walk the tokens"],
  ["Home, End", "parts: first row, sum"],
  ["Enter", "parts, map: choose this head or layer · prompt: attribute this position · sources: choose this read"],
  ["Esc", "release: first the pointing, then the read, then the head"],
  ["a, f, x", "edit the answer, edit the foil, swap them (in a field: ↓ suggestions, Enter takes one)"],
  ["[ ]", "attribute the position before, after"],
  ...PROMPT_KEYS,
  ...optionKeys(ATTRIBUTION.options),
  ["?", "this list"],
];
