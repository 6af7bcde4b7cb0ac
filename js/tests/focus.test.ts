// @vitest-environment jsdom
/** Where the focus goes when what has it vanishes, and what opens and closes around it. Real browsers: tests/browser. */
import { expect, test, vi } from "vitest";
import { Scope } from "../src/core/signal";
import { makeButton, Popover } from "../src/dom/controls";
import { h } from "../src/dom/element";
import { keepFocus } from "../src/dom/focus";
import { FakeModel } from "./fake_model";
import view, { littleState } from "./little_view";
import { cleanups, rendered, useStage } from "./stage";

useStage();

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(50);
const button = (name: string): HTMLButtonElement => h("button", { type: "button" }, name);
const focused = (): string => document.activeElement?.textContent ?? "";

/** A view of nothing but `body`, which keeps its focus. */
function kept(...body: HTMLElement[]): { root: HTMLElement; scope: Scope } {
  const scope = new Scope();
  const root = h("div", { class: "miw-view" }, h("div", { class: "miw-body" }, ...body));
  document.body.append(root);
  cleanups.push(() => scope.end());
  keepFocus(scope, root);
  return { root, scope };
}

function press(target: Element, key: string, held: KeyboardEventInit = {}): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...held });
  target.dispatchEvent(event);
  return event;
}

test("where a list is made anew the focus stays in its place", async () => {
  const list = h("div", {}, button("a"), button("b"), button("c"));
  kept(list);
  (list.children[1] as HTMLElement).focus();
  list.replaceChildren(button("A"), button("B"), button("C"));
  await settle();
  expect(focused()).toBe("B");
  list.replaceChildren(button("A"));
  await settle();
  expect(focused()).toBe("A");
});

test("a button that takes itself away leaves the focus to the next, the last one to the one before", async () => {
  const row = (name: string): HTMLElement => h("div", {}, h("span", {}, name), button(name));
  const list = h("div", {}, row("a"), row("b"), row("c"));
  kept(list);
  const remove = async (at: number): Promise<void> => {
    list.querySelectorAll("button")[at]!.focus();
    list.children[at]!.remove();
    await settle();
  };
  await remove(1);
  expect(focused()).toBe("c");
  await remove(1);
  expect(focused()).toBe("a");
});

test("an emptied group leaves the focus to what stands next to it, but never to a field", async () => {
  const group = h("div", {}, button("a"));
  kept(h("section", {}, button("before"), group, h("input", {}), h("div", { tabindex: 0 }, "panel")));
  group.querySelector("button")!.focus();
  group.replaceChildren();
  await settle();
  expect(focused()).toBe("panel");
});

test("what is hidden or switched off gives the focus on before the browser drops it", async () => {
  const [one, two] = [button("one"), button("two")];
  const select = h("select", {}, h("option", {}, "x"));
  kept(h("div", {}, h("label", {}, select), one), h("div", {}, two));
  select.focus();
  select.disabled = true;
  await settle();
  expect(document.activeElement).toBe(one);
  one.parentElement!.hidden = true;
  await settle();
  expect(document.activeElement).toBe(two);
});

test("when nothing is left the view itself has the focus", async () => {
  const only = button("only");
  const { root } = kept(only);
  only.focus();
  only.remove();
  await settle();
  expect(document.activeElement).toBe(root);
});

test("who leaves the view is not called back, also not when what was left vanishes", async () => {
  const one = button("one");
  const outside = button("outside");
  kept(one, button("two"));
  document.body.append(outside);
  one.focus();
  outside.focus();
  one.remove();
  await settle();
  expect(focused()).toBe("outside");
  const two = document.querySelectorAll("button")[0]!;
  two.focus();
  two.blur(); // as a click on nothing does
  await settle();
  two.remove();
  await settle();
  expect(document.activeElement).toBe(document.body);
});

test("a closed view gives the focus to nobody", async () => {
  const one = button("one");
  const { scope } = kept(one, button("two"));
  one.focus();
  scope.end();
  one.remove();
  await settle();
  expect(document.activeElement).toBe(document.body);
});

test("a button that is switched off keeps the focus and does nothing", () => {
  const scope = new Scope();
  const pressed = vi.fn();
  const { element, show } = makeButton(scope, { label: "undo", tip: "", shortcut: "", text: "undo" }, pressed);
  document.body.append(element);
  element.focus();
  element.click();
  show({ disabled: true });
  element.click();
  expect([pressed.mock.calls.length, document.activeElement === element, element.getAttribute("aria-disabled")]).toEqual([1, true, "true"]);
  show({ disabled: false });
  element.click();
  expect(pressed).toHaveBeenCalledTimes(2);
});

