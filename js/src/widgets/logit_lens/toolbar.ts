/** The row of controls over the table. Knows nothing of how the table is drawn. */
import { clipped, visible } from "../../core/tokens";
import type { LensOptions, Show } from "../../core/wire.gen";
import { composes } from "../../dom/composition";
import { makeSelect, makeSlider, type Choice } from "../../dom/controls";
import { h } from "../../dom/element";
import { possible, type Measure } from "./field";
import { pitchOf } from "../../core/axis";
import { SLIDER } from "./layout";
import type { Lens } from "./lens";
import { STREAM_NAMES, type Stream } from "./picture";
import type { LensTable } from "./table";

type LensName = LensOptions["lens"];

/** In the order in which a block makes them. */
const STREAMS: Stream[] = ["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"];
const LENSES: LensName[] = ["logit", "tuned", "jacobian"];
const STREAM_TIP =
  "What is read out at each layer: the residual stream before the block, after its attention, or after the block; or what attention or MLP alone add to it.";
const LENS_TIP =
  "How a row becomes logits. Logit lens: the model's final norm and unembedding, as they are. Tuned lens: a learned affine map of the layer first. Jacobian lens: the averaged Jacobian of the layers above first.";
const MISSING_LENS: Record<LensName, string> = {
  logit: "",
  tuned: "Tuned: train one with compute.train_tuned_lens and pass tuned=.",
  jacobian: "Jacobian: fit TransformerLens's JacobianLens and pass jacobian=.",
};
const COLORS: { value: Measure; label: string }[] = [
  { value: "probability", label: "top probability" },
  { value: "entropy", label: "entropy" },
  { value: "final_rank", label: "rank of model's choice" },
  { value: "next_rank", label: "rank of what follows" },
  { value: "kl", label: "KL to the model" },
  { value: "change", label: "change per row" },
  { value: "target_probability", label: "pinned: probability" },
  { value: "target_rank", label: "pinned: rank" },
];
const COLOR_TIPS: Record<Measure, string> = {
  probability: "Probability of the token that stands in the cell",
  entropy: "Entropy of the row's distribution over the vocabulary: how undecided it is",
  final_rank: "Where the row ranks the token that the model will choose at the end; 0 is on top",
  next_rank: "Where the row ranks the token that actually follows in the prompt; 0 is on top",
  kl: "Kullback-Leibler divergence of the row from the model's own output, in nats: how much is still to come",
  change: "Kullback-Leibler divergence between this row and the one below it, in nats: where the prediction changes",
  target_probability: "Probability of one pinned token in every cell",
  target_rank: "Rank of one pinned token in every cell; 0 is on top",
};
const STRIDES = [1, 2, 3, 4, 6, 8];
const NO_MODEL = "Needs the model; this picture stands without a kernel";

export type Cycled = "stream" | "lens" | "versus" | "show" | "color" | "target" | "palette" | "stride" | "chart";

export class Toolbar {
  readonly element = h("div", { class: "miw-controls", role: "toolbar", "aria-label": "what is shown" });
  #lens: Lens;
  #first: HTMLInputElement | null = null;

  /** `help` is the button that lists the keys; it closes the row. */
  constructor(lens: Lens, table: LensTable, help: HTMLElement) {
    this.#lens = lens;
    this.#build(table, help);
  }

  focusRange(): void {
    this.#first?.focus();
  }

