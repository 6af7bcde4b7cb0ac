/**
 * One run's attention as the page holds it: manifest, thumbnails, and what positions of prompt A, prompt B or both
 * aligned are called. Knows nothing of the DOM or of the kernel.
 */
import type { Block, Parcel } from "../../core/blocks";
import { attentionMask, pairedMask, patchMask, type Mask } from "../../core/grid";
import { visible } from "../../core/tokens";
import type { AttentionManifest, Show, TokenTable } from "../../core/wire.gen";

/** The positions along both axes of what is shown, and how they answer to those of prompt A. */
export interface Positions {
  count: number;
  labels: string[];
  special: boolean[];
  /** The strings as they stand in the text, for the reading view. */
  strings: string[];
  /** What a tooltip adds to the label, e.g. the token id. */
  details: string[];
  /** -1 where prompt A has no such position. */
  toA: number[];
  fromA: Map<number, number>;
}

export class Picture {
  readonly atlases = new Map<Show, Block>();
  readonly #masks = new Map<string, Mask>();
  readonly #positions = new Map<Show, Positions>();
  readonly #rows: Map<number, number>;

  constructor(readonly manifest: AttentionManifest) {
    this.#rows = new Map(manifest.layers.map((layer, row) => [layer, row]));
  }

  get run(): number {
    return this.manifest.run;
  }

  addAtlases(parcel: Parcel): void {
    for (const [name, block] of parcel.blocks) {
      if (name.startsWith("atlas/")) this.atlases.set(name.slice(6) as Show, block);
    }
  }

  /** The row of the wall that shows `layer`, or -1. */
  rowOf(layer: number | null): number {
    return layer === null ? -1 : (this.#rows.get(layer) ?? -1);
  }

  has(layer: number | null, head: number | null): boolean {
    return this.rowOf(layer) >= 0 && head !== null && head >= 0 && head < this.manifest.heads;
  }

  positions(show: Show): Positions {
    const known = this.#positions.get(show);
    if (known) return known;
    const made = makePositions(this.manifest, show);
    this.#positions.set(show, made);
    return made;
  }

  /** Cells of the full square that the mask of `layer` allows. */
  mask(layer: number, show: Show): Mask {
    const { causal, windows, tokens, compare } = this.manifest;
    const window = windows[this.rowOf(layer)] ?? null;
    return this.#cached(`${show}/${window}`, () => {
      const sideA = tokens.strings.length;
      const sideB = compare?.tokens.strings.length ?? 0;
      if (show === "A" || !compare) return attentionMask(sideA, causal, window);
      if (show === "B") return attentionMask(sideB, causal, window);
      return pairedMask(
        compare.pairs,
        attentionMask(sideA, causal, window),
        sideA,
        attentionMask(sideB, causal, window),
        sideB,
      );
    });
  }

  /** The same for a thumbnail of `side` cells. */
  thumbnailMask(layer: number, show: Show, side: number): Mask {
    const { causal, windows } = this.manifest;
    const window = windows[this.rowOf(layer)] ?? null;
    return this.#cached(`${show}/${window}/${side}`, () => {
      const count = this.positions(show).count;
      if (show !== "difference") return patchMask(count, side, causal, window);
      const full = this.mask(layer, show);
      if (side === count) return full;
      const mask = new Uint8Array(side * side);
      for (let query = 0; query < count; query++) {
        const row = Math.min(side - 1, patchOf(query, count, side)) * side;
        for (let key = 0; key < count; key++) {
          if (full[query * count + key]) mask[row + patchOf(key, count, side)] = 1;
        }
      }
      return mask;
    });
  }

  #cached(name: string, make: () => Mask): Mask {
    let mask = this.#masks.get(name);
    if (!mask) this.#masks.set(name, (mask = make()));
    return mask;
  }
}

/** Which of `side` patches holds `position`: the inverse of floor(patch · count / side). */
function patchOf(position: number, count: number, side: number): number {
  return Math.floor(((position + 1) * side - 1) / count);
}

function makePositions(manifest: AttentionManifest, show: Show): Positions {
  const { tokens, compare } = manifest;
  if (!compare || show === "A") {
    const own = tokens.strings.map((_, position) => position);
    return named(tokens, own);
  }
  if (show === "B") {
    const toA = new Array<number>(compare.tokens.strings.length).fill(-1);
    for (const [a = -1, b = -1] of compare.pairs) if (b >= 0) toA[b] = a;
    return named(compare.tokens, toA);
  }
  const toA = compare.pairs.map(([a = -1]) => a);
  const strings: string[] = [];
  const labels: string[] = [];
  const special: boolean[] = [];
  const details: string[] = [];
  for (const [a = -1, b = -1] of compare.pairs) {
    const left = a < 0 ? "∅" : (tokens.strings[a] ?? "");
    const right = b < 0 ? "∅" : (compare.tokens.strings[b] ?? "");
    strings.push(left === right ? left : `${left}|${right}`);
    labels.push(visible(left === right ? left : `${left}|${right}`));
    special.push((a < 0 || !!tokens.special[a]) && (b < 0 || !!compare.tokens.special[b]));
    details.push(`A ${a < 0 ? "–" : a}, B ${b < 0 ? "–" : b}`);
  }
  return { count: toA.length, strings, labels, special, details, toA, fromA: inverse(toA) };
}

function named(tokens: TokenTable, toA: number[]): Positions {
  return {
    count: tokens.strings.length,
    strings: tokens.strings,
    labels: tokens.strings.map(visible),
    special: tokens.special,
    details: tokens.ids.map((id) => (id >= 0 ? `id ${id}` : "")),
    toA,
    fromA: inverse(toA),
  };
}

function inverse(toA: number[]): Map<number, number> {
  const out = new Map<number, number>();
  toA.forEach((a, position) => {
    if (a >= 0) out.set(a, position);
  });
  return out;
}
