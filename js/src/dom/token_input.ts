/**
 * A field for one token, with faint marks where its text has whitespace, and a list of suggestions under it. It says
 * what was chosen on Enter, on leaving the field, or when a suggestion is taken. Knows nothing of models.
 */
import { Signal, type Scope } from "../core/signal";
import { visible } from "../core/tokens";
import { composes, followComposition } from "./composition";
import { around, code, faint, freshId, h, setAttributes } from "./element";

export interface Suggestion {
  /** What is handed on when this one is taken. */
  value: string | number | null;
  /** The token's text; "" for none. */
  text: string;
  /** What stands beside it: a probability, or where it comes from. */
  note: string;
  /** Length of the bar behind the note, 0 … 1. */
  share: number;
}

export interface TokenInputState {
  /** The text in the field; "" where the model chooses. */
  text: string;
  /** What stands in an empty field. */
  placeholder: string;
  readOnly: boolean;
  refused: boolean;
  /** The placeholder is no token. */
  none: boolean;
}

export interface TokenInputEvents {
  chosen(value: string | number | null): void;
  suggestions(): Suggestion[];
}

const LONGEST = 24;
const SHORTEST = 3;

export class TokenInput {
  readonly #mirror = h("span", { class: "miw-token-mirror", "aria-hidden": "true" });
  readonly input: HTMLInputElement;
  readonly element: HTMLElement;
  /** The suggestions; belongs at the end of the view, over everything. */
  readonly list: HTMLElement;
  readonly open = new Signal(false);
  readonly #events: TokenInputEvents;
  #shown = "";
  #offered: Suggestion[] = [];
  #active = -1;

  constructor(scope: Scope, name: string, events: TokenInputEvents) {
    this.#events = events;
    const id = freshId("suggestions");
    this.list = h("div", {
      class: "miw-popover miw-suggestions",
      role: "listbox",
      id,
      "aria-label": `suggestions for the ${name}`,
      hidden: true,
    });
    this.input = h("input", {
      type: "text",
      class: "miw-token-field",
      role: "combobox",
      "aria-label": name,
      "aria-autocomplete": "none",
      "aria-expanded": "false",
      "aria-controls": id,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      dir: "auto",
    });
    this.element = h("span", "miw-token-input", this.#mirror, this.input);
    const { input } = this;
    scope.listen(input, "input", () => {
      this.#activate(-1);
      this.#measure();
    });
    scope.listen(input, "focus", () => this.#openList());
    scope.listen(input, "click", () => this.#openList());
    const left = (): void => {
      if (document.activeElement !== input) this.#commit();
    };
    const composition = followComposition(scope, input, left);
    scope.listen(input, "blur", () => {
      this.#close();
      // A word ends with the focus, and some browsers say so afterwards.
      if (!composition.open) this.#commit();
    });
    scope.listen(input, "keydown", (event) => this.#key(event));
    // The field keeps the focus while a suggestion is taken.
    scope.listen(this.list, "pointerdown", (event) => event.preventDefault());
    scope.listen(this.list, "click", (event) => {
      const item = around(event.target, "[role=option]");
      if (item) this.#take(Number(item.dataset["at"]));
    });
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  /** Shows the state, unless the reader is typing something else right now. */
  show({ text, placeholder, readOnly, refused, none }: TokenInputState): void {
    const { input } = this;
    const typing = document.activeElement === input && input.value !== this.#shown;
    if (!typing) {
      // A field holds one line: what has more is shown with marks, and stays what it is until it is typed over.
      this.#shown = /[\n\r]/.test(text) ? visible(text) : text;
      if (input.value !== this.#shown) input.value = this.#shown;
    }
    input.readOnly = readOnly;
    input.placeholder = placeholder;
    setAttributes(input, { "aria-invalid": refused ? "true" : null });
    input.classList.toggle("miw-token-none", none);
    if (readOnly) this.#close();
    this.#measure();
  }

  #measure(): void {
    const { value, placeholder } = this.input;
    const length = [...(value || placeholder)].length;
    this.element.style.width = `${Math.min(LONGEST, Math.max(SHORTEST, length)) + 1}ch`;
    this.#mirror.replaceChildren(
      ...[...value].map((character) => {
        const mark = visible(character);
        return h("span", { class: mark === character ? "miw-token-unmarked" : "miw-mark" }, mark === character ? character : [...mark][0]!);
      }),
    );
  }

  #key(event: KeyboardEvent): void {
    if (composes(event)) return;
    const { open } = this;
    switch (event.key) {
      case "ArrowDown":
      case "ArrowUp":
        if (!open.peek()) this.#openList();
        else this.#step(event.key === "ArrowDown" ? 1 : -1);
        break;
      case "Enter":
        if (open.peek() && this.#active >= 0) this.#take(this.#active);
        else {
          this.#commit();
          this.#close();
        }
        break;
      case "Escape":
        if (open.peek()) {
          this.#close();
          break;
        }
        // The view takes the focus.
        this.input.value = this.#shown;
        this.#measure();
        return;
      default:
        return;
    }
    event.preventDefault();
  }

  #commit(): void {
    const { input } = this;
    if (input.readOnly || input.value === this.#shown) return;
    this.#shown = input.value;
    this.#events.chosen(input.value === "" ? null : input.value);
  }

  #take(at: number): void {
    const taken = this.#offered[at];
    if (!taken) return;
    this.#close();
    this.#shown = this.input.value = taken.value === null ? "" : taken.text;
    this.#measure();
    this.#events.chosen(taken.value);
  }

  #openList(): void {
    if (this.input.readOnly || this.open.peek()) return;
    this.#offered = this.#events.suggestions();
    if (!this.#offered.length) return;
    this.list.replaceChildren(
      ...this.#offered.map(({ text, note, share }, at) => {
        const bar = h("span", { class: "miw-suggestion-bar", style: { width: `${Math.round(100 * share)}%` } });
        return h(
          "div",
          { class: "miw-suggestion", role: "option", id: `${this.list.id}-${at}`, "data-at": at, "aria-selected": "false" },
          ...(text ? [code(visible(text)), h("span", "miw-suggestion-share", bar)] : []),
          faint(note),
        );
      }),
    );
    this.list.hidden = false;
    this.open.value = true;
    this.input.setAttribute("aria-expanded", "true");
    this.#activate(-1);
    this.#place();
  }

  #place(): void {
    const around = this.list.offsetParent ?? this.list.parentElement;
    if (!around) return;
    const frame = around.getBoundingClientRect();
    const place = this.element.getBoundingClientRect();
    this.list.style.left = `${Math.max(4, Math.min(place.left - frame.left, frame.width - this.list.offsetWidth - 8))}px`;
    this.list.style.top = `${place.bottom - frame.top + 2}px`;
    this.list.style.maxHeight = `${Math.max(80, frame.bottom - place.bottom - 8)}px`;
  }

  #step(by: number): void {
    const count = this.#offered.length;
    const next = this.#active < 0 ? (by > 0 ? 0 : count - 1) : (this.#active + by + count) % count;
    this.#activate(next);
  }

  #activate(at: number): void {
    this.list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = at;
    const item = this.list.children[at];
    item?.setAttribute("aria-selected", "true");
    item?.scrollIntoView?.({ block: "nearest" });
    setAttributes(this.input, { "aria-activedescendant": item ? item.id : null });
  }

  #close(): void {
    if (!this.open.peek()) return;
    this.list.hidden = true;
    this.open.value = false;
    this.input.setAttribute("aria-expanded", "false");
    this.#activate(-1);
  }
}
