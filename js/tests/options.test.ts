// @vitest-environment jsdom
/** Controls are made from what is described of options, and keys work them; a view says only what is particular. */
import { beforeEach, expect, test } from "vitest";
import type { Described, Option } from "../src/core/described";
import { kindOf } from "../src/core/described";
import { ATTENTION, ATTRIBUTION, LENS, PATCHING, PROMPT } from "../src/core/options.gen";
import { Scope, Signal } from "../src/core/signal";
import { OptionControl, OptionControls, optionKeys, type HasOptions, type Particulars } from "../src/dom/options";

interface Some {
  marks: "dots" | "bars" | "none";
  size: number;
  loud: boolean;
  side: "A" | "B";
  weight: number;
  hidden: string | null;
}

const OPTIONS: { [Name in keyof Some]: Option<Some[Name]> } = {
  marks: {
    ...{ default: "dots", control: "menu", label: "marks", tip: "How points are marked", key: "m", said: "marks", group: "looks" },
    choices: [
      { value: "dots", label: "round dots" },
      { value: "bars", label: "bars" },
      { value: "none", label: "none" },
    ],
  },
  size: {
    ...{ default: 10, control: "menu", label: "size", tip: "Of a mark", key: "s", said: "their size", group: "looks", pair: true },
    choices: [
      { value: 10, label: "10 px" },
      { value: 30, label: "30 px" },
    ],
    others: "{} px",
  },
  loud: {
    ...{ default: false, control: "toggle", label: "loud", tip: "In capitals", key: "l", said: "loud", group: "loud" },
    choices: [
      { value: true, label: "loud" },
      { value: false, label: "loud" },
    ],
  },
  side: {
    ...{ default: "A", control: "menu", label: "side", tip: "Which side", key: "x", said: "A, B, the other", group: "side" },
    choices: [
      { value: "A", label: "A", key: "a" },
      { value: "B", label: "B", key: "b" },
    ],
  },
  weight: {
    ...{ default: 1, control: "number", label: "weight", tip: "Of the font", key: "", said: "", group: "weight" },
    field: [0, 4, 0.5],
  },
  hidden: { default: null, control: "own", label: "hidden", tip: "", key: "h", said: "goes there", group: "hidden" },
};

class View implements HasOptions<Some> {
  readonly scope = new Scope();
  readonly options = new Signal<Some>(
    Object.fromEntries(Object.entries(OPTIONS).map(([name, { default: value }]) => [name, value])) as unknown as Some,
  );

  setOptions(change: Partial<Some>): void {
    this.options.value = { ...this.options.peek(), ...change };
  }
}

let view: View;

beforeEach(() => {
  view = new View();
});

const controls = (particulars: Particulars<Some> = {}): OptionControls<Some> => new OptionControls<Some>(view, OPTIONS, particulars);
const menuOf = (element: HTMLElement | null): HTMLSelectElement => element!.querySelector("select")!;
const soon = (): Promise<void> => new Promise((done) => setTimeout(done));

test("a described option has a control with its choices, its default, its tip and its key, without another line", () => {
  const { element } = controls().of("marks");
  const menu = menuOf(element);
  expect([...menu.options].map(({ value, text }) => [value, text])).toEqual([
    ["dots", "round dots"],
    ["bars", "bars"],
    ["none", "none"],
  ]);
  expect(menu.value).toBe("dots");
  expect(element!.dataset["tip"]).toBe("How points are marked  [m]");
});

test("what is chosen in a menu becomes the option, and what Python sets is shown", async () => {
  const menu = menuOf(controls().of("size").element);
  menu.value = "30";
  menu.dispatchEvent(new Event("change"));
  expect(view.options.peek().size).toBe(30);
  view.setOptions({ size: 17 });
  await soon();
  expect([...menu.options].map(({ text }) => text)).toEqual(["10 px", "17 px", "30 px"]);
  expect(menu.value).toBe("17");
});

test("every option that has a control stands in the row, in the order described, pairs close together", () => {
  const made = controls();
  const own = made.place("weight");
  expect(made.rest().map((element) => element.className)).toEqual(["miw-control-pair", "miw-button", "miw-control"]);
  expect(own.querySelector("input")!.max).toBe("4");
});

test("a key goes on to the next value, past what cannot be taken and round to the first", () => {
  const choices = OPTIONS.marks.choices!.map((choice) => ({ ...choice, disabled: choice.value === "bars" }));
  const keys = controls({ marks: { now: () => ({ choices }) } }).keys();
  keys["m"]!("m");
  expect(view.options.peek().marks).toBe("none");
  keys["m"]!("m");
  expect(view.options.peek().marks).toBe("dots");
});

test("a control that is switched off or hidden is not worked by its key", () => {
  for (const off of [{ disabled: true }, { hidden: true }]) {
    const keys = controls({ marks: { now: () => off }, side: { now: () => off } }).keys();
    keys["m"]!("m");
    keys["b"]!("b");
    expect(view.options.peek()).toMatchObject({ marks: "dots", side: "A" });
  }
});

test("a choice has a key of its own, and a view may say what a key does", () => {
  const keys = controls().keys({ hidden: () => "there" });
  keys["b"]!("b");
  expect(view.options.peek().side).toBe("B");
  expect(keys["h"]!("h")).toBe("there");
});

test("a toggle says whether it is pressed", async () => {
  const button = controls().of("loud").element!;
  expect([button.textContent, button.getAttribute("aria-pressed")]).toEqual(["loud", "false"]);
  button.click();
  await soon();
  expect([view.options.peek().loud, button.getAttribute("aria-pressed")]).toEqual([true, "true"]);
});

test("a view may show another value than was chosen, and do more than to set the option", () => {
  const chosen: string[] = [];
  const control = new OptionControl(view, "side", OPTIONS.side, {
    now: () => ({ value: "B" as const }),
    choose: (side) => void chosen.push(side),
  });
  expect(menuOf(control.element).value).toBe("B");
  control.next();
  expect(chosen).toEqual(["A"]);
  expect(view.options.peek().side).toBe("A");
});

test("the list of keys has a line for each group", () => {
  expect(optionKeys(OPTIONS)).toEqual([
    ["m, s", "marks, their size"],
    ["l", "loud"],
    ["a, b, x", "A, B, the other"],
    ["h", "goes there"],
  ]);
});

test("what the page knows of each view comes from its description", () => {
  for (const described of [ATTENTION, ATTRIBUTION, LENS, PATCHING, PROMPT] as unknown as Described<Record<string, unknown>>[]) {
    const { defaults, height, computed } = kindOf(described);
    expect(Object.keys(defaults)).toEqual(Object.keys(described.options));
    expect(height).toBe(described.height);
    for (const name of computed) expect(described.options[name]!.computed).toBe(true);
  }
  expect(kindOf(ATTENTION).defaults.scale).toBe("sqrt");
});

test.each(Object.entries({ ATTENTION, ATTRIBUTION, LENS, PATCHING, PROMPT }))("no key of %s does two things", (_, { options }) => {
  const keys = Object.values(options as Record<string, Option>).flatMap(({ key, choices = [] }) => [
    key,
    ...choices.map((choice) => choice.key ?? ""),
  ]);
  const taken = [..."/zyhkK?", ...keys.filter(Boolean)];
  expect(taken.filter((key, at) => taken.indexOf(key) !== at)).toEqual([]);
});
