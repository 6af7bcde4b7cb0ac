// @vitest-environment jsdom
/** Interventions in every view: the line that names the run, keys and buttons that ablate and restore, and their undo. */
import { describe, expect, test, vi } from "vitest";
import { Interventions } from "../src/core/interventions";
import { Scope, Signal } from "../src/core/signal";
import { ModelSource } from "../src/core/source";
import type { AttentionState, AttributionState, InterventionValue } from "../src/core/wire.gen";
import { Attribution } from "../src/widgets/logit_attribution/attribution";
import attribution from "../src/widgets/logit_attribution/index";
import { Explorer } from "../src/widgets/attention/explorer";
import attention from "../src/widgets/attention/index";
import { attributionPicture, attributionState, BY_HEAD } from "./attribution_state";
import { EVERY_VIEW, status } from "./every_view";
import { FakeModel } from "./fake_model";
import { cleanups, rendered, useStage } from "./stage";
import { packed, syntheticManifest, syntheticState } from "./synthetic";

useStage({ clientWidth: 900, offsetWidth: 900, offsetHeight: 300 });

const settle = (ms = 100): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const ablated = (layer: number, head: number, by = "zero"): InterventionValue => ({
  label: `L${layer} H${head} ablated`,
  kind: "ablate",
  by,
  layer,
  head,
});
const OWN: InterventionValue = { label: "double at blocks.0.hook_mlp_out", kind: "own", by: null, layer: null, head: null };

/** Set beside by the session. */
const PATCHED = { kind: "run", prompt: { kind: "text", text: "corrupt" }, model: null, interventions: ["L3 resid_pre patched"] };

