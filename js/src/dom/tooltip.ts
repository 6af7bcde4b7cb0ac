/**
 * One tooltip per view: a line or two beside the pointer, or beside a focused control that has `data-tip`.
 * It stays inside the view, so that no host can clip it.
 */
import type { Scope } from "../core/signal";
import { around, h } from "./element";

export class Tooltip {
  readonly element = h("div", { class: "miw-tooltip", role: "tooltip", hidden: true });
  #root: HTMLElement;
  #timer = 0;

  constructor(scope: Scope, root: HTMLElement) {
    this.#root = root;
    root.append(this.element);
    const owner = (event: Event): HTMLElement | null => around(event.target, "[data-tip]");
    scope.listen(root, "pointerover", (event) => {
      const control = owner(event);
      if (!control || !root.contains(control)) return;
      window.clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => this.#besideControl(control), 350);
    });
    scope.listen(root, "pointerout", (event) => {
      if (owner(event)) this.hide();
    });
    scope.listen(root, "pointerdown", () => this.hide());
    scope.listen(root, "focusin", (event) => {
      const control = owner(event);
      // Only for people who came by keyboard: a click needs no explanation on top of it.
      if (control?.matches(":focus-visible") && !control.matches("textarea")) this.#besideControl(control);
    });
    scope.listen(root, "focusout", () => this.hide());
    // Who types has read it.
    scope.listen(root, "input", () => this.hide());
    scope.add(() => window.clearTimeout(this.#timer));
  }

  /** Shows `lines` beside a point in the window's coordinates. */
  show(lines: (string | Node)[], x: number, y: number): void {
    window.clearTimeout(this.#timer);
    this.element.replaceChildren(...lines.map((line) => h("div", {}, line)));
    this.element.hidden = false;
    const frame = this.#root.getBoundingClientRect();
    const width = this.element.offsetWidth;
    const height = this.element.offsetHeight;
    let left = x - frame.left + 14;
    let top = y - frame.top + 16;
    if (left + width > frame.width - 4) left = x - frame.left - width - 10;
    if (top + height > frame.height - 4) top = y - frame.top - height - 10;
    this.element.style.left = `${Math.max(4, Math.min(left, frame.width - width - 4))}px`;
    this.element.style.top = `${Math.max(4, top)}px`;
  }

  /** Shows `lines` beside the pointer, or hides where there are none; keys have no pointer. */
  over(lines: (string | Node)[], event: MouseEvent | null): void {
    if (!lines.length) this.hide();
    else if (event) this.show(lines, event.clientX, event.clientY);
  }

  hide(): void {
    window.clearTimeout(this.#timer);
    this.element.hidden = true;
  }

  #besideControl(control: HTMLElement): void {
    const text = control.dataset["tip"];
    if (!text || !control.isConnected) return;
    const place = control.getBoundingClientRect();
    this.show([text], place.left - 8, place.bottom - 10);
  }
}
