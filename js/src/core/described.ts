/**
 * What `options.gen.ts` says of a view: its options, how each is chosen and called, and the measures of its pictures.
 * Knows nothing of any particular view, or of the DOM.
 */

/** One value of an option, as a menu offers it. */
export interface Choice<Value = unknown> {
  value: Value;
  label: string;
  tip?: string;
  /** Chooses it at once. */
  key?: string;
}

export interface Option<Value = unknown> {
  default: Value;
  /** A menu, a button that goes on to the next value, one that is pressed or not, a field, or something of the view's own. */
  control: "menu" | "button" | "toggle" | "number" | "own";
  label: string;
  tip: string;
  /** The key that works it, "" for none; what it does, and in which line of the list of keys it stands. */
  key: string;
  said: string;
  group: string;
  choices?: Choice<Value>[];
  /** Of a number that menus offer usual values of: the label of another, with {} for it. */
  others?: string;
  /** Stands close to the control before it. */
  pair?: true;
  computed?: true;
  /** Of a number in a field: the smallest, the largest, the step. */
  field?: [low: number, high: number, step: number];
  whole?: true;
  /** Of a list: how many it holds. */
  most?: number;
}

export interface Measure {
  /** Over the colours and beside axes, with its unit; {token} stands for the token that it is of. */
  legend: string;
  label: string;
  tip: string;
  scale: "linear" | "sqrt" | "log" | "rank";
  /** What carries it in a parcel. */
  block: string;
  /** The largest value that there can be; else that of the picture. */
  high?: number;
  signed?: true;
  /** What cells are called that have no such number at all, and which those are. */
  none?: string;
  lacking?: "first row" | "last position";
}

export interface Described<Options, Measures extends string = string, Differences extends string = string> {
  height: number;
  options: { [Name in keyof Options]: Option<Options[Name]> };
  measures: Record<Measures, Measure>;
  differences: Record<Differences, Measure>;
}

/** What is particular to one kind of view, for `Linked`. */
export function kindOf<Options extends object>(
  described: Described<Options>,
): { defaults: Options; height: number; computed: (keyof Options)[] } {
  const entries = Object.entries(described.options) as [keyof Options, Option][];
  return {
    defaults: Object.fromEntries(entries.map(([name, option]) => [name, option.default])) as Options,
    height: described.height,
    computed: entries.flatMap(([name, option]) => (option.computed ? [name] : [])),
  };
}
