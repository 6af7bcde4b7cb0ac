/** The row of controls over the picture. Knows nothing of how the picture is drawn. */
import { rounded } from "../../core/format";
import type { AttentionOptions, Show } from "../../core/wire.gen";
import { makeAblateButton } from "../../dom/ablated";
import { makeButton, makeSelect, makeSlider, type Choice } from "../../dom/controls";
import { h } from "../../dom/element";
import type { Explorer } from "./explorer";

const WEIGHTINGS: Choice[] = [
  { value: "pattern", label: "pattern" },
  { value: "scores", label: "pre-softmax scores" },
  { value: "value", label: "value-weighted" },
  { value: "output", label: "output-weighted" },
];
const WEIGHTING_TIP =
  "What a cell holds. Pattern: the weight after the softmax, rows sum to 1. Scores: the numbers that the softmax saw. " +
  "Value-weighted: weight × length of the value vector. Output-weighted: length of what the read writes through W_O.";
/** An editor held open saves at most this often. */
const SLIDER_SAVE_MS = 150;

export class Toolbar {
  readonly element = h("div", { class: "miw-controls", role: "toolbar", "aria-label": "what is shown" });
  #explorer: Explorer;
  #filter: HTMLSelectElement | null = null;
  #sliderTimer = 0;

  /** `help` is the button that lists the keys; it closes the row. */
  constructor(explorer: Explorer, help: HTMLElement) {
    this.#explorer = explorer;
    this.#buildControls(help);
    explorer.scope.add(() => window.clearTimeout(this.#sliderTimer));
  }

  focusFilter(): void {
    this.#filter?.focus();
  }

  /** The option's next value in the order of its menu. */
  cycle(name: "weighting" | "scale" | "palette" | "direction" | "panel" | "sort" | "show"): void {
    const explorer = this.#explorer;
    const options = explorer.options.peek();
    const manifest = explorer.picture.peek()?.manifest;
    const menus: Record<typeof name, (string | null)[]> = {
      weighting: explorer.canCompute.peek() ? WEIGHTINGS.map((choice) => choice.value) : [options.weighting],
      scale: ["linear", "sqrt", "log"],
      palette: ["blue", "amber", "grey"],
      direction: ["reads", "read_by"],
      panel: ["both", "matrix", "text"],
      sort: [null, ...(manifest?.scores.map((column) => column.name) ?? [])],
      show: manifest?.compare ? ["A", "B", "difference"] : [options.show],
    };
    const menu = menus[name];
    const next = menu[(menu.indexOf(options[name]) + 1) % menu.length] ?? null;
    explorer.setOptions({ [name]: next } as Partial<AttentionOptions>);
  }

  #buildControls(help: HTMLElement): void {
    const explorer = this.#explorer;
    const { scope } = explorer;
    const set =
      <Name extends keyof AttentionOptions>(name: Name) =>
      (value: string): void =>
        explorer.setOptions({ [name]: value } as unknown as Partial<AttentionOptions>);
    const weighting = makeSelect(scope, { label: "weighting", tip: WEIGHTING_TIP, shortcut: "w" }, set("weighting"));
    const show = makeSelect(
      scope,
      { label: "show", tip: "Prompt A, prompt B, or the signed difference A − B on aligned tokens", shortcut: "x" },
      set("show"),
    );
    const scale = makeSelect(
      scope,
      {
        label: "scale",
        tip: "How values become colour. Square root and log lift small weights into sight; the legend follows",
        shortcut: "s",
      },
      set("scale"),
    );
    const range = makeSelect(
      scope,
      {
        label: "range",
        tip: "Shared: one colour means one value on every head. Per head: each head uses the whole palette, colours do not compare",
        shortcut: "g",
      },
      (value) => explorer.setOptions({ shared_range: value === "shared" }),
    );
    const palette = makeSelect(
      scope,
      {
        label: "palette",
        tip: "Colours, even in lightness and safe for colour-blind readers; differences always use blue and orange",
        shortcut: "p",
      },
      set("palette"),
    );
    const sort = makeSelect(
      scope,
      { label: "sort", tip: "Order of the wall: by layer and head, or by how strongly a head shows a known behaviour", shortcut: "o" },
      (value) => explorer.setOptions({ sort: value || null }),
    );
    const order = makeButton(scope, { label: "order", tip: "Largest or smallest score first", shortcut: "i", text: "↓" }, () =>
      explorer.setOptions({ descending: !explorer.options.peek().descending }),
    );
    const filter = makeSelect(scope, { label: "filter", tip: "Dims heads whose score is below the slider", shortcut: "f" }, (value) => {
      const column = explorer.picture.peek()?.manifest.scores.find((candidate) => candidate.name === value);
      explorer.setOptions({ filter: column ? value : null, filter_min: column ? middle(column.values) : 0 });
    });
    this.#filter = filter.select;
    const slider = makeSlider(scope, { label: "filter: least score", tip: "Heads below this score are dimmed", shortcut: "" }, (value) => {
      explorer.options.value = { ...explorer.options.peek(), filter_min: value };
      window.clearTimeout(this.#sliderTimer);
      this.#sliderTimer = window.setTimeout(() => explorer.setOptions({ filter_min: value }), SLIDER_SAVE_MS);
    });
    const direction = makeSelect(
      scope,
      {
        label: "token",
        tip: "For the token pointed at in the text: what it reads from (its row), or who reads it (its column)",
        shortcut: "r",
      },
      set("direction"),
    );
    const panel = makeSelect(
      scope,
      { label: "panel", tip: "The large panel: the focused head as a matrix, the prompt as text, or both", shortcut: "v" },
      set("panel"),
    );
    this.element.append(
      ...[weighting, show, scale, range, palette].map((control) => control.element),
      h("span", { class: "miw-control-pair" }, sort.element, order.element),
      h("span", { class: "miw-control-pair" }, filter.element, slider.element),
      direction.element,
      panel.element,
      makeAblateButton(explorer, explorer.held),
      help,
    );
    scope.effect(() => {
      const options = explorer.options.value;
      const picture = explorer.picture.value;
      const manifest = picture?.manifest;
      const live = explorer.canCompute.value;
      const scores = manifest?.scores ?? [];
      const shown = explorer.show.value;
      weighting.show(WEIGHTINGS, options.weighting, {
        disabled: !live,
        ...(live ? {} : { tip: "Another weighting needs the model; this picture stands without a kernel" }),
      });
      const sides: [Show, string][] = [
        ["A", "A"],
        ["B", "B"],
        ["difference", "A − B"],
      ];
      const online = explorer.source.liveness.value === "live";
      show.show(
        sides.map(([value, text]) => ({ value, label: text, disabled: !online && !picture?.atlases.has(value) })),
        shown,
      );
      show.element.hidden = !manifest?.compare;
      const linearOnly =
        shown === "difference"
          ? "A difference has two signs: only the linear scale is truthful"
          : manifest?.weighting === "scores"
            ? "Scores have no zero to count from: only the linear scale is truthful"
            : "";
      scale.show(
        [
          { value: "linear", label: "linear" },
          { value: "sqrt", label: "√ root" },
          { value: "log", label: "log" },
        ],
        linearOnly ? "linear" : options.scale,
        linearOnly ? { disabled: true, tip: linearOnly } : {},
      );
      range.show(
        [
          { value: "shared", label: "shared" },
          { value: "head", label: "per head" },
        ],
        options.shared_range ? "shared" : "head",
      );
      palette.show(
        ["blue", "amber", "grey"].map((value) => ({ value, label: value })),
        options.palette,
        { disabled: shown === "difference" },
      );
      const columns = scores.map((column) => ({ value: column.name, label: column.label }));
      sort.show([{ value: "", label: "layer × head" }, ...columns], explorer.sortColumn.value?.name ?? "", {
        disabled: !columns.length,
        ...(explorer.sortColumn.value ? { tip: explorer.sortColumn.value.description } : {}),
      });
      order.show({ hidden: !explorer.sortColumn.value, text: options.descending ? "↓" : "↑" });
      const column = explorer.filterColumn.value;
      filter.show([{ value: "", label: "none" }, ...columns], column?.name ?? "", { disabled: !columns.length });
      const [low, high] = column ? extent(column.values) : [0, 1];
      slider.show({ low, high, value: options.filter_min, text: `≥ ${rounded(options.filter_min)}`, hidden: !column });
      direction.show(
        [
          { value: "reads", label: "reads from" },
          { value: "read_by", label: "read by" },
        ],
        options.direction,
      );
      panel.show(
        [
          { value: "both", label: "both" },
          { value: "matrix", label: "matrix" },
          { value: "text", label: "text" },
        ],
        options.panel,
      );
    });
  }
}

function extent(values: (number | null)[]): [number, number] {
  const present = values.filter((value): value is number => value !== null);
  return present.length ? [Math.min(...present), Math.max(...present)] : [0, 1];
}

/** Half way up the range: a first cut that dims most heads and leaves those that stand out. */
function middle(values: (number | null)[]): number {
  const [low, high] = extent(values);
  return Number(((low + high) / 2).toPrecision(2));
}
