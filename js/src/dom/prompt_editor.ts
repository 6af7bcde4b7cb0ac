/**
 * An editor of one prompt that keeps its kind: text, token ids, or chat messages. It says what was typed 200 ms after
 * the last key, or at once on Enter; of a word in an input method, once it is whole. Knows nothing of models or of who
 * listens.
 */
import { kindOf, looksLikeIds, parseIds, promptText, samePrompt, type PromptKind } from "../core/prompt";
import type { Scope } from "../core/signal";
import type { ChatMessage, PromptValue } from "../core/wire.gen";
import { composes, followComposition, type Composition } from "./composition";
import { h } from "./element";

export interface PromptEvents {
  typed(value: PromptValue): void;
  /** What was typed is no prompt; "" once it is one again. */
  refused(reason: string): void;
}

const DEBOUNCE_MS = 200;
const MOST_LINES = 4;
/** Of the style sheet's .miw-prompt, in pixels. */
const PADDING = 6;
const BORDERS = 2;
const ROLES = ["system", "user", "assistant"];

export class PromptEditor {
  readonly element = h("div", "miw-prompt-editor");
  #label: string;
  #kind: PromptKind = "text";
  #value: PromptValue | null = null;
  #readOnly = false;
  #timer = 0;
  #dirty = false;
  readonly #composition: Composition;
  /** What was to be shown while the reader was typing: it is, if nothing else comes of the typing. */
  #waiting: { value: PromptValue | null } | null = null;
  #events: PromptEvents;

  constructor(scope: Scope, label: string, events: PromptEvents) {
    this.#label = label;
    this.#events = events;
    scope.add(() => window.clearTimeout(this.#timer));
    this.#composition = followComposition(scope, this.element, () => (this.#dirty || this.#waiting) && this.#saySoon());
    scope.listen(this.element, "compositionstart", () => window.clearTimeout(this.#timer));
    scope.listen(this.element, "input", () => {
      this.#dirty = true;
      this.#grow();
      if (!this.#composition.open) this.#saySoon();
    });
    scope.listen(this.element, "keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || composes(event)) return;
      if (!(event.target instanceof HTMLTextAreaElement)) return;
      event.preventDefault();
      this.#dirty = true;
      this.#say();
    });
    scope.listen(this.element, "focusout", () => {
      if (!this.#dirty) return;
      // A word ends with the focus, and some browsers say so afterwards.
      if (this.#composition.open) this.#saySoon();
      else this.#say();
    });
  }

  get value(): PromptValue | null {
    return this.#value;
  }

  /** Shows `value`, unless the reader is typing something else right now. */
  show(value: PromptValue | null): void {
    if ((this.#dirty || this.#composition.open) && this.element.contains(document.activeElement)) {
      this.#waiting = { value };
      return;
    }
    this.#waiting = null;
    if (samePrompt(value, this.#value) && (this.element.childElementCount || !value)) return;
    this.#value = value;
    this.#dirty = false;
    if (!value) {
      this.element.replaceChildren();
      return;
    }
    this.#kind = kindOf(value);
    if (this.#kind === "chat") this.#showChat(value.messages ?? []);
    else {
      const held = this.#areas()[0];
      const text = promptText(value);
      if (held && !this.element.querySelector(".miw-chat-row")) {
        // Even the same text, set anew, would end what the browser can undo.
        if (held.value !== text) held.value = text;
      } else this.element.replaceChildren(this.#area(text, this.#kind === "ids" ? `${this.#label}, token ids` : this.#label));
    }
    this.#grow();
    this.setReadOnly(this.#readOnly);
  }

  setReadOnly(readOnly: boolean): void {
    this.#readOnly = readOnly;
    for (const area of this.#areas()) area.readOnly = readOnly;
    for (const control of this.element.querySelectorAll<HTMLButtonElement | HTMLInputElement>("button, input")) control.disabled = readOnly;
  }

  focus(): void {
    this.#areas()[0]?.focus();
  }

  /** Heights follow the text; called again when the width changes. */
  grow(): void {
    this.#grow();
  }

  #areas(): HTMLTextAreaElement[] {
    return [...this.element.querySelectorAll("textarea")];
  }

  #area(text: string, label: string): HTMLTextAreaElement {
    const area = h("textarea", {
      class: "miw-prompt",
      rows: 1,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      dir: "auto",
      "aria-label": label,
    });
    area.value = text;
    return area;
  }

  #showChat(messages: ChatMessage[]): void {
    const rows = messages.map((message) => this.#chatRow(message));
    const click = (): void => {
      add.before(this.#chatRow({ role: "user", content: "" }));
      this.#areas().at(-1)?.focus();
      this.#grow();
    };
    const add = h("button", { class: "miw-button miw-chat-add", "data-tip": "Add a message to the chat", click }, "+ message");
    this.element.replaceChildren(...rows, add);
  }

  #chatRow(message: ChatMessage): HTMLElement {
    const role = h("input", {
      class: "miw-role",
      "aria-label": "role",
      size: 9,
      spellcheck: "false",
      "data-tip": `Who speaks: ${ROLES.join(", ")}, or what the template knows`,
    });
    role.value = message.role;
    const click = (): void => {
      row.remove();
      this.#dirty = true;
      this.#say();
    };
    const remove = h("button", { class: "miw-button miw-button-bare", "aria-label": "remove this message", click }, "×");
    const row = h("div", "miw-chat-row", role, this.#area(message.content, `content, ${message.role}`), remove);
    return row;
  }

  #saySoon(): void {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#say(), DEBOUNCE_MS);
  }

  #say(): void {
    window.clearTimeout(this.#timer);
    if (this.#readOnly) return;
    this.#dirty = false;
    const typed = this.#typed();
    if (typeof typed === "string") {
      this.#events.refused(typed);
      return;
    }
    this.#events.refused("");
    const waiting = this.#waiting;
    this.#waiting = null;
    if (samePrompt(typed, this.#value)) {
      if (waiting) this.show(waiting.value);
      return;
    }
    this.#value = typed;
    this.#events.typed(typed);
  }

  #typed(): PromptValue | string {
    if (this.#kind === "chat") {
      const messages = [...this.element.querySelectorAll(".miw-chat-row")].map((row) => ({
        role: row.querySelector("input")?.value ?? "user",
        content: row.querySelector("textarea")?.value ?? "",
      }));
      return { kind: "chat", messages };
    }
    const text = this.#areas()[0]?.value ?? "";
    if (this.#kind === "text") return { kind: "text", text };
    const ids = parseIds(text);
    if (typeof ids !== "string") return { kind: "ids", ids };
    // Words typed over the numbers are a text again; a slip within a list of numbers is not.
    return looksLikeIds(text) ? ids : { kind: "text", text };
  }

  #grow(): void {
    for (const area of this.#areas()) {
      area.style.height = "auto";
      const line = parseFloat(getComputedStyle(area).lineHeight) || 18;
      area.style.height = `${Math.min(area.scrollHeight, Math.round(line * MOST_LINES) + PADDING) + BORDERS}px`;
    }
  }
}
