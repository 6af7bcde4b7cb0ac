/**
 * Words that are put together in an input method (for Chinese, Japanese, Korean, accents): until the reader confirms one,
 * a field holds half of it. Knows nothing of what fields mean.
 */
import type { Scope } from "../core/signal";

/** What browsers say in place of a key that went to the input method. */
const TO_INPUT_METHOD = 229;

/** Whether a key belongs to the input method: Enter confirms a word there, Escape drops it. */
export function composes(event: KeyboardEvent): boolean {
  // Safari ends the composition before it tells of the key that did so.
  return event.isComposing || event.keyCode === TO_INPUT_METHOD;
}

export interface Composition {
  /** A word is being put together. */
  readonly open: boolean;
}

/** Follows the words that are put together in `element`; `ended` is called when one is confirmed or dropped. */
export function followComposition(scope: Scope, element: HTMLElement, ended: () => void): Composition {
  const composition = { open: false };
  scope.listen(element, "compositionstart", () => (composition.open = true));
  scope.listen(element, "compositionend", () => {
    composition.open = false;
    ended();
  });
  scope.listen(element, "focusin", () => (composition.open = false));
  return composition;
}
