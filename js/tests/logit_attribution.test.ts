// @vitest-environment jsdom
/** The logit attribution as a whole, on a fake model: what it shows, what it asks for, what it leaves behind. */
import { expect, test, vi } from "vitest";
import view from "../src/widgets/logit_attribution/index";
import { attributionPicture, attributionState, BY_HEAD, WORDS } from "./attribution_state";
import { FakeModel } from "./fake_model";
import type { AttributionManifest, AttributionState } from "../src/core/wire.gen";
import { cleanups, rendered, useStage } from "./stage";

useStage();

const show = (model: FakeModel): HTMLElement => rendered(view, model);

const state = (change: Partial<AttributionState> = {}, live = true): FakeModel => new FakeModel(attributionState(change), live);
const settle = (ms = 100): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const text = (root: Element, selector: string): string => root.querySelector(selector)!.textContent!;
const field = (root: Element, name: "answer" | "foil"): HTMLInputElement =>
  root.querySelector<HTMLInputElement>(`input[aria-label=${name}]`)!;

function press(target: Element, key: string): void {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

function type(input: HTMLInputElement, value: string): void {
  input.focus();
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

const rows = (root: Element): string[][] =>
  [...root.querySelectorAll(".miw-part[data-row]")].map((row) => [text(row, ".miw-part-label"), text(row, ".miw-part-value")]);
const listed = (root: Element): string[] =>
  [...root.querySelectorAll<HTMLElement>(".miw-suggestions:not([hidden]) [role=option]")].map((option) => option.textContent!);

test("the line says what is attributed, and the model's own choice is a placeholder marked auto", async () => {
  const root = show(state());
  await settle();
  expect(text(root, ".miw-question-line").replace(/\s+/g, " ")).toBe("logit(auto)− logit(auto)⇄at position 6 ·to =2.375");
  expect([field(root, "answer").placeholder, field(root, "foil").placeholder]).toEqual(["·Mary", "·John"]);
  expect([field(root, "answer").value, field(root, "foil").value]).toEqual(["", ""]);
});

test("every part has a row with its number, then the sum and what it leaves over", async () => {
  const root = show(state());
  await settle();
  expect(rows(root)).toEqual([
    ["embedding", "+0.750"],
    ["L0 attention", "−0.250"],
    ["L0 MLP", "+0.500"],
    ["L1 attention", "+2.125"],
    ["L1 MLP", "−1.000"],
    ["unembedding bias", "+0.250"],
    ["sum", "+2.375"],
  ]);
  expect(text(root, ".miw-part-residue")).toBe("residue+3e−6");
});

test("a sum that does not hold is said on the face of the view", async () => {
  const checks = [{ label: "the parts sum to the logit difference", ok: false, detail: "residue 0.2" }];
  const root = show(state({ picture: attributionPicture({ checks, residue: 0.2 }) }));
  await settle();
  expect(root.querySelector(".miw-part-residue")!.classList.contains("miw-part-failed")).toBe(true);
  expect(text(root, ".miw-status-failed")).toContain("✗ the parts sum");
});

test("bars stand where the running total is; as bars of their own they start at 0", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const bars = (): string[] => [...root.querySelectorAll<HTMLElement>(".miw-part-bar")].map(({ style }) => `${style.left} ${style.width}`);
  expect(bars()).toEqual(["0% 24%", "16% 8%", "16% 16%", "32% 68%", "68% 32%", "68% 8%", "0% 76%"]);
  model.set("options", { chart: "bars" });
  await settle();
  expect(bars()).toEqual(["32% 24%", "24% 8%", "32% 16%", "32% 68%", "0% 32%", "32% 8%"]);
});

test("an answer is sent on Enter or on leaving the field, and not while it is typed", async () => {
  const model = state();
  const root = show(model);
  const answer = field(root, "answer");
  type(answer, " Su");
  await settle(1000);
  expect(model.values["answer"]).toBeNull();
  type(answer, " Sue");
  press(answer, "Enter");
  expect(model.values["answer"]).toBe(" Sue");
  type(answer, "");
  answer.blur();
  expect(model.values["answer"]).toBeNull();
});

test("leaving a field that was not changed asks for nothing", async () => {
  const model = state({ answer: 7 });
  const root = show(model);
  await settle();
  expect(field(root, "answer").value).toBe("↵");
  field(root, "answer").focus();
  field(root, "answer").blur();
  expect([model.values["answer"], model.saves]).toEqual([7, 0]);
});

test("likely tokens are suggested with their probabilities, and one is taken by its id", async () => {
  const model = state({ answer: " Sue", picture: attributionPicture({ position: 3, answer: { id: 9, string: " Sue" } }) });
  const root = show(model);
  await settle();
  const foil = field(root, "foil");
  foil.focus();
  expect(listed(root)).toEqual(["none: the logit of the answer alone", "·Mary62.5 %", "·John25.0 %", "↵0.01 %"]);
  press(foil, "ArrowDown");
  press(foil, "ArrowDown");
  expect(foil.getAttribute("aria-activedescendant")).toBe(root.querySelector('[aria-selected="true"]')!.id);
  press(foil, "Enter");
  expect(model.values["foil"]).toBe(102);
  expect(listed(root)).toEqual([]);
});

test("what follows in the prompt is suggested too", async () => {
  const root = show(state({ picture: attributionPicture({ position: 2 }) }));
  await settle();
  field(root, "answer").focus();
  expect(listed(root)).toContain("·andfollows in the prompt");
});

test("Escape closes the suggestions, then puts the text back", async () => {
  const model = state({ answer: " Sue" });
  const root = show(model);
  await settle();
  const answer = field(root, "answer");
  type(answer, " Bob");
  press(answer, "Escape");
  expect([listed(root), answer.value]).toEqual([[], " Bob"]);
  press(answer, "Escape");
  expect([answer.value, model.values["answer"], document.activeElement === answer]).toEqual([" Sue", " Sue", false]);
});

test("a word that is no token is shown in its pieces, and a single token is one click away", async () => {
  const refused = {
    role: "answer" as const,
    text: " Maryland",
    pieces: [" Mary", "land"],
    offers: [
      { id: 102, string: " Mary" },
      { id: 55, string: "Mary" },
    ],
  };
  const model = state({ answer: " Maryland", refused });
  const root = show(model);
  await settle();
  const bar = root.querySelector<HTMLElement>(".miw-refused")!;
  expect(bar.textContent).toBe("answer·Marylandis 2 tokens here:·MarylandSingle tokens:·MaryMary");
  expect([...bar.querySelectorAll(".miw-piece")].map((piece) => piece.textContent)).toEqual([
    "·Maryland",
    "·Mary",
    "land",
    "·Mary",
    "Mary",
  ]);
  expect(field(root, "answer").getAttribute("aria-invalid")).toBe("true");
  bar.querySelectorAll<HTMLButtonElement>("button")[1]!.click();
  expect(model.values["answer"]).toBe(55);
  model.set("refused", null);
  await settle();
  expect(bar.hidden).toBe(true);
});

test("without a foil the logit alone is attributed, and the line says so", async () => {
  const root = show(state({ answer: " Mary", picture: attributionPicture({ foil: null, automatic: false }) }));
  await settle();
  expect([field(root, "foil").placeholder, text(root, ".miw-parts .miw-panel-title")]).toEqual([
    "none",
    "logit by componentraises itlowers it",
  ]);
  expect(root.querySelector('[aria-label="swap answer and foil"]')!.getAttribute("aria-disabled")).toBe("true");
});

test("a click on a token asks for its position", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const strip = root.querySelector(".miw-context .miw-strip")!;
  expect(strip.querySelector(".miw-token-locked")!.textContent).toBe("·to");
  strip.querySelectorAll<HTMLElement>(".miw-token")[4]!.click();
  await settle();
  expect(model.values["options"]).toMatchObject({ position: 4 });
  expect(strip.querySelector(".miw-token-locked")!.textContent).toBe("·John");
});

