/** A small logit lens, made here, for tests: two rows per layer count, a vocabulary of six words. */
import type { LensManifest, LensRead, LensState } from "../src/core/wire.gen";
import { packed, type Piece } from "./synthetic";

export const VOCABULARY = [" Mary", " John", " to", ".", "\n", " the"];

export interface LensSide {
  /** [row][position][k] of ids, likeliest first, with their probabilities. */
  ids: number[][][];
  probs: number[][][];
}

/** Probabilities that fall by halves from a first token that depends on row, position and `turn`. */
export function sideOf(rows: number, positions: number, turn = 0, k = 3): LensSide {
  const ids: number[][][] = [];
  const probs: number[][][] = [];
  for (let row = 0; row < rows; row++) {
    ids.push([]);
    probs.push([]);
    for (let position = 0; position < positions; position++) {
      ids[row]!.push(Array.from({ length: k }, (_, at) => (row + position + turn + at) % VOCABULARY.length));
      probs[row]!.push(Array.from({ length: k }, (_, at) => 0.5 ** (at + 1)));
    }
  }
  return { ids, probs };
}

export interface LensGiven {
  strings: string[];
  layers?: number[];
  streams?: LensManifest["streams"];
  targets?: number[];
  whole?: boolean;
  run?: number;
  /** A second prompt; or, with `what: "lens"`, the second lens on the same one. */
  compare?: { what: "prompt" | "lens"; strings: string[]; pairs: number[][] };
  manifest?: Partial<LensManifest>;
  /** What is read of a partial picture. */
  read?: LensRead;
}

function block(name: string, shape: number[], value: (...at: number[]) => number): Piece {
  const size = shape.reduce((product, length) => product * length, 1);
  const values = new Float32Array(size).map((_, flat) => {
    const at: number[] = [];
    let rest = flat;
    for (const length of [...shape].reverse()) {
      at.unshift(rest % length);
      rest = Math.floor(rest / length);
    }
    return value(...at);
  });
  return { name, dtype: "f32", shape, low: 0, high: 1, bytes: new Uint8Array(values.buffer) };
}

/** The block with only these places of its second axis. */
function picked(piece: Piece, places?: number[]): Piece {
  if (!places) return piece;
  const [rows = 0, count = 0, each = 1] = piece.shape;
  const values = new Float32Array(piece.bytes.buffer);
  const kept = new Float32Array(rows * places.length * each);
  for (let row = 0; row < rows; row++) {
    places.forEach((at, place) =>
      kept.set(values.subarray((row * count + at) * each, (row * count + at + 1) * each), (row * places.length + place) * each),
    );
  }
  return { ...piece, shape: [rows, places.length, ...piece.shape.slice(2)], bytes: new Uint8Array(kept.buffer) };
}

function table(strings: string[]): LensManifest["tokens"] {
  return {
    ids: strings.map((_, at) => at),
    strings,
    special: strings.map((_, at) => at === 0),
    spans: strings.map(() => [-1, -1]),
    text: null,
  };
}

