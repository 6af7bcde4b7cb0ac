// @vitest-environment jsdom
/** The prompt as running text, and the table behind a canvas: what an edit changes in the page, and what it leaves. */
import { expect, test } from "vitest";
import { Scope } from "../src/core/signal";
import { TokenStrip } from "../src/dom/strip";
import { HiddenTable } from "../src/dom/table";

const strip = (): TokenStrip => new TokenStrip(new Scope(), "tokens", { point: () => undefined, pick: () => undefined });
const tokens = (...strings: string[]) => ({ strings, special: strings.map((string) => string === "<bos>") });
const spans = (shown: TokenStrip): HTMLElement[] => [...shown.element.querySelectorAll<HTMLElement>(".miw-token")];
const texts = (shown: TokenStrip): string[] => spans(shown).map((span) => span.textContent!);
const positions = (shown: TokenStrip): string[] => spans(shown).map((span) => span.dataset["position"]!);

test("an edit in the middle keeps the elements before and behind it, and counts anew", () => {
  const shown = strip();
  shown.setTokens(tokens("<bos>", "When", " Mary", " and", " John"));
  const [bos, when, , and, john] = spans(shown);
  shown.setTokens(tokens("<bos>", "When", " old", " Eve", " and", " John"));
  expect(texts(shown)).toEqual(["<bos>", "When", "·old", "·Eve", "·and", "·John"]);
  expect(positions(shown)).toEqual(["0", "1", "2", "3", "4", "5"]);
  const after = spans(shown);
  expect([after[0], after[1], after[4], after[5]]).toEqual([bos, when, and, john]);
  shown.setTokens(tokens("<bos>", " John"));
  expect([texts(shown), positions(shown)]).toEqual([
    ["<bos>", "·John"],
    ["0", "1"],
  ]);
  expect(spans(shown)[1]).toBe(john);
});

test("any text becomes any other, whatever they share", () => {
  const shown = strip();
  const sequences = [["a"], [], ["a", "a", "a"], ["a", "a"], ["b", "a", " a"], [" a", "a", "a", "a"], ["a\n", "a"], ["a", "a"], []];
  for (const strings of sequences) {
    shown.setTokens(tokens(...strings));
    expect(texts(shown)).toEqual(strings.map((string) => string.replace(" ", "·").replace("\n", "↵")));
    expect(positions(shown)).toEqual(strings.map((_, position) => String(position)));
    expect(shown.element.querySelectorAll("br")).toHaveLength(strings.filter((string) => string.includes("\n")).length);
  }
});

test("a line may break where a space was, and nowhere else between tokens", () => {
  const shown = strip();
  shown.setTokens(tokens("un", "like", " a", " b ", "c"));
  expect(shown.element.querySelector(".miw-strip-text")!.textContent).toBe("unlike\u200b·a\u200b·b·\u200bc");
});

test("a token is painted when its look changes; one that an edit left alone keeps the look it has", () => {
  const shown = strip();
  const paint = (background: string): void => shown.paint(0, () => ({ background, ink: "", bars: [] }));
  shown.setTokens(tokens("one", " two"));
  paint("red");
  shown.setTokens(tokens("one", " three"));
  expect(spans(shown).map((span) => span.style.backgroundColor)).toEqual(["red", ""]);
  paint("red");
  expect(spans(shown).map((span) => span.style.backgroundColor)).toEqual(["red", "red"]);
});

test("marks stay at their positions when the tokens change, whoever came first", () => {
  const shown = strip();
  shown.setTokens(tokens("one", " two"));
  shown.mark({ pointed: 0, locked: 1 });
  shown.setTokens(tokens("a", " b", " three"));
  expect(shown.element.querySelector(".miw-token-pointed")?.textContent).toBe("a");
  expect(shown.element.querySelector(".miw-token-locked")?.textContent).toContain("b");
  shown.setTokens(tokens("alone"));
  expect(shown.element.querySelector(".miw-token-locked")).toBeNull();
});

test("only tokens that may run from right to left are isolated", () => {
  const shown = strip();
  shown.setTokens(tokens("abc", " é", "Я", "שלום"));
  expect(spans(shown).map((span) => span.classList.contains("miw-token-isolated"))).toEqual([false, false, false, true]);
});

test("a table of the same shape gets new texts in the old cells; another shape is another table", () => {
  const table = new HiddenTable();
  const rows = (): string[][] =>
    [...table.element.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent!));
  table.show(
    "heads",
    ["layer", "score"],
    [
      ["0", "a"],
      ["1", "b"],
    ],
  );
  const cell = table.element.querySelector("td")!;
  table.show(
    "heads, sorted",
    ["layer", "score"],
    [
      ["1", "b"],
      ["0", "a"],
      ["2", "c"],
    ],
  );
  expect([rows(), table.element.querySelector("td")]).toEqual([
    [
      ["1", "b"],
      ["0", "a"],
      ["2", "c"],
    ],
    cell,
  ]);
  expect(table.element.querySelector("caption")!.textContent).toBe("heads, sorted");
  table.show("none", ["layer"], [["0"]]);
  expect([rows(), [...table.element.querySelectorAll("thead th")].map((head) => head.textContent)]).toEqual([[["0"]], ["layer"]]);
});
