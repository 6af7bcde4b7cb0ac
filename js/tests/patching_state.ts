/** A small grid of patches, made here: two layers on a few words, for tests of the model and of the view. */
import type { PatchingManifest, PatchingState, TokenTable } from "../src/core/wire.gen";
import { packed, type Piece } from "./synthetic";

export const CLEAN = ["<bos>", "When", " Mary", " and", " John"];
export const CORRUPT = ["<bos>", "When", " Anna", " and", " John"];
/** Two layers × five positions: a patch of Mary in the first layer restores all, and one is beyond. */
export const EFFECTS = [0, 0, 1, 0.25, 0, 0, 0, 0.5, 1.25, -0.125];
export const ESTIMATES = [0, 0, 0.75, 0.25, 0, 0, 0, 0.5, 0.5, -0.25];
/** Of clean minus corrupt, in logits. */
export const SPAN = 4;

export function table(strings: string[]): TokenTable {
  return {
    ids: strings.map((_, at) => 100 + at),
    strings,
    special: strings.map((_, at) => at === 0),
    spans: strings.map(() => [-1, -1]),
    text: null,
  };
}

export function patchingManifest(change: Partial<PatchingManifest> = {}): PatchingManifest {
  return {
    kind: "patching",
    run: 1,
    model: "synthetic",
    interventions: [],
    other: null,
    checks: [{ label: "a cell is the run that it stands for", ok: true, detail: "error 1e−7" }],
    notes: [],
    live: true,
    tokens: table(CLEAN),
    compare: { tokens: table(CORRUPT), pairs: CLEAN.map((_, at) => [at, at]) },
    base: "B",
    experiment: "patching",
    site: "resid_pre",
    by: ["layer", "position"],
    numbers: [
      [0, 1],
      [0, 1, 2, 3, 4],
    ],
    layer: null,
    direction: "denoise",
    ablated_by: "",
    reference: "",
    metric: "logit_difference",
    metric_title: "logit difference",
    unit: "logits",
    clean: 3.21,
    corrupt: -0.79,
    neutral: 0,
    differs: true,
    pairs: 1,
    done: 10,
    total: 10,
    estimated_by: "attribution patching",
    why_estimate: "",
    seconds: { exact: 12, estimate: 0.5 },
    answer: { id: 102, string: " Mary" },
    foil: { id: 7, string: " Anna" },
    automatic: true,
    candidates: [
      { id: 102, string: " Mary", probability: 0.625 },
      { id: 7, string: " Anna", probability: 0.25 },
    ],
    n_layers: 2,
    n_heads: 2,
    n_kv_heads: 2,
    causal: true,
    sites: ["resid_pre", "resid_post", "z", "k"],
    grids: ["layer × position", "layer"],
    metrics: ["logit_difference", "rank", "kl"],
    paths: null,
    ...change,
  };
}

/** Head by layer, `sender` its effects through the queries of layer 1 and the logits. */
export const PATHS: PatchingManifest["paths"] = {
  path: [{ layer: 0, head: 1, entered: "" }],
  kinds: ["q", "q", "k", "k", "v", "v", "mlp", "mlp", "logits"],
  layers: [1, 1, 1, 1, 1, 1, 0, 1, -1],
  heads: [0, 1, 0, 1, 0, 1, -1, -1, -1],
  effects: [0.5, 0, 0.125, 0, 0, 0, null, -0.25, 0.75],
};

/** Cells that are null are not exact. */
export function patchingPicture(
  change: Partial<PatchingManifest> = {},
  effects: (number | null)[] = EFFECTS,
  estimates: (number | null)[] = ESTIMATES.slice(0, effects.length),
): DataView {
  const manifest = patchingManifest(change);
  const floats = (name: string, values: (number | null)[], times = 1): Piece => {
    const numbers = new Float32Array(values.map((value) => (value === null ? NaN : value * times)));
    return { name, dtype: "f32", shape: [values.length], low: 0, high: 1, bytes: new Uint8Array(numbers.buffer) };
  };
  const none = effects.map(() => null);
  const blocks = [floats("effect", manifest.differs ? effects : none), floats("change", effects, SPAN)];
  if (manifest.estimated_by)
    blocks.push(floats("estimate", manifest.differs ? estimates : none), floats("estimated_change", estimates, SPAN));
  if (manifest.pairs > 1)
    blocks.push(
      floats(
        "low",
        effects.map((value) => (value ?? NaN) - 0.25),
      ),
      floats(
        "high",
        effects.map((value) => (value ?? NaN) + 0.25),
      ),
    );
  return packed(blocks, manifest);
}

export function patchingState(change: Partial<PatchingState> = {}): Record<string, unknown> {
  return {
    session_id: "session",
    prompt: { kind: "text", text: CLEAN.slice(1).join("") },
    compare: { kind: "text", text: CORRUPT.slice(1).join("") },
    interventions: [],
    history: [],
    selection: { layer: null, head: null, query: null, key: null, position: null, feature: null, heads: [], stamp: 0 },
    answer: null,
    foil: null,
    refused: null,
    beside: null,
    proposal: "",
    path: [],
    options: {},
    status: { state: "idle", run: 1, message: "", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 12 },
    picture: patchingPicture(),
    focus: new DataView(new ArrayBuffer(0)),
    store: new DataView(new ArrayBuffer(0)),
    height: 500,
    ...change,
  };
}
