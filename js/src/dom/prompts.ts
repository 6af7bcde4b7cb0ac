/**
 * The prompt over a view, and where the view compares, a second one: editors, undo and redo, earlier prompts. Knows
 * nothing of what the view shows.
 */
import type { AnyView } from "../core/linked";
import { PromptHistory, promptText, samePrompt } from "../core/prompt";
import type { Readable } from "../core/signal";
import { clipped, visible } from "../core/tokens";
import type { PromptValue } from "../core/wire.gen";
import { makeButton, Popover } from "./controls";
import { h } from "./element";
import { PromptEditor } from "./prompt_editor";

export interface PromptsGiven {
  /** Whether a second prompt can be added. */
  compare: boolean;
  /** The view's width: editors grow with their text at that width. */
  width: Readable<number>;
  /** What is said of the size of the picture in the place of the prompt of a view of plain data. Follows what it reads. */
  size(): string;
  /** What the second prompt is to the view, where it is more than one to compare with. */
  second?: Second;
}

/** The words for two prompts, and for the ways to a second one and back. */
export interface Second {
  names: readonly [first: string, second: string];
  add: { label: string; tip: string; text: string };
  remove: { label: string; tip: string };
  /** What it begins with; the first prompt where that is "". */
  proposal?(): string;
}

const COMPARED: Second = {
  names: ["prompt", "second prompt, B"],
  add: {
    label: "compare with a second prompt",
    tip: "Compare with a second prompt: tokens are aligned, and A, B or A − B is shown",
    text: "+ compare",
  },
  remove: { label: "end the comparison", tip: "Show one prompt again" },
};

export class Prompts {
  readonly element = h("div", "miw-prompts");
  /** Opens under its button; belongs at the end of the view. */
  readonly popover: HTMLElement;
  readonly #editors: { prompt: PromptEditor; compare: PromptEditor };
  readonly #history: PromptHistory;
  readonly #earlier: Popover;
  #showTravel: () => void = () => undefined;

  constructor(
    readonly view: AnyView,
    given: PromptsGiven,
  ) {
    const { scope } = view;
    const [first, second] = (given.second ?? COMPARED).names;
    const editor = (which: "prompt" | "compare", name: string): PromptEditor =>
      new PromptEditor(scope, name, {
        typed: (value) => view.setPrompt(which, value),
        refused: (reason) =>
          (view.notice.value = reason ? { message: reason, hint: "The picture is that of the last good prompt.", unread: true } : null),
      });
    this.#editors = { prompt: editor("prompt", first), compare: editor("compare", second) };
    this.#history = new PromptHistory(view.history.peek(), view.prompt.peek());
    this.#earlier = this.#build(given);
    this.popover = this.#earlier.element;
    scope.effect(() => {
      void given.width.value;
      this.#editors.prompt.grow();
      this.#editors.compare.grow();
    });
  }

  focus(): void {
    this.#editors.prompt.focus();
  }

  /** Has it read out. */
  say(text: string): void {
    const announcer = this.element.closest(".miw-view")?.querySelector("[aria-live=polite]");
    if (announcer) announcer.textContent = text;
  }

  toggleHistory(): void {
    if (this.view.canCompute.peek()) this.#earlier.toggle();
  }

  undo(): void {
    if (this.view.canCompute.peek()) this.#travel(this.#history.undo());
  }

  redo(): void {
    if (this.view.canCompute.peek()) this.#travel(this.#history.redo());
  }

  #travel(prompt: PromptValue | null): void {
    if (prompt) this.view.setPrompt("prompt", prompt);
    this.#showTravel();
  }

  #build(given: PromptsGiven): Popover {
    const view = this.view;
    const { scope } = view;
    const { prompt, compare } = this.#editors;
    const undo = makeButton(scope, { label: "undo", tip: "Back to the prompt before this one", shortcut: "z", text: "↶" }, () =>
      this.undo(),
    );
    const redo = makeButton(scope, { label: "redo", tip: "Forward to the prompt after this one", shortcut: "y", text: "↷" }, () =>
      this.redo(),
    );
    const earlier = makeButton(scope, { label: "earlier prompts", tip: "Earlier prompts of this session", shortcut: "h", text: "⌄" }, () =>
      this.toggleHistory(),
    );
    const { add: adding, remove: removing, proposal } = given.second ?? COMPARED;
    const add = makeButton(scope, { ...adding, shortcut: "" }, () => {
      const present = view.prompt.peek();
      const text = proposal?.();
      if (present) view.setPrompt("compare", text ? { kind: "text", text } : structuredClone(present));
      queueMicrotask(() => compare.focus());
    });
    const remove = makeButton(scope, { ...removing, shortcut: "", text: "×" }, () => view.setPrompt("compare", null));
    const popover = new Popover(scope, earlier.element, "earlier prompts", () => this.#earlierContent());
    const badge = (text: string): HTMLElement => h("span", "miw-side", text);
    const [nameA, nameB] = view.runNames;
    const badgeA = badge(nameA);
    const first = h(
      "div",
      "miw-prompt-row",
      badgeA,
      prompt.element,
      h("span", "miw-prompt-buttons", undo.element, redo.element, earlier.element, given.compare ? add.element : null),
    );
    const second = h("div", "miw-prompt-row", badge(nameB), compare.element, h("span", "miw-prompt-buttons", remove.element));
    const caption = h("div", "miw-caption");
    this.element.append(first, ...(given.compare ? [second] : []), caption);

    this.#showTravel = () => {
      undo.show({ disabled: !this.#history.canUndo || !view.canCompute.peek() });
      redo.show({ disabled: !this.#history.canRedo || !view.canCompute.peek() });
    };
    scope.effect(() => {
      const present = view.prompt.value;
      const other = given.compare ? view.compare.value : null;
      const live = view.canCompute.value;
      if (present) this.#history.visit(present);
      first.hidden = !present;
      second.hidden = !other;
      badgeA.hidden = !other;
      prompt.show(present);
      compare.show(other);
      prompt.setReadOnly(!live);
      compare.setReadOnly(!live || view.lent.value);
      add.show({ hidden: !present || !!other, disabled: !live });
      remove.show({ disabled: !live });
      earlier.show({ disabled: !live });
      this.#showTravel();
    });
    scope.effect(() => {
      const picture = view.picture.value;
      caption.hidden = view.prompt.value !== null || !picture;
      if (picture) caption.textContent = [picture.manifest.model, given.size()].filter(Boolean).join(": ");
    });
    return popover;
  }

  #earlierContent(): Node[] {
    const view = this.view;
    const seen: PromptValue[] = [];
    for (const prompt of [...view.history.peek()].reverse()) {
      if (!seen.some((other) => samePrompt(other, prompt))) seen.push(prompt);
    }
    if (!seen.length) return [h("div", "miw-faint", "No earlier prompts yet.")];
    return seen.slice(0, 30).map((prompt) => {
      return h(
        "button",
        {
          class: "miw-menu-item",
          click: () => {
            this.#earlier.close();
            view.setPrompt("prompt", prompt);
          },
        },
        h("bdi", {}, clipped(visible(promptText(prompt)).replaceAll("·", " "), 120)),
      );
    });
  }
}
