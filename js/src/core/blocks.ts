/**
 * Parcels: quantised arrays as they cross from Python, with a JSON header. The other half of `wire/blocks.py`.
 * Knows nothing of attention, widgets or drawing.
 */
import type { BlockHeader, ParcelHeader } from "./wire.gen";

export const SCHEMA = 1;
/** u8 codes 0 … 254 are values, 255 is "not a number". */
export const U8_STEPS = 254;
export const U8_MISSING = 255;

/** Bytes as a host may deliver them. */
export type Bytes = DataView | ArrayBuffer | Uint8Array;

export interface Block {
  header: BlockHeader;
  bytes: Uint8Array;
}

export interface Parcel {
  manifest: unknown;
  blocks: Map<string, Block>;
}

/** The bytes of any host's buffer, without copying; null where there are none. */
export function asBytes(source: unknown): Uint8Array | null {
  if (source instanceof Uint8Array) return source.byteLength ? source : null;
  if (ArrayBuffer.isView(source)) {
    return source.byteLength ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength) : null;
  }
  // Not `instanceof ArrayBuffer`: buffers may come from another realm (an iframe, a test environment).
  if (Object.prototype.toString.call(source) === "[object ArrayBuffer]") {
    const buffer = source as ArrayBuffer;
    return buffer.byteLength ? new Uint8Array(buffer) : null;
  }
  return null;
}

export function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Opens a parcel; null where there are no bytes. Throws where they are no parcel or of a newer schema. */
export function openParcel(source: unknown): Parcel | null {
  const bytes = asBytes(source);
  if (!bytes) return null;
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  if (4 + length > bytes.byteLength) throw new Error("The picture's bytes are cut short.");
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length))) as ParcelHeader;
  if (header.schema > SCHEMA) throw new Error("The picture was written by a newer mi_widgets than this page.");
  const start = padded(4 + length);
  const blocks = new Map<string, Block>();
  for (const block of header.blocks) {
    const first = start + block.offset;
    if (first + block.nbytes > bytes.byteLength) throw new Error("The picture's bytes are cut short.");
    blocks.set(block.name, { header: block, bytes: bytes.subarray(first, first + block.nbytes) });
  }
  return { manifest: header.manifest, blocks };
}

/** Values as stored: dense, or for layout "lower" only the cells with key ≤ query, row by row. NaN is missing. */
export function decode(block: Block): Float32Array {
  const { header, bytes } = block;
  if (header.dtype === "u8") {
    const table = codeValues(header);
    const out = new Float32Array(bytes.length);
    for (let at = 0; at < bytes.length; at++) out[at] = table[bytes[at]!]!;
    return out;
  }
  if (header.dtype === "f16") {
    const table = halves();
    const codes = new Uint16Array(copied(bytes));
    const out = new Float32Array(codes.length);
    for (let at = 0; at < codes.length; at++) out[at] = table[codes[at]!]!;
    return out;
  }
  return new Float32Array(copied(bytes));
}

/** Values with every axis full; cells above the diagonal of layout "lower" are 0. */
export function decodeDense(block: Block): Float32Array {
  const { header } = block;
  const values = decode(block);
  if (header.layout === "dense") return values;
  const side = header.shape[header.shape.length - 1] ?? 0;
  const stored = (side * (side + 1)) / 2;
  const grids = stored ? values.length / stored : 0;
  const out = new Float32Array(grids * side * side);
  let from = 0;
  for (let grid = 0; grid < grids; grid++) {
    for (let query = 0; query < side; query++) {
      out.set(values.subarray(from, from + query + 1), (grid * side + query) * side);
      from += query + 1;
    }
  }
  return out;
}

/** The value of each of the 256 codes of a u8 block. */
export function codeValues(header: BlockHeader): Float32Array {
  const table = new Float32Array(256);
  for (let code = 0; code <= U8_STEPS; code++) {
    let unit = code / U8_STEPS;
    if (header.transform === "sqrt") unit = unit * unit;
    else if (header.transform === "signed_sqrt") {
      const signed = 2 * unit - 1;
      unit = (Math.sign(signed) * signed * signed + 1) / 2;
    }
    table[code] = header.low + (header.high - header.low) * unit;
  }
  table[U8_MISSING] = NaN;
  return table;
}

function padded(length: number): number {
  return Math.ceil(length / 8) * 8;
}

/** An array buffer of exactly these bytes: typed arrays refuse offsets that are not multiples of their size. */
function copied(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

let halfTable: Float32Array | null = null;

/** float32 of all 65,536 half-precision codes: a table reads a 512 × 512 head in under a millisecond. */
function halves(): Float32Array {
  if (halfTable) return halfTable;
  const table = new Float32Array(65536);
  for (let code = 0; code < 65536; code++) {
    const sign = code & 0x8000 ? -1 : 1;
    const exponent = (code >> 10) & 0x1f;
    const fraction = code & 0x3ff;
    table[code] =
      exponent === 0
        ? sign * fraction * 2 ** -24
        : exponent === 31
          ? fraction
            ? NaN
            : sign * Infinity
          : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return (halfTable = table);
}
