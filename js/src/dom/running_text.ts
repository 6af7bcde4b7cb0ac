/**
 * Tokens in reading order in a place that scrolls: which of them are in sight, marks on them, what is under the pointer,
 * and one that is kept in sight. Token strings are untrusted and only ever become text. Knows nothing of looks.
 */
import type { Scope } from "../core/signal";
import { around, h } from "./element";
import { tokenText } from "./token_text";

/** Longer tokens are cut in the text and shown whole in the tooltip. */
const LONGEST = 40;
/** Painted before the size of the text is known. */
const FIRST_PAINTED = 300;
/** Before Hebrew in Unicode nothing runs from right to left: only these tokens need to keep their direction to themselves. */
const MAY_RUN_BACK = /[\u0590-\uffff]/;

export interface TextEvents<Pointed> {
  point(pointed: Pointed | null, event: PointerEvent): void;
  pick(pointed: Pointed): void;
}

export abstract class RunningText<Pointed, Mark extends string> {
  protected readonly text = h("div", "miw-strip-text");
  readonly element = h("div", { class: "miw-strip", tabindex: 0, role: "group" }, this.text);
  /** The tokens in sight and a little more: a long prompt has thousands, and only these are painted. */
  protected sight = { first: 0, last: FIRST_PAINTED };
  #marks: Partial<Record<Mark, number | null>> = {};
  /** The token that is kept in sight until the reader scrolls, and whether it has to be looked for. */
  #kept: number | null = null;
  #lost = false;
  #height = 0;
  #scrolled = 0;

  constructor(scope: Scope, events: TextEvents<Pointed>) {
    const { element } = this;
    scope.listen(element, "pointermove", (event) => events.point(this.under(event.target), event));
    scope.listen(element, "pointerleave", (event) => events.point(null, event));
    scope.listen(element, "scroll", () => {
      if (Math.abs(element.scrollTop - this.#scrolled) > 1) this.#kept = null;
      this.look();
    });
    scope.listen(element, "click", (event) => {
      const picked = this.under(event.target);
      if (picked !== null) events.pick(picked);
    });
  }

  /** How many there are, and the element of each. */
  protected abstract get count(): number;
  protected abstract elementAt(place: number): HTMLElement | undefined;
  protected abstract under(target: EventTarget | null): Pointed | null;
  /** Paints those in sight. */
  protected abstract paintSight(): void;

  /** The closest element that `selector` finds, within this text. */
  protected closest(target: EventTarget | null, selector: string): HTMLElement | null {
    const found = around(target, selector);
    return found && this.element.contains(found) ? found : null;
  }

  protected startOver(): void {
    this.#marks = {};
    this.sight = { first: 0, last: FIRST_PAINTED };
  }

  /** Finds out which tokens are in sight; called when the size of the text has changed. */
  look(): void {
    const { clientHeight } = this.element;
    if (!clientHeight) return;
    if (this.#lost || clientHeight !== this.#height) this.#scrollToKept();
    this.#height = clientHeight;
    const { scrollTop } = this.element;
    // Tokens stand in reading order, so their tops only grow.
    const firstAt = (height: number): number => {
      let low = 0;
      let high = this.count;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.elementAt(middle)!.offsetTop < height) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    this.sight = { first: firstAt(scrollTop - clientHeight), last: firstAt(scrollTop + 2 * clientHeight) };
    this.paintSight();
  }

  mark(marks: Record<Mark, number | null>): void {
    for (const name of Object.keys(marks) as Mark[]) {
      const before = this.#marks[name] ?? null;
      const after = marks[name];
      if (before === after) continue;
      if (before !== null) this.elementAt(before)?.classList.remove(`miw-token-${name}`);
      if (after !== null) this.elementAt(after)?.classList.add(`miw-token-${name}`);
    }
    this.#marks = { ...marks };
  }

  /** Lets `change` put other elements in their places; marks stay where they are, whoever changed them first. */
  protected unmarked(change: () => void): void {
    const marks = this.#marks as Record<Mark, number | null>;
    this.mark(Object.fromEntries(Object.keys(marks).map((name) => [name, null])) as Record<Mark, null>);
    change();
    this.mark(marks);
  }

  /** Scrolls the text, and nothing around it, until the token is in sight: with the next frame or the next look. */
  reveal(place: number): void {
    this.#kept = place;
    this.#lost = true;
    requestAnimationFrame(() => {
      if (this.#lost) this.look();
    });
  }

  #scrollToKept(): void {
    this.#lost = false;
    const kept = this.#kept === null ? null : this.elementAt(this.#kept);
    if (!kept) return;
    const box = this.element;
    const top = kept.offsetTop;
    if (top < box.scrollTop + 8) box.scrollTop = Math.max(0, top - 24);
    else if (top + kept.offsetHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = top + kept.offsetHeight - box.clientHeight + 12;
    }
    this.#scrolled = box.scrollTop;
  }
}

/** Marks stand where spaces were: says where the line may break. */
export function mayBreakBefore(strings: string[], position: number): boolean {
  return /^\s/.test(strings[position] ?? "") || /\s$/.test(strings[position - 1] ?? "");
}

export function makeToken(string: string, special: boolean, position: number): HTMLElement {
  const span = document.createElement("span");
  span.className = `miw-token${special ? " miw-token-special" : ""}${MAY_RUN_BACK.test(string) ? " miw-token-isolated" : ""}`;
  span.dataset["position"] = String(position);
  tokenText(span, string, LONGEST);
  return span;
}
