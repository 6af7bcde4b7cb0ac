/**
 * Undo and redo of what is typed into the fields of a view. A browser has one list of changes for a whole page, and once
 * those of a field are undone it goes on with the notebook's cells: here each field has a list of its own. Knows nothing
 * of what the fields mean.
 */
import type { Scope } from "../core/signal";
import { composes } from "./composition";

export type TextField = HTMLTextAreaElement | HTMLInputElement;

/** The caret is null in fields for numbers, which have none to set. */
interface Text {
  text: string;
  caret: number | null;
}

interface Typed {
  past: Text[];
  present: Text;
  future: Text[];
  /** What kind of typing goes on, "" for none: a run of it is undone at once. */
  run: string;
}

/** A run ends with another kind of change, or where the caret is moved. */
const RUNS = new Set(["insertText", "insertCompositionText", "deleteContentBackward", "deleteContentForward"]);
const MOST = 300;

export function isTextField(target: EventTarget | null): target is TextField {
  return target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && target.type !== "range");
}

/** From now on undo and redo in the fields under `root`, by key or by menu, act on the field alone. */
export function followTyping(scope: Scope, root: HTMLElement): void {
  const lists = new WeakMap<TextField, Typed>();
  /** What was typed into the field; nothing where its text was set anew since. */
  const typedInto = (field: TextField): Typed => {
    let typed = lists.get(field);
    if (typed?.present.text !== field.value) lists.set(field, (typed = { past: [], present: textOf(field), future: [], run: "" }));
    return typed!;
  };
  const travel = (field: TextField, back: boolean): void => {
    const typed = typedInto(field);
    const [from, to] = back ? [typed.past, typed.future] : [typed.future, typed.past];
    if (!from.length || field.readOnly) return;
    to.push(typed.present);
    typed.present = from.pop()!;
    typed.run = "";
    const { text, caret } = typed.present;
    field.value = text;
    if (caret !== null) field.setSelectionRange(caret, caret);
    field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: back ? "historyUndo" : "historyRedo" }));
  };
  scope.listen(root, "focusin", ({ target }) => {
    if (isTextField(target)) typedInto(target);
  });
  scope.listen(root, "keydown", (event) => {
    const { key, ctrlKey, metaKey, altKey, shiftKey, target } = event;
    if (!isTextField(target) || !(ctrlKey || metaKey) || altKey || composes(event)) return;
    const letter = key.toLowerCase();
    const forward = shiftKey ? letter === "z" : letter === "y";
    if (!forward && letter !== "z") return;
    event.preventDefault();
    travel(target, !forward);
  });
  scope.listen(root, "beforeinput", (event) => {
    const { target, inputType, isComposing } = event as InputEvent;
    if (!isTextField(target)) return;
    if (isHistory(inputType)) {
      event.preventDefault();
      travel(target, inputType === "historyUndo");
      return;
    }
    const typed = typedInto(target);
    const { selectionStart, selectionEnd } = target;
    if (isComposing || (selectionStart === typed.present.caret && selectionEnd === selectionStart)) return;
    typed.run = "";
    typed.present.caret = selectionEnd;
  });
  scope.listen(root, "input", (event) => {
    const { target } = event;
    const { inputType = "" } = event as InputEvent;
    const typed = isTextField(target) ? lists.get(target) : undefined;
    if (!isTextField(target) || !typed || isHistory(inputType)) return;
    if (inputType !== typed.run || !inputType) {
      typed.past = [...typed.past, typed.present].slice(-MOST);
      typed.future = [];
    }
    typed.present = textOf(target);
    typed.run = RUNS.has(inputType) ? inputType : "";
  });
}

function isHistory(inputType: string): boolean {
  return inputType === "historyUndo" || inputType === "historyRedo";
}

function textOf({ value: text, selectionEnd: caret }: TextField): Text {
  return { text, caret };
}
