/**
 * Keys of a view: which ones reach it and which stay the host's, the keys of the prompt and of the interventions that
 * every view has, and the panel that lists them all. Knows nothing of what the other keys do.
 */
import type { Scope } from "../core/signal";
import { clipped } from "../core/tokens";
import { makeButton, Popover } from "./controls";
import { h } from "./element";
import { composes } from "./composition";
import { keepFocus, pictureOf } from "./focus";
import { isHosts } from "./hosts";
import type { Prompts } from "./prompts";
import { followTyping, isTextField } from "./text_undo";

/** What stands in the panel: the keys, and what they do. */
export type KeyRow = [keys: string, text: string];

export const PROMPT_KEYS: KeyRow[] = [
  ["/", "edit the prompt (Enter runs it at once, Shift-Enter is a new line, Esc goes back to the picture)"],
  ["z, y, h", "earlier prompt, later prompt, list of earlier prompts"],
  ["k", "knock out (ablate) the head that is chosen: it writes nothing; again: restore it"],
  ["K", "restore all; again: put the interventions back"],
];

/**
 * Gives `handle` the plain keys that are pressed outside of fields; it answers whether it knew the key, and what the key
 * changed among the controls is read out. Escape leaves a field for the picture. The view keeps the focus, without which
 * it would hear no key.
 */
export function followKeys(scope: Scope, root: HTMLElement, handle: (key: string, target: HTMLElement) => boolean): void {
  keepFocus(scope, root);
  followTyping(scope, root);
  scope.listen(root, "keydown", (event) => {
    const target = event.target instanceof HTMLElement ? event.target : root;
    const typing = target.matches("textarea, input, select");
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    const hosts = isHosts(event, { typing, inText: isTextField(target) });
    if (!hosts && event.key !== "Tab") event.stopPropagation();
    if (typing && event.key === "Escape" && !modified && !event.defaultPrevented && !composes(event))
      pictureOf(root).focus({ preventScroll: true });
    if (typing || modified || hosts) return;
    if (target.matches("button") && (event.key === "Enter" || event.key === " ")) return;
    const before = controlTexts(root);
    if (!handle(event.key, target)) return;
    event.preventDefault();
    // Once the effects of this turn have changed the page.
    queueMicrotask(() => sayChanged(root, before));
  });
}

/** What the prompts and the controls say, by their names. */
function controlTexts(root: HTMLElement): Map<string, string> {
  const texts = new Map<string, string>();
  for (const control of root.querySelectorAll(":is(.miw-controls, .miw-prompts) :is(select, textarea, [aria-pressed])")) {
    const text =
      control instanceof HTMLSelectElement
        ? control.selectedOptions[0]?.textContent
        : control instanceof HTMLTextAreaElement
          ? control.value
          : control.getAttribute("aria-pressed") === "true"
            ? "on"
            : "off";
    texts.set(control.getAttribute("aria-label") ?? "", text ?? "");
  }
  return texts;
}

/** Who changes a control by a key, from somewhere else in the view, has no other way to hear of it. */
function sayChanged(root: HTMLElement, before: Map<string, string>): void {
  const changes = [...controlTexts(root)].filter(([name, text]) => before.has(name) && before.get(name) !== text);
  const announcer = root.querySelector("[aria-live=polite]");
  if (announcer && changes.length) announcer.textContent = changes.map(([name, text]) => `${name}: ${clipped(text, 200)}`).join("; ");
}

/** Does what the key does to the prompt, or to the interventions made; whether it is such a key. */
export function promptKey(prompts: Prompts, key: string): boolean {
  if (key === "/") prompts.focus();
  else if (key === "z") prompts.undo();
  else if (key === "y") prompts.redo();
  else if (key === "h") prompts.toggleHistory();
  else if (key === "k") prompts.say(prompts.view.toggleAblation());
  else if (key === "K") prompts.say(prompts.view.restore());
  else return false;
  return true;
}

/** The button "?" and the panel that it opens. */
export class KeyHelp {
  readonly button: HTMLElement;
  readonly popover: HTMLElement;
  readonly #panel: Popover;

  constructor(scope: Scope, rows: KeyRow[]) {
    const button = makeButton(scope, { label: "keys", tip: "Keys and how to read this view", shortcut: "?", text: "?" }, () =>
      this.toggle(),
    );
    this.#panel = new Popover(scope, button.element, "keys", () => {
      const lines = rows.map(([keys, text]) => h("tr", {}, h("th", { scope: "row" }, keys), h("td", {}, text)));
      return [h("table", "miw-keys", h("tbody", {}, ...lines))];
    });
    this.button = button.element;
    this.popover = this.#panel.element;
  }

  toggle(): void {
    this.#panel.toggle();
  }
}
