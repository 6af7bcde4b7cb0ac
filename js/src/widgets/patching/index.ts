/** The patching view as an anywidget module: builds the view from its parts and ties them together. */
import { PATCHING } from "../../core/options.gen";
import { computed } from "../../core/signal";
import type { PatchingOptions, PatchingState } from "../../core/wire.gen";
import { h } from "../../dom/element";
import { framed } from "../../dom/frame";
import { PROMPT_KEYS, type KeyRow } from "../../dom/keys";
import { Legend } from "../../dom/legend";
import { OptionControls, optionKeys, type Now } from "../../dom/options";
import type { Second } from "../../dom/prompts";
import { followWays } from "../../dom/walk";
import { Facts } from "./facts";
import { PatchingGrid } from "./grid";
import { PatchingView } from "./model";
import { PathsGrid } from "./paths";
import { makeScatter } from "./scatter";

const KEYS: KeyRow[] = [
  ["← ↑ → ↓, Home, End", "grid, paths: walk the cells · scatter: walk the points, the farthest off first"],
  ["Enter", "grid, scatter: lock the cell, whose run then stands beside in linked views · paths: walk on from this head"],
  ["Esc", "release: first the pointing, then the cell"],
  ["a, f, x", "edit the answer, edit the foil, swap them (in a field: ↓ suggestions, Enter takes one)"],
  ...PROMPT_KEYS,
  ...optionKeys(PATCHING.options),
  ["?", "this list"],
];
const { options: OPTIONS } = PATCHING;

export default framed<PatchingState>("patching", (frame) => {
  const { scope, ink, tooltip } = frame;
  const view = new PatchingView(frame);
  const second: Second = {
    names: ["clean prompt", "corrupt prompt"],
    add: {
      label: "add a corrupt prompt",
      tip: "The prompt whose run the clean one is set against; begins with a proposal",
      text: "+ corrupt",
    },
    remove: { label: "take the corrupt prompt away", tip: "Take the corrupt prompt away" },
    proposal: () => view.proposal.peek(),
  };
  frame.begin(view, KEYS, () => size(view), { second });
  const controls = makeControls(view);
  const facts = new Facts(view);
  const grid = new PatchingGrid(view, ink, tooltip);
  const scatter = makeScatter(view, ink, tooltip);
  const paths = new PathsGrid(view, ink, tooltip);
  const charts = { grid, scatter, paths };
  const legend = makeLegend(view, paths);
  frame.hold(view, {
    controls: controls.rest(),
    over: [facts.element],
    body: [grid.element, scatter.element, paths.section, legend.element],
    popovers: [facts.terms.answer.list, facts.terms.foil.list],
  });
  scope.effect(() => {
    const { chart } = view.options.value;
    facts.element.hidden = !view.picture.value;
    grid.element.hidden = chart !== "grid";
    scatter.element.hidden = chart !== "scatter";
    paths.section.hidden = chart !== "paths";
    legend.element.hidden = chart === "scatter";
  });
  const walks = [
    { element: grid.element, key: (key: string) => grid.key(key) },
    { element: paths.element, key: (key: string) => paths.key(key, "walked to") },
  ];
  followWays(frame, [...walks, scatter.walk], {
    ...controls.keys(),
    a: () => facts.terms.answer.focus(),
    f: () => facts.terms.foil.focus(),
    x: () => facts.terms.swapped(),
    Escape() {
      if (paths.release()) return;
      if (view.hover.peek() !== null) view.point(null);
      else if (view.chosen.peek() !== null) view.release();
    },
  });
  frame.fit(
    view,
    () => void [view.field.value, view.answers.refused.value, view.chosen.value],
    () => {
      grid.element.style.maxWidth = Number.isFinite(grid.widest) ? `${grid.widest}px` : "none";
      charts[view.options.peek().chart].fit();
    },
  );
  frame.announce(
    view,
    computed(() => view.status.value.state !== "computing"),
    computed(() => charts[view.options.value.chart].drawn.value),
  );
});

/** What can be chosen follows from what the picture says of the model, and from the experiment. */
function makeControls(view: PatchingView): OptionControls<PatchingOptions> {
  const manifest = computed(() => view.picture.value?.manifest);
  const ablates = (): boolean => view.options.value.experiment === "ablation";
  const offered = <Name extends "site" | "by" | "metric">(name: Name, among: string[] | undefined): Now<PatchingOptions[Name]> => {
    const choices = OPTIONS[name].choices!.filter(({ value }) => !among || among.includes(value));
    const present = view.options.value[name];
    const value = choices.some((choice) => choice.value === present) ? present : choices[0]?.value;
    return { choices: choices as never, ...(value ? { value: value as PatchingOptions[Name] } : {}) };
  };
  const needs = { disabled: true, tip: "Needs the model; this picture stands without a kernel" };
  const fixed = <Value>(now: Now<Value> = {}): Now<Value> => ({ ...now, ...(view.canCompute.value ? {} : needs) });
  return new OptionControls<PatchingOptions>(view, OPTIONS, {
    experiment: { now: () => fixed() },
    site: { now: () => fixed({ ...offered("site", manifest.value?.sites), hidden: ablates() }) },
    by: { now: () => fixed({ ...offered("by", manifest.value?.grids), hidden: ablates() }) },
    over: { now: () => fixed({ hidden: !ablates() }) },
    metric: { now: () => fixed(offered("metric", manifest.value?.metrics)) },
    direction: { now: () => fixed({ hidden: ablates() }) },
    ablated_by: { now: () => fixed({ hidden: !ablates() }) },
    exact: { now: () => fixed({ hidden: ablates() }) },
    beside: { now: () => fixed() },
    shows: { now: () => (manifest.value?.differs === false ? { value: "change", disabled: true } : {}) },
  });
}

const LOOKS: [look: string, text: string][] = [
  ["estimate", "estimate"],
  ["pending", "not computed yet"],
  ["impossible", "no such patch"],
  ["beyond", "beyond the colours"],
];

function makeLegend(view: PatchingView, paths: PathsGrid): Legend {
  const legend = new Legend();
  view.scope.effect(() => {
    const [field, ways] = [view.field.value, view.options.value.chart === "paths" ? paths.blocks.value : null];
    if (!field) return;
    const { mapping, kinds } = ways ?? field;
    const looks = new Set<string>(kinds);
    if (!ways && field.clipped) looks.add("beyond");
    legend.show({
      ...{ mapping, unit: ways ? "effect through it" : field.title, masked: false, missing: looks.has("missing"), clipped: 0 },
      extra: LOOKS.filter(([look]) => looks.has(look)).map(([look, text]) => {
        const swatch = h("span", `miw-swatch miw-patching-${look}`);
        return h("div", "miw-swatch-row", swatch, ways ? "not behind the head" : text);
      }),
    });
  });
  return legend;
}

/** What a view of plain data says in the place of its prompt. */
function size(view: PatchingView): string {
  const { n_layers, n_heads, tokens } = view.picture.value!.manifest;
  return `${n_layers} layers × ${n_heads} heads, ${tokens.strings.length} positions`;
}
