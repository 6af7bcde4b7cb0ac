/**
 * What is asked and what both runs answer, over the picture: answer and foil, the metric of clean and corrupt, what a
 * reader must know of it, and both prompts under each other. Knows nothing of the cells.
 */
import { rounded } from "../../core/format";
import { computed } from "../../core/signal";
import { AnswerTerms } from "../../dom/answers";
import { h, tipped } from "../../dom/element";
import { makeToken } from "../../dom/running_text";
import type { PatchingManifest } from "../../core/wire.gen";
import type { PatchingView } from "./model";

/** What stands around an answer, by metric; of a difference its foil too. */
const AROUND: Record<string, [answer: string, foil?: string]> = {
  logit_difference: ["logit(", "− logit("],
  log_probability: ["log p("],
  probability: ["p("],
  rank: ["rank("],
};
const TIPS = {
  answer: "The answer: the token that is right after the clean prompt. Empty: the clean run's first choice",
  foil: "The foil: the token that is right after the corrupt prompt. Empty: the clean run's second choice, or none if the answer is given",
};

export class Facts {
  readonly terms: AnswerTerms;
  readonly #result = h("span", "miw-question-result");
  readonly #warn = h("div", { class: "miw-patching-warn", role: "status" });
  readonly #beside = h("span", { class: "miw-patching-beside", role: "group", "aria-label": "run beside in linked views" });
  readonly #strips = h("div", { class: "miw-patching-strips", tabindex: 0, role: "group", "aria-label": "both prompts, aligned" });
  readonly element: HTMLElement;
  readonly #view: PatchingView;
  /** While a grid fills, the same prompts come again and again. */
  #shown = "";

  constructor(view: PatchingView) {
    this.#view = view;
    const { scope } = view;
    const metric = computed(() => view.picture.value?.manifest.metric ?? view.options.value.metric);
    this.terms = new AnswerTerms(
      scope,
      view.answers,
      computed(() => {
        const [answer, foil] = AROUND[metric.value] ?? [];
        const term = (role: "answer" | "foil", before = ""): { before: string; after: string; tip: string } | null =>
          before ? { before, after: ")", tip: TIPS[role] } : null;
        return { answer: term("answer", answer), foil: term("foil", foil) };
      }),
    );
    const line = h("div", "miw-question-line", ...this.terms.elements, this.#result, this.#beside);
    this.element = h(
      "section",
      { class: "miw-question", "aria-label": "what is asked" },
      line,
      this.terms.refused,
      this.#warn,
      this.#strips,
    );
    scope.effect(() => this.#showResult());
    scope.effect(() => this.#showStrips());
    scope.effect(() => this.#showBeside());
  }

  #showResult(): void {
    const view = this.#view;
    const manifest = view.picture.value?.manifest;
    if (!manifest) return;
    const { metric, metric_title, clean, corrupt, pairs, experiment } = manifest;
    this.#result.hidden = view.stale.value;
    const number = (value: number | null): string => (value === null ? "not known" : rounded(value));
    const runs = [`clean ${number(clean)}`, ...(experiment === "patching" ? [`corrupt ${number(corrupt)}`] : [])];
    const named = AROUND[metric] ? "" : `${metric_title}: `;
    const many =
      pairs > 1 ? [tipped(` · mean of ${pairs} pairs`, "Prompts and tokens shown are those of the first pair", "miw-faint")] : [];
    this.#result.replaceChildren(h("span", "miw-faint", AROUND[metric] ? "= " : ""), `${named}${runs.join(", ")}`, ...many);
    const warnings = warningsOf(manifest);
    this.#warn.hidden = !warnings.length;
    this.#warn.replaceChildren(...warnings.map((text) => h("div", {}, text)));
  }

  /** Both prompts under each other, partners in one column; tokens that differ stand out, gaps are seen. */
  #showStrips(): void {
    const manifest = this.#view.picture.value?.manifest;
    const pairs = manifest?.compare?.pairs ?? [];
    const key = JSON.stringify([pairs, manifest?.tokens.strings, manifest?.compare?.tokens.strings]);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#strips.hidden = !pairs.length;
    const token = (strings: string[], special: boolean[], at: number): HTMLElement =>
      at < 0 ? h("span", "miw-patching-gap", "∅") : makeToken(strings[at]!, !!special[at], at);
    const columns = pairs.map(([a = -1, b = -1]) => {
      const { tokens, compare } = manifest!;
      const [own, other] = [token(tokens.strings, tokens.special, a), token(compare!.tokens.strings, compare!.tokens.special, b)];
      const differs = a < 0 || b < 0 || tokens.strings[a] !== compare!.tokens.strings[b];
      return h("span", { class: differs ? "miw-patching-pair miw-patching-differs" : "miw-patching-pair" }, own, other);
    });
    const names = this.#view.runNames.map((name) => h("span", {}, name));
    this.#strips.replaceChildren(h("span", { class: "miw-patching-pair miw-faint", "aria-hidden": "true" }, ...names), ...columns);
  }

  /** Which run linked views set beside their own. */
  #showBeside(): void {
    const view = this.#view;
    const [picture, cell] = [view.picture.value, view.chosen.value];
    const { beside } = view.options.value;
    this.#beside.hidden = !picture || cell === null || beside === "nothing";
    if (!picture || cell === null) return;
    const { experiment, compare, direction } = picture.manifest;
    const base = direction === "denoise" ? "corrupt" : "clean";
    const patched = experiment === "ablation" ? `clean, ${picture.nameOf(cell)} ablated` : `${base}, ${picture.nameOf(cell)} patched`;
    const name = beside === "corrupt" && compare ? "corrupt" : patched;
    const away = h(
      "button",
      { class: "miw-chip-away", "aria-label": "release the cell", "data-tip": "Release the cell", click: () => view.release() },
      "×",
    );
    this.#beside.replaceChildren(
      tipped(
        "beside in linked views",
        "Views of this session that compare nothing of their own show this run as their side B",
        "miw-faint",
      ),
      h("span", "miw-chip", h("span", "miw-chip-name", h("bdi", {}, name)), away),
    );
  }
}

function warningsOf({ differs, experiment, why_estimate, seconds }: PatchingManifest): string[] {
  const out: string[] = [];
  if (!differs)
    out.push(
      experiment === "ablation"
        ? "The metric of the clean run is 0: there is nothing to measure effects in. Changes of the metric are shown."
        : "Clean and corrupt do not differ in the metric: there is nothing to restore. Changes of the metric are shown.",
    );
  if (why_estimate) {
    const costs = [
      ["all cells exact", seconds.exact],
      ["the estimate", seconds.estimate],
    ].flatMap(([name, time]) => (typeof time === "number" ? [`${name} ≈ ${rounded(time)} s`] : []));
    out.push(`Estimates only: ${why_estimate}${costs.length ? ` (${costs.join(", ")})` : ""}.`);
  }
  return out;
}
