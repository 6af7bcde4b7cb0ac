/** The row of controls over the table: what is particular to the lens's. Knows nothing of how the table is drawn. */
import { pitchOf } from "../../core/axis";
import { LENS } from "../../core/options.gen";
import { clipped, visible } from "../../core/tokens";
import type { LensOptions, Show } from "../../core/wire.gen";
import { composes } from "../../dom/composition";
import { makeSlider } from "../../dom/controls";
import { h } from "../../dom/element";
import { OptionControls, type Now, type Offered } from "../../dom/options";
import { measuresOf, possible } from "./field";
import { SLIDER } from "./layout";
import type { Lens } from "./lens";
import { streamName, type Stream } from "./picture";
import type { LensTable } from "./table";

type LensName = LensOptions["lens"];

const { options: OPTIONS } = LENS;
const MISSING_LENS: Record<LensName, string> = {
  logit: "",
  tuned: "Tuned: train one with compute.train_tuned_lens and pass tuned=.",
  jacobian: "Jacobian: fit TransformerLens's JacobianLens and pass jacobian=.",
};
const NO_MODEL = "Needs the model; this picture stands without a kernel";

export class Toolbar {
  readonly elements: HTMLElement[];
  readonly controls: OptionControls<LensOptions>;
  readonly #lens: Lens;

