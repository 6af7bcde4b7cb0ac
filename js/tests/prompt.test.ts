// @vitest-environment jsdom
/** The prompt view on a fake model: what it knows, what it shows, what it orders, what it leaves behind. */
import { expect, test, vi } from "vitest";
import { Scope, Signal } from "../src/core/signal";
import { ModelSource } from "../src/core/source";
import type { PromptState } from "../src/core/wire.gen";
import view from "../src/widgets/prompt/index";
import { makeLook, valueOf } from "../src/widgets/prompt/looks";
import { PromptView } from "../src/widgets/prompt/model";
import type { Side } from "../src/widgets/prompt/picture";
import { figures, totalsOf, verdict } from "../src/widgets/prompt/words";
import { FakeModel } from "./fake_model";
import { A, B, comparedState, EQUAL_PAIRS, promptPicture, promptState, SHORT, SHORT_PAIRS, type Written } from "./prompt_state";
import { cleanups, rendered, useStage } from "./stage";

useStage();

const show = (model: FakeModel): HTMLElement => rendered(view, model);

function known(state: Record<string, unknown>, live = true): { model: FakeModel; prompt: PromptView } {
  const model = new FakeModel(state, live);
  const scope = new Scope();
  cleanups.push(() => scope.end());
  return {
    model,
    prompt: new PromptView({ source: new ModelSource<PromptState>(model as never), theme: new Signal("light" as const), scope }),
  };
}

const settle = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const orders = (model: FakeModel): unknown[] => model.sent.filter((message) => message["kind"] === "order");
const texts = (root: ParentNode, selector: string): (string | null)[] =>
  [...root.querySelectorAll(selector)].map((element) => element.textContent);
const candidates = (root: ParentNode): (string | null)[] => texts(root, "[data-candidate] .miw-candidate-token");

