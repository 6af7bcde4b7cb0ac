/** What keys do in the logit attribution, and the list of them for people. */
import { ATTRIBUTION } from "../../core/options.gen";
import type { AttributionState } from "../../core/wire.gen";
import type { Frame } from "../../dom/frame";
import { PROMPT_KEYS, type KeyRow } from "../../dom/keys";
import { optionKeys } from "../../dom/options";
import { followWays, walkLine } from "../../dom/walk";
import type { Attribution } from "./attribution";
import type { HeadMap } from "./head_map";
import type { Parts } from "./parts";
import type { Question } from "./question";
import type { Sources } from "./sources";
import type { Toolbar } from "./toolbar";

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

interface View {
  attribution: Attribution;
  toolbar: Toolbar;
  question: Question;
  parts: Parts;
  map: HeadMap;
  sources: Sources;
}

export function handleKeys(frame: Frame<AttributionState>, view: View): void {
  const { attribution, question, parts, map, sources, toolbar } = view;
  const { scope } = attribution;
  const positions = (): number => attribution.positions.peek().count;
  const rows = walkLine(parts.list, {
    count: () => attribution.rows.peek().length,
    from: () =>
      attribution.hoverRow.peek() ??
      attribution.rows.peek().findIndex((row) => attribution.relation(row, attribution.chosenSpan.peek()) === "same"),
    held: () => attribution.hoverRow.peek(),
    point(row) {
      attribution.pointAtRow(row);
      parts.reveal(row);
      parts.showTooltipAt(row);
    },
    pick(at) {
      const row = attribution.rows.peek()[at];
      if (!row || !attribution.chooseRow(row)) return "";
      const { layer, head } = attribution.selection.peek();
      return `chosen layer ${layer}${head === null ? "" : ` head ${head}`}`;
    },
    describe: (row) => parts.describe(row),
  });
  const tokens = walkLine(question.strip.element, {
    count: positions,
    from: () => attribution.hoverPosition.peek() ?? attribution.position.peek() ?? 0,
    held: () => attribution.hoverPosition.peek(),
    point(position) {
      attribution.pointAtPosition(position);
      question.strip.reveal(position);
    },
    pick(position) {
      attribution.choosePosition(position);
      return question.describe(position);
    },
    describe: (position) => question.describe(position),
  });
  const read = walkLine(sources.strip.element, {
    count: () => (attribution.sources.peek() ? positions() : 0),
    from: () =>
      attribution.hoverSource.peek() ??
      attribution.placeOf(attribution.selection.peek().key) ??
      attribution.shown.peek()?.manifest.position ??
      0,
    held: () => attribution.hoverSource.peek(),
    point(position) {
      attribution.pointAtSource(position);
      sources.strip.reveal(position);
      sources.showTooltipAt(position);
    },
    pick(position) {
      sources.choose(position);
      return `${attribution.selection.peek().key === null ? "let go of" : "chosen"} ${sources.describe(position)}`;
    },
    describe: (position) => sources.describe(position),
  });
  const nextPosition = (by: number) => (): string | void => {
    const held = attribution.position.peek();
    // What only B has is passed over: positions are asked for in A.
    const { toA } = attribution.positions.peek();
    let next = (held ?? NaN) + by;
    while (toA[next] === -1) next += by;
    if (held !== null) attribution.choosePosition(next);
    const position = attribution.position.peek();
    if (position !== null) return question.describe(position);
  };
  followWays(frame, [rows, { element: map.element, key: (key) => map.key(key, "chosen") }, tokens, read], {
    ...toolbar.controls.keys(),
    Escape: () => release(view),
    a: () => question.terms.answer.focus(),
    f: () => question.terms.foil.focus(),
    x: () => question.terms.swapped(),
    "[": nextPosition(-1),
    "]": nextPosition(1),
  });
  // What keys pointed at is let go of with the focus.
  scope.listen(question.strip.element, "focusout", () => attribution.pointAtPosition(null));
  scope.listen(sources.strip.element, "focusout", () => attribution.pointAtSource(null));
}

/** Escape lets go of the last thing held: what is pointed at, then the read, then the head. */
function release({ attribution }: View): void {
  const pointing =
    attribution.hoverRow.peek() ?? attribution.hoverCell.peek() ?? attribution.hoverPosition.peek() ?? attribution.hoverSource.peek();
  if (pointing !== null) {
    attribution.pointAtRow(null);
    attribution.pointAtCell(null);
    attribution.pointAtPosition(null);
    attribution.pointAtSource(null);
    return;
  }
  const selection = attribution.selection.peek();
  if (selection.key !== null || selection.query !== null) attribution.select({ key: null, query: null });
  else if (selection.layer !== null) attribution.select({ layer: null, head: null });
}
