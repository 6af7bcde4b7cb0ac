/** A small attribution, made here: two layers of two heads on a few words, for tests of the model and of the view. */
import type { AttributionManifest, AttributionSide, AttributionState } from "../src/core/wire.gen";
import { packed, type Piece } from "./synthetic";

export const WORDS = ["<bos>", "When", " Mary", " and", " John", " gave", " to"];
/** In logits: head 1.0 adds most. */
export const HEADS = [0.25, -0.5, 2, 0.125];
export const MLPS = [0.5, -1];
/** Embedding, then attention and MLP of each layer, then the bias: they sum to 2.375. */
export const PARTS = [0.75, -0.25, 0.5, 2.125, -1, 0.25];

function floats(name: string, shape: number[], values: number[]): Piece {
  return { name, dtype: "f32", shape, low: 0, high: 1, bytes: new Uint8Array(new Float32Array(values).buffer) };
}

/** What each head reads: all of it from position `head + 2 * layer`, and a tenth back from the first. */
export function sourcesOf(layer: number, head: number, count: number): number[] {
  const value = HEADS[2 * layer + head]!;
  const out = new Array<number>(count).fill(0);
  out[head + 2 * layer + 1] = 1.1 * value;
  out[0] = -0.1 * value;
  return out;
}

export function attributionManifest(change: Partial<AttributionManifest> = {}): AttributionManifest {
  const strings = WORDS;
  return {
    kind: "logit_attribution",
    run: 1,
    model: "synthetic",
    interventions: [],
    ablated: [],
    tokens: {
      ids: strings.map((_, at) => 100 + at),
      strings,
      special: strings.map((_, at) => at === 0),
      spans: strings.map(() => [-1, -1]),
      text: null,
    },
    position: 6,
    answer: { id: 102, string: " Mary" },
    foil: { id: 104, string: " John" },
    automatic: true,
    candidates: [
      { id: 102, string: " Mary", probability: 0.625 },
      { id: 104, string: " John", probability: 0.25 },
      { id: 7, string: "\n", probability: 0.0001 },
    ],
    by: "component",
    part_labels: ["embedding", "L0 attention", "L0 MLP", "L1 attention", "L1 MLP", "unembedding bias"],
    part_kinds: ["embedding", "attention", "mlp", "attention", "mlp", "unembedding bias"],
    part_layers: [-1, 0, 0, 1, 1, -1],
    part_heads: [-1, -1, -1, -1, -1, -1],
    part_neurons: [-1, -1, -1, -1, -1, -1],
    difference: 2.375003,
    residue: 3e-6,
    n_layers: 2,
    coder: null,
    has_coder: false,
    n_heads: 2,
    why_no_heads: "",
    has_sources: true,
    why_no_sources: "",
    checks: [{ label: "the parts sum to the logit difference", ok: true, detail: "residue 3e-06" }],
    notes: [],
    live: true,
    other: null,
    compare: null,
    ...change,
  };
}

/** The same with every head a part of its own. */
export const BY_HEAD: Partial<AttributionManifest> = {
  by: "head",
  part_labels: ["L0 H0", "L0 H1", "L1 H0", "L1 H1", "L1 MLP"],
  part_kinds: ["head", "head", "head", "head", "mlp"],
  part_layers: [0, 0, 1, 1, 1],
  part_heads: [0, 1, 0, 1, -1],
  part_neurons: [-1, -1, -1, -1, -1],
};

export function attributionPicture(
  change: Partial<AttributionManifest> = {},
  parts = change.by === "head" ? [...HEADS, -1] : PARTS,
): DataView {
  const manifest = attributionManifest(change);
  const count = manifest.tokens.strings.length;
  const pieces = [floats("contribution", [parts.length], parts), floats("mlps", [2], MLPS)];
  if (manifest.n_heads) pieces.push(floats("heads", [2, 2], HEADS));
  if (manifest.has_sources) {
    const sources = [0, 1].flatMap((layer) => [0, 1].flatMap((head) => sourcesOf(layer, head, count)));
    pieces.push(floats("sources", [2, 2, count], sources));
  }
  return packed(pieces, manifest);
}

