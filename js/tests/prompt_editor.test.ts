// @vitest-environment jsdom
/** The prompt editor by itself: what was typed, as a text or as token ids. */
import { expect, test, vi } from "vitest";
import { Scope } from "../src/core/signal";
import type { PromptValue } from "../src/core/wire.gen";
import { PromptEditor } from "../src/dom/prompt_editor";
import { useStage } from "./stage";

useStage();

function editor(value: PromptValue): { typed: PromptValue[]; refused: string[]; type(text: string): void } {
  const typed: PromptValue[] = [];
  const refused: string[] = [];
  const scope = new Scope();
  const made = new PromptEditor(scope, "prompt", { typed: (given) => typed.push(given), refused: (reason) => reason && refused.push(reason) });
  document.body.append(made.element);
  made.show(value);
  return {
    typed,
    refused,
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
