// @vitest-environment jsdom
/** A picture of the logit lens that is partial: what is read is shown, what is not says so, and it fills in place. */
import { expect, test, vi } from "vitest";
import { openParcel } from "../src/core/blocks";
import type { LensRead, LensState } from "../src/core/wire.gen";
import { fieldOf, sayValue } from "../src/widgets/logit_lens/field";
import view from "../src/widgets/logit_lens/index";
import { kindOf } from "../src/core/described";
import { LENS } from "../src/core/options.gen";
import { LensPicture } from "../src/widgets/logit_lens/picture";
import { FakeModel } from "./fake_model";
import { lensPicture, lensRows, lensState, type LensGiven } from "./lens_state";
import { rendered, useStage } from "./stage";

const STRINGS = ["<bos>", " When", " Mary", " to"];
const HALF: LensRead = { A: [2, 3], B: [] };
const READING: LensState["status"] = {
  state: "computing",
  run: 1,
  message: "reading 2 of 4 positions",
  hint: "",
  done: 6,
  total: 12,
  estimate: "",
  elapsed_ms: 12,
};

useStage({ clientWidth: 1000, offsetWidth: 700, offsetHeight: 300 });

const settle = (ms = 50): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const picture = (given: LensGiven): LensPicture => new LensPicture(openParcel(lensPicture(given))!);
const orders = (model: FakeModel): Record<string, unknown>[] => model.sent.filter((message) => message["order"] === "look");

function show(given: Partial<LensGiven> = {}, change: Partial<LensState> = {}, live = true): { model: FakeModel; root: HTMLElement } {
  const model = new FakeModel(lensState({ strings: STRINGS, read: HALF, ...given }, { status: READING, ...change }), live);
  return { model, root: rendered(view, model) };
}