  /** The option's next value in the order of its menu; what cannot be chosen is passed over. */
  cycle(name: Cycled): void {
    const lens = this.#lens;
    const options = lens.options.peek();
    const manifest = lens.picture.peek()?.manifest;
    const live = lens.canCompute.peek();
    const targets = manifest?.targets.length ?? 0;
    const show = lens.show.peek();
    const next = <Value>(menu: Value[], present: Value): Value => menu[(menu.indexOf(present) + 1) % menu.length] ?? present;
    const had = (among: LensName[]): LensName[] => among.filter((lensName) => manifest?.lenses.includes(lensName));
    if (!live && ["stream", "lens", "versus", "stride"].includes(name)) return;
    switch (name) {
      case "stream":
        return lens.setOptions({
          stream: next(
            STREAMS.filter((stream) => !this.#whyNot(stream)),
            options.stream,
          ),
        });
      case "lens":
        return this.#setLens(next(had(LENSES), options.lens));
      case "versus":
        return this.#setVersus(next<LensName | null>([null, ...had(LENSES)], options.versus));
      case "show":
        return manifest?.compare ? lens.setOptions({ show: next<Show>(["A", "B", "difference"], show) }) : undefined;
      case "color": {
        const menu = COLORS.map((choice) => choice.value).filter((measure) => possible(measure, show, targets) === measure);
        return lens.setOptions({ color: next(menu, possible(options.color, show, targets)) });
      }
      case "target":
        return targets ? lens.setOptions({ target: (options.target + 1) % targets }) : undefined;
      case "palette":
        return lens.setOptions({ palette: next<LensOptions["palette"]>(["blue", "amber", "grey"], options.palette) });
      case "stride":
        return lens.setOptions({ stride: next(strides(manifest?.n_layers ?? 1), options.stride) });
      case "chart":
        return lens.setOptions({ chart: options.chart === "rank" ? "probability" : "rank" });
    }
  }

  /** Why a stream cannot be chosen, or "". */
  #whyNot(stream: Stream): string {
    const { lens, versus } = this.#lens.options.value;
    const available = this.#lens.picture.value?.manifest.available_streams ?? STREAMS;
    if (!available.includes(stream)) return stream === "resid_mid" ? "attention and MLP run in parallel" : "not in this model";
    const fitted = [lens, versus].find((name) => name && name !== "logit");
    return fitted && stream !== "resid_post" ? `no ${fitted} lens for it` : "";
  }

