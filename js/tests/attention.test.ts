// @vitest-environment jsdom
/** The attention explorer as a whole, on a fake model: what it shows, what it asks for, what it leaves behind. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import view from "../src/widgets/attention/index";
import { FakeModel } from "./fake_model";
import { headPiece, packed, syntheticPicture, syntheticState } from "./synthetic";

const WORDS = ["<bos>", "When", " Mary", " and", " John"];

class QuietObserver {
  observe(): void {}
  disconnect(): void {}
}

let cleanups: (() => void)[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("ResizeObserver", QuietObserver);
  // jsdom draws nothing; a browser does, in tests/browser.
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
});

afterEach(() => {
  for (const cleanup of cleanups) cleanup();
  cleanups = [];
  document.body.replaceChildren();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function show(model: FakeModel): HTMLElement {
  const el = document.createElement("div");
  document.body.append(el);
  cleanups.push(view.render({ model: model as never, el }));
  return el.querySelector<HTMLElement>(".miw-view")!;
}

const settle = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

function type(root: HTMLElement, text: string): HTMLTextAreaElement {
  const area = root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!;
  area.focus();
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true }));
  return area;
}

function press(target: Element, key: string): void {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

test("the prompt, the tokens as run and the self-checks are there", async () => {
  const root = show(new FakeModel(syntheticState(WORDS)));
  await settle();
  expect(root.dataset["state"]).toBe("idle");
  expect(root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!.value).toBe("When Mary and John");
  expect([...root.querySelectorAll(".miw-token")].map((token) => token.textContent)).toEqual(["<bos>", "When", "·Mary", "·and", "·John"]);
  expect(root.querySelector(".miw-token-special")!.textContent).toBe("<bos>");
  expect(root.querySelector(".miw-status")!.textContent).toContain("✓ rows sum to 1");
});

test("tokens that hold markup are only ever text", async () => {
  const wild = ["<bos>", "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "\u202eabc", "x".repeat(10000)];
  const root = show(new FakeModel(syntheticState(wild)));
  await settle(500);
  expect(root.querySelector("img, script")).toBeNull();
  const texts = [...root.querySelectorAll(".miw-token")].map((token) => token.textContent!);
  expect(texts[1]).toBe("<img src=x onerror=alert(1)>".replaceAll(" ", "·"));
  expect(texts[3]).toBe("⟨202E⟩abc");
  expect(texts[4]!.length).toBeLessThanOrEqual(40);
});

test("what is typed is sent 200 ms after the last key, and at once on Enter", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  type(root, "When");
  await settle(150);
  const area = type(root, "When Bob");
  await settle(150);
  expect(model.values["prompt"]).toMatchObject({ text: "When Mary and John" });
  await settle(60);
  expect(model.values["prompt"]).toEqual({ kind: "text", text: "When Bob" });
  area.value = "When Eve";
  press(area, "Enter");
  expect(model.values["prompt"]).toEqual({ kind: "text", text: "When Eve" });
});

test("token ids keep their kind; what is none is refused with a reason", async () => {
  const model = new FakeModel(syntheticState(WORDS, { prompt: { kind: "ids", ids: [1, 2, 3] } }));
  const root = show(model);
  expect(root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!.value).toBe("[1, 2, 3]");
  type(root, "[1, two]");
  await settle(250);
  expect(root.querySelector(".miw-error")!.textContent).toContain("“two” is no token id");
  type(root, "[1, 2]");
  await settle(250);
  expect(model.values["prompt"]).toEqual({ kind: "ids", ids: [1, 2] });
  expect(root.querySelector<HTMLElement>(".miw-error")!.hidden).toBe(true);
});

test("chat messages keep role and content", async () => {
  const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "Hi" }];
  const model = new FakeModel(syntheticState(WORDS, { prompt: { kind: "chat", messages } }));
  const root = show(model);
  const areas = root.querySelectorAll<HTMLTextAreaElement>("textarea.miw-prompt");
  expect([...areas].map((area) => area.value)).toEqual(["Be brief.", "Hi"]);
  areas[1]!.value = "Hello";
  areas[1]!.dispatchEvent(new Event("input", { bubbles: true }));
  await settle(250);
  expect(model.values["prompt"]).toEqual({ kind: "chat", messages: [messages[0], { role: "user", content: "Hello" }] });
});

test("undo goes back to the prompt before, redo forward", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  type(root, "second");
  await settle(250);
  const wall = root.querySelector<HTMLElement>(".miw-wall")!;
  wall.focus();
  press(wall, "z");
  await settle();
  expect(model.values["prompt"]).toMatchObject({ text: "When Mary and John" });
  press(wall, "y");
  await settle();
  expect(model.values["prompt"]).toMatchObject({ text: "second" });
});

test("Python's prompt replaces the text, but not while the reader is typing", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  model.set("prompt", { kind: "text", text: "from Python" });
  await settle();
  const area = root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!;
  expect(area.value).toBe("from Python");
  type(root, "half a wo");
  model.set("prompt", { kind: "text", text: "again" });
  await settle();
  expect(area.value).toBe("half a wo");
});

test("computing dims the picture and offers to stop; an error stands over the last good picture", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  const status = model.values["status"] as object;
  model.set("status", { ...status, state: "computing", done: 1, total: 4, estimate: "about 9 s" });
  await settle();
  expect(root.dataset["state"]).toBe("computing");
  expect(root.querySelector(".miw-status")!.textContent).toContain("about 9 s");
  root.querySelector<HTMLButtonElement>(".miw-stop")!.click();
  expect(model.sent).toContainEqual({ kind: "stop" });
  model.set("status", { ...status, state: "error", message: "The prompt is empty.", hint: "Write a word." });
  await settle();
  expect(root.dataset["state"]).toBe("error");
  const bar = root.querySelector<HTMLElement>(".miw-error")!;
  expect([bar.hidden, bar.textContent, bar.getAttribute("role")]).toEqual([false, "The prompt is empty. Write a word.", "alert"]);
  expect(root.querySelectorAll(".miw-token")).toHaveLength(5);
});

test("a head that is not here is fetched when it is locked, and not while the pointer passes", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  show(model);
  await settle();
  expect(model.requests("heads")).toHaveLength(0);
  model.set("selection", { ...(model.values["selection"] as object), layer: 1, head: 1, stamp: 5 });
  await settle();
  const [request] = model.requests("heads");
  expect(request).toMatchObject({ run: 1, heads: [[1, 1]], sides: ["A"] });
  const side = WORDS.length;
  const buffer = packed([headPiece(1, 1, side, () => 0.25)], null);
  model.answer({ req: request!["req"], nbytes: buffer.byteLength }, [buffer]);
  await settle(300);
  expect(document.querySelector(".miw-panel-title")!.textContent).not.toContain("reduced");
  expect(document.querySelector(".miw-hidden table")!.textContent).toContain("0.25");
  expect(model.requests("heads")).toHaveLength(1);
});

test("a failed request is shown; a stale one is silent and asked again with the new picture", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  model.set("selection", { ...(model.values["selection"] as object), layer: 1, head: 0, stamp: 5 });
  await settle();
  model.answer({ req: model.requests("heads")[0]!["req"], ok: false, error: { code: "stale", message: "old", hint: "" } });
  await settle();
  expect(root.querySelector<HTMLElement>(".miw-error")!.hidden).toBe(true);
  model.set("picture", syntheticPicture(WORDS, 2));
  await settle();
  expect(model.requests("heads").at(-1)).toMatchObject({ run: 2, heads: [[1, 0]] });
  model.answer({ req: model.requests("heads").at(-1)!["req"], ok: false, error: { code: "failed", message: "out of memory", hint: "close something" } });
  await settle();
  expect(root.querySelector(".miw-error")!.textContent).toBe("out of memory close something");
});

test("late answers of an older run are dropped", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  show(model);
  model.set("selection", { ...(model.values["selection"] as object), layer: 1, head: 1, stamp: 5 });
  await settle();
  const req = model.requests("heads")[0]!["req"];
  model.set("picture", syntheticPicture(WORDS, 2));
  await settle();
  expect(model.sent).toContainEqual({ kind: "cancel", req });
});

test("linked views follow in the page; only the one that was used writes to its model", async () => {
  const [one, two] = [new FakeModel(syntheticState(WORDS)), new FakeModel(syntheticState(WORDS))];
  const [first, second] = [show(one), show(two)];
  await settle();
  const token = first.querySelector<HTMLElement>('.miw-token[data-position="2"]')!;
  token.click();
  await settle();
  expect(one.values["selection"]).toMatchObject({ query: 2, position: 2, stamp: 1 });
  expect(two.values["selection"]).toMatchObject({ query: null });
  expect(second.querySelector(".miw-token-locked")!.textContent).toBe("·Mary");
});

test("an older selection from Python does not undo a newer one of the page", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  root.querySelector<HTMLElement>('.miw-token[data-position="3"]')!.click();
  model.set("selection", { ...(model.values["selection"] as object), query: 1, position: 1, stamp: 1 });
  await settle();
  expect(root.querySelector(".miw-token-locked")!.textContent).toBe("·and");
});

test("keys change options, which the kernel hears of as a whole", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  const wall = root.querySelector<HTMLElement>(".miw-wall")!;
  wall.focus();
  press(wall, "s");
  expect(model.values["options"]).toMatchObject({ scale: "sqrt", palette: "blue", direction: "reads" });
  press(wall, "r");
  expect(model.values["options"]).toMatchObject({ scale: "sqrt", direction: "read_by" });
  await settle();
  expect(root.querySelector(".miw-reading")!.textContent).toContain("who reads");
});

test("an offline page shows its picture, says so, and lets nothing be edited", async () => {
  const root = show(new FakeModel(syntheticState(WORDS), false));
  await settle();
  expect(root.dataset["state"]).toBe("frozen");
  expect(root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!.readOnly).toBe(true);
  expect(root.querySelector(".miw-status")!.textContent).toContain("no kernel");
  root.querySelector<HTMLElement>('.miw-token[data-position="2"]')!.click();
  await settle();
  expect(root.querySelector(".miw-token-locked")!.textContent).toBe("·Mary");
});

test("a kernel that went away leaves the last picture and says what to do", async () => {
  const model = new FakeModel(syntheticState(WORDS)) as FakeModel & { comm_live?: boolean };
  const root = show(model);
  model.comm_live = false;
  model.emit("comm_live_update");
  await settle();
  expect(root.dataset["state"]).toBe("frozen");
  expect(root.querySelector(".miw-status")!.textContent).toContain("The kernel is gone; this is the last picture. Run the cell again to go on.");
  expect(root.querySelectorAll(".miw-token")).toHaveLength(5);
});

test("a reopened notebook whose view the host marks as disconnected shows a saved picture", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const el = document.createElement("div");
  el.className = "jupyter-widgets-disconnected";
  document.body.append(el);
  cleanups.push(view.render({ model: model as never, el }));
  const root = el.querySelector<HTMLElement>(".miw-view")!;
  await settle();
  expect(root.dataset["state"]).toBe("frozen");
  expect(root.querySelector(".miw-status")!.textContent).toContain("Saved picture: no kernel.");
  el.className = "";
  await settle();
  expect(root.dataset["state"]).toBe("idle");
});

test("a picture that cannot be read says so and takes nothing away", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  model.set("picture", new DataView(new ArrayBuffer(6)));
  await settle();
  expect(root.querySelector<HTMLElement>(".miw-error")!.hidden).toBe(false);
  expect(root.querySelectorAll(".miw-token")).toHaveLength(5);
});

test("one model shown twice works twice; closing one leaves the other, closing both leaves nothing", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const [first, second] = [show(model), show(model)];
  await settle();
  cleanups.shift()!();
  expect(first.isConnected).toBe(false);
  model.set("prompt", { kind: "text", text: "still here" });
  await settle();
  expect(second.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!.value).toBe("still here");
  cleanups.shift()!();
  await settle(20000);
  expect(model.listening).toBe(0);
  expect(document.querySelector(".miw-view")).toBeNull();
});
