// @vitest-environment jsdom
/** A picture that is not of what was asked for says so in every view: after an error, after Stop, and without a kernel. */
import { describe, expect, test, vi } from "vitest";
import { mayBeOf } from "../src/core/prompt";
import type { PromptValue } from "../src/core/wire.gen";
import attention from "../src/widgets/attention/index";
import { EVERY_VIEW, status } from "./every_view";
import { FakeModel } from "./fake_model";
import { rendered, useStage } from "./stage";
import { packed, syntheticManifest, syntheticState } from "./synthetic";

useStage({ clientWidth: 900, offsetWidth: 900, offsetHeight: 300 });

const settle = (ms = 100): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const text = (value: string) => ({ kind: "text", text: value });

/** What the view says of its picture: stale or not, its own prompt where it is named, and how many ticks it has. */
function said(root: HTMLElement): { stale: string | undefined; of: string | null; ticks: number } {
  const own = root.querySelector<HTMLElement>(".miw-own")!;
  const ticks = [...root.querySelectorAll(".miw-status-check")].filter((part) => part.textContent!.includes("✓"));
  return { stale: root.dataset["stale"], of: own.hidden ? null : own.textContent, ticks: ticks.length };
}

const CURRENT = { stale: undefined, of: null, ticks: 1 };

describe.each(EVERY_VIEW)("$name", ({ name, view, state, picture, words, compared }) => {
  const asked = name === "logit_attribution" ? "logit(·Mary) − logit(·John) at position 6" : "";
  const STALE = { stale: "true", of: `Picture of:${asked}${words}`, ticks: 0 };

  test.each([
    ["an error", status("error", 2, { message: "The prompt is too long.", hint: "Shorten it." })],
    ["Stop", status("idle", 2, { message: "Stopped. The picture is of the last finished run." })],
  ])("after %s the old picture is stale; the next good one is not", async (_, ended) => {
    const model = new FakeModel(state());
    const root = rendered(view, model);
    await settle();
    expect(said(root)).toEqual(CURRENT);
    model.set("prompt", text("another"));
    model.set("status", status("computing", 2));
    await settle();
    expect(said(root)).toEqual({ ...CURRENT, ticks: 0 });
    model.set("status", ended);
    await settle();
    expect(said(root)).toEqual(STALE);
    model.set("picture", picture(3));
    model.set("status", status("idle", 3));
    await settle();
    expect(said(root)).toEqual(CURRENT);
  });

  test("an error about something else than a run takes nothing from the picture", async () => {
    const model = new FakeModel(state());
    const root = rendered(view, model);
    model.set("status", status("error", 1, { message: "There is no room for 20 tokens." }));
    await settle();
    expect(said(root)).toEqual(CURRENT);
  });

  test("a kernel that dies in mid-pass leaves a picture that names its own prompt", async () => {
    const model = new FakeModel(state()) as FakeModel & { comm_live?: boolean };
    const root = rendered(view, model);
    await settle();
    model.set("prompt", text("another"));
    model.set("status", status("computing", 2));
    model.comm_live = false;
    model.emit("comm_live_update");
    await settle();
    expect([root.dataset["state"], said(root)]).toEqual(["frozen", STALE]);
    expect(root.querySelector(".miw-frozen")!.textContent).toBe(
      "The kernel is gone or was restarted. Run the cells above first, then this one.",
    );
    expect(root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!.value).toBe("another");
  });

  test("saved in mid-pass it is stale; saved at rest it is not", async () => {
    expect(said(rendered(view, new FakeModel(state({ status: status("computing", 2) }), false)))).toEqual(STALE);
    expect(said(rendered(view, new FakeModel(state({ status: status("frozen", 1) }), false)))).toEqual(CURRENT);
  });

  test("a linked view's edit that has no answer is said here too, and no longer once it has one", async () => {
    const [here, there] = [new FakeModel(state()), new FakeModel(state())];
    const [root, other] = [rendered(view, here), rendered(view, there)];
    await settle();
    const area = root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!;
    area.value = "another";
    area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
    const line = (of: HTMLElement): string => of.querySelector(".miw-status-late")?.textContent ?? "";
    await settle(900);
    expect([line(root), line(other)]).toEqual(["", ""]);
    await settle(200);
    expect([line(root), line(other)]).toEqual([
      "edit not answered yet: waiting for the kernel …",
      "edit in a linked view not answered yet: waiting for the kernel …",
    ]);
    await settle(8000);
    expect([line(root), line(other)]).toEqual([
      "edit not computed: the kernel does not answer (busy?)",
      "edit in a linked view not computed: the kernel does not answer (busy?)",
    ]);
    here.answer({ req: here.requests("ping")[0]!["req"] });
    await settle();
    expect([line(root), line(other)]).toEqual(["", ""]);
  });

  test("where two prompts are compared both are named", async () => {
    const model = new FakeModel(
      state({ picture: compared.picture(1), compare: text("B"), status: status("error", 2, { message: "Too long." }) }),
    );
    const root = rendered(view, model);
    await settle();
    expect(said(root)).toEqual({ stale: "true", of: `Picture of:${asked}A${words}B${compared.words}`, ticks: 0 });
  });
});