/** Another prompt of as many words, with a word more before the last: what is asked of it stands at its position 7. */
export const OTHER = ["<bos>", "When", " Anna", " and", " Tom", " gave", " it", " to"];
export const PAIRS = [
  [0, 0],
  [1, 1],
  [2, 2],
  [3, 3],
  [4, 4],
  [5, 5],
  [-1, 6],
  [6, 7],
];
/** What B adds; of A − B every part, head and source is the difference. B has a part that A lacks. */
export const B_PARTS = [0.5, -0.25, 0.25, 1.5, -1, 0.25, 0.125];
export const B_HEADS = [0.25, -0.25, 1.5, 0];
export const B_MLPS = [0.25, -1];

/** The picture of both; `other` says what B is beside its prompt. */
export function comparedPicture(run = 1, change: Partial<AttributionManifest> = {}): DataView {
  const base = attributionManifest({ run });
  const lists = ["part_labels", "part_kinds", "part_layers", "part_heads", "part_neurons"] as const;
  const more = { part_labels: "L1 intervention", part_kinds: "intervention", part_layers: 1, part_heads: -1, part_neurons: -1 };
  const parts = Object.fromEntries(lists.map((name) => [name, [...base[name], more[name]]]));
  const side = (strings: string[], position: number, difference: number): AttributionSide => ({
    ...base,
    ...(parts as unknown as Pick<AttributionSide, (typeof lists)[number]>),
    tokens: { ...base.tokens, ids: strings.map((_, at) => 200 + at), strings, special: strings.map((_, at) => at === 0) },
    position,
    difference,
    residue: 0,
  });
  const columns = PAIRS.map(([a = -1, b = -1]) =>
    a < 0 ? `∅→${OTHER[b]}` : WORDS[a] === OTHER[b] ? WORDS[a]! : `${WORDS[a]}→${OTHER[b]}`,
  );
  const compare = { B: side(OTHER, 7, 1.375), difference: side(columns, 7, 1), pairs: PAIRS };
  const minus = (a: number[], b: number[]): number[] => b.map((value, at) => (a[at] ?? 0) - value);
  const blocks = (prefix: string, contribution: number[], heads: number[], mlps: number[], last: number): Piece[] => [
    floats(`${prefix}contribution`, [contribution.length], contribution),
    floats(`${prefix}mlps`, [2], mlps),
    floats(`${prefix}heads`, [2, 2], heads),
    // All of a head's is read from the last position.
    floats(
      `${prefix}sources`,
      [2, 2, last + 1],
      heads.flatMap((value) => [...new Array<number>(last).fill(0), value]),
    ),
  ];
  return packed(
    [
      ...blocks("", PARTS, HEADS, MLPS, 6),
      ...blocks("B/", B_PARTS, B_HEADS, B_MLPS, 7),
      ...blocks("difference/", minus(PARTS, B_PARTS), minus(HEADS, B_HEADS), minus(MLPS, B_MLPS), 7),
    ],
    { ...base, compare, other: { interventions: [], ablated: [], model: null }, ...change },
  );
}

export function attributionState(change: Partial<AttributionState> = {}): Record<string, unknown> {
  return {
    session_id: "session",
    prompt: { kind: "text", text: WORDS.slice(1).join("") },
    history: [],
    selection: { layer: null, head: null, query: null, key: null, position: null, feature: null, heads: [], stamp: 0 },
    compare: null,
    beside: null,
    answer: null,
    foil: null,
    refused: null,
    options: {},
    status: { state: "idle", run: 1, message: "", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 12 },
    picture: attributionPicture(),
    focus: new DataView(new ArrayBuffer(0)),
    store: new DataView(new ArrayBuffer(0)),
    height: 500,
    ...change,
  };
}