function press(target: Element, key: string): void {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

const line = (root: Element): HTMLElement => root.querySelector<HTMLElement>(".miw-run")!;
/** What the line says, or null where it is not there. */
const said = (root: Element): string | null => (line(root).hidden ? null : root.querySelector(".miw-run-sides")!.textContent);
/** The buttons of the line that can be pressed. */
const buttons = (root: Element): string[] =>
  [...line(root).querySelectorAll<HTMLElement>("button")]
    .filter((button) => !button.closest("[hidden]"))
    .map((button) => button.getAttribute("aria-label")!);
const button = (root: Element, name: string): HTMLButtonElement => root.querySelector<HTMLButtonElement>(`button[aria-label="${name}"]`)!;
const orders = (model: FakeModel): unknown[] =>
  model.sent.filter((message) => message["kind"] === "order").map(({ kind: _, ...order }) => order);
const chosen = (layer: number, head: number, heads: number[][] = []) => ({
  layer,
  head,
  query: null,
  key: null,
  position: null,
  feature: null,
  heads,
  stamp: 3,
});

describe.each(EVERY_VIEW)("$name", ({ view, state, picture, compared }) => {
  test("where nothing is changed nothing is said", async () => {
    const root = rendered(view, new FakeModel(state()));
    await settle();
    expect([said(root), root.dataset["stale"]]).toEqual([null, undefined]);
  });

  test("a saved picture from before there were interventions is as it was", async () => {
    const { interventions: _, ...old } = state();
    const root = rendered(view, new FakeModel(old, false));
    await settle();
    expect([said(root), root.dataset["stale"]]).toEqual([null, undefined]);
  });

  test("every intervention is named, and one is taken away by its place and name", async () => {
    const model = new FakeModel(state({ interventions: [ablated(1, 0), OWN] }));
    const root = rendered(view, model);
    await settle();
    expect(said(root)).toBe("L1 H0 ablated×double at blocks.0.hook_mlp_out×");
    button(root, `take away: ${OWN.label}`).click();
    await settle(0);
    expect(orders(model)).toEqual([{ order: "remove", at: 1, label: OWN.label }]);
    expect(said(root)).toBe("L1 H0 ablated×");
  });

  test("the key ablates the head that is chosen: said at once, and as the kernel has it when it answers", async () => {
    const model = new FakeModel(state({ selection: chosen(1, 0) }));
    const root = rendered(view, model);
    await settle();
    press(root, "k");
    await settle(0);
    expect(orders(model)).toEqual([{ order: "ablate", heads: [[1, 0]] }]);
    expect(said(root)).toBe("L1 H0 ablated×");
    model.set("interventions", [OWN, ablated(1, 0)]);
    await settle(0);
    expect(said(root)).toBe("double at blocks.0.hook_mlp_out×L1 H0 ablated×");
    press(root, "k");
    await settle(0);
    expect(said(root)).toBe("double at blocks.0.hook_mlp_out×");
  });

  test("an order that is refused is taken back", async () => {
    const model = new FakeModel(state({ selection: chosen(1, 0) }));
    const root = rendered(view, model);
    await settle();
    press(root, "k");
    model.set("status", status("error", 1, { message: "There is no such head." }));
    await settle();
    expect(said(root)).toBeNull();
  });

  test("two quick orders end as the second, whatever of the first comes back between", async () => {
    const model = new FakeModel(state({ selection: chosen(1, 0) }));
    const root = rendered(view, model);
    await settle();
    press(root, "k");
    press(root, "k");
    model.set("interventions", [ablated(1, 0)]);
    await settle(0);
    expect(said(root)).toBe("untouchedL1 H0 ablated");
    model.set("interventions", []);
    await settle(0);
    expect(said(root)).toBe("untouchedL1 H0 ablated");
  });

  test("shift and the key take all away and put them back, and the line stays in its place meanwhile", async () => {
    const model = new FakeModel(state({ interventions: [ablated(1, 0), OWN] }));
    const root = rendered(view, model);
    await settle();
    press(root, "K");
    await settle(0);
    expect(said(root)).toBe(`untouchedL1 H0 ablated, ${OWN.label}`);
    expect(buttons(root)).toEqual(["put the interventions back"]);
    model.set("interventions", []);
    await settle(0);
    press(root, "K");
    await settle(0);
    expect(said(root)).toBe(`L1 H0 ablated×${OWN.label}×`);
    expect(orders(model)).toEqual([{ order: "restore" }, { order: "undo" }]);
  });

  test("without a kernel the line stands without controls, and keys change nothing", async () => {
    const model = new FakeModel(state({ interventions: [ablated(1, 0)], selection: chosen(1, 0) }), false);
    const root = rendered(view, model);
    await settle();
    press(root, "k");
    press(root, "K");
    await settle();
    expect([said(root), buttons(root), orders(model)]).toEqual(["L1 H0 ablated", [], []]);
  });

  test("without a chosen head the key orders nothing that is not in sight, and the list of keys tells of it", async () => {
    const model = new FakeModel(state());
    const root = rendered(view, model);
    await settle();
    press(root, "K");
    press(root, "?");
    await settle();
    expect(orders(model)).toEqual([]);
    expect([...root.querySelectorAll(".miw-keys th")].map((key) => key.textContent)).toEqual(expect.arrayContaining(["k", "K"]));
  });

  test("names of interventions are only ever text, and of very many the first are named", async () => {
    const wild = { ...OWN, label: "<img src=x onerror=alert(1)>" };
    const root = rendered(
      view,
      new FakeModel(state({ interventions: [wild, ...Array.from({ length: 60 }, (_, head) => ablated(0, head))] })),
    );
    await settle();
    expect(root.querySelector("img")).toBeNull();
    expect(said(root)).toContain("and 21 more");
  });

  test("a saved picture of another run than the one asked for is stale", async () => {
    const root = rendered(view, new FakeModel(state({ interventions: [ablated(1, 0)], picture: picture(1) }), false));
    await settle();
    expect(root.dataset["stale"]).toBe("true");
  });

  // Patching sets runs beside those of other views, and none beside its own.
  if (!compared) return;

  test("of a comparison both sides say what they are, where they are not the same", async () => {
    const untouched = { kind: "run", prompt: null, model: null, interventions: [] };
    const model = new FakeModel(state({ interventions: [ablated(1, 0)], compare: untouched }));
    const root = rendered(view, model);
    await settle();
    expect(said(root)).toBe("AL1 H0 ablated×Buntouched");
    model.set("compare", { ...untouched, interventions: null, model: "gpt2-medium" });
    await settle(0);
    expect(said(root)).toBe("AL1 H0 ablated×Bmodel gpt2-mediumL1 H0 ablated");
    model.set("compare", { kind: "text", text: "another" });
    await settle(0);
    expect(said(root)).toBe("L1 H0 ablated×");
  });

  test("one button sets the untouched run of the same prompt beside the one in sight", async () => {
    const model = new FakeModel(state({ interventions: [ablated(1, 0)] }));
    const root = rendered(view, model);
    await settle();
    button(root, "compare with the untouched run").click();
    await settle(0);
    expect(model.values["compare"]).toEqual({ kind: "run", prompt: null, model: null, interventions: [] });
    const [first, second] = [...root.querySelectorAll<HTMLTextAreaElement>("textarea.miw-prompt")];
    expect(second!.value).toBe(first!.value);
    expect(buttons(root)).toEqual(["take away: L1 H0 ablated", "restore all"]);
  });

  test("what the session sets beside stands on the face as a run of the view's own would, and is not for it to edit", async () => {
    const model = new FakeModel(state({ beside: PATCHED }));
    const root = rendered(view, model);
    await settle();
    expect(said(root)).toBe("AuntouchedBL3 resid_pre patched×");
    const second = root.querySelectorAll<HTMLTextAreaElement>("textarea.miw-prompt")[1]!;
    expect([second.value, second.readOnly]).toEqual(["corrupt", true]);
    model.set("beside", { ...PATCHED, interventions: ["L4 resid_pre patched"] });
    await settle(0);
    expect(said(root)).toBe("AuntouchedBL4 resid_pre patched×");
    model.set("compare", { ...PATCHED, interventions: ["L1 H0 ablated"], prompt: null });
    await settle(0);
    expect([said(root), second.readOnly]).toEqual(["AuntouchedBL1 H0 ablated", false]);
  });

  test.each(["take the run beside away", "end the comparison"])("“%s” takes it away in all views, at once", async (name) => {
    const model = new FakeModel(state({ beside: PATCHED }));
    const root = rendered(view, model);
    await settle();
    button(root, name).click();
    await settle(0);
    expect(orders(model)).toEqual([{ order: "alone" }]);
    expect([said(root), root.querySelectorAll(".miw-prompt-row:not([hidden])").length]).toEqual([null, 1]);
    expect(model.values["compare"] ?? null).toBeNull();
  });

  test("without a kernel it stands and cannot be taken away", async () => {
    const model = new FakeModel(state({ beside: PATCHED, picture: compared.picture(1) }), false);
    const root = rendered(view, model);
    await settle();
    expect([said(root), buttons(root)]).toEqual(["AuntouchedBL3 resid_pre patched", []]);
  });

  test("another prompt for a compared run leaves its model and interventions as they are", async () => {
    const run = { kind: "run", prompt: null, model: "gpt2-medium", interventions: ["L0 mlp_out ablated"] };
    const model = new FakeModel(state({ compare: run }));
    const root = rendered(view, model);
    await settle();
    const area = root.querySelectorAll<HTMLTextAreaElement>("textarea.miw-prompt")[1]!;
    area.value = "another";
    press(area, "Enter");
    expect(model.values["compare"]).toEqual({ ...run, prompt: { kind: "text", text: "another" } });
  });
});

test("a stale picture names its own run", async () => {
  const manifest = { ...syntheticManifest(["<bos>", "a"], 1), interventions: ["L1 H0 ablated"], ablated: [[1, 0]] };
  const model = new FakeModel(
    syntheticState(["<bos>", "a"], { picture: packed([], manifest), interventions: [ablated(0, 1)], status: status("error", 2) as never }),
  );
  const root = rendered(attention, model);
  await settle();
  expect(root.querySelector(".miw-own")!.textContent).toBe("Picture of:<bos>aL1 H0 ablated");
  expect(said(root)).toBe("L0 H1 ablated×");
});

describe("the attention explorer", () => {
  const WORDS = ["<bos>", "When", " Mary"];

  function explorer(change: Partial<AttentionState>): Explorer {
    const scope = new Scope();
    cleanups.push(() => scope.end());
    const source = new ModelSource<AttentionState>(new FakeModel(syntheticState(WORDS, change)) as never);
    return new Explorer({ source, theme: new Signal("light" as const), scope });
  }

  test("the key is for the head pointed at, else for the locked one and those laid over the text", () => {
    const view = explorer({
      selection: chosen(1, 0, [
        [0, 1],
        [1, 0],
      ]) as never,
    });
    expect(view.aimed.value).toEqual([
      { layer: 1, head: 0 },
      { layer: 0, head: 1 },
    ]);
    view.pointAtHead({ layer: 0, head: 0 });
    expect([view.aimed.value, view.held.value.length]).toEqual([[{ layer: 0, head: 0 }], 2]);
  });

  test("heads are marked by what is shown: of A, of B, and of the difference those of either", () => {
    const manifest = {
      ...syntheticManifest(WORDS, 1),
      interventions: ["L1 H0 ablated"],
      ablated: [[1, 0]],
      compare: { tokens: syntheticManifest(WORDS, 1).tokens, pairs: WORDS.map((_, at) => [at, at]) },
      other: { interventions: ["L0 H1 ablated"], ablated: [[0, 1]], model: null },
    };
    const compare = { kind: "run" as const, prompt: null, model: null, interventions: ["L0 H1 ablated"] };
    const view = explorer({ interventions: [ablated(1, 0)], compare, picture: packed([], manifest) });
    const marked = (["A", "B", "difference"] as const).map((show) => {
      view.setOptions({ show });
      return [...view.ablatedShown.value];
    });
    expect(marked).toEqual([["L1 H0"], ["L0 H1"], ["L1 H0", "L0 H1"]]);
  });

  test("the button stands for the heads held, pressed where all of them are ablated; the head says it in its title and on the wall", async () => {
    const model = new FakeModel(syntheticState(WORDS, { selection: chosen(1, 0) as never }));
    const root = rendered(attention, model);
    await settle();
    const control = button(root, "ablate");
    expect([
      control.getAttribute("aria-pressed"),
      control.dataset["tip"]!.startsWith("Ablate L1 H0: what the head read (z, before W_O)"),
    ]).toEqual(["false", true]);
    control.click();
    await settle(300);
    expect([control.getAttribute("aria-pressed"), orders(model)]).toEqual(["true", [{ order: "ablate", heads: [[1, 0]] }]]);
    expect(root.querySelector(".miw-matrix .miw-panel-title")!.textContent).toContain("L1 H0ablated");
    expect(root.querySelector(".miw-wall table")!.textContent).toContain("0, ablated");
  });

  test("what the key did is read out", async () => {
    const root = rendered(
      attention,
      new FakeModel(syntheticState(WORDS, { selection: chosen(0, 0) as never, interventions: [ablated(0, 0)] })),
    );
    await settle();
    press(root.querySelector(".miw-wall")!, "k");
    await settle(0);
    expect(root.querySelector("[aria-live=polite]")!.textContent).toContain("ablate: off");
  });
});

describe("the attribution", () => {
  const BY = attributionPicture({ ...BY_HEAD, interventions: ["L0 H0 ablated"], ablated: [[0, 0]] }, [0, -0.5, 2, 0.125, -1]);

  test("lists an ablated head with its contribution of 0, however few rows are shown", async () => {
    const root = rendered(
      attribution,
      new FakeModel(attributionState({ picture: BY, interventions: [ablated(0, 0)], options: { by: "head", rows: 2 } as never })),
    );
    await settle();
    const rows = [...root.querySelectorAll(".miw-part[data-row]")].map((row) => row.textContent);
    root.querySelector<HTMLElement>(".miw-part[data-row]")!.click();
    await settle();
    expect(root.querySelector(".miw-sources-title")!.textContent).toContain("L0 H0 +0.25ablated");
    expect(rows).toEqual(["L0 H0ablated0.000", "L1 H0+2.000", "L1 MLP−1.000", "all others (2)−0.375", "sum+0.625"]);
  });

  test("the key is for the cell pointed at, of several heads for none, else for the head chosen or the strongest", () => {
    const scope = new Scope();
    cleanups.push(() => scope.end());
    const source = new ModelSource<AttributionState>(new FakeModel(attributionState()) as never);
    const view = new Attribution({ source, theme: new Signal("light" as const), scope });
    expect(view.aimed.value).toEqual([{ layer: 1, head: 0 }]);
    view.pointAtCell({ layer: 0, column: 1 });
    expect(view.aimed.value).toEqual([{ layer: 0, head: 1 }]);
    view.pointAtCell({ layer: 0, column: 2 });
    expect(view.aimed.value).toEqual([]);
    view.pointAtCell(null);
    view.pointAtRow(1);
    expect(view.aimed.value).toEqual([]);
    view.select({ layer: 0, head: 0 });
    view.pointAtRow(null);
    expect(view.aimed.value).toEqual([{ layer: 0, head: 0 }]);
  });
});

test("heads ablated in another way are put back by the key as well", () => {
  const sent: unknown[] = [];
  const made = new Interventions((order) => void sent.push(order));
  made.tell([{ ...ablated(1, 0, "mean"), label: "L1 H0 mean-ablated" }]);
  expect(made.toggle([{ layer: 1, head: 0 }])).toBe(false);
  expect(made.made.value).toEqual([]);
  expect(
    made.toggle([
      { layer: 1, head: 0 },
      { layer: 0, head: 1 },
    ]),
  ).toBe(true);
  expect(made.made.value.map(({ label }) => label)).toEqual(["L1 H0 ablated", "L0 H1 ablated"]);
});