function press(root: HTMLElement, key: string): void {
  root.querySelector(".miw-lines")!.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

function point(root: HTMLElement, selector: string): string {
  root.querySelector(selector)!.dispatchEvent(new MouseEvent("pointermove", { bubbles: true, clientX: 5, clientY: 5 }));
  return root.querySelector(".miw-tooltip")!.textContent!;
}

// ---- what the model of the view knows ----------------------------------------------------------------------------

test("the token that follows has the probability its surprisal says, whether it is listed or not", () => {
  const { prompt } = known(promptState());
  const { a } = prompt.picture.value!;
  expect(a.follower(2)).toEqual({ id: 3, string: " Sue", probability: 0.125, rank: 1 });
  expect(a.follower(3)).toBeNull();
  expect(a.instead(3, 5).map(({ id }) => id)).toEqual([1]);
  expect(a.instead(0, 5)).toEqual([]);
});

test("colours of bits reach to a blind guess over the vocabulary, so that they stay while a prompt is edited", () => {
  const { prompt } = known(promptState());
  const picture = prompt.picture.value!;
  const look = makeLook(picture, "surprisal", "light");
  expect([look.mapping.low, look.mapping.high]).toEqual([0, 8]);
  expect(makeLook(picture, "probability", "light").mapping.high).toBe(1);
  expect(valueOf(picture.a, 3, "rank")).toBeCloseTo(Math.log10(2));
  expect(valueOf(picture.a, 0, "rank")).toBeNaN();
});

test("a difference is symmetric about zero, at least one bit wide, and not a number where one side is not scored", () => {
  const { prompt } = known(comparedState());
  const picture = prompt.picture.value!;
  expect([0, 1, 2, 3].map((at) => picture.difference(at))).toEqual([NaN, 0, -4, 2.5]);
  const { mapping } = makeLook(picture, "difference", "light");
  expect([mapping.low, mapping.high, mapping.diverging]).toEqual([-4, 4, true]);
  const same = known(comparedState(A)).prompt.picture.value!;
  expect(makeLook(same, "difference", "light").mapping.high).toBe(1);
});

test("the verdict is 2 to the difference of the totals", () => {
  const { prompt } = known(comparedState());
  expect(verdict(prompt.picture.value!)).toEqual({ difference: "−1.5", likelier: "A", power: "1.50", factor: "2.83" });
  expect(verdict(known(comparedState(A)).prompt.picture.value!).likelier).toBeNull();
});

test("probabilities have four decimals, and two digits where those say nothing", () => {
  expect([0.99951, 0.5, 0.00005, 0.0000123, 0].map(figures)).toEqual(["0.9995", "0.5000", "0.0001", "1.2e−5", "0.0000"]);
});

test("candidates are of the last token until another is chosen", async () => {
  const { prompt } = known(promptState());
  expect([prompt.places.value.A, prompt.atEnd.value]).toEqual([3, true]);
  prompt.lock(1);
  await settle();
  expect([prompt.places.value.A, prompt.atEnd.value, prompt.selection.value.position]).toEqual([1, false, 1]);
  expect(prompt.list.value.rows.map(({ id, follows }) => [id, follows])).toEqual([
    [2, ["A"]],
    [4, []],
  ]);
});

test("a follower that is no candidate is listed after them, with its own rank", () => {
  const far: Written = {
    ...A,
    ids: [0, 1, 2, 6],
    strings: ["<bos>", "Tom", " and", " sat"],
    surprisal: [NaN, 1, 2, 10],
    rank: [-1, 0, 0, 77],
  };
  const { prompt } = known(promptState({ picture: promptPicture(1, [far]) }));
  prompt.lock(2);
  expect(prompt.list.value.rows.at(-1)).toEqual({ id: 6, string: " sat", probabilities: [2 ** -10], ranks: [77], follows: ["A"] });
});

test("two prompts share one list: the likeliest of either first, null where a side does not list a token", () => {
  const { prompt } = known(comparedState());
  prompt.lock(1);
  const { rows } = prompt.list.value;
  expect(rows.map(({ id, follows }) => [id, follows])).toEqual([
    [2, ["A"]],
    [4, ["B"]],
  ]);
  const ends = known(comparedState(SHORT, SHORT_PAIRS)).prompt.list.value;
  expect(ends.sides.map(({ side, position }) => [side.name, position])).toEqual([
    ["A", 3],
    ["B", 2],
  ]);
  expect(ends.rows.map(({ id, probabilities }) => [id, probabilities])).toEqual([
    [1, [null, 0.75]],
    [5, [0.625, null]],
    [6, [0.125, null]],
    [3, [null, 0.125]],
  ]);
});

test("a token that only B has can be looked at; linked views hear that nothing of A is chosen", () => {
  const { prompt } = known(
    comparedState(A, [
      [0, 0],
      [1, 1],
      [2, 2],
      [-1, 3],
      [3, -1],
    ]),
  );
  prompt.lock(3);
  expect([prompt.locked.value, prompt.places.value, prompt.selection.value.position]).toEqual([3, { A: -1, B: 3 }, null]);
  expect(prompt.list.value.sides.map(({ side }) => side.name)).toEqual(["B"]);
});

test("nothing is ordered without a kernel, over a picture of an earlier prompt, or before an order is done", () => {
  expect(known(promptState(), false).prompt.append(5)).toBe(false);
  const { model, prompt } = known(promptState());
  expect([prompt.append(5), prompt.append(5), prompt.write()]).toEqual([true, false, false]);
  expect(orders(model)).toEqual([{ kind: "order", order: "append", ids: [5] }]);
  const failed = known(
    promptState({ status: { state: "error", run: 2, message: "no", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 0 } }),
  );
  expect([failed.prompt.append(5), failed.prompt.current.value]).toEqual([false, false]);
});

// ---- the view ----------------------------------------------------------------------------------------------------

test("totals that are no numbers are said to be none", () => {
  const side = { count: 4, totals: { total: null, scored: 2, perplexity: null } } as unknown as Side;
  expect(totalsOf(side, false)).toEqual(["4 tokens", "no totals: numbers are not finite"]);
});

test("the prompt as run is there, with its totals in words and the likeliest next tokens", async () => {
  const root = show(new FakeModel(promptState()));
  await settle(100);
  expect([root.dataset["view"], root.dataset["run"], root.className]).toEqual(["prompt", "1", "miw-view miw-prompt-view"]);
  expect(texts(root, ".miw-token")).toEqual(["<bos>", "Tom", "·and", "·Sue"]);
  expect(root.querySelector(".miw-token-special")!.textContent).toBe("<bos>");
  expect(texts(root, ".miw-totals span")).toEqual(["4 tokens, BOS prepended", "6 bits over 3 scored tokens", "perplexity 4"]);
  expect(candidates(root)).toEqual(["·ran", "·sat"]);
  expect(texts(root, "[data-candidate] .miw-candidate-figure")).toEqual(["0.6250", "0.1250"]);
  expect(root.querySelector(".miw-next-foot")!.textContent).toContain("254 others: ≈ 0.2500");
  expect(document.querySelectorAll(".miw-prompt")).toHaveLength(1);
});

test("pointing at a token says its numbers and what was expected instead", async () => {
  const root = show(new FakeModel(promptState()));
  await settle(100);
  const said = point(root, '.miw-token[data-position="3"]');
  for (const part of [
    "·Sue  3, id 3",
    "surprisal 3 bits",
    "probability 0.125",
    "rank 1",
    "entropy before it 0.5, after it 1.25 bits",
    "expected instead",
    "Tom0.75",
  ])
    expect(said).toContain(part);
  expect(point(root, '.miw-token[data-position="0"]')).toContain("not scored: nothing stands before it");
});

test("the first token has no colour but a look of its own; every other has one, and option none takes them", async () => {
  const model = new FakeModel(promptState());
  const root = show(model);
  await settle(100);
  const tokens = [...root.querySelectorAll<HTMLElement>(".miw-token")];
  expect(tokens.map((token) => !!token.style.backgroundColor)).toEqual([false, true, true, true]);
  expect(tokens[0]!.classList.contains("miw-unscored")).toBe(true);
  expect(root.querySelector(".miw-legend")!.textContent).toContain("surprisal, bits");
  model.set("options", { color: "entropy" });
  await settle(50);
  expect(tokens[0]!.style.backgroundColor).not.toBe("");
  model.set("options", { color: "none" });
  await settle(50);
  expect(tokens.map((token) => token.style.backgroundColor)).toEqual(["", "", "", ""]);
  expect(root.querySelector<HTMLElement>(".miw-legend")!.hidden).toBe(true);
});

test("ids stand under their tokens when asked for", async () => {
  const root = show(new FakeModel(promptState()));
  await settle(100);
  press(root, "i");
  await settle(50);
  expect(texts(root, ".miw-id")).toEqual(["0", "1", "2", "3"]);
  expect(texts(root, ".miw-token")).toEqual(["<bos>", "Tom", "·and", "·Sue"]);
});

test("arrows walk tokens and candidates, and the walk is read out", async () => {
  const model = new FakeModel(promptState());
  const root = show(model);
  await settle(100);
  const said = (): string => root.querySelector('.miw-hidden[aria-live="polite"]')!.textContent!;
  press(root, "ArrowLeft");
  await settle(50);
  expect(model.values["selection"]).toMatchObject({ position: 2 });
  expect(said()).toContain("surprisal ≈ 2 bits");
  expect(candidates(root)).toEqual(["Tom", "·Sue"]);
  expect(texts(root, ".miw-follows .miw-candidate-token")).toEqual(["·Sue"]);
  press(root, "ArrowDown");
  press(root, "ArrowDown");
  expect(said()).toContain("candidate 2 of 2");
  await settle(50);
  expect(root.querySelector('[aria-selected="true"] .miw-candidate-token')!.textContent).toBe("·Sue");
  press(root, "Enter");
  expect([orders(model), said()]).toEqual([[], expect.stringContaining("only at the end of the prompt")]);
  press(root, "Escape");
  press(root, "Escape");
  expect(model.values["selection"]).toMatchObject({ position: null });
});

test("a click on a candidate at the end appends it; so does Enter, and the next Enter the likeliest then", async () => {
  const model = new FakeModel(promptState());
  const root = show(model);
  await settle(100);
  press(root, "ArrowDown");
  press(root, "ArrowDown");
  press(root, "Enter");
  expect(orders(model)).toEqual([{ kind: "order", order: "append", ids: [6] }]);
  model.set(
    "picture",
    promptPicture(2, [
      {
        ...A,
        strings: [...A.strings, " sat"],
        ids: [...A.ids, 6],
        surprisal: [...A.surprisal, 3],
        rank: [...A.rank, 1],
        entropy: [...A.entropy, 1],
        top: [
          ...A.top,
          [
            [4, 0.5],
            [2, 0.25],
          ],
        ],
      },
    ]),
  );
  model.set("status", { state: "idle", run: 2 });
  model.set("written", 1);
  await settle(100);
  expect(texts(root, ".miw-written")).toEqual(["·sat", "a"]);
  press(root, "Enter");
  expect(orders(model).at(-1)).toEqual({ kind: "order", order: "append", ids: [4] });
  model.set("status", { state: "idle", run: 2, elapsed_ms: 1 });
  await settle(100);
  root.querySelectorAll<HTMLElement>("[data-candidate]")[1]!.click();
  expect(orders(model).at(-1)).toEqual({ kind: "order", order: "append", ids: [2] });
});

test("writing orders as many tokens as the options say, and undo brings the prompt before it back", async () => {
  const model = new FakeModel(
    promptState({
      history: [
        { kind: "text", text: "Tom" },
        { kind: "text", text: "Tom and Sue" },
      ],
      written: 2,
    }),
  );
  const root = show(model);
  await settle(100);
  const length = root.querySelector<HTMLInputElement>('input[aria-label="tokens"]')!;
  length.value = "7";
  length.dispatchEvent(new Event("change", { bubbles: true }));
  press(root, "w");
  expect(orders(model)).toEqual([{ kind: "order", order: "sample", tokens: 7 }]);
  model.set("status", { state: "computing", run: 2, message: "writing", done: 1, total: 7 });
  await settle(50);
  expect(root.querySelector('button[aria-label="write"]')!.getAttribute("aria-disabled")).toBe("true");
  expect(root.querySelector<HTMLElement>(".miw-stop")!.hidden).toBe(false);
  model.set("status", { state: "idle", run: 1 });
  await settle(50);
  press(root, "u");
  expect(model.values["prompt"]).toEqual({ kind: "text", text: "Tom" });
});

test("numbers out of range are brought into it; what is no number is put back", async () => {
  const model = new FakeModel(promptState());
  const root = show(model);
  await settle(50);
  const type = (label: string, text: string): string => {
    const input = root.querySelector<HTMLInputElement>(`input[aria-label="${label}"]`)!;
    input.value = text;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return input.value;
  };
  expect([type("top-p", "3"), type("tokens", "2.6"), type("seed", ""), type("temperature", "-1")]).toEqual(["1", "3", "0", "0"]);
  await settle(50);
  expect(model.values["options"]).toMatchObject({ length: 3, temperature: 0, seed: 0 });
  expect(root.querySelector<HTMLInputElement>('input[aria-label="seed"]')!.disabled).toBe(true);
});

test("two prompts stand over each other, with the difference under each column and the verdict above", async () => {
  const root = show(new FakeModel(comparedState()));
  await settle(100);
  expect(texts(root, ".miw-column .miw-token")).toEqual(["<bos>", "<bos>", "Tom", "Tom", "·and", "·met", "·Sue", "·Sue"]);
  expect(texts(root, ".miw-gloss")).toEqual(["", ".00", "−4.00", "+2.50"]);
  expect(texts(root, ".miw-differs .miw-token")).toEqual(["·and", "·met"]);
  expect(root.querySelector(".miw-totals")!.textContent).toContain("A − B = −1.5 bitsA is 21.50 ≈ 2.83 × likelier");
  expect(root.querySelector(".miw-legend")!.textContent).toContain("surprisal A − B, bits");
  expect(point(root, '.miw-token[data-position="2"][data-side="B"]')).toMatch(/surprisal 6 bits.*·and.*2 bits.*A − B = −4 bits/);
});

test("a token without partner is marked as such, in the text and in the legend", async () => {
  const root = show(new FakeModel(comparedState(SHORT, SHORT_PAIRS)));
  await settle(100);
  expect(texts(root, ".miw-token.miw-partnerless")).toEqual(["·Sue"]);
  expect(texts(root, ".miw-absent")).toEqual(["∅"]);
  expect(root.querySelector(".miw-legend")!.textContent).toContain("no partner");
});

test("keys show A, B or the difference; only the shown prompt is coloured then", async () => {
  const model = new FakeModel(comparedState());
  const root = show(model);
  await settle(100);
  const colored = (side: string): number =>
    [...root.querySelectorAll<HTMLElement>(`.miw-token[data-side="${side}"]`)].filter((token) => token.style.backgroundColor).length;
  expect([colored("A"), colored("B")]).toEqual([3, 3]);
  press(root, "b");
  await settle(50);
  expect([colored("A"), colored("B"), texts(root, ".miw-gloss").length]).toEqual([0, 3, 0]);
  press(root, "a");
  await settle(50);
  expect([colored("A"), colored("B"), candidates(root)[0]]).toEqual([3, 0, "·ran"]);
});

test("when the comparison ends the text runs on as one prompt", async () => {
  const model = new FakeModel(comparedState());
  const root = show(model);
  await settle(100);
  model.set("compare", null);
  model.set("picture", promptPicture(2, [A]));
  model.set("status", { state: "idle", run: 2 });
  await settle(100);
  expect([root.querySelectorAll(".miw-column").length, texts(root, ".miw-token")]).toEqual([0, ["<bos>", "Tom", "·and", "·Sue"]]);
  model.set("picture", promptPicture(3, [A, B], EQUAL_PAIRS));
  await settle(100);
  expect(texts(root, ".miw-gloss")).toEqual(["", ".00", "−4.00", "+2.50"]);
});

test("pointing and choosing reach linked views, and theirs reach this one", async () => {
  const first = new FakeModel(promptState());
  const [one, two] = [show(first), show(new FakeModel(promptState()))];
  await settle(100);
  point(one, '.miw-token[data-position="1"]');
  await settle();
  expect(texts(two, ".miw-token-linked")).toEqual(["Tom"]);
  one.querySelector<HTMLElement>('.miw-token[data-position="2"]')!.click();
  await settle();
  expect([texts(one, ".miw-token-locked"), texts(two, ".miw-token-locked")]).toEqual([["·and"], ["·and"]]);
});

test("a saved picture says that it stands alone, and its controls for the model are off", async () => {
  const model = new FakeModel(promptState(), false);
  const root = show(model);
  await settle(100);
  expect(root.dataset["state"]).toBe("frozen");
  expect(root.querySelector('button[aria-label="write"]')!.getAttribute("aria-disabled")).toBe("true");
  expect(root.querySelector(".miw-next-foot")!.textContent).toContain("no kernel here");
  root.querySelector<HTMLElement>("[data-candidate]")!.click();
  press(root, "ArrowLeft");
  await settle();
  expect([model.sent, texts(root, ".miw-token-locked")]).toEqual([[], ["·and"]]);
});

test("tokens that hold markup are only ever text, in the text, the tooltip and the list", async () => {
  const wild = "<img src=x onerror=alert(1)>";
  const written: Written = { ...A, strings: ["<bos>", wild, "\u202eabc", ""] };
  const root = show(new FakeModel(promptState({ picture: promptPicture(1, [written], null, { names: [{ id: 5, string: wild }] }) })));
  await settle(300);
  point(root, '.miw-token[data-position="1"]');
  expect(root.querySelector("img, script")).toBeNull();
  expect(texts(root, ".miw-token")).toEqual(["<bos>", wild.replaceAll(" ", "·"), "⟨202E⟩abc", "∅"]);
  expect(candidates(root)[0]).toBe(wild.replaceAll(" ", "·"));
});

test("one token alone is not scored and still has what may come next", async () => {
  const one: Written = { strings: ["<bos>"], ids: [0], surprisal: [NaN], rank: [-1], entropy: [1.5], top: [A.top[0]!] };
  const root = show(new FakeModel(promptState({ picture: promptPicture(1, [one]) })));
  await settle(100);
  expect(root.querySelector(".miw-totals")!.textContent).toContain("none scored");
  expect(candidates(root)).toEqual(["Tom", "·Sue"]);
});

test("a picture that lacks a block is a notice over the last good one", async () => {
  const model = new FakeModel(promptState());
  const root = show(model);
  await settle(100);
  model.set("picture", promptPicture(2, [A], null, { sides: [] }));
  await settle(50);
  expect(root.querySelector(".miw-error")!.textContent).toContain("The picture holds no prompt.");
  expect(texts(root, ".miw-token")).toHaveLength(4);
});

test("a closed view leaves nothing behind", async () => {
  const model = new FakeModel(promptState());
  const root = show(model);
  await settle(100);
  cleanups.pop()!();
  await settle(20000);
  expect([root.isConnected, model.listening]).toEqual([false, 0]);
});
