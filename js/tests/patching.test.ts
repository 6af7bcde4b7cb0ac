// @vitest-environment jsdom
/** The patching view as a whole, on a fake model: what it shows, what it asks for, what it leaves behind. */
import { beforeEach, describe, expect, test, vi } from "vitest";
import view from "../src/widgets/patching/index";
import type { PatchingManifest, PatchingState } from "../src/core/wire.gen";
import { FakeModel } from "./fake_model";
import { CLEAN, CORRUPT, EFFECTS, ESTIMATES, patchingPicture, patchingState, PATHS, table } from "./patching_state";
import { cleanups, rendered, useCanvas, useStage } from "./stage";

useStage({ clientWidth: 900, offsetWidth: 900, offsetHeight: 300 });

const show = (model: FakeModel): HTMLElement => rendered(view, model);
const state = (change: Partial<PatchingState> = {}, live = true): FakeModel => new FakeModel(patchingState(change), live);
const pictured = (change: Partial<PatchingManifest>, ...values: (number | null)[][]): FakeModel =>
  state({ picture: patchingPicture(change, ...values) });
const settle = (ms = 500): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const text = (root: Element, selector: string): string => root.querySelector(selector)!.textContent!.replace(/\s+/g, " ");
const said = (root: Element): string => text(root, '.miw-hidden[aria-live="polite"]');
const grid = (root: Element): HTMLElement => root.querySelector<HTMLElement>(".miw-patching-grid")!;
const tipped = (root: Element): string[] => [...root.querySelectorAll(".miw-tooltip > div")].map((line) => line.textContent!);
const rows = (part: Element): string[][] =>
  [...part.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent!));

