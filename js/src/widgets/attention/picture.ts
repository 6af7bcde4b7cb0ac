/**
 * One run's attention as the page holds it: manifest, thumbnails, and what positions of prompt A, prompt B or both
 * aligned are called. Knows nothing of the DOM or of the kernel.
 */
import type { Block, Parcel } from "../../core/blocks";
import { attentionMask, pairedMask, patchMask, type Mask } from "../../core/grid";
import { makePositions, type Positions } from "../../core/positions";
import type { AttentionManifest, Show, TokenTable } from "../../core/wire.gen";

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

  get prompts(): TokenTable[] {
    const { tokens, compare } = this.manifest;
    return compare ? [tokens, compare.tokens] : [tokens];
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
    const made = makePositions(this.manifest.tokens, this.manifest.compare, show);
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
      return pairedMask(compare.pairs, attentionMask(sideA, causal, window), sideA, attentionMask(sideB, causal, window), sideB);
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
