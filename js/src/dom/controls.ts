/** Labelled controls, each with a name, a tooltip that teaches the term, and a key. They hold no state of their own. */
import type { Scope } from "../core/signal";
import { freshId, h } from "./element";

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
  const element = h("label", { class: "miw-control", for: id, "data-tip": tipOf(described) }, h("span", { class: "miw-control-label" }, described.label), select);
  let shown = "";
  scope.listen(select, "change", () => chosen(select.value));
  return {
    element,
    select,
    show(choices, value, state = {}) {
      const key = JSON.stringify(choices);
      if (key !== shown) {
        shown = key;
        select.replaceChildren(
          ...choices.map((choice) => h("option", { value: choice.value, disabled: choice.disabled }, choice.label)),
        );
      }
      select.value = value;
      select.disabled = state.disabled ?? false;
      element.dataset["tip"] = tipOf(described, state.tip);
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
  const output = h("output", { class: "miw-slider-value" });
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

export interface Button {
  element: HTMLButtonElement;
  show(state: { text?: string; pressed?: boolean; disabled?: boolean; hidden?: boolean; tip?: string }): void;
}

export function makeButton(scope: Scope, described: Described & { text: string }, pressed: () => void): Button {
  const element = h("button", { type: "button", class: "miw-button", "aria-label": described.label, "data-tip": tipOf(described) }, described.text);
  scope.listen(element, "click", () => pressed());
  return {
    element,
    show(state) {
      if (state.text !== undefined) element.textContent = state.text;
      if (state.pressed !== undefined) element.setAttribute("aria-pressed", String(state.pressed));
      if (state.disabled !== undefined) element.disabled = state.disabled;
      if (state.hidden !== undefined) element.hidden = state.hidden;
      if (state.tip !== undefined) element.dataset["tip"] = tipOf(described, state.tip);
    },
  };
}

/** A panel that opens under its button and closes on Escape or a click elsewhere. */
export class Popover {
  readonly element: HTMLElement;

  constructor(
    scope: Scope,
    readonly opener: HTMLElement,
    label: string,
    readonly fill: () => Node[],
  ) {
    this.element = h("div", { class: "miw-popover", role: "dialog", "aria-label": label, tabindex: -1, hidden: true });
    opener.setAttribute("aria-haspopup", "dialog");
    opener.setAttribute("aria-expanded", "false");
    scope.listen(this.element, "keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
      opener.focus();
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
    (this.element.querySelector<HTMLElement>("button") ?? this.element).focus({ preventScroll: true });
  }

  close(): void {
    this.element.hidden = true;
    this.opener.setAttribute("aria-expanded", "false");
  }
}