test("the position stays marked when other tokens arrive", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const strings = WORDS.map((word) => word.toUpperCase());
  const tokens = { ids: strings.map(() => -1), strings, special: strings.map(() => false), spans: strings.map(() => [-1, -1]), text: null };
  model.set("picture", attributionPicture({ tokens, run: 2 }));
  await settle();
  expect(text(root, ".miw-context .miw-token-locked")).toBe("·TO");
});

test("a click on a head's row chooses the head, and its row is marked wherever the choice was made", async () => {
  const model = state({ picture: attributionPicture(BY_HEAD) });
  const root = show(model);
  await settle();
  root.querySelectorAll<HTMLElement>(".miw-part[data-row]")[1]!.click();
  await settle();
  expect(model.values["selection"]).toMatchObject({ layer: 0, head: 1 });
  model.set("selection", { ...(model.values["selection"] as object), layer: 1, head: 1, stamp: 50 });
  await settle();
  expect(text(root, ".miw-part-locked .miw-part-label")).toBe("L1 H1");
  expect(text(root, ".miw-sources-title")).toBe("L1 H1 +0.125 by source");
});

test("the sources of a head are listed, the strongest first, and chosen by a click", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const sources = (): string[] => [...root.querySelectorAll(".miw-source")].map((source) => source.textContent!);
  expect(sources()).toEqual(["·and 3 +2.20", "<bos> 0 −0.20"]);
  root.querySelector<HTMLElement>(".miw-source")!.click();
  await settle();
  expect(model.values["selection"]).toMatchObject({ layer: 1, head: 0, query: 6, key: 3 });
  expect(text(root, ".miw-sources .miw-token-locked")).toBe("·and");
  root.querySelector<HTMLElement>(".miw-source")!.click();
  expect(model.values["selection"]).toMatchObject({ key: null });
});

