/** A small state of the prompt view, made here, for tests of its model and of the whole view. */
import type { PromptManifest, PromptState } from "../src/core/wire.gen";
import { packed, type Piece } from "./synthetic";

/** One prompt by hand: per position its token, its surprisal in bits, and its candidates for the next token. */
export interface Written {
  strings: string[];
  ids: number[];
  /** Bits; NaN at the first. */
  surprisal: number[];
  rank: number[];
  entropy: number[];
  top: [id: number, probability: number][][];
}

export const NAMES: Record<number, string> = { 0: "<bos>", 1: "Tom", 2: " and", 3: " Sue", 4: " met", 5: " ran", 6: " sat" };

const TOP: [number, number][][] = [
  [
    [1, 0.5],
    [3, 0.25],
  ],
  [
    [2, 0.25],
    [4, 0.2],
  ],
  [
    [1, 0.75],
    [3, 0.125],
  ],
  [
    [5, 0.625],
    [6, 0.125],
  ],
];

/** "<bos>Tom and Sue": surprisals of 1, 2 and 3 bits, which are those that the candidates say. */
export const A: Written = {
  strings: ["<bos>", "Tom", " and", " Sue"],
  ids: [0, 1, 2, 3],
  surprisal: [NaN, 1, 2, 3],
  rank: [-1, 0, 0, 1],
  entropy: [1.5, 2.5, 0.5, 1.25],
  top: TOP,
};

/** "<bos>Tom met Sue": its third token is another, and has 4 bits more. */
export const B: Written = {
  ...A,
  strings: ["<bos>", "Tom", " met", " Sue"],
  ids: [0, 1, 4, 3],
  surprisal: [NaN, 1, 6, 0.5],
  rank: [-1, 0, 1, 0],
  top: [
    TOP[0]!,
    TOP[1]!,
    TOP[2]!,
    [
      [6, 0.5],
      [5, 0.25],
    ],
  ],
};

/** "<bos>Tom and": one token less than A. */
export const SHORT: Written = {
  strings: A.strings.slice(0, 3),
  ids: A.ids.slice(0, 3),
  surprisal: A.surprisal.slice(0, 3),
  rank: A.rank.slice(0, 3),
  entropy: A.entropy.slice(0, 3),
  top: TOP.slice(0, 3),
};

function piece(name: string, shape: number[], values: number[]): Piece {
  return { name, dtype: "f32", shape, low: 0, high: 1, bytes: new Uint8Array(new Float32Array(values).buffer) };
}

function pieces(side: string, written: Written): Piece[] {
  const count = written.strings.length;
  const k = written.top[0]!.length;
  return [
    ...(["surprisal", "rank", "entropy"] as const).map((name) => piece(`${side}/${name}`, [count], written[name])),
    piece(
      `${side}/top_ids`,
      [count, k],
      written.top.flatMap((row) => row.map(([id]) => id)),
    ),
    piece(
      `${side}/top_probs`,
      [count, k],
      written.top.flatMap((row) => row.map(([, probability]) => probability)),
    ),
  ];
}

export function promptPicture(
  run: number,
  sides: Written[],
  pairs: number[][] | null = null,
  change: Partial<PromptManifest> = {},
): DataView {
  const manifest: PromptManifest = {
    kind: "prompt",
    run,
    model: "synthetic",
    interventions: [],
    other: null,
    sides: sides.map(({ strings, ids, surprisal }) => {
      const total = surprisal.slice(1).reduce((sum, bits) => sum + bits, 0);
      const scored = strings.length - 1;
      return {
        tokens: { ids, strings, special: strings.map((string) => string === "<bos>"), spans: strings.map(() => [-1, -1]), text: null },
        total,
        scored,
        perplexity: scored ? 2 ** (total / scored) : (null as unknown as number),
      };
    }),
    pairs,
    names: Object.entries(NAMES).map(([id, string]) => ({ id: Number(id), string })),
    top_k: 2,
    d_vocab: 256,
    prepended: true,
    checks: [{ label: "probabilities agree", ok: true, detail: "max error 1e-7" }],
    notes: [],
    live: true,
    ...change,
  };
  return packed(
    sides.flatMap((written, at) => pieces("AB"[at]!, written)),
    manifest,
  );
}

export const EQUAL_PAIRS = [
  [0, 0],
  [1, 1],
  [2, 2],
  [3, 3],
];
export const SHORT_PAIRS = [
  [0, 0],
  [1, 1],
  [2, 2],
  [3, -1],
];

export function promptState(change: Partial<PromptState> = {}): Record<string, unknown> {
  return {
    session_id: "session",
    prompt: { kind: "text", text: "Tom and Sue" },
    compare: null,
    history: [],
    selection: { layer: null, head: null, query: null, key: null, position: null, feature: null, heads: [], stamp: 0 },
    options: {},
    written: 0,
    status: { state: "idle", run: 1, message: "", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 12 },
    picture: promptPicture(1, [A]),
    focus: new DataView(new ArrayBuffer(0)),
    store: new DataView(new ArrayBuffer(0)),
    height: 420,
    ...change,
  };
}

export function comparedState(
  other: Written = B,
  pairs: number[][] = EQUAL_PAIRS,
  change: Partial<PromptState> = {},
): Record<string, unknown> {
  return promptState({
    compare: { kind: "text", text: "B" },
    picture: promptPicture(1, [A, other], pairs),
    options: { show: "difference" } as never,
    ...change,
  });
}
