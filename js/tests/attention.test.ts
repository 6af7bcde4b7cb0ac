// @vitest-environment jsdom
/** The attention explorer as a whole, on a fake model: what it shows, what it asks for, what it leaves behind. */
import { expect, test, vi } from "vitest";
import { NOTHING } from "../src/core/selection";
import { Scope, Signal } from "../src/core/signal";
import { ModelSource } from "../src/core/source";
import type { AttentionState } from "../src/core/wire.gen";
import { Explorer } from "../src/widgets/attention/explorer";
import view from "../src/widgets/attention/index";
import { FakeModel } from "./fake_model";
import { headPiece, packed, syntheticManifest, syntheticPicture, syntheticState } from "./synthetic";
import { cleanups, rendered, useStage } from "./stage";

const WORDS = ["<bos>", "When", " Mary", " and", " John"];

useStage();

const show = (model: FakeModel): HTMLElement => rendered(view, model);

const settle = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

function type(root: HTMLElement, text: string): HTMLTextAreaElement {
  const area = root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!;
  area.focus();
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true }));
  return area;
}

function press(target: Element, key: string, held: KeyboardEventInit = {}): void {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...held }));
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
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hi" },
  ];
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
  expect(document.querySelector(".miw-matrix .miw-hidden table")!.textContent).toContain("0.25");
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
  model.answer({
    req: model.requests("heads").at(-1)!["req"],
    ok: false,
    error: { code: "failed", message: "out of memory", hint: "close something" },
  });
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
  expect(model.values["options"]).toMatchObject({ scale: "log", palette: "blue", direction: "reads" });
  press(wall, "r");
  expect(model.values["options"]).toMatchObject({ scale: "log", direction: "read_by" });
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
  expect(root.querySelector(".miw-status")!.textContent).toContain(
    "The kernel is gone or was restarted. Run the cells above first, then this one.",
  );
  expect(root.querySelectorAll(".miw-token")).toHaveLength(5);
});

test("a block that is asked for when the kernel goes is said to be missing, and asked for again once the kernel is back", async () => {
  const model = new FakeModel(syntheticState(WORDS, { focus: new DataView(new ArrayBuffer(0)) })) as FakeModel & { comm_live?: boolean };
  const root = show(model);
  await settle(200);
  expect(model.requests("heads")).toHaveLength(1);
  model.comm_live = false;
  model.emit("comm_live_update");
  await settle(5000);
  expect(root.querySelector(".miw-error")!.textContent).toContain("The kernel is gone.");
  expect(model.requests("heads")).toHaveLength(1);
  model.comm_live = true;
  model.emit("comm_live_update");
  await settle(5000);
  expect(model.requests("heads")).toHaveLength(2);
  const buffer = packed([headPiece(0, 0, WORDS.length, () => 0.25)], null);
  model.answer({ req: model.requests("heads")[1]!["req"], nbytes: buffer.byteLength }, [buffer]);
  await settle();
  expect(root.querySelector<HTMLElement>(".miw-error")!.hidden).toBe(true);
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

test("the kernel hears of every render that comes and goes, and of none on a page without it", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const presence = (): unknown[] => model.sent.map((message) => message["kind"]).filter((kind) => kind === "shown" || kind === "hidden");
  show(model);
  show(model);
  expect(presence()).toEqual(["shown", "shown"]);
  cleanups.shift()!();
  cleanups.shift()!();
  expect(presence()).toEqual(["shown", "shown", "hidden", "hidden"]);
  show(new FakeModel(syntheticState(WORDS), false));
  cleanups.shift()!();
});

test("a render that starts disconnected is shown once the host connects it, and a closed channel costs nothing", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const el = document.createElement("div");
  el.className = "jupyter-widgets-disconnected";
  document.body.append(el);
  const close = view.render({ model: model as never, el });
  await settle();
  expect(model.sent).toEqual([]);
  el.className = "";
  await settle();
  expect(model.sent).toContainEqual({ kind: "shown", render: expect.any(String) });
  model.send = () => {
    throw new Error("closed");
  };
  close();
  expect(el.childElementCount).toBe(0);
});