function press(target: Element, ...keys: string[]): void {
  for (const key of keys) target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

/** The pointer over a cell of the grid of two layers and five positions; jsdom knows no pointer events. */
function pointer(root: Element, name: string, row: number, column: number): void {
  const place = { clientX: 30 + 56 * column + 20, clientY: 41 + 26 * row + 10, bubbles: true };
  grid(root).dispatchEvent(new MouseEvent(name, place));
}

/** What is drawn from now on, by the names of the calls. */
function recorded(): { calls: { name: string; values: unknown[] }[] } {
  const record: { calls: { name: string; values: unknown[] }[] } = { calls: [] };
  useCanvas((name, values) => void record.calls.push({ name, values }));
  return record;
}

describe("what is asked", () => {
  test("prompts are called clean and corrupt, and both metrics stand beside the question", async () => {
    const root = show(state());
    await settle();
    expect([...root.querySelectorAll(".miw-prompts .miw-side")].map((side) => side.textContent)).toEqual(["clean", "corrupt"]);
    expect([...root.querySelectorAll("textarea")].map((area) => area.getAttribute("aria-label"))).toEqual([
      "clean prompt",
      "corrupt prompt",
    ]);
    expect(text(root, ".miw-question-line")).toBe("logit(auto)− logit(auto)⇄= clean 3.21, corrupt −0.79");
  });

  test("an edit of the corrupt prompt is sent as the second prompt", async () => {
    const model = state();
    const area = show(model).querySelectorAll("textarea")[1]!;
    area.value = "When Sue";
    press(area, "Enter");
    expect(model.values["compare"]).toEqual({ kind: "text", text: "When Sue" });
  });

  test("without a corrupt prompt the proposed one is offered", async () => {
    const model = state({ compare: null, proposal: "When Anna" });
    const root = show(model);
    await settle();
    [...root.querySelectorAll("button")].find((button) => button.textContent === "+ corrupt")!.click();
    expect(model.values["compare"]).toEqual({ kind: "text", text: "When Anna" });
  });

  test("metrics without an answer name themselves, and hide its fields", async () => {
    const root = show(pictured({ metric: "kl", metric_title: "KL to clean", answer: null, foil: null, clean: 0, corrupt: 2.5 }));
    await settle();
    expect(text(root, ".miw-question-result")).toBe("KL to clean: clean 0, corrupt 2.5");
    expect([...root.querySelectorAll<HTMLElement>(".miw-question-term")].map(({ hidden }) => hidden)).toEqual([true, true]);
  });

  test("an answer that is no token says what may be meant, and one is taken by its id", async () => {
    const offers = [{ id: 102, string: " Mary" }];
    const model = state({ refused: { role: "answer", text: " Marylin", pieces: [" Mary", "lin"], offers } });
    const root = show(model);
    await settle();
    expect(text(root, ".miw-refused")).toBe("answer·Marylinis 2 tokens here:·MarylinSingle tokens:·Mary");
    root.querySelector<HTMLElement>(".miw-refused button")!.click();
    expect(model.values["answer"]).toBe(102);
  });

  test("tokens that differ stand out, and where one prompt has none there is a gap", async () => {
    const corrupt = [...CORRUPT.slice(0, 3), " Lee", ...CORRUPT.slice(3)];
    const pairs = [
      [0, 0],
      [1, 1],
      [2, 2],
      [-1, 3],
      [3, 4],
      [4, 5],
    ];
    const root = show(pictured({ compare: { tokens: table(corrupt), pairs }, numbers: [[0, 1], [0, 1, 2, 4, 5]] })); // prettier-ignore
    await settle();
    const differing = [...root.querySelectorAll(".miw-patching-differs")].map((pair) => pair.textContent);
    expect(differing).toEqual(["·Mary·Anna", "∅·Lee"]);
  });

  test("a metric that does not differ is warned of, and changes are shown instead of effects", async () => {
    const root = show(pictured({ differs: false, corrupt: 3.21 }));
    await settle();
    expect(text(root, ".miw-patching-warn")).toContain("Clean and corrupt do not differ in the metric");
    expect(text(root, ".miw-legend-unit")).toBe("change of the logit difference, logits");
    const shows = root.querySelector<HTMLSelectElement>("select[aria-label=shows]")!;
    expect([shows.value, shows.disabled]).toEqual(["change", true]);
  });

  test("why cells stay estimates is said, with what both would cost", async () => {
    const none = EFFECTS.map(() => null);
    const root = show(pictured({ done: 0, why_estimate: "estimate only, as chosen" }, none, ESTIMATES));
    await settle();
    expect(text(root, ".miw-patching-warn")).toBe(
      "Estimates only: estimate only, as chosen (all cells exact ≈ 12 s, the estimate ≈ 0.5 s).",
    );
  });

  test("a mean over pairs says so, and its cells their interval", async () => {
    const root = show(pictured({ pairs: 24 }));
    await settle();
    expect(text(root, ".miw-question-result")).toBe("= clean 3.21, corrupt −0.79 · mean of 24 pairs");
    pointer(root, "pointermove", 0, 2);
    expect(tipped(root)).toContain("effect over the pairs, 95 % 0.75 … 1.25");
  });
});

describe("the grid", () => {
  let model: FakeModel;
  let root: HTMLElement;
  beforeEach(async () => {
    model = state();
    root = show(model);
    await settle();
  });

  test("a cell says its effect, its token in both runs, and what a patch there can change", () => {
    pointer(root, "pointermove", 0, 2);
    expect(tipped(root)).toEqual([
      "effect 1",
      "resid_pre, layer 0",
      "position ·Anna  2, id 102",
      "in the other run ·Mary".padStart(24),
      "change 4 logits",
      "estimate ≈ 0.75",
      "can change layer 1 from position 2 on",
    ]);
    pointer(root, "pointermove", 1, 2);
    expect(tipped(root).join()).not.toContain("can change");
  });

  test("a click locks the cell: the selection names the site, and the run beside is named", async () => {
    pointer(root, "click", 1, 3);
    await settle();
    expect(model.values["selection"]).toMatchObject({ component: "resid_pre", layer: 1, head: null, position: 3 });
    expect(text(root, ".miw-patching-beside .miw-chip-name").replace(/[\u2068\u2069]/g, "")).toBe("corrupt, L1 ·and (3) patched");
    root.querySelector<HTMLElement>(".miw-patching-beside .miw-chip-away")!.click();
    expect(model.values["selection"]).toMatchObject({ component: null, layer: null, position: null });
    await settle();
    expect(root.querySelector<HTMLElement>(".miw-patching-beside")!.hidden).toBe(true);
  });

  test("a selection that means no cell of this site is none here", async () => {
    model.set("selection", { layer: 1, head: null, query: null, key: null, position: 3, feature: null, heads: [], stamp: 5 });
    await settle();
    expect(root.querySelector<HTMLElement>(".miw-patching-beside")!.hidden).toBe(true);
  });

  test("arrows, Home and End walk the cells and say them; Enter locks; Escape lets go, step by step", async () => {
    press(grid(root), "ArrowRight", "ArrowRight", "ArrowRight");
    const plain = (): string => said(root).replace(/[\u2068\u2069]/g, "");
    expect(plain()).toBe("L0 ·Anna (2): 1");
    press(grid(root), "ArrowDown", "End");
    expect(plain()).toBe("L1 ·John (4): −0.125");
    press(grid(root), "Enter");
    expect(model.values["selection"]).toMatchObject({ layer: 1, position: 4 });
    press(grid(root), "Escape", "Escape");
    expect(model.values["selection"]).toMatchObject({ layer: null, position: null });
  });

  test("its table lists what changes most first", () => {
    expect(rows(grid(root)).slice(0, 3).map(([where, value]) => [where!.replace(/[\u2068\u2069]/g, ""), value])).toEqual([
      ["L1 ·and (3)", "1.25"],
      ["L0 ·Anna (2)", "1"],
      ["L1 ·Anna (2)", "0.5"],
    ]); // prettier-ignore
  });
});

test("estimates carry a dot and say so until exact values replace them; the pointed cell stays", async () => {
  const drawn = recorded();
  const status = { state: "computing", run: 1, message: "", hint: "", done: 3, total: 10, estimate: "", elapsed_ms: 0 } as const;
  const some = EFFECTS.map((effect, cell) => (cell < 3 ? effect : null));
  const guessed = ESTIMATES.map((value, cell) => (cell === 9 ? null : value));
  const model = state({ status, picture: patchingPicture({ done: 3 }, some, guessed) });
  const root = show(model);
  await settle();
  expect(drawn.calls.filter(({ name }) => name === "arc").length).toBe(6);
  expect([...root.querySelectorAll(".miw-legend .miw-swatch-row")].map((row) => row.textContent)).toEqual(["estimate", "not computed yet"]);
  pointer(root, "pointermove", 1, 3);
  expect(tipped(root)[0]).toBe("effect ≈ 0.5, an estimate");
  drawn.calls.length = 0;
  model.set("picture", patchingPicture());
  await settle();
  expect(drawn.calls.some(({ name }) => name === "arc")).toBe(false);
  expect(tipped(root)[0]).toBe("effect 1.25");
  expect([...root.querySelectorAll(".miw-legend .miw-swatch-row")].map((row) => row.textContent)).toEqual(["beyond the colours"]);
});

test("the cone of what the pointed cell can change is shaded: later layers, from its position on", async () => {
  const drawn = recorded();
  const root = show(state());
  await settle();
  drawn.calls.length = 0;
  pointer(root, "pointermove", 0, 2);
  await settle();
  expect(drawn.calls).toContainEqual({ name: "strokeRect", values: [30 + 112 - 0.5, 41 + 26 - 0.5, 3 * 56, 26] });
});

test("a picture saved before it was done says how far it is", async () => {
  const some = EFFECTS.map((effect, cell) => (cell < 3 ? effect : null));
  const root = show(state({ picture: patchingPicture({ done: 3, live: false }, some) }, false));
  await settle();
  expect(text(root, ".miw-status")).toContain("Saved before it was done: 3 of 10 cells are exact.");
  const off = (label: string): boolean => root.querySelector<HTMLSelectElement>(`select[aria-label="${label}"]`)!.disabled;
  expect(["site", "by", "metric", "direction", "shows", "chart"].map(off)).toEqual([true, true, true, true, false, false]);
});

test("axes, sites and metrics are offered as the picture has them, and what ablation does not need is hidden", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const select = (label: string): HTMLSelectElement => root.querySelector<HTMLSelectElement>(`select[aria-label="${label}"]`)!;
  const offered = (label: string): string[] => [...select(label).options].map(({ value }) => value);
  expect([offered("site"), offered("by")]).toEqual([["resid_pre", "resid_post", "z", "k"], ["layer × position", "layer"]]); // prettier-ignore
  expect(select("over").closest<HTMLElement>(".miw-control")!.hidden).toBe(true);
  press(grid(root), "e");
  await settle();
  expect(model.values["options"]).toMatchObject({ experiment: "ablation" });
  const hidden = (label: string): boolean => select(label).closest<HTMLElement>(".miw-control")!.hidden === true;
  expect([hidden("site"), hidden("direction"), hidden("over")]).toEqual([true, true, false]);
});