test("a check that failed is still said of a stale picture", async () => {
  const manifest = { ...syntheticManifest(["<bos>", "a"], 1), checks: [{ label: "rows sum to 1", ok: false, detail: "max error 0.2" }] };
  const root = rendered(
    attention,
    new FakeModel(syntheticState(["<bos>", "a"], { picture: packed([], manifest), status: status("error", 2) as never })),
  );
  await settle();
  expect([root.dataset["stale"], root.querySelector(".miw-status-failed")!.textContent]).toEqual([
    "true",
    "✗ rows sum to 1 (max error 0.2)",
  ]);
});

describe("without a kernel, a picture may be of the prompt in the box", () => {
  const { tokens } = syntheticManifest(["<bos>", "When", " Mary"], 1);
  const run = (written: string | null) => ({ ...tokens, text: written });

  test.each([
    ["the same text", text("When Mary"), "When Mary", true],
    ["another text", text("When Anna"), "When Mary", false],
    ["a text whose run has none", text("When Anna"), null, true],
    ["the same ids", { kind: "ids", ids: [0, 1, 2] }, "When Mary", true],
    ["other ids", { kind: "ids", ids: [0, 1] }, "When Mary", false],
    ["a chat, of which nobody can tell", { kind: "chat", messages: [{ role: "user", content: "Hi" }] }, "<user>Hi", true],
    ["none, over plain data", null, null, true],
  ])("%s", (_, prompt, written, may) => {
    expect(mayBeOf([run(written)], prompt as PromptValue | null, null)).toBe(may);
  });

  test("and so for the second prompt", () => {
    const pair = [run("A"), run("B")];
    expect(mayBeOf(pair, text("A") as PromptValue, text("B") as PromptValue)).toBe(true);
    expect(mayBeOf(pair, text("A") as PromptValue, text("C") as PromptValue)).toBe(false);
    expect(mayBeOf(pair, text("A") as PromptValue, null)).toBe(false);
  });

  test("else it is stale", async () => {
    const written = { ...syntheticManifest(["<bos>", "a"], 1), tokens: { ...tokens, text: "When Mary" } };
    const saved = (prompt: string): HTMLElement =>
      rendered(
        attention,
        new FakeModel(syntheticState(["<bos>", "a"], { prompt: text(prompt) as never, picture: packed([], written) }), false),
      );
    expect([said(saved("When Mary")).stale, said(saved("When Anna"))]).toEqual([
      undefined,
      { stale: "true", of: "Picture of:When Mary", ticks: 0 },
    ]);
  });
});

test("an edit that the kernel has not answered leaves a picture that names its own prompt, until there is an answer", async () => {
  const manifest = syntheticManifest(["<bos>", "a"], 1);
  const written = { ...manifest, tokens: { ...manifest.tokens, text: "When Mary" } };
  const model = new FakeModel(syntheticState(["<bos>", "a"], { prompt: text("When Mary") as never, picture: packed([], written) }));
  const root = rendered(attention, model);
  const area = root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!;
  area.value = "When Anna";
  area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
  await settle(900);
  expect(said(root)).toEqual(CURRENT);
  await settle(1000);
  expect(said(root)).toEqual({ stale: "true", of: "Picture of:When Mary", ticks: 0 });
  await settle(8000);
  expect(said(root).stale).toBe("true");
  model.answer({ req: model.requests("ping")[0]!["req"] });
  model.set("status", status("computing", 2));
  await settle();
  expect(said(root).stale).toBeUndefined();
});

test("what is typed and is no prompt leaves a picture that names its own, until it is one again", async () => {
  const ids = { kind: "ids", ids: [5, 17] };
  const model = new FakeModel(syntheticState(["5", "17"], { prompt: ids as never }));
  const root = rendered(attention, model);
  const area = root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!;
  const type = (value: string): void => {
    area.value = value;
    area.dispatchEvent(new Event("input", { bubbles: true }));
  };
  type("[5, 17], 6");
  await settle(500);
  expect(root.querySelector(".miw-error")!.textContent).toContain("no token id");
  expect([said(root).stale, said(root).ticks]).toEqual(["true", 0]);
  type("[5, 17]");
  await settle(500);
  expect(said(root)).toEqual(CURRENT);
});

test("beside other words than the picture's stands no number of the picture", async () => {
  const { view, state } = EVERY_VIEW.find(({ name }) => name === "logit_attribution")!;
  const model = new FakeModel(state());
  const root = rendered(view, model);
  await settle();
  const number = root.querySelector<HTMLElement>(".miw-question-result")!;
  expect([number.hidden, number.textContent]).toEqual([false, expect.stringMatching(/\d/)]);
  model.set("answer", "Tom");
  model.set("status", status("error", 2, { message: "The answer is no single token." }));
  await settle();
  expect(number.hidden).toBe(true);
  const order = [...root.children].map((part) => part.className.split(" ")[0]);
  expect(order.indexOf("miw-own")).toBeLessThan(order.indexOf("miw-question"));
});
