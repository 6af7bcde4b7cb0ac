// @vitest-environment jsdom
/** Undo and redo in the fields of a view: what was typed there, and nothing else. */
import { expect, test } from "vitest";
import { Scope } from "../src/core/signal";
import { h } from "../src/dom/element";
import { followTyping, type TextField } from "../src/dom/text_undo";
import { cleanups, useStage } from "./stage";

useStage();

function fields(): { area: HTMLTextAreaElement; line: HTMLInputElement; number: HTMLInputElement } {
  const scope = new Scope();
  const made = { area: h("textarea"), line: h("input", { type: "text" }), number: h("input", { type: "number" }) };
  const root = h("div", {}, ...Object.values(made));
  document.body.append(root);
  cleanups.push(() => scope.end());
  followTyping(scope, root);
  return made;
}

/** Changes a field as a browser does, with the caret at the end. */
function change(field: TextField, value: string, inputType: string, isComposing = false): void {
  field.focus();
  field.dispatchEvent(new InputEvent("beforeinput", { bubbles: true, cancelable: true, inputType, isComposing }));
  field.value = value;
  field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType, isComposing }));
}

function type(field: TextField, letters: string): void {
  for (const letter of letters) change(field, field.value + letter, "insertText");
}

function press(field: TextField, key: string, held: KeyboardEventInit = { ctrlKey: true }): boolean {
  return !field.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...held }));
}

test("a run of typing is undone at once and redone, and the browser does neither", () => {
  const { area } = fields();
  area.value = "one";
  const heard: string[] = [];
  area.addEventListener("input", (event) => heard.push((event as InputEvent).inputType));
  type(area, " two");
  heard.length = 0;
  expect([press(area, "z"), area.value]).toEqual([true, "one"]);
  expect([press(area, "y"), area.value]).toEqual([true, "one two"]);
  expect([press(area, "z", { metaKey: true }), area.value]).toEqual([true, "one"]);
  expect([press(area, "Z", { metaKey: true, shiftKey: true }), area.value]).toEqual([true, "one two"]);
  expect(heard).toEqual(["historyUndo", "historyRedo", "historyUndo", "historyRedo"]);
});

test("past the first change there is nothing to undo, here or anywhere else", () => {
  const { area, line } = fields();
  type(line, "elsewhere");
  type(area, "here");
  for (let time = 0; time < 3; time++) expect(press(area, "z")).toBe(true);
  expect([area.value, line.value]).toEqual(["", "elsewhere"]);
  press(line, "z");
  expect(line.value).toBe("");
});

test("another kind of change, a moved caret and a paste each begin anew", () => {
  const { area } = fields();
  type(area, "abc");
  change(area, "ab", "deleteContentBackward");
  change(area, "a", "deleteContentBackward");
  change(area, "axyz", "insertFromPaste");
  type(area, "!");
  area.setSelectionRange(0, 0);
  change(area, "?axyz!", "insertText");
  const back = Array.from({ length: 6 }, () => (press(area, "z"), area.value));
  expect(back).toEqual(["axyz!", "axyz", "a", "abc", "", ""]);
});

test("the caret stands where the text changed", () => {
  const { area } = fields();
  area.value = "begin end";
  area.focus();
  area.setSelectionRange(5, 5);
  area.dispatchEvent(new InputEvent("beforeinput", { bubbles: true, inputType: "insertText" }));
  area.setRangeText(", then", 5, 5, "end");
  area.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertText" }));
  press(area, "z");
  expect([area.value, area.selectionStart]).toEqual(["begin end", 5]);
  press(area, "y");
  expect([area.value, area.selectionStart]).toEqual(["begin, then end", 11]);
});

test("what is typed after an undo is what there is; nothing is redone over it", () => {
  const { area } = fields();
  type(area, "one");
  press(area, "z");
  type(area, "two");
  press(area, "y");
  expect(area.value).toBe("two");
});

test("a text that was set from outside is where undoing begins", () => {
  const { area } = fields();
  type(area, "typed");
  area.value = "from Python";
  press(area, "z");
  expect(area.value).toBe("from Python");
  type(area, "!");
  press(area, "z");
  press(area, "z");
  expect(area.value).toBe("from Python");
});

test("a word of an input method is undone as a whole, and no undo reaches into it", () => {
  const { area } = fields();
  type(area, "a");
  for (const half of ["aに", "aにほ", "a日本"]) change(area, half, "insertCompositionText", true);
  expect([press(area, "z", { ctrlKey: true, isComposing: true }), area.value]).toEqual([false, "a日本"]);
  press(area, "z");
  expect(area.value).toBe("a");
});

test("undo by the browser's menu is the field's own, too", () => {
  const { line } = fields();
  type(line, "word");
  const menu = (inputType: string): boolean =>
    !line.dispatchEvent(new InputEvent("beforeinput", { bubbles: true, cancelable: true, inputType }));
  expect([menu("historyUndo"), line.value]).toEqual([true, ""]);
  expect([menu("historyRedo"), line.value]).toEqual([true, "word"]);
});

test("numbers are undone; what is read-only stays", () => {
  const { number, area } = fields();
  number.value = "20";
  type(number, "5");
  press(number, "z");
  expect(number.value).toBe("20");
  type(area, "kept");
  area.readOnly = true;
  press(area, "z");
  expect(area.value).toBe("kept");
});

test("other keys are left to the browser", () => {
  const { area } = fields();
  type(area, "text");
  expect(["a", "c", "s", "Z"].map((key) => press(area, key, { ctrlKey: key !== "Z" }))).toEqual([false, false, false, false]);
  expect(press(area, "z", { ctrlKey: true, altKey: true })).toBe(false);
  expect(area.value).toBe("text");
});
