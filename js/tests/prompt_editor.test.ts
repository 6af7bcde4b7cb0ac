// @vitest-environment jsdom
/** The prompt editor by itself: what was typed, as a text or as token ids. */
import { expect, test, vi } from "vitest";
import { Scope } from "../src/core/signal";
import type { PromptValue } from "../src/core/wire.gen";
import { PromptEditor } from "../src/dom/prompt_editor";
import { cleanups, useStage } from "./stage";

useStage();

/** Puts the next letters of a word together in an input method. */
function compose(field: HTMLTextAreaElement | HTMLInputElement, text: string): void {
  field.focus();
  field.dispatchEvent(new CompositionEvent("compositionstart", { bubbles: true }));
  field.value = text;
  field.dispatchEvent(new InputEvent("input", { bubbles: true, isComposing: true }));
}

function endWord(field: HTMLElement): void {
  field.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true }));
}

interface Edited {
  typed: PromptValue[];
  refused: string[];
  show(value: PromptValue): void;
  area(): HTMLTextAreaElement;
  type(text: string): void;
}

function editor(value: PromptValue): Edited {
  const typed: PromptValue[] = [];
  const refused: string[] = [];
  const scope = new Scope();
  cleanups.push(() => scope.end());
  const made = new PromptEditor(scope, "prompt", {
    typed: (given) => typed.push(given),
    refused: (reason) => reason && refused.push(reason),
  });
  document.body.append(made.element);
  made.show(value);
  return {
    typed,
    refused,
    show: (other) => made.show(other),
    area: () => made.element.querySelector("textarea")!,
    type(text) {
      const area = made.element.querySelector("textarea")!;
      area.value = text;
      area.dispatchEvent(new Event("input", { bubbles: true }));
      vi.advanceTimersByTime(1000);
    },
  };
}

test("numbers typed over token ids stay token ids, and a slip among them is named", () => {
  const { typed, refused, type } = editor({ kind: "ids", ids: [1, 2, 3] });
  type("[4, 5]");
  expect(typed).toEqual([{ kind: "ids", ids: [4, 5] }]);
  type("[4, five]");
  expect(refused).toEqual(["“five” is no token id: write whole numbers, as in [1, 2, 3]."]);
  expect(typed).toHaveLength(1);
});

test("words typed over token ids are a text again", () => {
  const { typed, refused, type } = editor({ kind: "ids", ids: [1, 2, 3] });
  type("When Mary and John");
  expect(typed).toEqual([{ kind: "text", text: "When Mary and John" }]);
  expect(refused).toEqual([]);
});

test("half a word in an input method is not a prompt, however long it takes; the whole word is", () => {
  const { typed, area } = editor({ kind: "text", text: "" });
  compose(area(), "に");
  vi.advanceTimersByTime(5000);
  compose(area(), "にほん");
  vi.advanceTimersByTime(5000);
  expect(typed).toEqual([]);
  area().value = "日本";
  endWord(area());
  expect(typed).toEqual([]);
  vi.advanceTimersByTime(200);
  expect(typed).toEqual([{ kind: "text", text: "日本" }]);
});

test("letters typed just before a word is put together wait for it", () => {
  const { typed, area } = editor({ kind: "text", text: "" });
  area().focus();
  area().value = "a ";
  area().dispatchEvent(new InputEvent("input", { bubbles: true }));
  vi.advanceTimersByTime(100);
  compose(area(), "a n");
  vi.advanceTimersByTime(5000);
  expect(typed).toEqual([]);
});

test("the Enter that confirms a word runs nothing, also where the browser has ended the word before it", () => {
  const { typed, area } = editor({ kind: "text", text: "" });
  const enter = (given: KeyboardEventInit): void =>
    void area().dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, ...given }));
  compose(area(), "한");
  enter({ isComposing: true });
  endWord(area());
  enter({ keyCode: 229 });
  expect(typed).toEqual([]);
  enter({});
  expect(typed).toEqual([{ kind: "text", text: "한" }]);
});

test.each(["before the focus goes", "after the focus is gone"])(
  "a word cut short by leaving the field is said as the browser leaves it, ended %s",
  (when) => {
    const { typed, area } = editor({ kind: "text", text: "" });
    compose(area(), "に");
    if (when === "before the focus goes") endWord(area());
    area().blur();
    expect(typed).toEqual(when === "before the focus goes" ? [{ kind: "text", text: "に" }] : []);
    area().value = "には";
    if (when === "after the focus is gone") endWord(area());
    vi.advanceTimersByTime(250);
    expect(typed.at(-1)).toEqual({ kind: "text", text: when === "before the focus goes" ? "に" : "には" });
    expect(typed).toHaveLength(1);
  },
);

test("nothing is set under a word that is put together; what came meanwhile is shown if the word is dropped", () => {
  const { typed, area, show } = editor({ kind: "text", text: "one" });
  compose(area(), "oneに");
  show({ kind: "text", text: "from Python" });
  expect(area().value).toBe("oneに");
  area().value = "one";
  endWord(area());
  vi.advanceTimersByTime(250);
  expect([typed, area().value]).toEqual([[], "from Python"]);
});

test("a chat's contents and roles wait for whole words as well", () => {
  const { typed, area } = editor({ kind: "chat", messages: [{ role: "user", content: "" }] });
  const role = area().parentElement!.querySelector("input")!;
  for (const field of [area(), role]) {
    compose(field, "ユ");
    vi.advanceTimersByTime(5000);
    expect(typed).toEqual(field === role ? [expect.objectContaining({ messages: [{ role: "user", content: "ユーザー" }] })] : []);
    field.value = "ユーザー";
    endWord(field);
    vi.advanceTimersByTime(200);
  }
  expect(typed.at(-1)).toEqual({ kind: "chat", messages: [{ role: "ユーザー", content: "ユーザー" }] });
});

test("the text that stands already is not set anew: the browser could undo nothing then", () => {
  const { area, show, type } = editor({ kind: "text", text: "one" });
  type("two");
  const set = vi.spyOn(HTMLTextAreaElement.prototype, "value", "set");
  show({ kind: "text", text: "two" });
  show({ kind: "ids", ids: [1] });
  expect([set.mock.calls, area().value]).toEqual([[["[1]"]], "[1]"]);
});
