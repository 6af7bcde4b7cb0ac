/** The row of controls over the text: what is coloured, and how the model writes on. Knows nothing of how either is drawn. */
import { PROMPT } from "../../core/options.gen";
import type { PromptOptions } from "../../core/wire.gen";
import { makeButton } from "../../dom/controls";
import { h } from "../../dom/element";
import { OptionControls, type Now } from "../../dom/options";
import type { PromptView } from "./model";

const { options: OPTIONS } = PROMPT;
const WRITE_TIP = "The model writes on, one token after another, each drawn from what it expects; Stop in the line below ends it";
const NO_KERNEL = "Writing needs the model: this picture stands without a kernel";
const STALE = "The picture is of an earlier run: what was asked for since has not been run";

export class Toolbar {
  readonly elements: HTMLElement[];
  readonly controls: OptionControls<PromptOptions>;

  /** `undo` goes back to the prompt before what was written. */
  constructor(view: PromptView, undo: () => void) {
    const { scope } = view;
    const live = (): boolean => view.canCompute.value && view.prompt.value !== null;
    const field = (): Now<number> => (live() ? {} : { disabled: true, tip: NO_KERNEL });
    const drawing = (): Now<number> =>
      live() && view.options.value.temperature === 0
        ? { disabled: true, tip: "Nothing is drawn at temperature 0: each token is the likeliest" }
        : field();
    const colors = (): Now<PromptOptions["color"]> => {
      if (view.show.value !== "difference") return {};
      const choices = [{ value: view.options.value.color, label: PROMPT.measures.surprisal.label }];
      return { choices, disabled: true, tip: "The difference is of surprisal; choose A or B for other colours" };
    };
    this.controls = new OptionControls<PromptOptions>(view, OPTIONS, {
      color: { now: colors },
      show: { now: () => ({ value: view.show.value, hidden: !view.picture.value?.b }) },
      length: { now: field },
      temperature: { now: field },
      top_p: { now: drawing },
      seed: { now: drawing },
    });
    const write = makeButton(scope, { label: "write", tip: WRITE_TIP, shortcut: "w", text: "write" }, () => view.write());
    const back = makeButton(
      scope,
      { label: "undo what was written", tip: "Back to the prompt before what the model wrote last", shortcut: "u", text: "undo" },
      undo,
    );
    scope.effect(() => {
      write.show({ disabled: !view.canWrite.value, tip: !live() ? NO_KERNEL : view.current.value ? WRITE_TIP : STALE });
      back.show({ disabled: !live() || view.written.value === 0 });
    });
    const writing = (["length", "temperature", "top_p", "seed"] as const).map((name) => this.controls.place(name));
    this.elements = [
      ...this.controls.rest(),
      h("span", { class: "miw-writing", role: "group", "aria-label": "let the model write" }, write.element, ...writing, back.element),
    ];
  }
}
