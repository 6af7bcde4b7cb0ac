// @vitest-environment jsdom
/** The logit lens as a whole, on a fake model: what it shows, what it asks for, what it tells its linked views. */
import { expect, test, vi } from "vitest";
import type { LensState } from "../src/core/wire.gen";
import view from "../src/widgets/logit_lens/index";
import { FakeModel } from "./fake_model";
import { lensPicture, lensRows, lensState, type LensGiven } from "./lens_state";
import { cleanups, rendered, useStage } from "./stage";

const STRINGS = ["<bos>", " When", " Mary", " to"];

useStage({ clientWidth: 1000, offsetWidth: 700, offsetHeight: 300 });

function show(given: Partial<LensGiven> = {}, change: Partial<LensState> = {}, live = true): { model: FakeModel; root: HTMLElement } {
  const model = new FakeModel(lensState({ strings: STRINGS, ...given }, change), live);
  return { model, root: rendered(view, model) };
}

const settle = (ms = 50): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const options = (change: object): LensState["options"] => change as LensState["options"];
const chosen = (root: HTMLElement, label: string): HTMLSelectElement =>
  root.querySelector<HTMLSelectElement>(`select[aria-label="${label}"]`)!;
const texts = (root: HTMLElement, selector: string): string[] =>
  [...root.querySelectorAll(selector)].map((element) => element.textContent!);

