/**
 * The controls of a view's options and the keys that work them, made from what is described of the options. Each control
 * follows its option by itself; a view says only what is particular to it. Knows nothing of any particular view.
 */
import type { Choice, Option } from "../core/described";
import type { Readable, Scope } from "../core/signal";
import { makeButton, makeSelect } from "./controls";
import { h } from "./element";
import type { KeyRow } from "./keys";
import { makeNumber } from "./number";
import type { Keys } from "./walk";

/** What of a view its controls work on. */
export interface HasOptions<Options> {
  readonly scope: Scope;
  readonly options: Readable<Options>;
  setOptions(change: Partial<Options>): void;
}

/** A choice that may be one that cannot be taken now. */
export interface Offered<Value> extends Choice<Value> {
  disabled?: boolean;
}

/** How a control stands now, as far as that is not as described. */
export interface Now<Value> {
  /** Shown in place of what was chosen. */
  value?: Value;
  choices?: Offered<Value>[];
  disabled?: boolean;
  hidden?: boolean;
  tip?: string;
}

/** What a view says of an option beyond its description. */
export interface Particular<Value> {
  now?: () => Now<Value>;
  /** Does more than to set the option. */
  choose?: (value: Value) => void;
  /** A control of the view's own. */
  element?: HTMLElement;
}

export type Particulars<Options> = { [Name in keyof Options]?: Particular<Options[Name]> };

/** One option's control; without an element where the view has another way to choose it. */
export class OptionControl<Options, Name extends keyof Options> {
  readonly element: HTMLElement | null;

  constructor(
    readonly view: HasOptions<Options>,
    readonly name: Name,
    readonly option: Option<Options[Name]>,
    readonly particular: Particular<Options[Name]> = {},
    control = option.control,
  ) {
    this.element = particular.element ?? (control === "own" ? null : this.#make(control));
  }

  focus(): void {
    const first = this.element?.matches("input, select, button") ? this.element : this.element?.querySelector("input, select");
    (first as HTMLElement | null | undefined)?.focus();
  }

  choose(value: Options[Name]): void {
    if (this.particular.choose) this.particular.choose(value);
    else this.view.setOptions({ [this.name]: value } as unknown as Partial<Options>);
  }

  /** Goes on to the next value in the order of the menu; what cannot be taken is passed over. */
  next(): void {
    const { value, choices, disabled, hidden } = this.#now();
    if (disabled || hidden) return;
    const free = choices.filter((choice) => !choice.disabled || choice.value === value);
    const next = free[(free.findIndex((choice) => choice.value === value) + 1) % free.length];
    if (next && next.value !== value) this.choose(next.value);
  }

  /** Takes the choice at a place of the menu, where that can be taken. */
  take(place: number): void {
    const { choices, disabled, hidden } = this.#now();
    const choice = choices[place];
    if (choice && !disabled && !hidden && !choice.disabled) this.choose(choice.value);
  }

  #now(): Now<Options[Name]> & { value: Options[Name]; choices: Offered<Options[Name]>[]; tip: string } {
    const { option } = this;
    const own = this.particular.now?.() ?? {};
    const value = own.value !== undefined ? own.value : this.view.options.value[this.name];
    const choices = withValue(own.choices ?? option.choices ?? [], value, option.others);
    const tip = own.tip ?? (option.tip || (choices.find((choice) => choice.value === value)?.tip ?? ""));
    return { ...own, value, choices, tip };
  }

