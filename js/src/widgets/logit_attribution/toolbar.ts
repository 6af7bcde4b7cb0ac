/** The row of controls over the picture. Knows nothing of how the picture is drawn. */
import type { AttributionOptions } from "../../core/wire.gen";
import { makeAblateButton } from "../../dom/ablated";
import { makeSelect, type Choice } from "../../dom/controls";
import { h } from "../../dom/element";
import type { Attribution } from "./attribution";

const SPLITS: Choice[] = ["component", "layer", "head", "neuron"].map((value) => ({ value, label: value }));
const ROWS = [10, 20, 40, 80, 160];
const TOPS = [10, 30, 100, 300];

export type Cycled = "by" | "sort" | "chart" | "rows" | "top";

export class Toolbar {
  readonly element = h("div", { class: "miw-controls", role: "toolbar", "aria-label": "what is shown" });
  readonly #attribution: Attribution;

  /** `help` is the button that lists the keys; it closes the row. */
  constructor(attribution: Attribution, help: HTMLElement) {
    this.#attribution = attribution;
    const { scope } = attribution;
    const set =
      (name: Cycled) =>
      (value: string): void =>
        attribution.setOptions({ [name]: name === "rows" || name === "top" ? Number(value) : value } as Partial<AttributionOptions>);
    const by = makeSelect(scope, { label: "by", tip: BY_TIP, shortcut: "b" }, set("by"));
    const sort = makeSelect(
      scope,
      {
        label: "sort",
        tip: "Order of the parts: as the model computes them, from the embedding to the output; or the largest first",
        shortcut: "s",
      },
      set("sort"),
    );
    const chart = makeSelect(
      scope,
      {
        label: "chart",
        tip: "Waterfall: each bar starts where the one before it ends, from 0 to the difference. Bars: every bar starts at 0",
        shortcut: "c",
      },
      set("chart"),
    );
    const rows = makeSelect(
      scope,
      { label: "rows", tip: "How many parts have a row of their own, the largest; all others stand together in one", shortcut: "r" },
      set("rows"),
    );
    const top = makeSelect(
      scope,
      {
        label: "neurons",
        tip: "How many neurons stand by themselves, the largest of all layers; the others of each layer are one part",
        shortcut: "n",
      },
      set("top"),
    );
    this.element.append(
      ...[by, top, sort, chart, rows].map((control) => control.element),
      makeAblateButton(attribution, attribution.held),
      help,
    );
    scope.effect(() => {
      const options = attribution.options.value;
      const picture = attribution.picture.value;
      const live = attribution.canCompute.value;
      const fixed = { disabled: true, tip: "Another split needs the model; this picture stands without a kernel" };
      const heads = picture?.manifest.why_no_heads;
      by.show(
        SPLITS.map((choice) => (choice.value === "head" ? { ...choice, disabled: !!heads } : choice)),
        live ? options.by : (picture?.manifest.by ?? options.by),
        live ? (heads ? { tip: heads } : {}) : fixed,
      );
      top.show(numbers(TOPS, options.top), String(options.top), live ? {} : fixed);
      top.element.hidden = (picture && !live ? picture.manifest.by : options.by) !== "neuron";
      sort.show(
        [
          { value: "model", label: "model" },
          { value: "size", label: "size" },
        ],
        options.sort,
      );
      chart.show(
        [
          { value: "waterfall", label: "waterfall" },
          { value: "bars", label: "bars" },
        ],
        options.chart,
      );
      rows.show(numbers(ROWS, options.rows), String(options.rows));
    });
  }

  /** The option's next value in the order of its menu. */
  cycle(name: Cycled): void {
    const attribution = this.#attribution;
    const options = attribution.options.peek();
    if ((name === "by" || name === "top") && !attribution.canCompute.peek()) return;
    if (name === "top" && options.by !== "neuron") return;
    const heads = !attribution.picture.peek()?.manifest.why_no_heads;
    const menus: Record<Cycled, (string | number)[]> = {
      by: SPLITS.map((choice) => choice.value).filter((split) => heads || split !== "head"),
      sort: ["model", "size"],
      chart: ["waterfall", "bars"],
      rows: withValue(ROWS, options.rows),
      top: withValue(TOPS, options.top),
    };
    const menu = menus[name];
    const next = menu[(menu.indexOf(options[name]) + 1) % menu.length];
    attribution.setOptions({ [name]: next } as Partial<AttributionOptions>);
  }
}

const BY_TIP =
  "How the last residual stream is split. Component: the embedding, each layer's attention and MLP, the biases. " +
  "Layer: attention and MLP together. Head: every attention head by itself. Neuron: the largest MLP neurons by themselves";

/** The usual numbers and the present one, which Python may have set to any. */
function withValue(usual: number[], present: number): number[] {
  return [...new Set([...usual, present])].sort((left, right) => left - right);
}

function numbers(usual: number[], present: number): Choice[] {
  return withValue(usual, present).map((value) => ({ value: String(value), label: String(value) }));
}