test("a selected layer without a head locks that layer's first head in the order of the wall, and only that is fetched", async () => {
  const explorer = (options: object, selection: object): { locked: unknown; selected: boolean } => {
    const scope = new Scope();
    cleanups.push(() => scope.end());
    const model = new FakeModel(syntheticState(WORDS, { options, selection } as never));
    const { locked, selected } = new Explorer({
      source: new ModelSource<AttentionState>(model as never),
      theme: new Signal("light" as const),
      scope,
    });
    return { locked: locked.value, selected: selected.value };
  };
  const chosen = (layer: number | null, head: number | null = null): object => ({ ...NOTHING, layer, head, stamp: 1 });
  expect(explorer({}, chosen(1))).toEqual({ locked: { layer: 1, head: 0, score: null, dimmed: false }, selected: true });
  expect(explorer({ sort: "induction" }, chosen(0))).toMatchObject({ locked: { layer: 0, head: 1 }, selected: true });
  expect(explorer({}, chosen(1, 1))).toEqual({ locked: { layer: 1, head: 1 }, selected: true });
  // What the picture lacks is not claimed to be selected.
  expect(explorer({}, chosen(7))).toMatchObject({ locked: { layer: 0, head: 0 }, selected: false });
  expect(explorer({}, chosen(1, 9))).toMatchObject({ locked: { layer: 1, head: 0 }, selected: false });
  expect(explorer({}, chosen(null))).toMatchObject({ locked: { layer: 0, head: 0 }, selected: false });
  const model = new FakeModel(syntheticState(WORDS, { selection: chosen(1) } as never));
  const root = show(model);
  await settle(500);
  expect(model.requests("heads").map(({ heads }) => heads)).toEqual([[[1, 0]]]);
  expect(root.querySelector(".miw-matrix .miw-panel-title")!.textContent).toContain("L1 H0");
});

test("keys that edit a text stay in its field; elsewhere, and with what else is held, they are the host's", () => {
  const root = show(new FakeModel(syntheticState(WORDS)));
  const reached: string[] = [];
  const host = (event: KeyboardEvent): void => void reached.push(`${event.shiftKey ? "Shift-" : ""}${event.key}`);
  document.addEventListener("keydown", host);
  cleanups.push(() => document.removeEventListener("keydown", host));
  const area = root.querySelector("textarea.miw-prompt")!;
  for (const held of [{ ctrlKey: true }, { metaKey: true }]) {
    for (const key of ["z", "y", "a", "x", "c", "v", "Home", "End", "ArrowLeft", "Backspace", "Delete"]) press(area, key, held);
    for (const key of ["Z", "V", "ArrowUp", "ArrowDown", "End"]) press(area, key, { ...held, shiftKey: true });
  }
  press(area, "ArrowLeft", { altKey: true });
  press(area, "Control", { ctrlKey: true });
  press(area, "Meta", { metaKey: true });
  expect(reached).toEqual([]);
  for (const key of ["s", "f", "b"]) press(area, key, { ctrlKey: true });
  for (const key of ["C", "X", "F"]) press(area, key, { ctrlKey: true, shiftKey: true });
  press(root.querySelector(".miw-wall")!, "z", { ctrlKey: true });
  press(root.querySelector("select")!, "z", { ctrlKey: true });
  press(root.querySelector("input[type=range]")!, "z", { metaKey: true });
  expect(reached).toEqual(["s", "f", "b", "Shift-C", "Shift-X", "Shift-F", "z", "z", "z"]);
});

test("plain keys stay in the view; the host keeps Ctrl-S, and Shift-Enter where it is no new line", () => {
  const root = show(new FakeModel(syntheticState(WORDS)));
  const reached: string[] = [];
  const host = (event: KeyboardEvent): void => void reached.push(event.key);
  document.addEventListener("keydown", host);
  cleanups.push(() => document.removeEventListener("keydown", host));
  expect(root.hasAttribute("data-lm-suppress-shortcuts")).toBe(false);
  const [area, wall] = [root.querySelector("textarea.miw-prompt")!, root.querySelector(".miw-wall")!];
  for (const target of [area, wall]) for (const key of ["a", "Escape", "Enter"]) press(target, key);
  press(area, "Enter", { shiftKey: true });
  expect(reached).toEqual([]);
  for (const target of [area, wall]) {
    press(target, "s", { ctrlKey: true });
    press(target, "Tab");
    press(target, "Enter", { metaKey: true });
  }
  press(wall, "Enter", { shiftKey: true });
  expect(reached).toEqual(["s", "Tab", "Enter", "s", "Tab", "Enter", "Enter"]);
});

test("what a key changes is read out: a control's new value, the prompt, what is locked", async () => {
  const root = show(new FakeModel(syntheticState(WORDS, { history: [{ kind: "text", text: "earlier" }] })));
  await settle();
  const said = (): string => root.querySelector("[aria-live=polite]")!.textContent!;
  const [wall, heatmap] = [root.querySelector(".miw-wall")!, root.querySelector(".miw-heatmap")!];
  const heard: string[] = [];
  for (const [target, key] of [
    [wall, "s"],
    [wall, "o"],
    [wall, "z"],
    [heatmap, "ArrowUp"],
    [heatmap, "Enter"],
  ] as const) {
    press(target, key);
    await settle();
    heard.push(said());
  }
  expect(heard.slice(0, 3)).toEqual(["scale: log", "sort: induction", "prompt: earlier"]);
  expect(heard[4]).toBe(`locked ${heard[3]}`);
});

