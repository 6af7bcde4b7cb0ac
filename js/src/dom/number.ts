/** A field for one number, with a name and a tooltip that teaches the term. It holds no state of its own. */
import type { Scope } from "../core/signal";
import { freshId, h } from "./element";

export interface NumberField {
  element: HTMLElement;
  input: HTMLInputElement;
  show(value: number, state?: { disabled?: boolean; tip?: string }): void;
}

export interface NumberRange {
  low: number;
  high: number;
  step: number;
  whole: boolean;
}

/** Says what was typed once it is confirmed, brought into the range; what is no number is put back. */
export function makeNumber(
  scope: Scope,
  described: { label: string; tip: string },
  range: NumberRange,
  chosen: (value: number) => void,
): NumberField {
  const id = freshId("number");
  const input = h("input", {
    id,
    type: "number",
    class: "miw-numeric",
    "aria-label": described.label,
    min: range.low,
    max: range.high,
    step: range.step,
    "aria-description": described.tip,
    inputmode: range.whole ? "numeric" : "decimal",
  });
  const element = h(
    "label",
    { class: "miw-control", for: id, "data-tip": described.tip },
    h("span", "miw-control-label", described.label),
    input,
  );
  let held = NaN;
  scope.listen(input, "change", () => {
    const typed = input.value.trim() === "" ? NaN : Number(input.value);
    if (!Number.isFinite(typed)) {
      input.value = String(held);
      return;
    }
    const inside = Math.min(range.high, Math.max(range.low, range.whole ? Math.round(typed) : typed));
    input.value = String(inside);
    if (inside === held) return;
    held = inside;
    chosen(inside);
  });
  return {
    element,
    input,
    show(value, state = {}) {
      // Not under the reader's hand while it is being typed.
      if (value !== held || document.activeElement !== input) input.value = String(value);
      held = value;
      input.disabled = state.disabled ?? false;
      element.classList.toggle("miw-control-off", input.disabled);
      element.dataset["tip"] = state.tip ?? described.tip;
    },
  };
}