  #make(control: "menu" | "button" | "toggle" | "number"): HTMLElement {
    const { option, view } = this;
    const { label, tip, key } = option;
    const described = { label, tip, shortcut: key };
    if (control === "number") {
      const [low, high, step] = option.field!;
      const field = makeNumber(view.scope, described, { low, high, step, whole: !!option.whole }, (value) =>
        this.choose(value as Options[Name]),
      );
      view.scope.effect(() => {
        const now = this.#now();
        field.show(now.value as number, { disabled: !!now.disabled, tip: now.tip });
      });
      return field.element;
    }
    if (control === "menu") {
      const select = makeSelect(view.scope, described, (text) => {
        const chosen = this.#now().choices.find((choice) => textOf(choice.value) === text);
        if (chosen) this.choose(chosen.value);
      });
      view.scope.effect(() => {
        const { value, choices, disabled = false, hidden = false, tip } = this.#now();
        select.show(
          choices.map((choice) => ({ value: textOf(choice.value), label: choice.label, disabled: !!choice.disabled })),
          textOf(value),
          { disabled, tip },
        );
        select.element.hidden = hidden;
      });
      return select.element;
    }
    const button = makeButton(view.scope, { ...described, text: "" }, () => this.next());
    view.scope.effect(() => {
      const { value, choices, hidden = false } = this.#now();
      const text = choices.find((choice) => choice.value === value)?.label ?? "";
      button.show({ text, hidden, ...(control === "toggle" ? { pressed: value === true } : {}) });
    });
    return button.element;
  }
}

/** The controls of all options of a view, in the order in which they are described. */
export class OptionControls<Options extends object> {
  readonly #controls: OptionControl<Options, keyof Options>[];
  readonly #placed = new Set<keyof Options>();

  constructor(view: HasOptions<Options>, options: { [Name in keyof Options]: Option<Options[Name]> }, particulars: Particulars<Options>) {
    const names = Object.keys(options) as (keyof Options)[];
    this.#controls = names.map((name) => new OptionControl(view, name, options[name], particulars[name]));
  }

  of<Name extends keyof Options>(name: Name): OptionControl<Options, Name> {
    return this.#controls.find((control) => control.name === name) as unknown as OptionControl<Options, Name>;
  }

  /** The element of an option that the view gives a place of its own. */
  place(name: keyof Options): HTMLElement {
    this.#placed.add(name);
    return this.of(name).element!;
  }

  /** The elements of all that have no other place; those that belong together stand close. */
  rest(): HTMLElement[] {
    const groups: HTMLElement[][] = [];
    for (const { name, element, option } of this.#controls) {
      if (!element || this.#placed.has(name)) continue;
      if (option.pair && groups.length) groups.at(-1)!.push(element);
      else groups.push([element]);
    }
    return groups.map((group) => (group.length > 1 ? h("span", "miw-control-pair", ...group) : group[0]!));
  }

  /** What the keys of options do: go on to the next value, take a choice; or what `presses` says of an option. */
  keys(presses: { [Name in keyof Options]?: () => string | void } = {}): Keys {
    const keys: Keys = {};
    for (const control of this.#controls) {
      const { key, choices = [] } = control.option;
      if (key) keys[key] = presses[control.name] ?? (() => control.next());
      for (const [place, choice] of choices.entries()) if (choice.key) keys[choice.key] = () => control.take(place);
    }
    return keys;
  }
}

/** What the keys of options do, for the list of keys. */
export function optionKeys(options: object): KeyRow[] {
  const rows = new Map<string, { keys: string[]; said: string[] }>();
  for (const { key, said, group, choices = [] } of Object.values(options) as Option[]) {
    if (!key) continue;
    const row = rows.get(group) ?? { keys: [], said: [] };
    row.keys.push(...choices.flatMap((choice) => (choice.key ? [choice.key] : [])), key);
    row.said.push(said);
    rows.set(group, row);
  }
  return [...rows.values()].map(({ keys, said }) => [keys.join(", "), said.join(", ")]);
}

/** The usual values of a number and the present one, which Python may have set to any. */
function withValue<Value>(choices: Offered<Value>[], present: Value, others?: string): Offered<Value>[] {
  if (others === undefined || choices.some((choice) => choice.value === present)) return choices;
  const all = [...choices, { value: present, label: others.replace("{}", String(present)) }];
  return all.sort((left, right) => Number(left.value) - Number(right.value));
}

function textOf(value: unknown): string {
  return value === null ? "" : String(value);
}
