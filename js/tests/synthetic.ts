/** A small attention state, made here, for tests of the whole view. */
import type { AttentionManifest, AttentionState } from "../src/core/wire.gen";

export interface Piece {
  name: string;
  dtype: "u8" | "f32";
  shape: number[];
  low: number;
  high: number;
  bytes: Uint8Array;
}

/** A parcel as `wire/blocks.py` packs it. */
export function packed(pieces: Piece[], manifest: unknown): DataView {
  let offset = 0;
  const blocks = pieces.map(({ bytes, ...piece }) => {
    const header = { ...piece, axes: [], layout: "dense", transform: "linear", offset, nbytes: bytes.length };
    offset += Math.ceil(bytes.length / 8) * 8;
    return header;
  });
  const text = new TextEncoder().encode(JSON.stringify({ schema: 1, manifest, blocks }));
  const start = Math.ceil((4 + text.length) / 8) * 8;
  const out = new Uint8Array(start + offset);
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(text, 4);
  pieces.forEach((piece, at) => out.set(piece.bytes, start + blocks[at]!.offset));
  return new DataView(out.buffer);
}

export function headPiece(layer: number, head: number, side: number, value: (query: number, key: number) => number): Piece {
  const values = new Float32Array(side * side);
  for (let query = 0; query < side; query++) for (let key = 0; key < side; key++) values[query * side + key] = value(query, key);
  return { name: `head/A/${layer}.${head}`, dtype: "f32", shape: [side, side], low: 0, high: 1, bytes: new Uint8Array(values.buffer) };
}

/** Two layers of two heads on `strings`. */
export function syntheticManifest(strings: string[], run: number): AttentionManifest {
  return {
    kind: "attention",
    run,
    model: "synthetic",
    interventions: [],
    ablated: [],
    other: null,
    tokens: {
      ids: strings.map((_, at) => at),
      strings,
      special: strings.map((_, at) => at === 0),
      spans: strings.map(() => [-1, -1]),
      text: null,
    },
    layers: [0, 1],
    heads: 2,
    kv_heads: null,
    weighting: "pattern",
    unit: "attention weight",
    causal: true,
    windows: [null, null],
    low: 0,
    high: 1,
    difference_high: null,
    head_high: [1, 1, 1, 1],
    compare: null,
    scores: [{ name: "induction", label: "induction", description: "", values: [0.1, 0.9, null, 0.5] }],
    checks: [{ label: "rows sum to 1", ok: true, detail: "max error 1e-7" }],
    notes: [],
    live: true,
  };
}

export function syntheticPicture(strings: string[], run: number): DataView {
  const side = Math.min(64, strings.length);
  const bytes = new Uint8Array(4 * side * side).map((_, at) => at % 255);
  return packed([{ name: "atlas/A", dtype: "u8", shape: [2, 2, side, side], low: 0, high: 1, bytes }], syntheticManifest(strings, run));
}

export function syntheticState(strings: string[], change: Partial<AttentionState> = {}): Record<string, unknown> {
  return {
    session_id: "session",
    prompt: { kind: "text", text: strings.slice(1).join("") },
    compare: null,
    history: [],
    selection: { layer: null, head: null, query: null, key: null, position: null, feature: null, heads: [], stamp: 0 },
    options: {},
    status: { state: "idle", run: 1, message: "", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 12 },
    picture: syntheticPicture(strings, 1),
    focus: packed([headPiece(0, 0, strings.length, (query, key) => (key <= query ? 1 / (query + 1) : 0))], null),
    store: new DataView(new ArrayBuffer(0)),
    height: 400,
    ...change,
  };
}