/** A view with a panel of three items that opens under a button, with another one before and behind it. */
function panel(): { popover: Popover; opener: HTMLElement; before: HTMLElement; after: HTMLElement } {
  const [before, opener, after] = [button("before"), button("opener"), button("after")];
  const { root, scope } = kept(before, opener, after);
  const popover = new Popover(scope, opener, "panel", () => ["a", "b", "c"].map(button));
  root.append(popover.element);
  return { popover, opener, before, after };
}

test("a closed panel gives the focus back to where it came from", () => {
  const { popover, opener, before } = panel();
  for (const from of [before, opener]) {
    from.focus();
    popover.open();
    expect(focused()).toBe("a");
    press(document.activeElement!, "Escape");
    expect([popover.element.hidden, document.activeElement]).toEqual([true, from]);
    popover.toggle();
    popover.toggle();
    expect([popover.element.hidden, document.activeElement]).toEqual([true, from]);
  }
});

test("Tab leaves a panel where its button stands, and the panel closes", () => {
  const { popover, opener, after } = panel();
  opener.focus();
  popover.open();
  expect(press(document.activeElement!, "Tab").defaultPrevented).toBe(false); // to the second item
  press(document.activeElement!, "End");
  expect(focused()).toBe("c");
  expect(press(document.activeElement!, "Tab").defaultPrevented).toBe(false); // the browser goes on from the button
  expect([popover.element.hidden, focused()]).toEqual([true, "opener"]);
  popover.open();
  expect(press(document.activeElement!, "Tab", { shiftKey: true }).defaultPrevented).toBe(true);
  expect([popover.element.hidden, focused()]).toEqual([true, "opener"]);
  popover.open();
  after.focus();
  expect([popover.element.hidden, focused()]).toEqual([true, "after"]);
});

test("a click on the button of an open panel closes it", () => {
  const { popover, opener } = panel();
  opener.addEventListener("click", () => popover.toggle());
  const click = (): void => {
    opener.dispatchEvent(new Event("pointerdown", { bubbles: true }));
    opener.focus(); // as a press does, before the click
    opener.click();
  };
  click();
  expect([popover.element.hidden, focused()]).toEqual([false, "a"]);
  click();
  expect([popover.element.hidden, focused()]).toEqual([true, "opener"]);
});

test("arrows walk the items of a panel and reach nothing behind it", () => {
  const { popover, opener } = panel();
  const behind = vi.fn();
  popover.element.parentElement!.addEventListener("keydown", behind);
  opener.focus();
  popover.open();
  const walked = ["ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Home", "End"].map(
    (key) => (press(document.activeElement!, key), focused()),
  );
  expect(walked).toEqual(["b", "c", "c", "b", "a", "c"]);
  expect(behind).not.toHaveBeenCalled();
});

test("who opened the earlier prompts by key is back there once one is chosen", async () => {
  const model = new FakeModel(
    littleState({
      history: [
        { kind: "text", text: "a" },
        { kind: "text", text: "b" },
      ],
    }),
  );
  const root = rendered(view, model);
  const word = root.querySelector<HTMLElement>(".miw-word")!;
  word.focus();
  press(word, "h");
  (document.activeElement as HTMLElement).click();
  await settle();
  expect([model.values["prompt"], document.activeElement]).toEqual([{ kind: "text", text: "b" }, word]);
});

test("Escape leaves a field for the picture, but not while a word is put together", () => {
  const root = rendered(view, new FakeModel(littleState()));
  const area = root.querySelector("textarea")!;
  area.focus();
  press(area, "Escape", { isComposing: true });
  press(area, "Escape", { keyCode: 229 });
  expect(document.activeElement).toBe(area);
  press(area, "Escape");
  expect(document.activeElement).toBe(root.querySelector(".miw-word"));
});

test("without a kernel no key changes the prompt over the saved picture", async () => {
  const model = new FakeModel(
    littleState({
      history: [
        { kind: "text", text: "a" },
        { kind: "text", text: "b" },
      ],
    }),
    false,
  );
  const root = rendered(view, model);
  for (const key of ["z", "y", "h"]) press(root.querySelector(".miw-word")!, key);
  await settle();
  expect([root.querySelector("textarea")!.value, root.querySelector(".miw-menu-item")]).toEqual(["one", null]);
});
