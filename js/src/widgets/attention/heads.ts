/**
 * The single heads of a picture, at the best resolution the page has: kept blocks, blocks fetched on demand, and until
 * they come the thumbnail. Knows nothing of the DOM.
 */
import { codeValues, decodeDense, type Block, type Parcel } from "../../core/blocks";
import { pairedDifference, spread, type Grid } from "../../core/grid";
import { Lru } from "../../core/lru";
import { Signal } from "../../core/signal";
import type { Show } from "../../core/wire.gen";
import type { Picture } from "./picture";

const BLOCK_BYTES = 96 * 2 ** 20;
const GRID_BYTES = 48 * 2 ** 20;

type Side = "A" | "B";

export class Heads {
  /** Grows with every block that arrives, so that pictures made of blocks are made again. */
  readonly version = new Signal(0);
  readonly #blocks = new Lru<Block>(BLOCK_BYTES);
  readonly #grids = new Lru<Grid>(GRID_BYTES);

  feed(parcel: Parcel, run: number): void {
    let fed = false;
    for (const [name, block] of parcel.blocks) {
      if (!name.startsWith("head/")) continue;
      this.#blocks.put(`${run}/${name}`, block, block.bytes.byteLength);
      fed = true;
    }
    if (fed) this.version.value = this.version.peek() + 1;
  }

  /** The sides of this head that are needed for `show` and not here. */
  missing(run: number, show: Show, layer: number, head: number): Side[] {
    return sidesOf(show).filter((side) => !this.#blocks.has(`${run}/head/${side}/${layer}.${head}`));
  }

  /** The head as a square of values, or null where not even a thumbnail is here. */
  grid(picture: Picture, show: Show, layer: number, head: number): Grid | null {
    if (!picture.has(layer, head)) return null;
    const full = this.missing(picture.run, show, layer, head).length === 0;
    const atlas = picture.atlases.get(show);
    if (!full && !atlas) return null;
    const name = `${picture.run}/${show}/${layer}.${head}/${full}`;
    const known = this.#grids.get(name);
    if (known) return known;
    const grid = full ? this.#full(picture, show, layer, head) : thumbnail(picture, show, atlas!, layer, head);
    this.#grids.put(name, grid, grid.values.byteLength);
    return grid;
  }

  #full(picture: Picture, show: Show, layer: number, head: number): Grid {
    const blocks = sidesOf(show).map((side) => this.#blocks.get(`${picture.run}/head/${side}/${layer}.${head}`)!);
    const [first, second] = blocks as [Block, Block | undefined];
    const precision = blocks.every((block) => block.header.dtype === "f32") ? "exact" : "half";
    const side = picture.positions(show).count;
    const mask = picture.mask(layer, show);
    if (!second) return { side, values: decodeDense(first), mask, precision, signed: false };
    const sideA = first.header.shape[0] ?? 0;
    const sideB = second.header.shape[0] ?? 0;
    const pairs = picture.manifest.compare?.pairs ?? [];
    const values = pairedDifference(pairs, decodeDense(first), sideA, decodeDense(second), sideB);
    return { side, values, mask, precision, signed: true };
  }
}

export function sidesOf(show: Show): Side[] {
  return show === "difference" ? ["A", "B"] : [show];
}

/** The codes of one thumbnail within its atlas: row by row, whole or only key ≤ query. */
export function thumbnailCodes(picture: Picture, atlas: Block, layer: number, head: number): { side: number; codes: Uint8Array } {
  const side = atlas.header.shape[3] ?? 0;
  const cells = atlas.header.layout === "lower" ? (side * (side + 1)) / 2 : side * side;
  const first = (picture.rowOf(layer) * picture.manifest.heads + head) * cells;
  return { side, codes: atlas.bytes.subarray(first, first + cells) };
}

function thumbnail(picture: Picture, show: Show, atlas: Block, layer: number, head: number): Grid {
  const { side, codes } = thumbnailCodes(picture, atlas, layer, head);
  const table = codeValues(atlas.header);
  const small = new Float32Array(side * side);
  const lower = atlas.header.layout === "lower";
  let from = 0;
  for (let query = 0; query < side; query++) {
    const keys = lower ? query + 1 : side;
    for (let key = 0; key < keys; key++) small[query * side + key] = table[codes[from++]!]!;
  }
  const count = picture.positions(show).count;
  return {
    side: count,
    values: spread(small, side, count),
    mask: picture.mask(layer, show),
    precision: "reduced",
    signed: show === "difference",
  };
}