export function lensPicture(given: LensGiven): DataView {
  const { strings, layers = [0, 1, 2], targets = [], whole = true, run = 1, compare } = given;
  const streams = given.streams ?? layers.map(() => "resid_post" as const);
  const rows = layers.length;
  const side = (name: string, positions: number, turn: number): Piece[] => {
    const { ids, probs } = sideOf(rows, positions, turn);
    const k = whole ? 3 : 1;
    const cells = [rows, positions];
    return [
      block(`${name}/top_ids`, [...cells, k], (row, position, at) => ids[row!]![position!]![at!]!),
      block(`${name}/top_probs`, [...cells, k], (row, position, at) => probs[row!]![position!]![at!]!),
      block(`${name}/entropy`, cells, (row, position) => 1 + row! + position! / 10),
      block(`${name}/kl`, cells, (row) => rows - 1 - row!),
      block(`${name}/change`, cells, (row) => (row ? row : NaN)),
      block(`${name}/next_prob`, cells, (_, position) => (position === positions - 1 ? NaN : 0.25)),
      block(`${name}/final_rank`, cells, (row) => (rows - 1 - row!) * 9),
      block(`${name}/next_rank`, cells, (row, position) => (position === positions - 1 ? -1 : row === rows - 1 ? 0 : 99)),
      ...(targets.length
        ? [
            block(
              `${name}/target_probs`,
              [...cells, targets.length],
              (row, position, target) => (row! + 1) / 10 + target! / 100 + turn / 1000 + position! / 10000,
            ),
            block(`${name}/target_ranks`, [...cells, targets.length], (row, _, target) => (rows - 1 - row!) * 10 + target!),
          ]
        : []),
    ];
  };
  const pieces = side("A", strings.length, 0).map((piece) => picked(piece, given.read?.A));
  if (compare) {
    pieces.push(...side("B", compare.strings.length, 1).map((piece) => picked(piece, given.read?.B)));
    const both = compare.pairs.flatMap(([a = -1, b = -1], column) =>
      !given.read || ((a < 0 || given.read.A.includes(a)) && (b < 0 || given.read.B.includes(b))) ? [column] : [],
    );
    pieces.push(
      picked(
        block("difference/kl", [rows, compare.pairs.length], (row, column) =>
          compare.pairs[column!]!.some((at) => at < 0) ? NaN : row! + column! / 10,
        ),
        both,
      ),
    );
  }
  const manifest: LensManifest = {
    kind: "logit_lens",
    run,
    model: "synthetic",
    interventions: [],
    other: null,
    tokens: table(strings),
    positions: strings.map((_, at) => at),
    read: given.read ?? null,
    layers,
    streams,
    lens: "logit",
    lenses: ["logit"],
    available_streams: ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"],
    n_layers: Math.max(...layers) + 1,
    d_vocab: VOCABULARY.length,
    top_k: 3,
    whole,
    names: VOCABULARY.map((string, id) => ({ id, string })),
    targets: targets.map((id) => ({ id, string: VOCABULARY[id]! })),
    compare: compare
      ? {
          what: compare.what,
          lens: compare.what === "lens" ? "tuned" : "logit",
          tokens: table(compare.strings),
          positions: compare.strings.map((_, at) => at),
          pairs: compare.pairs,
        }
      : null,
    checks: [{ label: "last row = the model's output", ok: true, detail: "max relative error 1e-7" }],
    notes: [],
    live: true,
    ...given.manifest,
  };
  return packed(pieces, manifest);
}

/** The answer to request "rows", at all positions or those that are `read`. */
export function lensRows(rows: number[], positions: number, read?: number[]): DataView {
  const { ids, probs } = sideOf(Math.max(...rows) + 1, positions);
  const places = read ?? Array.from({ length: positions }, (_, at) => at);
  const pieces = rows.flatMap((row) => [
    block(`A/top_ids/${row}`, [places.length, 3], (place, at) => ids[row]![places[place!]!]![at!]!),
    block(`A/top_probs/${row}`, [places.length, 3], (place, at) => probs[row]![places[place!]!]![at!]!),
  ]);
  return packed(pieces, { names: VOCABULARY.map((string, id) => ({ id, string })) });
}

export function lensState(given: LensGiven, change: Partial<LensState> = {}): Record<string, unknown> {
  return {
    session_id: "session",
    prompt: { kind: "text", text: given.strings.slice(1).join("") },
    compare: null,
    history: [],
    selection: { layer: null, head: null, query: null, key: null, position: null, feature: null, heads: [], stamp: 0 },
    options: {},
    refused: null,
    status: { state: "idle", run: 1, message: "", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 12 },
    picture: lensPicture(given),
    focus: new DataView(new ArrayBuffer(0)),
    store: new DataView(new ArrayBuffer(0)),
    height: 480,
    ...change,
  };
}