describe("the scatter", () => {
  const options = { chart: "scatter" } as never;
  const scatter = (root: Element): HTMLElement => root.querySelector<HTMLElement>(".miw-scatter")!;

  test("keys walk from the point that is farthest off; Enter locks its cell", async () => {
    const model = state({ options });
    const root = show(model);
    await settle();
    const plain = (): string => said(root).replace(/[\u2068\u2069]/g, "");
    press(scatter(root), "ArrowRight");
    expect(plain()).toBe("L1 ·and (3), 1.25, ≈ 0.5");
    press(scatter(root), "ArrowRight");
    expect(plain()).toBe("L0 ·Anna (2), 1, ≈ 0.75");
    press(scatter(root), "Enter");
    expect(model.values["selection"]).toMatchObject({ component: "resid_pre", layer: 0, position: 2 });
  });

  test("outliers are named, and a click takes the nearest point's cell", async () => {
    const drawn = recorded();
    const model = state({ options });
    const root = show(model);
    await settle();
    const written = drawn.calls
      .filter(({ name }) => name === "fillText")
      .map(({ values }) => String(values[0]).replace(/[\u2068\u2069]/g, ""));
    expect(written).toContain("L1 ·and (3)");
    const point = drawn.calls.find(({ name }) => name === "arc")!.values as number[];
    scatter(root).dispatchEvent(new MouseEvent("click", { clientX: point[0]! + 3, clientY: point[1]!, bubbles: true }));
    expect(model.values["selection"]).toMatchObject({ layer: 1, position: 3 });
  });

  test("without estimates it says why it is empty", async () => {
    const root = show(state({ options, picture: patchingPicture({ estimated_by: "" }) }));
    await settle();
    expect(text(root, ".miw-scatter-none")).toBe("No estimates were made here.");
  });
});