test("where sources or heads are not known, the view says why", async () => {
  const root = show(
    state({
      picture: attributionPicture({
        n_heads: 0,
        why_no_heads: "The heads are fused.",
        has_sources: false,
        why_no_sources: "No values were kept.",
      }),
    }),
  );
  await settle();
  expect(text(root, ".miw-heads")).toContain("The heads are fused.");
  expect(text(root, ".miw-sources-why")).toBe("No values were kept.");
  expect(root.querySelector<HTMLElement>(".miw-sources .miw-strip")!.hidden).toBe(true);
});

test("arrows walk the rows and say them; Enter chooses; Escape lets go, step by step", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const list = root.querySelector<HTMLElement>(".miw-parts-list")!;
  const said = (): string => text(root, '.miw-hidden[aria-live="polite"]');
  list.focus();
  for (const key of ["ArrowDown", "ArrowDown"]) press(list, key);
  await settle();
  expect(said()).toBe("L0 attention: −0.2500 logits, total 0.5");
  expect(text(root, ".miw-part-pointed .miw-part-label")).toBe("L0 attention");
  press(list, "Enter");
  expect(said()).toBe("chosen layer 0 head 1");
  press(list, "End");
  expect(said()).toBe("sum: +2.375 logits");
  press(list, "Escape");
  await settle();
  expect(root.querySelector(".miw-part-pointed")).toBeNull();
  expect(model.values["selection"]).toMatchObject({ layer: 0, head: 1 });
  press(list, "Escape");
  expect(model.values["selection"]).toMatchObject({ layer: null, head: null });
});

test("arrows walk the map to the MLPs and back; its table holds the same numbers", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const map = root.querySelector<HTMLElement>(".miw-map")!;
  const said = (): string => text(root, '.miw-hidden[aria-live="polite"]');
  map.focus();
  press(map, "ArrowRight");
  expect(said()).toBe("L1 H0: +2.000 logits");
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowUp"]) press(map, key);
  expect(said()).toBe("L0 MLP: +0.500 logits");
  press(map, "ArrowLeft");
  press(map, "Enter");
  expect(model.values["selection"]).toMatchObject({ layer: 0, head: 1 });
  const table = [...map.querySelectorAll("tbody tr")].map((row) => row.textContent);
  expect(table.slice(0, 3)).toEqual(["L1 H0+2.000", "L1 MLP−1.000", "L0 H1−0.500"]);
});

test("keys change split, order, chart and rows, and the position", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const list = root.querySelector<HTMLElement>(".miw-parts-list")!;
  for (const key of ["b", "s", "c", "r", "["]) press(list, key);
  expect(model.values["options"]).toMatchObject({ by: "layer", sort: "size", chart: "bars", rows: 80, position: 5 });
  press(list, "a");
  expect(document.activeElement).toBe(field(root, "answer"));
});

test("an attributed position, a swap and a chosen source are said", async () => {
  const root = show(state());
  await settle();
  const said = (): string => text(root, "[aria-live=polite]");
  const list = root.querySelector(".miw-parts-list")!;
  press(list, "[");
  await settle();
  expect(said()).toMatch(/\(5\).*attributed|5.*, attributed/);
  press(list, "x");
  expect(said()).toBe("swapped: the answer is now ·John");
  const sources = root.querySelector(".miw-sources .miw-strip")!;
  press(sources, "ArrowLeft");
  const walked = said();
  press(sources, "Enter");
  expect(said()).toBe(`chosen ${walked}`);
  press(sources, "Enter");
  expect(said()).toBe(`let go of ${walked}`);
});

test("how many neurons or features stand alone is only asked where they are shown", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const top = root.querySelector<HTMLSelectElement>("select[aria-label=largest]")!;
  expect(top.closest<HTMLElement>(".miw-control")!.hidden).toBe(true);
  model.set("options", { by: "neuron", top: 25 });
  await settle();
  expect(top.closest<HTMLElement>(".miw-control")!.hidden).toBe(false);
  expect([...top.options].map((option) => option.value)).toEqual(["10", "25", "30", "100", "300"]);
});