function press(root: HTMLElement, key: string): void {
  root.querySelector(".miw-lens-table")!.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

test("what is read stands where it does in the whole picture; all else is unread, not missing", () => {
  const [part, whole] = [picture({ strings: STRINGS, targets: [5], read: HALF }), picture({ strings: STRINGS, targets: [5] })];
  const [some, all] = [part, whole].map((one) => fieldOf(one, "A", { ...kindOf(LENS).defaults, color: "entropy" }, "light"));
  expect(some!.read).toEqual([false, false, true, true]);
  for (const cell of [2, 3, 6, 7]) expect(sayValue(some!, cell)).toBe(sayValue(all!, cell));
  expect([sayValue(some!, 0), sayValue(some!, 4), some!.missing, some!.none]).toEqual(["not read yet", "not read yet", false, ""]);
  expect(part.topId("A", 1, 3)).toBe(whole.topId("A", 1, 3));
  expect(part.target("A", "ranks", 0)![6]).toBe(whole.target("A", "ranks", 0)![6]);
  expect([part.guesses("A", 1, 0), part.guesses("A", 1, 3)]).toEqual([[], whole.guesses("A", 1, 3)]);
  expect([part.unfinished, whole.unfinished]).toEqual(["2 of 4 positions are read", ""]);
});

test("a column of two prompts is read when both of them are", () => {
  const compare: LensGiven["compare"] = {
    what: "prompt",
    strings: ["<bos>", " Tom", " to"],
    pairs: [
      [0, 0],
      [1, -1],
      [2, 1],
      [3, 2],
    ],
  };
  const [part, whole] = [picture({ strings: STRINGS, compare, read: { A: [1, 3], B: [2] } }), picture({ strings: STRINGS, compare })];
  expect(part.columns("difference").read).toEqual([false, true, false, true]);
  expect(part.columns("B").read).toEqual([false, false, true]);
  expect([part.divergence![7], part.divergence![4]]).toEqual([whole.divergence![7], NaN]);
  expect(part.progress).toEqual({ read: 2, count: 4 });
});

test("a cell that is not read says so, in the tooltip, to readers, in the chart and in the legend", async () => {
  const { root } = show(
    {},
    { selection: { layer: 1, head: null, query: null, key: null, position: 0, feature: null, heads: [], stamp: 1 } },
  );
  await settle();
  press(root, "ArrowUp");
  expect(root.querySelector(".miw-tooltip")!.textContent).toContain("not read yet");
  expect(root.querySelector("[aria-live=polite]")!.textContent).toContain("not read yet");
  expect(root.querySelector(".miw-lens-note")!.textContent).toBe("This position is not read yet.");
  expect(root.querySelectorAll(".miw-lens-curve")).toHaveLength(0);
  expect(root.querySelector(".miw-legend")!.textContent).toContain("not read yet2 of 4 positions are read");
  expect(root.querySelector(".miw-status")!.textContent).toContain("reading 2 of 4 positions");
  expect(root.querySelector<HTMLElement>(".miw-stop")!.hidden).toBe(false);
});

test("a fuller picture fills the table in place; what is locked stays", async () => {
  const { model, root } = show();
  await settle(500);
  press(root, "ArrowDown");
  press(root, "Enter");
  const locked = model.values["selection"];
  model.set("picture", lensPicture({ strings: STRINGS, read: { A: [1, 2, 3], B: [] } }));
  await settle(500);
  expect([model.values["selection"], root.dataset["state"]]).toEqual([locked, "computing"]);
  expect(root.querySelector(".miw-legend")!.textContent).toContain("3 of 4 positions are read");
  model.set("picture", lensPicture({ strings: STRINGS }));
  model.set("status", { ...READING, state: "idle", message: "" });
  await settle(500);
  expect([model.values["selection"], root.dataset["state"]]).toEqual([locked, "idle"]);
  expect(root.querySelector(".miw-legend")!.textContent).not.toContain("read");
});

test("what is in sight and not read is told to the kernel once", async () => {
  const { model } = show();
  await settle(100);
  expect(orders(model)).toHaveLength(0);
  await settle(500);
  expect(orders(model)).toEqual([{ kind: "order", order: "look", side: "A", positions: [0, 3] }]);
  model.set("picture", lensPicture({ strings: STRINGS, read: { A: [1, 2, 3], B: [] } }));
  model.set("status", { ...READING, done: 9 });
  await settle(500);
  expect(orders(model)).toHaveLength(1);
});

test("nothing is asked for where nothing is being read", async () => {
  for (const [status, live] of [
    [{ ...READING, state: "idle" as const, message: "Stopped: 2 of 4 positions are read." }, true],
    [READING, false],
  ] as const) {
    const { model, root } = show({}, { status }, live);
    await settle(500);
    expect(orders(model)).toHaveLength(0);
    expect(root.querySelector(".miw-legend")!.textContent).toContain("not read2 of 4 positions are read");
    press(root, "Home");
    expect(root.querySelector(".miw-tooltip")!.textContent).toContain(
      live ? "the reading was stopped" : "the picture was saved before it was done",
    );
    expect(root.querySelector(".miw-status")!.textContent).toContain(
      live ? "Stopped: 2 of 4 positions are read." : "Saved before it was done: 2 of 4 positions are read.",
    );
  }
});

test("rows of a partial picture are of what was read then; a fuller one asks again", async () => {
  const { model, root } = show({ whole: false });
  await settle(300);
  const [first] = model.requests("rows");
  model.answer({ req: first!["req"], nbytes: 1 }, [lensRows([2, 1, 0], 4, HALF.A)]);
  await settle(500);
  expect(model.requests("rows")).toHaveLength(1);
  press(root, "ArrowUp");
  expect(root.querySelectorAll(".miw-tooltip .miw-lens-guesses th")).toHaveLength(3);
  model.set("picture", lensPicture({ strings: STRINGS, whole: false, read: { A: [1, 2, 3], B: [] } }));
  await settle(300);
  const [, second] = model.requests("rows");
  model.answer({ req: second!["req"], nbytes: 1 }, [lensRows([2, 1, 0], 4)]); // the kernel has read on meanwhile
  await settle(50);
  model.set("picture", lensPicture({ strings: STRINGS, whole: false }));
  model.set("status", { ...READING, state: "idle", message: "" });
  await settle(300);
  expect(model.requests("rows")).toHaveLength(3);
});

test("a first part that is taken back leaves no table beside the error", async () => {
  const { model, root } = show();
  await settle(500);
  expect(root.querySelector(".miw-legend")!.textContent).toContain("2 of 4 positions are read");
  model.set("picture", new DataView(new ArrayBuffer(0)));
  model.set("status", { ...READING, state: "error", message: "The model's outputs are not finite." });
  await settle(500);
  expect(root.querySelector(".miw-lens-table")!.closest("[hidden]")).not.toBe(null);
  expect(root.textContent).toContain("No picture yet.");
  expect(root.textContent).toContain("The model's outputs are not finite.");
});
