// @vitest-environment jsdom
/** What stands around every view, with the smallest view in it: frame, prompt row, keys. */
import { expect, test, vi } from "vitest";
import { framed } from "../src/dom/frame";
import { FakeModel } from "./fake_model";
import view, { littlePicture, littleState, type LittleState } from "./little_view";
import { cleanups, rendered, useStage } from "./stage";

useStage();

const show = (model: FakeModel): HTMLElement => rendered(view, model);

const state = (change: Partial<LittleState> = {}): FakeModel => new FakeModel(littleState(change));
const settle = (ms = 100): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

function press(target: Element, key: string): void {
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}

test("a view says what it is, how it is and how high it stands", async () => {
  const model = state();
  const root = show(model);
  await settle();
  expect(root.className).toBe("miw-view miw-little");
  expect({ ...root.dataset }).toMatchObject({ view: "little", state: "idle", run: "1", theme: "light" });
  expect(root.style.height).toBe("240px");
  expect(root.querySelector(".miw-status-text")!.textContent).toBe("synthetic12 ms✓ sums hold (1e-7)");
  model.set("height", 500);
  await settle();
  expect(root.style.height).toBe("500px");
});

test("without a picture the frame says so, and shows the first one when it comes", async () => {
  const model = state({ picture: new DataView(new ArrayBuffer(0)) });
  const root = show(model);
  const [body, empty] = [root.querySelector<HTMLElement>(".miw-body")!, root.querySelector<HTMLElement>(".miw-empty")!];
  expect([body.hidden, empty.hidden, empty.textContent]).toEqual([true, false, "No picture yet."]);
  model.set("status", { state: "computing", run: 1 });
  await settle();
  expect(empty.textContent).toBe("Computing the first picture …");
  expect(root.dataset["run"]).toBeUndefined();
  model.set("picture", littlePicture(1, "one"));
  await settle();
  expect([body.hidden, empty.hidden, root.dataset["run"]]).toEqual([false, true, "1"]);
});

test("a run's picture is announced once, after it is drawn", async () => {
  const heard: unknown[] = [];
  const listen = (event: Event): void => void heard.push((event as CustomEvent).detail.run);
  document.addEventListener("miw-drawn", listen);
  cleanups.push(() => document.removeEventListener("miw-drawn", listen));
  const model = state();
  const root = show(model);
  await settle();
  model.set("picture", littlePicture(2, "two"));
  await settle(1);
  expect(heard).toEqual([1]);
  await settle();
  model.set("options", { loud: true });
  await settle();
  expect([root.textContent!.includes("TWO"), heard]).toEqual([true, [1, 2]]);
});

test("a view that compares nothing has no second prompt", async () => {
  const root = show(state());
  expect(root.querySelectorAll(".miw-prompt-row")).toHaveLength(1);
  expect(root.textContent).not.toContain("compare");
  expect(root.querySelector<HTMLElement>(".miw-caption")!.hidden).toBe(true);
});

test("a view of plain data has a caption where others have their prompt", async () => {
  const root = show(state({ prompt: null }));
  const caption = root.querySelector<HTMLElement>(".miw-caption")!;
  expect([caption.hidden, caption.textContent]).toEqual([false, "synthetic: plain data"]);
  expect(root.querySelector<HTMLElement>(".miw-prompt-row")!.hidden).toBe(true);
});

test("earlier prompts are listed once each, newest first, and run again when one is chosen", async () => {
  const text = (value: string) => ({ kind: "text" as const, text: value });
  const model = state({ history: [text("a"), text("b"), text("a")] });
  const root = show(model);
  press(root.querySelector(".miw-word")!, "h");
  const items = [...root.querySelectorAll<HTMLElement>(".miw-menu-item")];
  expect(items.map((item) => item.textContent)).toEqual(["a", "b"]);
  items[1]!.click();
  expect(model.values["prompt"]).toEqual(text("b"));
  expect(root.querySelector(".miw-menu-item")!.closest<HTMLElement>(".miw-popover")!.hidden).toBe(true);
});

test("a view's own keys and those of the prompt work, and the help lists both", async () => {
  const model = state();
  const root = show(model);
  const word = root.querySelector(".miw-word")!;
  press(word, "l");
  expect(model.values["options"]).toMatchObject({ loud: true });
  press(word, "/");
  expect(document.activeElement).toBe(root.querySelector("textarea"));
  root.querySelector<HTMLElement>('[aria-label="keys"]')!.click();
  expect(root.querySelector(".miw-keys")!.textContent).toContain("z, y, h");
  expect(root.querySelector(".miw-keys")!.textContent).toContain("loud or not");
});

test("a closed view leaves nothing behind", async () => {
  const model = state();
  const root = show(model);
  cleanups.pop()!();
  await settle(20000);
  expect([root.isConnected, model.listening]).toEqual([false, 0]);
});

test("a view rendered outside a page that is dark already takes the page's ink when it stands in it", async () => {
  const sheet = document.createElement("style");
  sheet.textContent = ".miw-view { --miw-paper: #fff } .miw-view[data-theme=dark] { --miw-paper: #111 }";
  document.body.setAttribute("data-jp-theme-light", "false");
  cleanups.push(() => (sheet.remove(), document.body.removeAttribute("data-jp-theme-light")));
  const papers: string[] = [];
  const watching = framed<LittleState>("little", (frame) => frame.scope.effect(() => void papers.push(frame.ink.value.paper)));
  const el = document.createElement("div");
  cleanups.push(watching.render({ model: state() as never, el }));
  expect(papers).toEqual(["#fff"]);
  document.head.append(sheet); // in a browser no sheet reaches an element that stands nowhere
  document.body.append(el);
  await settle();
  expect(papers).toEqual(["#fff", "#111"]);
});

test("a render says by its name that it stands: at first, when asked, when its page wakes, when the kernel is back", async () => {
  const model = state() as FakeModel & { comm_live?: boolean };
  show(model);
  show(model);
  const names = (kind: string): unknown[] =>
    model.sent
      .splice(0)
      .filter((message) => message["kind"] === kind)
      .map((message) => message["render"]);
  const both = names("shown");
  expect(new Set(both).size).toBe(2);
  model.emit("msg:custom", { kind: "roll_call" }, []);
  await settle();
  expect(names("shown")).toEqual(both);
  document.dispatchEvent(new Event("visibilitychange"));
  expect(names("shown")).toEqual(both);
  model.comm_live = false;
  model.emit("comm_live_update");
  await settle();
  document.dispatchEvent(new Event("visibilitychange"));
  expect(names("shown")).toEqual([]);
  model.comm_live = true;
  model.emit("comm_live_update");
  await settle();
  expect(names("shown")).toEqual(both);
  cleanups.shift()!();
  cleanups.shift()!();
  expect(names("hidden")).toEqual(both);
  model.emit("msg:custom", { kind: "roll_call" }, []);
  await settle();
  expect(model.sent).toEqual([]);
});
