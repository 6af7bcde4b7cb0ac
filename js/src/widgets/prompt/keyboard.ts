/** What keys do in the prompt view: one table for the help panel, and the handler. */
import { PROMPT } from "../../core/options.gen";
import type { PromptState } from "../../core/wire.gen";
import type { Frame } from "../../dom/frame";
import { PROMPT_KEYS, type KeyRow } from "../../dom/keys";
import { optionKeys } from "../../dom/options";
import type { Prompts } from "../../dom/prompts";
import { followWays } from "../../dom/walk";
import type { PromptView } from "./model";
import type { NextPanel } from "./next";
import type { TextPanel } from "./text";
import type { Toolbar } from "./toolbar";

export const KEYS: KeyRow[] = [
  ["← →, Home, End", "walk the tokens; the candidates are those after the chosen one"],
  ["↑ ↓", "walk the candidates"],
  ["Enter", "append the candidate, at the end of the prompt"],
  ["w, u", "let the model write; undo what it wrote"],
  ["Esc", "release: first the candidate, then the token"],
  ...PROMPT_KEYS,
  ...optionKeys(PROMPT.options),
  ["?", "this list"],
];

interface Parts {
  view: PromptView;
  toolbar: Toolbar;
  text: TextPanel;
  next: NextPanel;
}

export function handleKeys(frame: Frame<PromptState>, parts: Parts): void {
  const { view, toolbar, next } = parts;
  /** Walks to a column; the way there is counted from the present one and the last. */
  const walk = (way: (at: number, last: number) => number) => (): string | void => {
    const last = (view.picture.peek()?.columns.length ?? 0) - 1;
    if (last < 0) return;
    const column = Math.max(0, Math.min(last, way(view.column.peek(), last)));
    frame.tooltip.hide();
    view.lock(column);
    return parts.text.describe(column);
  };
  followWays(frame, [], {
    ...toolbar.controls.keys(),
    ArrowLeft: walk((at) => at - 1),
    ArrowRight: walk((at) => at + 1),
    Home: walk(() => 0),
    End: walk((_, last) => last),
    ArrowUp: () => next.step(-1),
    ArrowDown: () => next.step(1),
    Enter: () => next.appendChosen(),
    w: () => (view.write() ? `the model writes ${view.options.peek().length} tokens` : "the model cannot write now"),
    u: () => undoWritten(view, frame.prompts),
    Escape: () => release(parts),
  });
}

/** Goes back to the prompt before what was written, if the model wrote any of this one. */
export function undoWritten(view: PromptView, prompts: Prompts): void {
  if (view.written.peek() > 0 && view.canCompute.peek()) prompts.undo();
}

/** Escape lets go of the last thing held: what is pointed at, then the candidate, then the token. */
function release({ view }: Parts): void {
  if (view.hover.peek()) view.point(null);
  else if (view.cursor.peek() !== null) view.cursor.value = null;
  else if (view.locked.peek() !== null) view.lock(null);
}