test("a view removed under the pointer takes its mark from the linked views", async () => {
  const heard: unknown[] = [];
  const listen = (event: Event): void => void heard.push((event as CustomEvent).detail.value);
  window.addEventListener("miw:hover", listen);
  cleanups.push(() => window.removeEventListener("miw:hover", listen));
  const root = show(new FakeModel(syntheticState(WORDS)));
  show(new FakeModel(syntheticState(WORDS)));
  const close = cleanups.splice(1, 2);
  const wall = root.querySelector<HTMLElement>(".miw-wall")!;
  wall.focus();
  const strip = root.querySelector<HTMLElement>(".miw-strip")!;
  press(strip, "ArrowRight");
  expect(heard.at(-1)).toMatchObject({ position: expect.any(Number) });
  const before = heard.length;
  close[0]!();
  expect(heard.slice(before)).toEqual([{ layer: null, head: null, query: null, key: null, position: null }]);
  close[1]!();
  expect(heard.length).toBe(before + 1);
});

test("a failed head is tried again when it is locked again, and what failed is forgotten with the next success", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  const lock = (layer: number, head: number, stamp: number): void =>
    model.set("selection", { ...(model.values["selection"] as object), layer, head, stamp });
  lock(1, 1, 5);
  await settle();
  model.answer({ req: model.requests("heads")[0]!["req"], ok: false, error: { code: "failed", message: "out of memory", hint: "" } });
  await settle(1000);
  expect(model.requests("heads")).toHaveLength(1);
  const bar = root.querySelector<HTMLElement>(".miw-error")!;
  expect(bar.textContent).toBe("out of memory");
  lock(1, 1, 6);
  await settle();
  expect(model.requests("heads")).toHaveLength(2);
  const buffer = packed([headPiece(1, 1, WORDS.length, () => 0.25)], null);
  model.answer({ req: model.requests("heads")[1]!["req"], nbytes: buffer.byteLength }, [buffer]);
  await settle();
  expect(bar.hidden).toBe(true);
});

test("a notice that is not the loader's stays when the loader succeeds", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  model.set("selection", { ...(model.values["selection"] as object), layer: 1, head: 1, stamp: 5 });
  model.set("focus", new DataView(new ArrayBuffer(6)));
  await settle();
  const bar = root.querySelector<HTMLElement>(".miw-error")!;
  expect(bar.hidden).toBe(false);
  const buffer = packed([headPiece(1, 1, WORDS.length, () => 0.25)], null);
  model.answer({ req: model.requests("heads")[0]!["req"], nbytes: buffer.byteLength }, [buffer]);
  await settle();
  expect(bar.hidden).toBe(false);
});

test("a kernel that is silent leaves the prompt open and says so until it answers", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  type(root, "When Bob");
  await settle(9000);
  const line = root.querySelector(".miw-status")!;
  expect(root.dataset["state"]).toBe("idle");
  expect(line.textContent).toContain("the kernel does not answer (busy?)");
  expect(root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!.readOnly).toBe(false);
  type(root, "When Eve");
  await settle(250);
  expect(model.values["prompt"]).toEqual({ kind: "text", text: "When Eve" });
  expect(model.requests("ping")).toHaveLength(2);
  model.answer({ req: model.requests("ping")[1]!["req"] });
  await settle();
  expect(line.textContent).not.toContain("does not answer");
});

test("the wall is a table for screen readers, made anew only when the order changes", async () => {
  const model = new FakeModel(syntheticState(WORDS));
  const root = show(model);
  await settle();
  const wall = root.querySelector(".miw-wall")!;
  expect([wall.getAttribute("role"), wall.getAttribute("aria-label")]).toEqual(["group", "attention heads, layer by head"]);
  const rows = (): string[][] => [...wall.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent!));
  expect(rows()).toEqual([
    ["0", "0"],
    ["0", "1"],
    ["1", "0"],
    ["1", "1"],
  ]);
  const first = wall.querySelector("tbody tr");
  model.set("options", { scale: "sqrt" });
  model.set("picture", syntheticPicture(WORDS, 2));
  await settle();
  expect(wall.querySelector("tbody tr")).toBe(first);
  model.set("options", { sort: "induction" });
  await settle();
  expect(wall.querySelector("caption")!.textContent).toBe("attention heads, sorted by induction");
  expect([...wall.querySelectorAll("thead th")].map((cell) => cell.textContent)).toEqual(["layer", "head", "induction"]);
  expect(rows()).toEqual([
    ["0", "1", "0.9"],
    ["1", "1", "0.5"],
    ["0", "0", "0.1"],
    ["1", "0", "none"],
  ]);
});

test("of a large model, the wall's table holds the first 200 heads and says so", async () => {
  const layers = [...Array(15).keys()];
  const manifest = { ...syntheticManifest(WORDS, 1), layers, heads: 16, windows: layers.map(() => null), head_high: [], scores: [] };
  const root = show(new FakeModel(syntheticState(WORDS, { picture: packed([], manifest) as never })));
  await settle();
  expect(root.querySelectorAll(".miw-wall tbody tr")).toHaveLength(200);
  expect(root.querySelector(".miw-wall caption")!.textContent).toBe("attention heads, layer by head, first 200 of 240");
});
