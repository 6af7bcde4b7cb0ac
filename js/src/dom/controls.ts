/** Labelled controls, each with a name, a tooltip that teaches the term, and a key. They hold no state of their own. */
import type { Scope } from "../core/signal";
import { freshId, h, setAttributes } from "./element";
import { isVisible } from "./focus";

interface Described {
  label: string;
  tip: string;
  /** The key that works it, shown in the tooltip. */
  shortcut: string;
}

export interface Choice {
  value: string;
  label: string;
  disabled?: boolean;
}

export interface Select {
  element: HTMLElement;
  select: HTMLSelectElement;
  show(choices: Choice[], value: string, state?: { disabled?: boolean; tip?: string }): void;
}

function tipOf(described: Described, tip = described.tip): string {
  return described.shortcut ? `${tip}  [${described.shortcut}]` : tip;
}

export function makeSelect(scope: Scope, described: Described, chosen: (value: string) => void): Select {
  const id = freshId("select");
  const select = h("select", { id, class: "miw-select", "aria-label": described.label });
  const element = h(
    "label",
    { class: "miw-control", for: id, "data-tip": tipOf(described) },
    h("span", "miw-control-label", described.label),
    select,
  );
  let shown = "";
  scope.listen(select, "change", () => chosen(select.value));
  return {
    element,
    select,
    show(choices, value, state = {}) {
      const key = JSON.stringify(choices);
      if (key !== shown) {
        shown = key;
        select.replaceChildren(...choices.map((choice) => h("option", { value: choice.value, disabled: choice.disabled }, choice.label)));
      }
      select.value = value;
      select.disabled = state.disabled ?? false;
      element.dataset["tip"] = tipOf(described, state.tip);
      setAttributes(select, { "aria-description": state.tip ?? described.tip });
      element.classList.toggle("miw-control-off", select.disabled);
    },
  };
}

export interface Slider {
  element: HTMLElement;
  input: HTMLInputElement;
  show(range: { low: number; high: number; value: number; text: string; hidden: boolean }): void;
}

export function makeSlider(scope: Scope, described: Described, moved: (value: number) => void): Slider {
  const input = h("input", { type: "range", class: "miw-slider", "aria-label": described.label, step: "any" });
  const output = h("output", "miw-slider-value");
  const element = h("label", { class: "miw-control", "data-tip": tipOf(described) }, input, output);
  scope.listen(input, "input", () => moved(Number(input.value)));
  return {
    element,
    input,
    show({ low, high, value, text, hidden }) {
      element.hidden = hidden;
      input.min = String(low);
      input.max = String(high);
      input.step = high > low ? String((high - low) / 200) : "any";
      if (document.activeElement !== input || Number(input.value) !== value) input.value = String(value);
      output.textContent = text;
      input.setAttribute("aria-valuetext", text);
    },
  };
}

/** Through the items of a panel. */
const STEPS: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };

export interface Button {
  element: HTMLButtonElement;
  show(state: { text?: string; pressed?: boolean; disabled?: boolean; hidden?: boolean; tip?: string }): void;
}

export function makeButton(scope: Scope, described: Described & { text: string }, pressed: () => void): Button {
  const element = h(
    "button",
    { class: "miw-button", "aria-label": described.label, "aria-description": described.tip, "data-tip": tipOf(described) },
    described.text,
  );
  scope.listen(element, "click", () => element.getAttribute("aria-disabled") !== "true" && pressed());
  return {
    element,
    show(state) {
      if (state.text !== undefined) element.textContent = state.text;
      if (state.pressed !== undefined) element.setAttribute("aria-pressed", String(state.pressed));
      // Switched off by name: a browser takes the focus from what is switched off in its own way, and says no tooltip.
      if (state.disabled !== undefined) element.setAttribute("aria-disabled", String(state.disabled));
      if (state.hidden !== undefined) element.hidden = state.hidden;
      if (state.tip === undefined) return;
      element.dataset["tip"] = tipOf(described, state.tip);
      setAttributes(element, { "aria-description": state.tip });
    },
  };
}

/**
 * A panel that opens under its button and closes on Escape, on a click elsewhere, and when the focus leaves it. The focus
 * goes back to where it came from.
 */
export class Popover {
  readonly element: HTMLElement;
  #from: HTMLElement;

  constructor(
    scope: Scope,
    readonly opener: HTMLElement,
    label: string,
    readonly fill: () => Node[],
  ) {
    this.element = h("div", { class: "miw-popover", role: "dialog", "aria-label": label, tabindex: -1, hidden: true });
    this.#from = opener;
    opener.setAttribute("aria-haspopup", "dialog");
    opener.setAttribute("aria-expanded", "false");
    scope.listen(this.element, "keydown", (event) => this.#key(event));
    scope.listen(this.element, "focusout", ({ relatedTarget }) => {
      // The button itself closes it once it is pressed.
      if (relatedTarget instanceof Node && !this.element.contains(relatedTarget) && !opener.contains(relatedTarget)) this.close();
    });
    const outside = (event: Event): void => {
      if (this.element.hidden || !(event.target instanceof Node)) return;
      if (!this.element.contains(event.target) && !opener.contains(event.target)) this.close();
    };
    scope.listen(document, "pointerdown", outside);
  }

  toggle(): void {
    if (this.element.hidden) this.open();
    else this.close();
  }

  open(): void {
    const active = document.activeElement;
    const view = this.element.parentElement;
    this.#from = active instanceof HTMLElement && active !== view && view?.contains(active) ? active : this.opener;
    this.element.replaceChildren(...this.fill());
    this.element.hidden = false;
    this.opener.setAttribute("aria-expanded", "true");
    const root = this.element.offsetParent ?? this.element.parentElement!;
    const frame = root.getBoundingClientRect();
    const place = this.opener.getBoundingClientRect();
    const left = Math.min(place.left - frame.left, frame.width - this.element.offsetWidth - 8);
    this.element.style.left = `${Math.max(8, left)}px`;
    this.element.style.top = `${place.bottom - frame.top + 4}px`;
    this.element.style.maxHeight = `${Math.max(80, frame.bottom - place.bottom - 12)}px`;
    (this.#items()[0] ?? this.element).focus({ preventScroll: true });
  }

  close(): void {
    if (this.element.contains(document.activeElement)) (isVisible(this.#from) ? this.#from : this.opener).focus({ preventScroll: true });
    this.element.hidden = true;
    this.opener.setAttribute("aria-expanded", "false");
  }

  #items(): HTMLElement[] {
    return [...this.element.querySelectorAll<HTMLElement>("button")];
  }

  #key(event: KeyboardEvent): void {
    const items = this.#items();
    const at = items.indexOf(document.activeElement as HTMLElement);
    const last = items.length - 1;
    if (event.key === "Escape") this.close();
    else if (event.key === "Tab") {
      if (at >= 0 && at !== (event.shiftKey ? 0 : last)) return;
      // The panel stands at the end of the view, and is read where its button stands.
      this.opener.focus({ preventScroll: true });
      this.close();
      if (!event.shiftKey) return;
    } else if (items.length && event.key in STEPS) items[Math.max(0, Math.min(last, at + STEPS[event.key]!))]!.focus();
    else return;
    event.stopPropagation();
    event.preventDefault();
  }
}
