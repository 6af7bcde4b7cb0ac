// @vitest-environment jsdom
/** Small parts that keep state: the cache, signals, selections and the bus, prompts and their history, labels. */
import { expect, test, vi } from "vitest";
import { Bus } from "../src/core/bus";
import { Lru } from "../src/core/lru";
import { parseIds, PromptHistory, promptText, samePrompt } from "../src/core/prompt";
import { changed, isNewer, NOTHING, toggled } from "../src/core/selection";
import { computed, effect, Scope, Signal } from "../src/core/signal";
import { thinned } from "../src/core/thin";
import { clipped, visible } from "../src/core/tokens";

test("the cache forgets what was used longest ago, and keeps one that is too large alone", () => {
  const cache = new Lru<string>(10);
  cache.put("a", "A", 4);
  cache.put("b", "B", 4);
  cache.get("a");
  cache.put("c", "C", 4);
  expect([cache.has("a"), cache.has("b"), cache.has("c"), cache.bytes]).toEqual([true, false, true, 8]);
  cache.put("d", "D", 100);
  expect([cache.size, cache.get("d")]).toEqual([1, "D"]);
  cache.put("d", "D2", 1);
  expect(cache.bytes).toBe(1);
});

test("effects run once after the changes of a turn, and follow what they read last", async () => {
  const layer = new Signal(1);
  const head = new Signal(1);
  const name = computed(() => `${layer.value}.${head.value}`);
  const seen: string[] = [];
  const end = effect(() => void seen.push(name.value));
  layer.value = 2;
  head.value = 3;
  await Promise.resolve();
  expect(seen).toEqual(["1.1", "2.3"]);
  end();
  layer.value = 9;
  await Promise.resolve();
  expect(seen).toHaveLength(2);
});

test("what was made again but is what it was makes nothing else again", async () => {
  const position = new Signal(3);
  const row = computed(() => Math.floor(position.value / 10));
  const label = computed(() => `row ${row.value}`);
  const seen: string[] = [];
  effect(() => void seen.push(label.value));
  position.value = 4;
  await Promise.resolve();
  expect(seen).toEqual(["row 0"]);
  position.value = 14;
  position.value = 3;
  await Promise.resolve();
  expect(seen).toEqual(["row 0"]);
  position.value = 14;
  await Promise.resolve();
  expect(seen).toEqual(["row 0", "row 1"]);
});

test("an effect that changes what it has read runs again until it is at rest", async () => {
  const count = new Signal(0);
  const seen: number[] = [];
  effect(() => {
    seen.push(count.value);
    if (count.value < 2) count.value++;
    void count.value;
  });
  await Promise.resolve();
  await Promise.resolve();
  expect(seen).toEqual([0, 1, 2]);
});

test("a closed scope ends everything in it", () => {
  const scope = new Scope();
  const heard = vi.fn();
  scope.listen(window, "miw-test", heard);
  scope.end();
  window.dispatchEvent(new Event("miw-test"));
  expect(heard).not.toHaveBeenCalled();
  const late = vi.fn();
  scope.add(late);
  expect(late).toHaveBeenCalledOnce();
});

test("the larger stamp wins, and a change is newer than all that is known", () => {
  const first = changed(NOTHING, { layer: 3 }, 7);
  expect(first.stamp).toBe(8);
  expect(isNewer(first, NOTHING)).toBe(true);
  expect(isNewer(first, first)).toBe(false);
  expect(isNewer({ ...first, stamp: 2 }, first)).toBe(false);
});

test("at most four heads are overlaid; a second toggle takes one off", () => {
  let heads: number[][] = [];
  for (let head = 0; head < 5; head++) heads = toggled(heads, 0, head);
  expect(heads.map((pair) => pair[1])).toEqual([1, 2, 3, 4]);
  expect(toggled(heads, 0, 2).map((pair) => pair[1])).toEqual([1, 3, 4]);
});

