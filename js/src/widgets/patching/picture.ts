/**
 * One run's grid of patches as the page holds it: the number of each cell, exact or estimated, what its axes are, which
 * cells there can be, and how a cell is called. Knows nothing of the DOM or of the kernel.
 */
import { decode, type Parcel } from "../../core/blocks";
import { shown as said, type Precision } from "../../core/format";
import type { Pictured } from "../../core/linked";
import { makePositions, positionName, type Positions } from "../../core/positions";
import type { PatchingManifest, PatchingOptions, TokenTable } from "../../core/wire.gen";

export type Shows = PatchingOptions["shows"];
/** The model's numbers of a cell by the names of the axes; positions are those of the run that is changed. */
export type At = Partial<Record<"layer" | "head" | "position" | "query" | "key" | "neuron", number | null>>;
type Axis = keyof At;

export const TOKEN_AXES = ["position", "query", "key"];
export const LETTERS: Record<string, string> = { layer: "L", head: "H", neuron: "N" };
const ESTIMATED: Record<Shows, string> = { effect: "estimate", change: "estimated_change" };
const NONE = new Float32Array(0);

export class PatchingPicture implements Pictured {
  readonly run: number;
  readonly prompts: TokenTable[];
  readonly asked: string;
  readonly unfinished: string;
  /** Of the run that is changed. */
  readonly positions: Positions;
  readonly shape: number[];
  readonly precision: Precision;
  readonly #blocks: (name: string) => Float32Array;
  /** The token of the other run for each position of this one that has such. */
  readonly #partners = new Map<number, string>();
  /** Positions of which a patch has nothing to take; and whether any cell is of such, or has a key after its query. */
  readonly #lone: Set<number>;
  readonly #mayLack: boolean;

  constructor(
    readonly manifest: PatchingManifest,
    { blocks }: Parcel,
  ) {
    const { tokens, compare, base, numbers, done, total, why_estimate, site, metric_title } = manifest;
    this.run = manifest.run;
    this.prompts = compare ? [tokens, compare.tokens] : [tokens];
    this.asked = `${site}, ${manifest.by.join(" × ")}: ${metric_title}`;
    this.unfinished = done < total && !why_estimate ? `${done.toLocaleString("en")} of ${total.toLocaleString("en")} cells are exact` : "";
    this.positions = makePositions(tokens, compare, base);
    this.shape = numbers.map(({ length }) => length);
    this.precision = blocks.get("effect")?.header.dtype === "f16" ? "half" : "exact";
    const decoded = new Map<string, Float32Array>();
    this.#blocks = (name) => {
      if (!decoded.has(name)) decoded.set(name, blocks.has(name) ? decode(blocks.get(name)!) : NONE);
      return decoded.get(name)!;
    };
    for (const [a = -1, b = -1] of compare?.pairs ?? []) {
      if (a >= 0 && b >= 0) this.#partners.set(base === "A" ? a : b, base === "A" ? compare!.tokens.strings[b]! : tokens.strings[a]!);
    }
    const needed = compare && manifest.experiment === "patching" ? this.positions.labels.keys() : [];
    this.#lone = new Set([...needed].filter((position) => !this.#partners.has(position)));
    this.#mayLack = this.#lone.size > 0 || manifest.by.includes("key");
  }

  get cells(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }

  exact(shows: Shows): Float32Array {
    return this.#blocks(shows);
  }

  estimate(shows: Shows): Float32Array {
    return this.#blocks(ESTIMATED[shows]);
  }

  /** The bootstrap interval of a cell's effect over the pairs, if there is one. */
  interval(cell: number): [low: number, high: number] | null {
    const [low, high] = [this.#blocks("low")[cell] ?? NaN, this.#blocks("high")[cell] ?? NaN];
    return low === low && high === high ? [low, high] : null;
  }

  /** What leaves everything as it is. */
  neutral(shows: Shows): number {
    return shows === "effect" ? this.manifest.neutral : 0;
  }

  at(cell: number): Record<string, number> {
    const { by, numbers } = this.manifest;
    const at: Record<string, number> = {};
    let rest = cell;
    for (let axis = by.length - 1; axis >= 0; axis--) {
      const size = this.shape[axis]!;
      at[by[axis]!] = numbers[axis]![rest % size]!;
      rest = Math.floor(rest / size);
    }
    return at;
  }

  /** The cell of these numbers; null where there is no such one. */
  cellOf(at: At): number | null {
    const { by, numbers, layer } = this.manifest;
    if (layer !== null && at.layer !== layer) return null;
    let cell = 0;
    for (const [axis, name] of by.entries()) {
      const place = numbers[axis]!.indexOf(at[name as Axis] ?? -1);
      if (place < 0) return null;
      cell = cell * this.shape[axis]! + place;
    }
    return cell;
  }

  /** With positions of the clean prompt, in which every view counts; and from there. */
  inClean(cell: number): At {
    const own = Object.entries(this.at(cell));
    const at = own.map(([axis, at]) => [axis, TOKEN_AXES.includes(axis) ? (this.positions.toA[at] ?? null) : at]);
    return { layer: this.manifest.layer, ...Object.fromEntries(at) };
  }

  ofClean(at: At): number | null {
    const own = (position: number | null | undefined): number | null => this.positions.fromA.get(position ?? -1) ?? null;
    return this.cellOf({ ...at, position: own(at.position), query: own(at.query), key: own(at.key) });
  }

  /** How many heads read of one of the grid's. */
  get group(): number {
    const { site, n_heads, n_kv_heads } = this.manifest;
    return site === "k" || site === "v" ? Math.max(1, Math.floor(n_heads / Math.max(1, n_kv_heads))) : 1;
  }

  /** Why there is nothing to put into a cell; "" where there is. */
  impossible(cell: number): string {
    if (!this.#mayLack) return "";
    const { position, query, key } = this.at(cell);
    if (query !== undefined && key !== undefined && key > query && this.manifest.causal) return "a query reads no later key";
    const places = [position, query, key].filter((place) => place !== undefined);
    return places.every((place) => !this.#lone.has(place)) ? "" : "the other prompt has no such position";
  }

  /** The other run's token in this place, where it is another one. */
  otherToken(position: number): string | null {
    const other = this.#partners.get(position);
    return other === undefined || other === this.positions.strings[position] ? null : other;
  }

  /** "L3 H1 ·Mary (5)": the layer too where all cells are of one. */
  nameOf(cell: number): string {
    const { by, layer } = this.manifest;
    const at = this.at(cell);
    const parts = by.map((axis) => {
      const number = at[axis]!;
      if (!TOKEN_AXES.includes(axis)) return `${LETTERS[axis]}${number}`;
      return axis === "key" ? `← ${positionName(this.positions, number)}` : positionName(this.positions, number);
    });
    return [...(layer === null ? [] : [`L${layer}`]), ...parts].join(" ");
  }

  /** "0.8124", "≈ 0.812" where it is an estimate or was rounded on its way. */
  say(value: number, estimated: boolean): string {
    return said(value, estimated ? "half" : this.precision);
  }
}