  /** Lenses beside the logit lens are fitted to the stream after each block. */
  #setLens(lens: LensName): void {
    this.#lens.setOptions(lens === "logit" ? { lens } : { lens, stream: "resid_post" });
  }

  #setVersus(versus: LensName | null): void {
    const show: Show = versus ? "difference" : "A";
    this.#lens.setOptions(versus && versus !== "logit" ? { versus, show, stream: "resid_post" } : { versus, show });
  }

  #build(table: LensTable, help: HTMLElement): void {
    const lens = this.#lens;
    const { scope } = lens;
    const set =
      <Name extends keyof LensOptions>(name: Name) =>
      (value: string): void =>
        lens.setOptions({ [name]: value } as unknown as Partial<LensOptions>);
    const stream = makeSelect(scope, { label: "stream", tip: STREAM_TIP, shortcut: "s" }, set("stream"));
    const kind = makeSelect(scope, { label: "lens", tip: LENS_TIP, shortcut: "l" }, (value) => this.#setLens(value as LensName));
    const versus = makeSelect(
      scope,
      { label: "versus", tip: "A second lens on the same prompt, as side B. For a second prompt use “+ compare” above", shortcut: "v" },
      (value) => this.#setVersus((value || null) as LensName | null),
    );
    const show = makeSelect(
      scope,
      {
        label: "show",
        tip: "Side A, side B, or their difference: the top tokens of both where they differ, coloured by KL(A ‖ B) or by a pinned token's A − B",
        shortcut: "x",
      },
      set("show"),
    );
    const color = makeSelect(scope, { label: "colour", tip: "", shortcut: "c" }, set("color"));
    const target = makeSelect(scope, { label: "of", tip: "Which pinned token colours the table", shortcut: "t" }, (value) =>
      lens.setOptions({ target: Number(value) }),
    );
    const stride = makeSelect(
      scope,
      {
        label: "layers",
        tip: "Every so many layers, counted from the last: large models are read faster by every second or fourth",
        shortcut: "g",
      },
      (value) => lens.setOptions({ stride: Number(value) }),
    );
    const palette = makeSelect(
      scope,
      {
        label: "palette",
        tip: "Colours, even in lightness and safe for colour-blind readers; differences of probabilities always use blue and orange",
        shortcut: "p",
      },
      set("palette"),
    );
    const width = makeSlider(
      scope,
      {
        label: "cell width",
        tip: "Width of the cells: narrow ones show colours alone, for long prompts; 0 fits them again",
        shortcut: "+ −",
      },
      (value) => table.zoom(Math.round(2 ** value)),
    );
    const range = this.#range();
    this.element.append(
      ...[stream, kind, versus, show].map((control) => control.element),
      h("span", { class: "miw-control-pair" }, color.element, target.element),
      stride.element,
      range.element,
      palette.element,
      width.element,
      help,
    );
    scope.effect(() => {
      const options = lens.options.value;
      const manifest = lens.picture.value?.manifest;
      const live = lens.canCompute.value;
      const given = manifest?.lenses ?? ["logit"];
      const off = live ? {} : { disabled: true, tip: NO_MODEL };
      const reasons = STREAMS.map((value) => this.#whyNot(value));
      stream.show(
        STREAMS.map((value, at) => ({ value, label: reasons[at] ? `${value} (${reasons[at]})` : value, disabled: reasons[at] !== "" })),
        options.stream,
        live ? { tip: `${STREAM_TIP} Now: ${STREAM_NAMES[options.stream].long}.` } : off,
      );
      const lensChoice = (value: LensName): Choice => ({
        value,
        label: given.includes(value) ? value : `${value} (none given)`,
        disabled: !given.includes(value),
      });
      const howTo = LENSES.filter((value) => !given.includes(value)).map((value) => MISSING_LENS[value]);
      kind.show(LENSES.map(lensChoice), options.lens, live ? { tip: [LENS_TIP, ...howTo].join(" ") } : off);
      const twoPrompts = lens.compare.value !== null || manifest?.compare?.what === "prompt";
      versus.show([{ value: "", label: "–" }, ...LENSES.map(lensChoice)], twoPrompts ? "" : (options.versus ?? ""), {
        ...off,
        ...(twoPrompts && live ? { disabled: true, tip: "Two prompts are compared; end that first to compare two lenses" } : {}),
        ...(live && !twoPrompts && howTo.length ? { tip: ["A second lens on the same prompt, as side B.", ...howTo].join(" ") } : {}),
      });
      const shown = lens.show.value;
      const names = manifest?.compare?.what === "lens" ? [` ${manifest.lens}`, ` ${manifest.compare.lens}`] : ["", ""];
      show.show(
        [
          { value: "A", label: `A${names[0]}` },
          { value: "B", label: `B${names[1]}` },
          { value: "difference", label: "difference" },
        ],
        shown,
      );
      show.element.hidden = !manifest?.compare;
      const pins = manifest?.targets ?? [];
      const measure = possible(options.color, shown, pins.length);
      const colors =
        shown === "difference"
          ? [
              { value: "kl", label: "KL(A ‖ B)" },
              { value: "target_probability", label: "pinned: A − B", disabled: !pins.length },
            ]
          : COLORS.map((choice) => ({ ...choice, disabled: choice.value.startsWith("target_") && !pins.length }));
      const without = pins.length ? "" : ". Pin a token to colour by it";
      color.show(colors, measure, {
        tip:
          (shown === "difference" && measure === "kl" ? "How far B is from A in each cell: KL(A ‖ B) in nats" : COLOR_TIPS[measure]) +
          without,
      });
      target.show(
        pins.map(({ string }, at) => ({ value: String(at), label: clipped(visible(string), 16) })),
        String(Math.min(options.target, pins.length - 1)),
      );
      target.element.hidden = !measure.startsWith("target_");
      const menu = strides(manifest?.n_layers ?? 1);
      stride.show(
        (menu.includes(options.stride) ? menu : [...menu, options.stride]).map((value) => ({
          value: String(value),
          label: value === 1 ? "all" : `every ${ordinal(value)}`,
        })),
        String(options.stride),
        off,
      );
      stride.element.hidden = menu.length < 2 && options.stride === 1;
      palette.show(
        ["blue", "amber", "grey"].map((value) => ({ value, label: value })),
        options.palette,
        { disabled: shown === "difference" && measure !== "kl" },
      );
      range.show(options, manifest?.tokens.strings.length ?? 0, live);
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
  }

  /** First and last position, as two small fields; empty ones are the ends, negative ones count from the end. */
  #range(): { element: HTMLElement; show(options: LensOptions, count: number, live: boolean): void } {
    const lens = this.#lens;
    const { scope } = lens;
    const field = (name: "first" | "last"): HTMLInputElement => {
      const input = h("input", {
        type: "text",
        inputmode: "numeric",
        class: "miw-lens-number",
        "aria-label": `${name} position`,
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
    this.#first = first;
    const tip =
      "Which positions are computed: first and last, empty for the ends, negative counts from the end. Long prompts on large models are read faster in part  [f]";
    const element = h(
      "span",
      { class: "miw-control", "data-tip": tip },
      h("span", { class: "miw-control-label" }, "positions"),
      first,
      "–",
      last,
    );
    return {
      element,
      show(options, count, live) {
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
      },
    };
  }
}

function strides(layers: number): number[] {
  return STRIDES.filter((stride) => stride === 1 || stride < layers);
}

function ordinal(value: number): string {
  return `${value}${value === 2 ? "nd" : value === 3 ? "rd" : "th"}`;
}