describe("paths", () => {
  const options = { chart: "paths" } as never;
  const receivers = (root: Element): HTMLElement => root.querySelector<HTMLElement>(".miw-patching-receivers")!;
  const crumbs = (root: Element): string[] => [...root.querySelectorAll(".miw-patching-crumbs button")].map((crumb) => crumb.textContent!);

  test("each receiver has its effect, and what cannot hear the head has none", async () => {
    const root = show(state({ options, picture: patchingPicture({ paths: PATHS }) }));
    await settle();
    expect(crumbs(root)).toEqual(["L0 H1"]);
    press(receivers(root), "ArrowRight");
    expect(said(root)).toBe("queries of L0 H0: none");
    press(receivers(root), "ArrowDown");
    expect(said(root)).toBe("queries of L1 H0: 0.5");
    expect(rows(receivers(root)).slice(0, 3)).toEqual([["the logits directly", "0.75"], ["queries of L1 H0", "0.5"], ["L1 MLP", "−0.25"]]); // prettier-ignore
  });

  test("Enter walks on from a receiver; the path above leads back", async () => {
    const model = state({ options, picture: patchingPicture({ paths: PATHS }) });
    const root = show(model);
    await settle();
    press(receivers(root), "ArrowRight", "ArrowDown", "Enter");
    const path = [
      { layer: 0, head: 1, entered: "" },
      { layer: 1, head: 0, entered: "q" },
    ];
    expect(model.values["path"]).toEqual(path);
    model.set("picture", patchingPicture({ paths: { ...PATHS!, path } }));
    await settle();
    expect(text(root, ".miw-patching-crumbs")).toBe("fromL0 H1→ queries ofL1 H0through each receiver");
    root.querySelector<HTMLElement>(".miw-patching-crumbs button")!.click();
    expect(model.values["path"]).toEqual(path.slice(0, 1));
  });

  test("what stands before the sender and the logits lead nowhere", async () => {
    const model = state({ options, picture: patchingPicture({ paths: PATHS }) });
    const root = show(model);
    await settle();
    press(receivers(root), "ArrowRight", "Enter");
    expect(model.values["path"]).toEqual([]);
  });

  test("a key-value head stands under each head that reads of it, and is one receiver", async () => {
    const paths = { path: PATHS!.path, kinds: ["k", "k"], layers: [1, 1], heads: [0, 1], effects: [0.5, 0.25] };
    const model = state({ options, picture: patchingPicture({ n_heads: 4, n_kv_heads: 2, paths }) });
    const root = show(model);
    await settle();
    expect(rows(receivers(root))).toEqual([["keys of L1 H0", "0.5"], ["keys of L1 H1", "0.25"]]); // prettier-ignore
    press(receivers(root), "ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight");
    const heard = [said(root)];
    for (let step = 0; step < 3; step++) {
      press(receivers(root), "ArrowRight");
      heard.push(said(root));
    }
    expect(heard).toEqual(["keys of L1 H0: 0.5", "keys of L1 H0: 0.5", "keys of L1 H1: 0.25", "keys of L1 H1: 0.25"]);
    press(receivers(root), "Enter");
    expect(model.values["path"]).toEqual([PATHS!.path[0], { layer: 1, head: 1, entered: "k" }]);
  });

  test("while no head is chosen it says what to do", async () => {
    const root = show(state({ options }));
    await settle();
    expect(text(root, ".miw-patching-crumbs")).toContain("Choose a head");
    expect(receivers(root).hidden).toBe(true);
  });
});

test("tokens and answers that hold markup are only ever text", async () => {
  const wild = "<img src=x onerror=alert(1)>";
  const tokens = table(CLEAN.map((word, at) => (at === 2 ? wild : word)));
  const root = show(pictured({ tokens, base: "A", answer: { id: 1, string: wild }, notes: [wild], metric_title: wild }));
  await settle();
  press(grid(root), "ArrowRight", "ArrowRight", "ArrowRight");
  expect(root.querySelector("img, script")).toBeNull();
  expect(tipped(root).join()).toContain("<img·src=x");
});

test("a closed view leaves nothing behind", async () => {
  const model = state();
  const root = show(model);
  await settle();
  pointer(root, "pointermove", 0, 2);
  cleanups.pop()!();
  await settle(20000);
  expect([root.isConnected, model.listening]).toEqual([false, 0]);
});
