/** The row of controls over the picture: what is particular to attention's. Knows nothing of how the picture is drawn. */
import { rounded } from "../../core/format";
import { ATTENTION } from "../../core/options.gen";
import type { AttentionOptions, ScoreColumn, Show } from "../../core/wire.gen";
import { makeAblateButton } from "../../dom/ablated";
import { makeSlider } from "../../dom/controls";
import { OptionControls, type Now } from "../../dom/options";
import type { Explorer } from "./explorer";

const { options: OPTIONS } = ATTENTION;
const NO_MODEL = "Another weighting needs the model; this picture stands without a kernel";
const NO_SIGN = "A difference has two signs: only the linear scale is truthful";
const NO_ZERO = "Scores have no zero to count from: only the linear scale is truthful";
/** An editor held open saves at most this often. */
const SLIDER_SAVE_MS = 150;

export class Toolbar {
  readonly elements: HTMLElement[];
  readonly controls: OptionControls<AttentionOptions>;
  readonly #explorer: Explorer;

  constructor(explorer: Explorer) {
    this.#explorer = explorer;
    this.controls = new OptionControls<AttentionOptions>(explorer, OPTIONS, {
      weighting: { now: () => (explorer.canCompute.value ? {} : { disabled: true, tip: NO_MODEL }) },
      show: { now: () => this.#sides() },
      scale: { now: () => this.#scales() },
      palette: { now: () => ({ disabled: explorer.show.value === "difference" }) },
      sort: { now: () => this.#columns("sort", explorer.sortColumn.value) },
      descending: { now: () => ({ hidden: !explorer.sortColumn.value }) },
      filter: { now: () => this.#columns("filter", explorer.filterColumn.value), choose: (value) => this.#setFilter(value) },
      filter_min: { element: filterSlider(explorer) },
    });
    this.elements = [...this.controls.rest(), makeAblateButton(explorer, explorer.held)];
  }

  #sides(): Now<Show> {
    const picture = this.#explorer.picture.value;
    const online = this.#explorer.source.liveness.value === "live";
    const choices = OPTIONS.show.choices!.map((choice) => ({ ...choice, disabled: !online && !picture?.atlases.has(choice.value) }));
    return { choices, value: this.#explorer.show.value, hidden: !picture?.manifest.compare };
  }

  #scales(): Now<AttentionOptions["scale"]> {
    const scores = this.#explorer.picture.value?.manifest.weighting === "scores";
    const tip = this.#explorer.show.value === "difference" ? NO_SIGN : scores ? NO_ZERO : "";
    return tip ? { value: "linear", disabled: true, tip } : {};
  }

  #columns(name: "sort" | "filter", column: ScoreColumn | null): Now<string | null> {
    const scores = this.#explorer.picture.value?.manifest.scores ?? [];
    const choices = [...OPTIONS[name].choices!, ...scores.map((score) => ({ value: score.name, label: score.label }))];
    const tip = name === "sort" && column ? { tip: column.description } : {};
    return { choices, value: column?.name ?? null, disabled: !scores.length, ...tip };
  }

  #setFilter(value: string | null): void {
    const column = this.#explorer.picture.peek()?.manifest.scores.find((candidate) => candidate.name === value);
    this.#explorer.setOptions({ filter: column ? value : null, filter_min: column ? middle(column.values) : 0 });
  }
}

function filterSlider(explorer: Explorer): HTMLElement {
  const { scope } = explorer;
  let timer = 0;
  const { label, tip } = OPTIONS.filter_min;
  const slider = makeSlider(scope, { label, tip, shortcut: "" }, (value) => {
    explorer.options.value = { ...explorer.options.peek(), filter_min: value };
    window.clearTimeout(timer);
    timer = window.setTimeout(() => explorer.setOptions({ filter_min: value }), SLIDER_SAVE_MS);
  });
  scope.add(() => window.clearTimeout(timer));
  scope.effect(() => {
    const { filter_min } = explorer.options.value;
    const column = explorer.filterColumn.value;
    const [low, high] = column ? extent(column.values) : [0, 1];
    slider.show({ low, high, value: filter_min, text: `≥ ${rounded(filter_min)}`, hidden: !column });
  });
  return slider.element;
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
