/** The row of controls over the text: what is coloured, and how the model writes on. Knows nothing of how either is drawn. */
import type { PromptOptions } from "../../core/wire.gen";
import { makeButton, makeSelect, type Choice } from "../../dom/controls";
import { h } from "../../dom/element";
import { makeNumber, type NumberField, type NumberRange } from "../../dom/number";
import type { PromptView } from "./model";

type Color = PromptOptions["color"];

const COLORS: { value: Color; label: string; tip: string }[] = [
  {
    value: "surprisal",
    label: "surprisal",
    tip: "Surprisal in bits: −log₂ of the probability that the model gave each token before it came (Hale 2001, Levy 2008). One bit is a coin flip",
  },
  { value: "probability", label: "probability", tip: "The probability that the model gave each token before it came" },
  { value: "entropy", label: "entropy", tip: "Entropy in bits of what the model expects after each token: how open it is what comes next" },
  { value: "rank", label: "rank", tip: "How many tokens were likelier than the one that came; 0 is the model's first choice" },
  { value: "none", label: "none", tip: "No colours: the tokens alone" },
];
const SHOWS: Choice[] = [
  { value: "A", label: "A" },
  { value: "B", label: "B" },
  { value: "difference", label: "A − B" },
];
const NO_KERNEL = "Writing needs the model: this picture stands without a kernel";
const STALE = "The picture is of an earlier run: what was asked for since has not been run";
const MOST_TOKENS = 1000;

export class Toolbar {
  readonly element = h("div", { class: "miw-controls", role: "toolbar", "aria-label": "what is shown, and writing" });
  #view: PromptView;

  /** `help` is the button that lists the keys; `undo` goes back to the prompt before what was written. */
  constructor(view: PromptView, help: HTMLElement, undo: () => void) {
    this.#view = view;
    const { scope } = view;
    const color = makeSelect(scope, { label: "colour", tip: COLORS[0]!.tip, shortcut: "c" }, (value) =>
      view.setOptions({ color: value as Color }),
    );
    const show = makeSelect(
      scope,
      {
        label: "show",
        tip: "Prompt A's numbers, prompt B's, or the difference A − B of surprisal on aligned tokens: blue where A's token was the likelier",
        shortcut: "x",
      },
      (value) => view.setOptions({ show: value as PromptOptions["show"] }),
    );
    const ids = makeButton(scope, { label: "token ids", tip: "The id of every token under it", shortcut: "i", text: "ids" }, () =>
      this.toggleIds(),
    );
    const write = makeButton(scope, { label: "write", tip: WRITE_TIP, shortcut: "w", text: "write" }, () => view.write());
    const number = (name: "length" | "temperature" | "top_p" | "seed", label: string, tip: string, range: NumberRange): NumberField =>
      makeNumber(scope, { label, tip }, range, (value) => view.setOptions({ [name]: value }));
    const length = number("length", "tokens", "How many tokens the model writes, at most: it stops at an end-of-text token", {
      low: 1,
      high: MOST_TOKENS,
      step: 1,
      whole: true,
    });
    const temperature = number("temperature", "temperature", TEMPERATURE_TIP, { low: 0, high: 100, step: 0.1, whole: false });
    const topP = number("top_p", "top-p", TOP_P_TIP, { low: 0.001, high: 1, step: 0.05, whole: false });
    const seed = number("seed", "seed", "Of the random draws: the same seed writes the same text again", {
      low: 0,
      high: Number.MAX_SAFE_INTEGER,
      step: 1,
      whole: true,
    });
    const back = makeButton(
      scope,
      { label: "undo what was written", tip: "Back to the prompt before what the model wrote last", shortcut: "u", text: "undo" },
      undo,
    );
    this.element.append(
      h("span", { class: "miw-control-pair" }, color.element, show.element, ids.element),
      h(
        "span",
        { class: "miw-writing", role: "group", "aria-label": "let the model write" },
        write.element,
        length.element,
        temperature.element,
        topP.element,
        seed.element,
        back.element,
      ),
      help,
    );
    scope.effect(() => {
      const options = view.options.value;
      const shown = view.show.value;
      const compared = !!view.picture.value?.b;
      const chosen = COLORS.find(({ value }) => value === options.color);
      const difference = shown === "difference";
      color.show(difference ? [{ value: options.color, label: "surprisal" }] : COLORS, options.color, {
        disabled: difference,
        tip: difference ? "The difference is of surprisal; choose A or B for other colours" : (chosen?.tip ?? ""),
      });
      show.show(SHOWS, shown);
      show.element.hidden = !compared;
      ids.show({ pressed: options.ids });
    });
    scope.effect(() => {
      const options = view.options.value;
      const live = view.canCompute.value && view.prompt.value !== null;
      const greedy = options.temperature === 0;
      const off = { disabled: !live, ...(live ? {} : { tip: NO_KERNEL }) };
      write.show({ disabled: !view.canWrite.value, tip: !live ? NO_KERNEL : view.current.value ? WRITE_TIP : STALE });
      length.show(options.length, off);
      temperature.show(options.temperature, off);
      const idle = live && greedy ? { disabled: true, tip: "Nothing is drawn at temperature 0: each token is the likeliest" } : off;
      topP.show(options.top_p, idle);
      seed.show(options.seed, idle);
      back.show({ disabled: !live || view.written.value === 0 });
    });
  }

  cycle(name: "color" | "show"): void {
    const view = this.#view;
    const options = view.options.peek();
    if (name === "show" && !view.picture.peek()?.b) return;
    if (name === "color" && view.show.peek() === "difference") return;
    const menu: string[] = (name === "color" ? COLORS : SHOWS).map((choice) => choice.value);
    view.setOptions({ [name]: menu[(menu.indexOf(options[name]) + 1) % menu.length] });
  }

  toggleIds(): void {
    this.#view.setOptions({ ids: !this.#view.options.peek().ids });
  }
}

const WRITE_TIP = "The model writes on, one token after another, each drawn from what it expects; Stop in the line below ends it";
const TEMPERATURE_TIP =
  "Divides the logits before the softmax. 0: always the likeliest token (greedy). 1: as the model expects. More: flatter";
const TOP_P_TIP =
  "Nucleus sampling: draws only from the smallest set of tokens whose probabilities sum to this (Holtzman et al. 2020); 1 leaves all";
