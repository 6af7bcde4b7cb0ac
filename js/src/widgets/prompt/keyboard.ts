/** What keys do in the prompt view: one table for the help panel, and the handler. */
import { PROMPT } from "../../core/options.gen";
import { clipped } from "../../core/tokens";
import { followKeys, promptKey, PROMPT_KEYS, type KeyHelp, type KeyRow } from "../../dom/keys";
import { optionKeys } from "../../dom/options";
import type { Prompts } from "../../dom/prompts";
import type { Tooltip } from "../../dom/tooltip";
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
  prompts: Prompts;
  toolbar: Toolbar;
  help: KeyHelp;
  text: TextPanel;
  next: NextPanel;
  tooltip: Tooltip;
  root: HTMLElement;
  announcer: HTMLElement;
}

export function handleKeys(parts: Parts): void {
  followKeys(parts.view.scope, parts.root, (key) => promptKey(parts.prompts, key) || ownKey(parts, key));
}

/** Goes back to the prompt before what was written, if the model wrote any of this one. */
export function undoWritten(view: PromptView, prompts: Prompts): void {
  if (view.written.peek() > 0 && view.canCompute.peek()) prompts.undo();
}

function say(parts: Parts, text: string): true {
  parts.announcer.textContent = clipped(text, 300);
  return true;
}

function ownKey(parts: Parts, key: string): boolean {
  const { view, toolbar, next } = parts;
  const picture = view.picture.peek();
  const last = (picture?.columns.length ?? 0) - 1;
  const at = view.column.peek();
  const walk = (to: number): true => {
    if (last < 0) return true;
    const column = Math.max(0, Math.min(last, to));
    parts.tooltip.hide();
    view.lock(column);
    return say(parts, parts.text.describe(column));
  };
  switch (key) {
    case "ArrowLeft":
      return walk(at - 1);
    case "ArrowRight":
      return walk(at + 1);
    case "Home":
      return walk(0);
    case "End":
      return walk(last);
    case "ArrowUp":
      return say(parts, next.step(-1));
    case "ArrowDown":
      return say(parts, next.step(1));
    case "Enter":
      return say(parts, next.appendChosen());
    case "w":
      return say(parts, view.write() ? `the model writes ${view.options.peek().length} tokens` : "the model cannot write now");
    case "u":
      undoWritten(view, parts.prompts);
      return true;
    case "Escape":
      parts.tooltip.hide();
      if (view.hover.peek()) view.point(null);
      else if (view.cursor.peek() !== null) view.cursor.value = null;
      else if (view.locked.peek() !== null) view.lock(null);
      return true;
    case "?":
      parts.help.toggle();
      return true;
    default:
      return toolbar.controls.key(key);
  }
}