  constructor(lens: Lens, table: LensTable) {
    this.#lens = lens;
    this.controls = new OptionControls<LensOptions>(lens, OPTIONS, {
      stream: { now: () => this.#streams() },
      lens: { now: () => this.#lenses(), choose: (value) => this.#setLens(value) },
      versus: { now: () => this.#seconds(), choose: (value) => this.#setVersus(value) },
      show: { now: () => this.#sides() },
      color: { now: () => this.#colors() },
      target: { now: () => this.#targets() },
      stride: { now: () => this.#strides() },
      first: { element: this.#range() },
      palette: { now: () => ({ disabled: lens.show.value === "difference" && this.#measure() !== "kl" }) },
    });
    this.elements = [...this.controls.rest(), cellWidth(lens, table)];
  }

  /** The measure that is shown. */
  #measure(): LensOptions["color"] {
    const { picture, show, options } = this.#lens;
    return possible(options.value.color, show.value, picture.value?.manifest.targets.length ?? 0);
  }

  #streams(): Now<Stream> {
    const choices = OPTIONS.stream.choices!.map((choice) => {
      const why = this.#whyNot(choice.value);
      return why ? { ...choice, label: `${choice.label} (${why})`, disabled: true } : choice;
    });
    const tip = `${OPTIONS.stream.tip} Now: ${streamName(this.#lens.options.value.stream)}.`;
    return { choices, tip, ...this.#off() };
  }

  /** Why a stream cannot be chosen, or "". */
  #whyNot(stream: Stream): string {
    const { lens, versus } = this.#lens.options.value;
    const available = this.#lens.picture.value?.manifest.available_streams;
    if (available && !available.includes(stream)) return stream === "resid_mid" ? "attention and MLP run in parallel" : "not in this model";
    const fitted = [lens, versus].find((name) => name && name !== "logit");
    return fitted && stream !== "resid_post" ? `no ${fitted} lens for it` : "";
  }

  #lenses(): Now<LensName> {
    const tip = [OPTIONS.lens.tip, ...this.#howTo()].join(" ");
    return { choices: OPTIONS.lens.choices!.map((choice) => this.#given(choice)), tip, ...this.#off() };
  }

  #seconds(): Now<LensName | null> {
    const { compare, picture, canCompute } = this.#lens;
    const choices = OPTIONS.versus.choices!.map((choice) => (choice.value === null ? choice : this.#given(choice)));
    if (!canCompute.value) return { choices, ...this.#off() };
    if (compare.value !== null || picture.value?.manifest.compare?.what === "prompt")
      return { choices, value: null, disabled: true, tip: "Two prompts are compared; end that first to compare two lenses" };
    const howTo = this.#howTo();
    return { choices, ...(howTo.length ? { tip: ["A second lens on the same prompt, as side B.", ...howTo].join(" ") } : {}) };
  }

  #given<Value>(choice: Offered<Value>): Offered<Value> {
    const given: unknown[] = this.#lens.picture.value?.manifest.lenses ?? ["logit"];
    return given.includes(choice.value) ? choice : { ...choice, label: `${choice.label} (none given)`, disabled: true };
  }

  /** How to get the lenses that are not there. */
  #howTo(): string[] {
    return OPTIONS.lens.choices!.filter((choice) => this.#given(choice).disabled).map(({ value }) => MISSING_LENS[value]);
  }

  #sides(): Now<Show> {
    const manifest = this.#lens.picture.value?.manifest;
    const compare = manifest?.compare;
    const names = compare?.what === "lens" ? { A: ` ${manifest!.lens}`, B: ` ${compare.lens}`, difference: "" } : null;
    const choices = OPTIONS.show.choices!.map((choice) => ({ ...choice, label: choice.label + (names?.[choice.value] ?? "") }));
    return { choices, value: this.#lens.show.value, hidden: !compare };
  }

  #colors(): Now<LensOptions["color"]> {
    const show = this.#lens.show.value;
    const value = this.#measure();
    const pins = this.#lens.picture.value?.manifest.targets.length ?? 0;
    const measures = Object.entries(measuresOf(show)) as [LensOptions["color"], { label: string; tip: string }][];
    const choices = measures.map(([name, { label }]) => ({ value: name, label, disabled: possible(name, show, pins) !== name }));
    const tip = `${measuresOf(show)[value]!.tip}${pins ? "" : ". Pin a token to colour by it"}`;
    return { choices, value, tip };
  }

  #targets(): Now<number> {
    const pins = this.#lens.picture.value?.manifest.targets ?? [];
    return {
      choices: pins.map(({ string }, at) => ({ value: at, label: clipped(visible(string), 16) })),
      value: Math.min(this.#lens.options.value.target, pins.length - 1),
      hidden: !this.#measure().startsWith("target_"),
    };
  }

  #strides(): Now<number> {
    const layers = this.#lens.picture.value?.manifest.n_layers ?? 1;
    const choices = OPTIONS.stride.choices!.filter(({ value }) => value === 1 || value < layers);
    return { choices, hidden: choices.length < 2 && this.#lens.options.value.stride === 1, ...this.#off() };
  }

  /** Of what the kernel computes. */
  #off(): { disabled?: boolean; tip?: string } {
    return this.#lens.canCompute.value ? {} : { disabled: true, tip: NO_MODEL };
  }

  /** Lenses beside the logit lens are fitted to the stream after each block. */
  #setLens(lens: LensName): void {
    this.#lens.setOptions(lens === "logit" ? { lens } : { lens, stream: "resid_post" });
  }

  #setVersus(versus: LensName | null): void {
    const show: Show = versus ? "difference" : "A";
    this.#lens.setOptions(versus && versus !== "logit" ? { versus, show, stream: "resid_post" } : { versus, show });
  }

  /** First and last position, as two small fields; empty ones are the ends, negative ones count from the end. */
  #range(): HTMLElement {
    const lens = this.#lens;
    const { scope } = lens;
    const field = (name: "first" | "last"): HTMLInputElement => {
      const input = h("input", {
        type: "text",
        inputmode: "numeric",
        class: "miw-lens-number",
        "aria-label": OPTIONS[name].label,
        maxlength: 6,
        spellcheck: "false",
        autocomplete: "off",
      });
      const say = (): void => {
        const text = input.value.trim().replace("−", "-");
        const value = text === "" ? null : Number(text);
        const wrong = value !== null && !Number.isInteger(value);
        input.setAttribute("aria-invalid", String(wrong));
        if (!wrong && value !== lens.options.peek()[name]) lens.setOptions({ [name]: value });
      };
      scope.listen(input, "change", say);
      scope.listen(input, "keydown", (event) => {
        if (event.key === "Enter" && !composes(event)) say();
      });
      return input;
    };
    const [first, last] = [field("first"), field("last")];
    const tip = `${OPTIONS.first.tip}  [${OPTIONS.first.key}]`;
    const label = h("span", "miw-control-label", "positions");
    const element = h("span", { class: "miw-control", "data-tip": tip }, label, first, "–", last);
    scope.effect(() => {
      const options = lens.options.value;
      const live = lens.canCompute.value;
      const count = lens.picture.value?.manifest.tokens.strings.length ?? 0;
      for (const [input, value, end] of [
        [first, options.first, 0],
        [last, options.last, count - 1],
      ] as const) {
        if (document.activeElement !== input) input.value = value === null ? "" : String(value);
        input.placeholder = String(Math.max(0, end));
        input.disabled = !live;
      }
      element.dataset["tip"] = live ? tip : NO_MODEL;
      element.classList.toggle("miw-control-off", !live);
    });
    return element;
  }
}

function cellWidth({ scope }: Lens, table: LensTable): HTMLElement {
  const tip = "Width of the cells: narrow ones show colours alone, for long prompts; 0 fits them again";
  const width = makeSlider(scope, { label: "cell width", tip, shortcut: "+ −" }, (value) => table.zoom(Math.round(2 ** value)));
  scope.effect(() => {
    const area = table.area.value;
    const [cell, columns] = area ? [pitchOf(area.columns), area.columns.count] : [0, 0];
    // Twice as wide is one step, wherever the slider stands.
    width.show({
      low: Math.log2(SLIDER.low),
      high: Math.log2(SLIDER.high),
      value: Math.log2(cell || 1),
      text: `cells ${cell < 10 ? Number(cell.toPrecision(2)) : Math.round(cell)} px`,
      hidden: !columns,
    });
  });
  return width.element;
}