function press(root: HTMLElement, key: string): void {
  root.querySelector(".miw-lens-table")!.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

function choose(root: HTMLElement, label: string, value: string): void {
  chosen(root, label).value = value;
  chosen(root, label).dispatchEvent(new Event("change"));
}

test("without a lock the cell is the model's output at the last position", async () => {
  const { root } = show();
  await settle();
  expect(root.textContent).toContain("top 3 at L2 post, position 3");
  expect(texts(root, ".miw-lens-chips .miw-lens-chip")).toEqual(["·the0.500", "·Mary0.250", "·John0.125"]);
  expect(root.querySelector(".miw-status")!.textContent).toContain("✓ last row = the model's output");
});

test("arrows walk the cells, the last layer on top; each is shown and said", async () => {
  const { root } = show();
  await settle();
  press(root, "ArrowUp");
  expect(root.querySelector(".miw-tooltip")!.textContent).toContain("L2 post");
  press(root, "ArrowDown");
  press(root, "ArrowLeft");
  const tip = root.querySelector<HTMLElement>(".miw-tooltip")!;
  expect([tip.hidden, tip.textContent!.startsWith("L1 post")]).toEqual([false, true]);
  expect(tip.textContent).toContain("·Mary  position 2, id 2");
  expect(texts(tip, ".miw-lens-guesses th")).toEqual([".", "↵", "·the"]);
  expect(tip.textContent).toContain("KL to the model1 nats");
  expect(tip.textContent).toContain("what follows·to 0.25, rank 99");
  expect(root.querySelector("[aria-live]")!.textContent).toContain("L1 post, position 2");
});

test("Enter locks the cell for linked views and for Python, Escape lets go", async () => {
  const { model, root } = show();
  const linked = show();
  await settle();
  press(root, "ArrowUp");
  press(root, "ArrowDown");
  press(root, "ArrowLeft");
  press(root, "Enter");
  await settle();
  expect(model.values["selection"]).toMatchObject({ layer: 1, position: 2, query: 2 });
  expect(linked.root.textContent).toContain("top 3 at L1 post, position 2");
  press(root, "Escape");
  press(root, "Escape");
  expect(model.values["selection"]).toMatchObject({ layer: null, position: null });
});

test("linked views hear which layer and position are pointed at", async () => {
  const heard: unknown[] = [];
  const listen = (event: Event): void => void heard.push((event as CustomEvent).detail.value);
  window.addEventListener("miw:hover", listen);
  cleanups.push(() => window.removeEventListener("miw:hover", listen));
  const { root } = show();
  await settle();
  press(root, "ArrowUp");
  expect(heard.at(-1)).toMatchObject({ layer: 2, position: 3 });
});

test("a layer that stands in two rows stays locked in the one that was chosen", async () => {
  const { root } = show({ layers: [0, 1, 1], streams: ["attn_out", "attn_out", "resid_post"] });
  await settle();
  press(root, "ArrowUp");
  press(root, "Enter");
  await settle();
  expect(root.textContent).toContain("top 3 at L1 post");
  press(root, "ArrowDown");
  press(root, "Enter");
  await settle();
  expect(root.textContent).toContain("top 3 at L1 attn");
});

test("a click on a likely token pins it, and one on a pinned token takes it off", async () => {
  const { model, root } = show({ targets: [5] }, { options: options({ targets: [5] }) });
  await settle();
  expect(texts(root, ".miw-lens-pin-name")).toEqual(["·the0.300"]);
  const chips = root.querySelectorAll<HTMLElement>(".miw-lens-chips .miw-lens-chip");
  expect([...chips].map((chip) => chip.getAttribute("aria-pressed"))).toEqual(["true", "false", "false"]);
  chips[1]!.click();
  expect(model.values["options"]).toMatchObject({ targets: [5, 0] });
  chips[0]!.click();
  expect(model.values["options"]).toMatchObject({ targets: [0] });
});

test("a typed word goes to the kernel as it is; what is no token comes back with offers", async () => {
  const { model, root } = show();
  await settle();
  const input = root.querySelector<HTMLInputElement>(".miw-lens-input")!;
  input.value = "Mary Ann";
  input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
  expect(model.values["options"]).toMatchObject({ targets: ["Mary Ann"] });
  model.set("refused", { role: "target", text: "Mary Ann", pieces: [" Mary", " Ann"], offers: [{ id: 0, string: " Mary" }] });
  await settle();
  const refused = root.querySelector<HTMLElement>(".miw-lens-refused")!;
  expect([refused.hidden, refused.textContent]).toEqual([false, "Mary·Ann is 2 tokens: ·Mary + ·Ann×single tokens near it:·Mary"]);
  refused.querySelector<HTMLElement>(".miw-lens-chip")!.click();
  await settle();
  expect(model.values["options"]).toMatchObject({ targets: [0] });
  expect(refused.hidden).toBe(true);
});

test("a token pinned and taken off by key is said, and every button says its token and its number", async () => {
  const { root } = show();
  await settle();
  press(root, "ArrowUp");
  press(root, "Enter");
  expect(root.querySelector("[aria-live=polite]")!.textContent).toMatch(/^locked L2 post, position 3/);
  press(root, " ");
  expect(texts(root, "[aria-live=polite]")).toEqual(["·the is pinned, 1 of 8"]);
  press(root, " ");
  expect(texts(root, "[aria-live=polite]")).toEqual(["·the is taken off, 0 of 8"]);
  expect([...root.querySelectorAll(".miw-lens-chips .miw-lens-chip")].map((chip) => chip.getAttribute("aria-label"))).toEqual([
    "pin ·the, probability 0.500",
    "pin ·Mary, probability 0.250",
    "pin ·John, probability 0.125",
  ]);
});

test("no more than eight tokens can be pinned", async () => {
  const { model, root } = show({ targets: [0] }, { options: options({ targets: [0, "a", "b", "c", "d", "e", "f", "g"] }) });
  await settle();
  expect(root.querySelector<HTMLInputElement>(".miw-lens-input")!.disabled).toBe(true);
  press(root, "ArrowUp");
  press(root, " ");
  expect(model.values["options"]).toMatchObject({ targets: [0, "a", "b", "c", "d", "e", "f", "g"] });
  expect(texts(root, "[aria-live=polite]")).toEqual(["·the is not pinned, 8 of 8"]);
  press(root, "i");
  expect(texts(root, "[aria-live=polite]")).toEqual(["Eight tokens are pinned; take one off first"]);
});

test("a curve runs through every row; without pins the model's first choices are drawn as far as they are known", async () => {
  const { model, root } = show();
  await settle();
  expect(root.querySelectorAll(".miw-lens-curve")).toHaveLength(3);
  expect(root.querySelector(".miw-lens-note")!.textContent).toContain("in a row's top 3");
  model.set("options", options({ targets: [5] }));
  model.set("picture", lensPicture({ strings: STRINGS, targets: [5], run: 2 }));
  await settle();
  const curve = root.querySelector(".miw-lens-curve")!.getAttribute("d")!;
  expect([root.querySelectorAll(".miw-lens-curve").length, curve.match(/[ML]/g)!.join("")]).toEqual([1, "MLL"]);
  await settle(300);
  expect(texts(root, ".miw-lens-curves td")).toEqual(["0.1003", "0.2003", "0.3003"]);
});

test("colour by a pinned token needs one, and then names it", async () => {
  const { root } = show({ targets: [5] }, { options: options({ targets: [5], color: "target_rank" }) });
  await settle();
  expect(root.querySelector(".miw-legend")!.textContent).toContain("rank of");
  expect([chosen(root, "colour").value, chosen(root, "of").value]).toEqual(["target_rank", "0"]);
  const bare = show({}, { options: options({ color: "target_rank" }) });
  await settle();
  expect(chosen(bare.root, "colour").value).toBe("probability");
});

test("rows in sight are fetched whole once the picture stands, and never for the pointer", async () => {
  const { model, root } = show({ whole: false });
  await settle();
  expect(model.requests("rows")).toHaveLength(0);
  await settle(200);
  const [request] = model.requests("rows");
  expect(request).toMatchObject({ run: 1, sides: ["A"], rows: [2, 1, 0] });
  press(root, "ArrowUp");
  expect(root.querySelector(".miw-tooltip")!.textContent).toContain("the others are on their way");
  model.answer({ req: request!["req"], nbytes: 1 }, [lensRows([2, 1, 0], 4)]);
  await settle(500);
  press(root, "ArrowDown");
  expect(texts(root, ".miw-tooltip .miw-lens-guesses th")).toEqual(["\n".replace("\n", "↵"), "·the", "·Mary"]);
  expect(model.requests("rows")).toHaveLength(1);
});

test("rows that are asked for when the kernel goes are said to be missing, and asked for again once it is back", async () => {
  const { root, ...shown } = show({ whole: false });
  const model = shown.model as FakeModel & { comm_live?: boolean };
  await settle(500);
  expect(model.requests("rows")).toHaveLength(1);
  model.comm_live = false;
  model.emit("comm_live_update");
  await settle(5000);
  expect(root.querySelector(".miw-error")!.textContent).toContain("The kernel is gone.");
  expect(model.requests("rows")).toHaveLength(1);
  model.comm_live = true;
  model.emit("comm_live_update");
  await settle(5000);
  expect(model.requests("rows")).toHaveLength(2);
  const buffer = lensRows([2, 1, 0], 4);
  model.answer({ req: model.requests("rows")[1]!["req"], nbytes: buffer.byteLength }, [buffer]);
  await settle();
  expect(root.querySelector<HTMLElement>(".miw-error")!.hidden).toBe(true);
});

test("rows that the kernel does not give are not asked for again", async () => {
  const { model, root } = show({ whole: false });
  await settle(300);
  model.answer({ req: model.requests("rows")[0]!["req"], ok: false, error: { code: "failed", message: "No memory.", hint: "" } });
  await settle(1000);
  expect(model.requests("rows")).toHaveLength(1);
  expect(root.querySelector(".miw-error")!.textContent).toContain("No memory.");
});

test("another stream, lens or range is asked of the kernel; a lens that was not given cannot be chosen", async () => {
  const { model, root } = show({
    manifest: { lenses: ["logit", "tuned"], available_streams: ["resid_pre", "resid_post", "attn_out", "mlp_out"] },
  });
  await settle();
  choose(root, "stream", "attn_out");
  expect(model.values["options"]).toMatchObject({ stream: "attn_out" });
  await settle();
  expect([...chosen(root, "lens").options].map((option) => [option.value, option.disabled])).toEqual([
    ["logit", false],
    ["tuned", false],
    ["jacobian", true],
  ]);
  expect(chosen(root, "stream").querySelector<HTMLOptionElement>('[value="resid_mid"]')!.disabled).toBe(true);
  choose(root, "lens", "tuned");
  expect(model.values["options"]).toMatchObject({ lens: "tuned", stream: "resid_post" });
  await settle();
  expect(chosen(root, "stream").querySelector<HTMLOptionElement>('[value="attn_out"]')!.disabled).toBe(true);
  const first = root.querySelector<HTMLInputElement>('[aria-label="first position"]')!;
  first.value = "-20";
  first.dispatchEvent(new Event("change"));
  expect(model.values["options"]).toMatchObject({ first: -20 });
  first.value = "x";
  first.dispatchEvent(new Event("change"));
  expect([first.getAttribute("aria-invalid"), (model.values["options"] as LensState["options"]).first]).toEqual(["true", -20]);
});

test("a comparison has A, B and the difference, coloured by KL or by a pinned token's difference", async () => {
  const { root } = show(
    {
      targets: [5],
      compare: {
        what: "prompt",
        strings: ["<bos>", " Tom", " to"],
        pairs: [
          [0, 0],
          [1, -1],
          [2, 1],
          [3, 2],
        ],
      },
    },
    { options: options({ targets: [5], show: "difference" }) },
  );
  await settle();
  expect(root.querySelector(".miw-legend")!.textContent).toContain("KL(A ‖ B), nats");
  expect([...chosen(root, "colour").options].map((option) => option.textContent)).toEqual(["KL(A ‖ B)", "pinned: A − B"]);
  expect(root.querySelectorAll(".miw-lens-curve")).toHaveLength(2);
  press(root, "ArrowUp");
  expect(texts(root, ".miw-tooltip .miw-lens-side strong")).toEqual(["A", "B"]);
  press(root, "b");
  await settle();
  expect(chosen(root, "show").value).toBe("B");
  expect(root.querySelector(".miw-legend")!.textContent).toContain("probability of the top token");
});

test("a saved page keeps its pins and offers nothing that needs the model", async () => {
  const { root } = show({ targets: [5] }, { options: options({ targets: ["the"] }) }, false);
  await settle();
  expect(root.dataset["state"]).toBe("frozen");
  expect(texts(root, ".miw-lens-pin-name")).toEqual(["·the0.300"]);
  for (const label of ["stream", "lens", "versus", "layers"]) expect(chosen(root, label).disabled).toBe(true);
  expect(chosen(root, "colour").disabled).toBe(false);
  expect([...root.querySelectorAll<HTMLButtonElement>(".miw-lens-chip, .miw-lens-unpin")].every((button) => button.disabled)).toBe(true);
});

test("tokens that hold markup are only ever text", async () => {
  const { root } = show({
    strings: ["<bos>", "<img src=x onerror=alert(1)>"],
    manifest: { names: [{ id: 3, string: "</script><script>" }] },
  });
  await settle();
  press(root, "ArrowUp");
  expect(root.querySelector("img, script")).toBeNull();
  expect(root.querySelector(".miw-tooltip")!.textContent).toContain("<img·src=x·onerror=alert(1)>");
});

test("a closed view leaves nothing behind", async () => {
  const { model, root } = show({ whole: false });
  await settle();
  cleanups.pop()!();
  await settle(20000);
  expect([root.isConnected, model.listening]).toEqual([false, 0]);
});
