/** Grids and thumbnails as pixels: one little-endian RGBA word per cell. Forbidden cells stay transparent. */
import type { BlockHeader } from "./wire.gen";
import { codeValues } from "./blocks";
import type { Grid, Mask } from "./grid";
import { colorOf, LOG_FLOOR, type Mapping } from "./scale";

/** The whole grid. A 1,024² head takes a few milliseconds. */
export function paintGrid(grid: Grid, mapping: Mapping, out: Uint32Array): void {
  const { values, mask } = grid;
  const { low, high, scale, colors, missing } = mapping;
  if (!(high > low)) {
    for (let at = 0; at < values.length; at++) out[at] = mask[at] ? colorOf(values[at]!, mapping) : 0;
    return;
  }
  const factor = 1 / (high - low);
  const decades = -1 / Math.log10(LOG_FLOOR);
  for (let at = 0; at < values.length; at++) {
    if (!mask[at]) {
      out[at] = 0;
      continue;
    }
    const value = values[at]!;
    if (value !== value) {
      out[at] = missing;
      continue;
    }
    let unit = (value - low) * factor;
    unit = unit < 0 ? 0 : unit > 1 ? 1 : unit;
    if (scale === "sqrt") unit = Math.sqrt(unit);
    else if (scale === "log") unit = unit <= LOG_FLOOR ? 0 : 1 + Math.log10(unit) * decades;
    const step = (unit * 256) | 0;
    out[at] = colors[step > 255 ? 255 : step]!;
  }
}

/** The colour of each of the 256 codes of a u8 block. */
export function codeColors(header: BlockHeader, mapping: Mapping): Uint32Array {
  const values = codeValues(header);
  return Uint32Array.from(values, (value) => colorOf(value, mapping));
}

/**
 * One thumbnail, reduced to `size` cells a side by the code that counts: the largest, or with `middle` the farthest
 * from it. Codes grow with values, so nothing needs decoding.
 */
export function paintThumbnail(
  thumbnail: { side: number; codes: Uint8Array; lower: boolean; mask: Mask },
  colors: Uint32Array,
  size: number,
  middle: number | null,
  out: Uint32Array,
): void {
  const { side, codes, lower, mask } = thumbnail;
  out.fill(0, 0, size * size);
  if (size >= side) {
    for (let query = 0, from = 0; query < side; query++) {
      const keys = lower ? query + 1 : side;
      for (let key = 0; key < keys; key++, from++) {
        if (mask[query * side + key]) out[query * side + key] = colors[codes[from]!]!;
      }
    }
    return;
  }
  // First the winning code + 1 of each cell (0: none yet), then its colour.
  const cellOf = new Int32Array(side);
  for (let cell = 0; cell < side; cell++) cellOf[cell] = Math.floor((cell * size) / side);
  for (let query = 0, from = 0; query < side; query++) {
    const keys = lower ? query + 1 : side;
    const row = cellOf[query]! * size;
    for (let key = 0; key < keys; key++, from++) {
      if (!mask[query * side + key]) continue;
      const code = codes[from]!;
      const to = row + cellOf[key]!;
      const held = out[to]! - 1;
      if (held < 0 || held === 255) out[to] = code + 1;
      else if (code === 255) continue;
      else if (middle === null ? code > held : Math.abs(code - middle) > Math.abs(held - middle)) out[to] = code + 1;
    }
  }
  for (let cell = 0; cell < size * size; cell++) if (out[cell]) out[cell] = colors[out[cell]! - 1]!;
}