test("views of one session hear each other, never themselves or other sessions", () => {
  const target = new EventTarget();
  const [one, two, other] = ["s", "s", "t"].map((session) => new Bus(() => session, target)) as [Bus, Bus, Bus];
  const heard: string[] = [];
  const end = two.subscribe("selection", () => heard.push("two"));
  one.subscribe("selection", () => heard.push("one"));
  other.subscribe("selection", () => heard.push("other"));
  one.publish("selection", NOTHING);
  expect(heard).toEqual(["two"]);
  end();
  one.publish("selection", NOTHING);
  expect(heard).toEqual(["two"]);
});

test("token ids are read from a list, and what is none is named", () => {
  expect(parseIds("[1, 2,3]")).toEqual([1, 2, 3]);
  expect(parseIds(" 5 6 ")).toEqual([5, 6]);
  expect(parseIds("")).toEqual([]);
  expect(parseIds("[1, x]")).toContain("“x”");
  expect(parseIds("[-1]")).toContain("“-1”");
});

test("a prompt has one text whatever its kind", () => {
  expect(promptText({ kind: "ids", ids: [1, 2] })).toBe("[1, 2]");
  expect(promptText({ kind: "chat", messages: [{ role: "user", content: "hi" }] })).toBe("user: hi");
  expect(samePrompt({ kind: "text", text: "a" }, { kind: "text", text: "a" })).toBe(true);
  expect(samePrompt({ kind: "text", text: "[1]" }, { kind: "ids", ids: [1] })).toBe(false);
});

test("undo and redo walk the prompts; a new prompt after an undo ends what could be redone", () => {
  const text = (value: string) => ({ kind: "text" as const, text: value });
  const history = new PromptHistory([text("a")], text("b"));
  history.visit(text("b"));
  history.visit(text("c"));
  expect(history.undo()).toEqual(text("b"));
  history.visit(text("b"));
  expect(history.undo()).toEqual(text("a"));
  expect(history.canUndo).toBe(false);
  expect(history.undo()).toBeNull();
  expect(history.redo()).toEqual(text("b"));
  history.visit(text("d"));
  expect([history.canRedo, history.canUndo]).toEqual([false, true]);
});

test("labels never touch, stay where they are while the axis moves, and name what is pointed at", () => {
  expect(thinned(0, 5, 20, 12)).toEqual([0, 1, 2, 3, 4]);
  expect(thinned(0, 12, 5, 13)).toEqual([0, 5, 10]);
  expect(thinned(3, 12, 5, 13)).toEqual([5, 10]);
  expect(thinned(0, 12, 5, 13, [4, 5])).toEqual([0, 4, 10]);
  expect(thinned(0, 0, 5, 13)).toEqual([]);
  const dense = thinned(0, 1000, 0.3, 13, [501]);
  for (let at = 1; at < dense.length; at++) expect((dense[at]! - dense[at - 1]!) * 0.3).toBeGreaterThanOrEqual(13);
});

test("whitespace, control and direction characters show as marks", () => {
  expect(visible(" a\n\t\r\u0000\u007f\u202e\u00a0")).toBe("·a↵⇥␍␀␡⟨202E⟩⍽");
  expect(visible("né🙂")).toBe("né🙂");
  expect(visible("\ufeff|\u00ad|\u2060|\u0080|\u0085|\u009f|\u200b")).toBe("⟨FEFF⟩|⟨AD⟩|⟨2060⟩|⟨80⟩|⟨85⟩|⟨9F⟩|⟨ZWSP⟩");
  expect(visible("👩\u200d🔬¡")).toBe("👩\u200d🔬¡");
});

test("long tokens are cut, never within a character", () => {
  expect(clipped("abc", 3)).toBe("abc");
  expect(clipped("abcd", 3)).toBe("ab…");
  expect(clipped("🙂🙂🙂", 4)).toBe("🙂…");
});
