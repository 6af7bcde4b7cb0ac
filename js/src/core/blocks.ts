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
  const { numbers, values } = storedIn(block);
  if (!values) return new Float32Array(numbers);
  const out = new Float32Array(numbers.length);
  for (let at = 0; at < out.length; at++) out[at] = values[numbers[at]!]!;
  return out;
}

/** Values with every axis full; cells above the diagonal of layout "lower" are 0. */
export function decodeDense(block: Block): Float32Array {
  const { header } = block;
  if (header.layout === "dense") return decode(block);
  const { numbers, values } = storedIn(block);
  const side = header.shape[header.shape.length - 1] ?? 0;
  const stored = (side * (side + 1)) / 2;
  const rows = stored ? (numbers.length / stored) * side : 0;
  const out = new Float32Array(rows * side);
  let from = 0;
  for (let row = 0; row < rows; row++) {
    const cells = (row % side) + 1;
    const to = row * side;
    if (!values) out.set(numbers.subarray(from, from + cells), to);
    else for (let key = 0; key < cells; key++) out[to + key] = values[numbers[from + key]!]!;
    from += cells;
  }
  return out;
}

/** The numbers of a block as they lie in its bytes, and where they are codes, the value of each code. */
function storedIn({ header, bytes }: Block): { numbers: Uint8Array | Uint16Array | Float32Array; values: Float32Array | null } {
  if (header.dtype === "u8") return { numbers: bytes, values: codeValues(header) };
  if (header.dtype === "f16") return { numbers: aligned(bytes, Uint16Array), values: halves() };
  return { numbers: aligned(bytes, Float32Array), values: null };
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

interface Numbers<Kind> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, offset?: number, length?: number): Kind;
}

/** The bytes as numbers, without a copy where they lie as typed arrays want them. */
function aligned<Kind>(bytes: Uint8Array, Kind: Numbers<Kind>): Kind {
  const size = Kind.BYTES_PER_ELEMENT;
  return bytes.byteOffset % size ? new Kind(bytes.slice().buffer) : new Kind(bytes.buffer, bytes.byteOffset, bytes.byteLength / size);
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
