/**
 * One run's attribution as the page holds it, of side A, B or A − B: what each part, head and MLP adds to the logit
 * difference, and by which positions each head does so. Knows nothing of the DOM or of the kernel.
 */
import { decode, type Parcel } from "../../core/blocks";
import type { Precision } from "../../core/format";
import type { Head } from "../../core/interventions";
import { makePositions, type Positions } from "../../core/positions";
import { clipped, visible } from "../../core/tokens";
import type { AttributionManifest, Show, TokenName, TokenTable } from "../../core/wire.gen";

export type { Head };

/** Cells of the map side by side in one layer's row: columns count heads, and the one after the last is the MLP's. */
export interface Span {
  layer: number;
  first: number;
  last: number;
}

const NONE = new Float32Array(0);

export class AttributionPicture {
  /** In logits, `[part]`. */
  readonly contribution: Float32Array;
  /** `[layer, head]` and `[layer]`. */
  readonly heads: Float32Array;
  readonly mlps: Float32Array;
  readonly positions: Positions;
  /** The sum of all parts, and the largest magnitude among heads and MLPs. */
  readonly sum: number;
  readonly extreme: number;
  /** Where the map's colours end: they span the heads, which one large MLP would else leave pale. */
  readonly span: number;
  readonly precision: Precision;
  /** What is said of one side is of the one shown. */
  readonly manifest: AttributionManifest;
  readonly #sources: Float32Array | null;
  readonly #given: AttributionManifest;
  readonly #parcel: Parcel;
  readonly #others = new Map<Show, AttributionPicture>();

  constructor(given: AttributionManifest, parcel: Parcel, show: Show = "A") {
    this.#given = given;
    this.#parcel = parcel;
    const { compare } = given;
    const manifest = { ...given, ...(compare && show !== "A" ? compare[show] : {}) };
    const theirs = given.other?.ablated ?? [];
    if (show !== "A") manifest.ablated = show === "B" ? theirs : [...given.ablated, ...theirs];
    this.manifest = manifest;
    const prefix = show === "A" ? "" : `${show}/`;
    const read = (name: string): Float32Array => {
      const block = parcel.blocks.get(prefix + name);
      return block ? decode(block) : NONE;
    };
    this.contribution = read("contribution");
    this.heads = read("heads");
    this.mlps = read("mlps");
    this.positions = makePositions(given.tokens, compare ? { tokens: compare.B.tokens, pairs: compare.pairs } : null, show);
    this.sum = this.contribution.reduce((total, value) => total + value, 0);
    const ofHeads = largest(this.heads);
    this.extreme = Math.max(ofHeads, largest(this.mlps));
    this.span = ofHeads > 0 ? ofHeads : this.extreme;
    const sources = manifest.has_sources ? parcel.blocks.get(`${prefix}sources`) : undefined;
    this.#sources = sources ? decode(sources) : null;
    this.precision = sources?.header.dtype === "f32" ? "exact" : "half";
  }

  get run(): number {
    return this.manifest.run;
  }

  get prompts(): TokenTable[] {
    const { tokens, compare } = this.#given;
    return compare ? [tokens, compare.B.tokens] : [tokens];
  }

  /** The same of another side, where there is one. */
  of(show: Show): AttributionPicture {
    if (show === "A" || !this.#given.compare) return this;
    const made = this.#others.get(show) ?? new AttributionPicture(this.#given, this.#parcel, show);
    this.#others.set(show, made);
    return made;
  }

  get asked(): string {
    const { answer, foil, position } = this.manifest;
    const term = ({ string }: TokenName): string => `logit(${clipped(visible(string), 24)})`;
    return `${term(answer)}${foil ? ` − ${term(foil)}` : ""} at position ${position}`;
  }

  /** Columns of the map: the heads, and one for the MLPs where there are any. */
  get columns(): number {
    return this.manifest.n_heads + (this.mlps.length ? 1 : 0);
  }

  has(layer: number | null, head: number | null): boolean {
    const { n_layers, n_heads } = this.manifest;
    return layer !== null && head !== null && layer >= 0 && layer < n_layers && head >= 0 && head < n_heads;
  }

  /** What a cell of the map adds, in logits. */
  valueAt(layer: number, column: number): number {
    const { n_heads } = this.manifest;
    return (column < n_heads ? this.heads[layer * n_heads + column] : this.mlps[layer]) ?? NaN;
  }

  /** The head that adds or takes most: of one layer, or of all. */
  strongest(layer: number | null = null): Head | null {
    const { n_heads } = this.manifest;
    let found: Head | null = null;
    let size = -1;
    this.heads.forEach((value, at) => {
      const head = { layer: Math.floor(at / n_heads), head: at % n_heads };
      if ((layer !== null && head.layer !== layer) || !(Math.abs(value) > size)) return;
      size = Math.abs(value);
      found = head;
    });
    return found;
  }

  /** What a head adds by each position it reads from, in logits; null where that is not known. */
  sourcesOf({ layer, head }: Head): Float32Array | null {
    if (!this.#sources || !this.has(layer, head)) return null;
    const count = this.positions.count;
    const first = (layer * this.manifest.n_heads + head) * count;
    return this.#sources.subarray(first, first + count);
  }

  /** Whether the part is a head that is ablated. */
  isAblated(part: number): boolean {
    const { part_layers, part_heads, ablated = [] } = this.manifest;
    return part_heads[part]! >= 0 && ablated.some(([layer, head]) => layer === part_layers[part] && head === part_heads[part]);
  }

  /** Where a part lies on the map; null for parts that belong to no layer or are no head or MLP. */
  spanOf(part: number): Span | null {
    const { part_kinds, part_layers, part_heads, n_heads } = this.manifest;
    const layer = part_layers[part] ?? -1;
    const head = part_heads[part] ?? -1;
    if (layer < 0) return null;
    if (head >= 0) return { layer, first: head, last: head };
    switch (part_kinds[part]) {
      case "layer":
        return { layer, first: 0, last: this.columns - 1 };
      case "attention":
        return n_heads ? { layer, first: 0, last: n_heads - 1 } : null;
      case "mlp":
      case "mlp bias":
      case "neuron":
      case "rest": {
        // A coder whose other features stand in one row may stand for more than one MLP.
        const inside = part_kinds[part] !== "rest" || !this.manifest.coder;
        return this.mlps.length && inside ? { layer, first: n_heads, last: n_heads } : null;
      }
      default:
        return null;
    }
  }
}

/** The largest magnitude among those that are numbers. */
export function largest(values: Float32Array): number {
  let size = 0;
  for (const value of values) if (Math.abs(value) > size) size = Math.abs(value);
  return size;
}

/** The positions of the `count` values of largest magnitude, largest first; zeros are not among them. */
export function strongestOf(values: Float32Array, count: number): number[] {
  const order = [...values.keys()].filter((at) => Math.abs(values[at]!) > 0);
  order.sort((left, right) => Math.abs(values[right]!) - Math.abs(values[left]!));
  return order.slice(0, count);
}
