// @vitest-environment jsdom
/** Two attributions of one question on the page: A, B and A − B by part, head and source. */
import { describe, expect, test, vi } from "vitest";
import view from "../src/widgets/logit_attribution/index";
import { attributionPicture, attributionState, comparedPicture } from "./attribution_state";
import { FakeModel } from "./fake_model";
import { rendered, useStage } from "./stage";

useStage();

const compare = { kind: "text", text: "When Anna and Tom gave it to" };
const state = (show: string, change: Record<string, unknown> = {}, live = true): FakeModel =>
  new FakeModel(attributionState({ compare, picture: comparedPicture(), options: { show }, ...change } as never), live);
const settle = (ms = 100): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const text = (root: Element, selector: string): string => root.querySelector(selector)!.textContent!;
const rows = (root: Element): string[] => [...root.querySelectorAll(".miw-part[data-row]")].map((row) => row.textContent!);

function press(target: Element, key: string): void {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

async function shown(show: string, change: Record<string, unknown> = {}, live = true): Promise<{ root: HTMLElement; model: FakeModel }> {
  const model = state(show, change, live);
  const root = rendered(view, model);
  await settle();
  return { root, model };
}

describe.each([
  {
    show: "A",
    parts: ["embedding+0.750", "L0 attention−0.250", "L0 MLP+0.500", "L1 attention+2.125", "L1 MLP−1.000", "unembedding bias+0.250"],
    sum: "sum+2.375",
    title: "logit difference by componentfor·Mary·John",
    where: "at position 6 ·to =2.375",
    cell: "L1 H0: +2.000 logits",
    source: "·to 6 +2.00",
  },
  {
    show: "B",
    parts: [
      "embedding+0.500",
      "L0 attention−0.250",
      "L0 MLP+0.250",
      "L1 attention+1.500",
      "L1 MLP−1.000",
      "unembedding bias+0.250",
      "L1 intervention+0.125",
    ],
    sum: "sum+1.375",
    title: "logit difference by componentfor·Mary·John",
    where: "B at position 7 ·to =1.375",
    cell: "L1 H0: +1.500 logits",
    source: "·to 7 +1.50",
  },
  {
    show: "difference",
    parts: [
      "embedding+0.250",
      "L0 attention0.000",
      "L0 MLP+0.250",
      "L1 attention+0.625",
      "L1 MLP0.000",
      "unembedding bias0.000",
      "L1 intervention−0.125",
    ],
    sum: "sum+1.000",
    title: "logit difference, A − B by componentmore in Amore in B",
    where: "A − B at position 7 ·to =1.000",
    cell: "L1 H0: +0.500 logits",
    source: "·to 7 +0.500",
  },
])("$show", ({ show, parts, sum, title, where, cell, source }) => {
  test("its parts, their sum, the cells of its map and its sources are its own, and named", async () => {
    const { root } = await shown(show);
    expect(rows(root)).toEqual([...parts, sum]);
    expect(text(root, ".miw-parts .miw-panel-title")).toBe(title);
    expect(text(root, ".miw-question-line")).toContain(show === "A" ? `A ${where}` : where);
    const map = root.querySelector<HTMLElement>(".miw-map")!;
    map.focus();
    press(map, "ArrowLeft");
    expect(text(root, "[aria-live=polite]")).toBe(cell);
    expect(text(root, ".miw-source")).toBe(source);
  });
});

test("the key goes from A to B to A − B, and nothing is asked of the kernel", async () => {
  const { root, model } = await shown("A");
  const seen = [];
  for (let step = 0; step < 3; step++) {
    press(root.querySelector(".miw-parts-list")!, "d");
    await settle();
    seen.push((model.values["options"] as { show: string }).show);
  }
  expect([seen, model.requests("ping")]).toEqual([["B", "difference", "A"], []]);
});

test("the map's title and colours say that they are differences", async () => {
  const { root } = await shown("difference");
  expect(text(root, ".miw-heads .miw-panel-title")).toBe("heads and MLPs, A − B−0.5+0.5 logits");
  expect(root.querySelector<HTMLElement>(".miw-heads .miw-scale-bar")!.dataset["tip"]).toContain("Orange: more in A, blue: more in B");
  expect(text(root, ".miw-sources-title")).toBe("L1 H0 +0.5, A − B, by source, the strongest");
});

test("A and B have one scale, so that colours compare", async () => {
  const scale = async (show: string): Promise<string> => text((await shown(show)).root, ".miw-heads .miw-scale-bar");
  expect([await scale("A"), await scale("B")]).toEqual(["−2+2 logits", "−2+2 logits"]);
});

test("a read is chosen, shown and told in positions of A; what only B has is no read of A's", async () => {
  const { root, model } = await shown("difference");
  const tokens = root.querySelectorAll<HTMLElement>(".miw-sources .miw-token");
  tokens[7]!.click();
  await settle();
  expect(model.values["selection"]).toMatchObject({ layer: 1, head: 0, query: 6, key: 6 });
  expect(text(root, ".miw-sources .miw-token-locked")).toBe("·to");
  tokens[6]!.click();
  await settle();
  expect(model.values["selection"]).toMatchObject({ key: null });
});

test("the position is asked for in the prompt of A, on whichever side it is chosen", async () => {
  const { root, model } = await shown("B");
  const strip = root.querySelector(".miw-context .miw-strip")!;
  expect(strip.querySelector(".miw-token-locked")!.textContent).toBe("·to");
  strip.querySelectorAll<HTMLElement>(".miw-token")[4]!.click();
  await settle();
  expect(model.values["options"]).toMatchObject({ position: 4 });
  expect(strip.querySelector(".miw-token-locked")!.textContent).toBe("·Tom");
  strip.querySelectorAll<HTMLElement>(".miw-token")[6]!.click();
  await settle();
  expect(model.values["options"]).toMatchObject({ position: 4 });
});

test("the key for the position before passes over what only B has", async () => {
  const { root, model } = await shown("difference");
  press(root.querySelector(".miw-parts-list")!, "[");
  await settle();
  expect(model.values["options"]).toMatchObject({ position: 5 });
});

test("heads are marked as ablated by what is shown", async () => {
  const other = { interventions: ["L1 H0 ablated"], ablated: [[1, 0]], model: null };
  const run = { kind: "run", prompt: null, model: null, interventions: ["L1 H0 ablated"] };
  const badges = [];
  for (const show of ["A", "B", "difference"]) {
    const { root } = await shown(show, { compare: run, picture: comparedPicture(1, { other }) });
    badges.push(text(root, ".miw-sources-title").includes("ablated"));
  }
  expect(badges).toEqual([false, true, true]);
});

test("a saved comparison is read on all three sides without a kernel", async () => {
  const { root } = await shown("difference", { picture: comparedPicture(1, { live: false }) }, false);
  expect(rows(root).at(-1)).toBe("sum+1.000");
  press(root.querySelector(".miw-parts-list")!, "d");
  await settle();
  expect(rows(root).at(-1)).toBe("sum+2.375");
});

test("where nothing is compared there is no choice of sides, whatever was chosen before", async () => {
  const { root } = await shown("difference", { compare: null, picture: attributionPicture() });
  expect(rows(root).at(-1)).toBe("sum+2.375");
  expect(root.querySelector("select[aria-label=show]")!.closest<HTMLElement>(".miw-control")!.hidden).toBe(true);
});