test("a split by feature is offered where there is a coder, and says whose features they are", async () => {
  const model = state();
  const root = show(model);
  await settle();
  const by = (): HTMLOptionElement =>
    [...root.querySelector<HTMLSelectElement>("select[aria-label=by]")!.options].find(({ value }) => value === "feature")!;
  expect(by().disabled).toBe(true);
  const coder = "topk at L0 resid_post";
  model.set("picture", attributionPicture({ has_coder: true }));
  await settle();
  expect(by().disabled).toBe(false);
  const kinds: AttributionManifest["part_kinds"] = ["feature", "feature", "rest", "coder bias", "coder error", "mlp"];
  const labels = ["L0 feature 3", "L0 feature 9", "L0 other features", "L0 coder bias", "L0 coder error", "L1 MLP"];
  model.set("options", { by: "feature" });
  model.set(
    "picture",
    attributionPicture({
      run: 2,
      by: "feature",
      coder,
      has_coder: true,
      part_kinds: kinds,
      part_labels: labels,
      part_layers: [0, 0, 0, 0, 0, 1],
    }),
  );
  await settle();
  expect(text(root, ".miw-panel-title")).toContain(`by feature of ${coder}`);
  expect([...root.querySelectorAll(".miw-parts-list [role=listitem] .miw-part-label")].map((label) => label.textContent)).toEqual([
    ...labels,
    "sum",
  ]);
  // Of the map only what is on it: a feature of the stream stands for all that was added before.
  expect([...root.querySelectorAll(".miw-part-place .miw-part-label")].map((label) => label.textContent)).toEqual(["L1 MLP"]);
});

test("a saved picture can be read and walked; what needs a kernel is off and says so", async () => {
  const model = state({ picture: attributionPicture({ live: false }) }, false);
  const root = show(model);
  await settle();
  expect(root.dataset["state"]).toBe("frozen");
  expect([field(root, "answer").readOnly, root.querySelector<HTMLSelectElement>("select[aria-label=by]")!.disabled]).toEqual([true, true]);
  field(root, "answer").focus();
  expect(listed(root)).toEqual([]);
  root.querySelectorAll<HTMLElement>(".miw-context .miw-token")[2]!.click();
  expect(model.values["options"]).toEqual({});
  root.querySelector<HTMLSelectElement>("select[aria-label=sort]")!.value = "size";
  root.querySelector("select[aria-label=sort]")!.dispatchEvent(new Event("change"));
  await settle();
  expect(rows(root)[0]).toEqual(["L1 attention", "+2.125"]);
});

test("tokens and labels that hold markup are only ever text", async () => {
  const wild = "<img src=x onerror=alert(1)>";
  const strings = WORDS.map((word, at) => (at === 2 ? wild : word));
  const tokens = { ids: strings.map(() => -1), strings, special: strings.map(() => false), spans: strings.map(() => [-1, -1]), text: null };
  const labels = [wild, "L0 attention", "L0 MLP", "L1 attention", "L1 MLP", "bias"];
  const refused = { role: "foil" as const, text: wild, pieces: [wild], offers: [{ id: 1, string: wild }] };
  const root = show(
    state({
      refused,
      picture: attributionPicture({
        tokens,
        part_labels: labels,
        answer: { id: 1, string: wild },
        candidates: [{ id: 1, string: wild, probability: 1 }],
      }),
    }),
  );
  await settle();
  field(root, "answer").focus();
  await settle();
  expect(root.querySelector("img, script")).toBeNull();
  expect(root.textContent).toContain("<img·src=x");
});

test("a new picture is announced once it is drawn, and pointing does not outlive it", async () => {
  const model = state();
  const root = show(model);
  await settle();
  expect(root.dataset["run"]).toBe("1");
  press(root.querySelector(".miw-parts-list")!, "ArrowDown");
  await settle();
  model.set("picture", attributionPicture({ ...BY_HEAD, run: 2 }));
  await settle();
  expect([root.dataset["run"], root.querySelector(".miw-part-pointed")]).toEqual(["2", null]);
});

test("a closed view leaves nothing behind", async () => {
  const model = state();
  const root = show(model);
  await settle();
  cleanups.pop()!();
  await settle(20000);
  expect([root.isConnected, model.listening]).toEqual([false, 0]);
});

test("an answer and a foil that another tab sets arrive, and the echo of an own one that was replaced does not", async () => {
  const model = state();
  const root = show(model);
  await settle();
  model.set("answer", " Mary");
  model.set("foil", " John");
  await settle();
  expect([field(root, "answer").value, field(root, "foil").value]).toEqual([" Mary", " John"]);
  for (const word of [" gave", " to"]) {
    type(field(root, "answer"), word);
    press(field(root, "answer"), "Enter");
  }
  await settle();
  model.set("answer", " gave");
  await settle();
  expect(field(root, "answer").value).toBe(" to");
  model.set("answer", " to");
  await settle(1000);
  expect([model.values["answer"], field(root, "answer").value]).toEqual([" to", " to"]);
});
