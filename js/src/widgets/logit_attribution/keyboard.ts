/** What keys do in the logit attribution; `keys.ts` lists them for people. */
import { visible } from "../../core/tokens";
import { followWays, walkLine, type Keyed } from "../../dom/walk";
import type { Attribution } from "./attribution";
import type { HeadMap } from "./head_map";
import type { Parts } from "./parts";
import type { Question } from "./question";
import type { Sources } from "./sources";
import type { Toolbar } from "./toolbar";

interface View extends Keyed {
  attribution: Attribution;
  toolbar: Toolbar;
  question: Question;
  parts: Parts;
  map: HeadMap;
  sources: Sources;
}

export function handleKeys(view: View): void {
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
  followWays(view, [rows, { element: map.element, key: (key) => map.key(key, "chosen") }, tokens, read], {
    ...toolbar.controls.keys(),
    Escape: () => release(view),
    a: () => question.answer.focus(),
    f: () => question.foil.focus(),
    x() {
      const foil = attribution.picture.peek()?.manifest.foil;
      if (!foil || !attribution.canCompute.peek()) return "without a kernel and a foil there is nothing to swap";
      attribution.swap();
      return `swapped: the answer is now ${visible(foil.string)}`;
    },
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
