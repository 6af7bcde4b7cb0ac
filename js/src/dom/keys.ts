/**
 * Keys of a view: which ones reach it and which stay the host's, the keys of the prompt that every view has, and the
 * panel that lists them all. Knows nothing of what the other keys do.
 */
import type { Scope } from "../core/signal";
import { makeButton, Popover } from "./controls";
import { h } from "./element";
import type { Prompts } from "./prompts";

/** The step that an arrow key takes. */
export const ARROWS: Record<string, [across: number, down: number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** What stands in the panel: the keys, and what they do. */
export type KeyRow = [keys: string, text: string];

export const PROMPT_KEYS: KeyRow[] = [
  ["/", "edit the prompt (Enter runs it at once, Shift-Enter is a new line)"],
  ["z, y, h", "earlier prompt, later prompt, list of earlier prompts"],
];

/** Gives `handle` the plain keys that are pressed outside of text fields; it answers whether it knew the key. */
export function followKeys(scope: Scope, root: HTMLElement, handle: (key: string, target: HTMLElement) => boolean): void {
  scope.listen(root, "keydown", (event) => {
    const target = event.target instanceof HTMLElement ? event.target : root;
    const typing = target.matches("textarea, input, select");
    // Plain keys would be commands on the notebook's cell; Ctrl-S and its like stay the host's, and so does Shift-Enter,
    // except where it is a new line.
    const hosts = event.ctrlKey || event.metaKey || event.altKey || (!typing && event.shiftKey && event.key === "Enter");
    if (!hosts && event.key !== "Tab") event.stopPropagation();
    if (typing || hosts) return;
    if (target.matches("button") && (event.key === "Enter" || event.key === " ")) return;
    if (handle(event.key, target)) event.preventDefault();
  });
}

/** Does what the key does to the prompt; whether it is such a key. */
export function promptKey(prompts: Prompts, key: string): boolean {
  if (key === "/") prompts.focus();
  else if (key === "z") prompts.undo();
  else if (key === "y") prompts.redo();
  else if (key === "h") prompts.toggleHistory();
  else return false;
  return true;
}

/** The button "?" and the panel that it opens. */
export class KeyHelp {
  readonly button: HTMLElement;
  readonly popover: HTMLElement;
  readonly #panel: Popover;

  constructor(scope: Scope, rows: KeyRow[]) {
    const button = makeButton(scope, { label: "keys", tip: "Keys and how to read this view", shortcut: "?", text: "?" }, () => this.toggle());
    this.#panel = new Popover(scope, button.element, "keys", () => {
      const lines = rows.map(([keys, text]) => h("tr", {}, h("th", { scope: "row" }, keys), h("td", {}, text)));
      return [h("table", { class: "miw-keys" }, h("tbody", {}, ...lines))];
    });
    this.button = button.element;
    this.popover = this.#panel.element;
  }

  toggle(): void {
    this.#panel.toggle();
  }
}
