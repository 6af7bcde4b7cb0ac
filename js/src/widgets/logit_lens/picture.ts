/**
 * One run's logit lens as the page holds it: numbers by side, row and position, the names of tokens, and what rows and
 * columns are called. Knows nothing of colours, of the DOM or of the kernel.
 */
import { decode, type Block, type Parcel } from "../../core/blocks";
import type { Precision } from "../../core/format";
import { LENS } from "../../core/options.gen";
import { makePositions, type Positions } from "../../core/positions";
import type { LensManifest, LensRows, Show, TokenTable } from "../../core/wire.gen";

export type Side = "A" | "B";
export type Stream = LensManifest["streams"][number];
/** One number per row and position; `final_rank` and `next_rank` are -1 where there is none. */
export type Quantity = "entropy" | "kl" | "change" | "next_prob" | "final_rank" | "next_rank";

/** What is read out, in words. */
export function streamName(stream: Stream): string {
  return LENS.options.stream.choices!.find((choice) => choice.value === stream)?.tip ?? stream;
}

/** A row of the table; the last one is the model's own output. */
export interface Row {
  layer: number;
  stream: Stream;
  /** "L11 post". */
  label: string;
  /** For tooltips and readers: what is read here. */
  detail: string;
}

/** The columns of what is shown. `position` counts in prompt A and is -1 where it has no such position. */
export interface Columns extends Omit<Positions, "toA"> {
  position: number[];
  /** The positions as they are written: of A, of B, or of both where they differ. */
  numbers: string[];
  /** Index along the position axis of each side, -1 where it has none. */
  at: Record<Side, number[]>;
  /** Whether a column is read already: not of every column of a partial picture. */
  read: boolean[];
}

/** A token of the vocabulary and its probability. */
export interface Guess {
  id: number;
  string: string;
  probability: number;
}

interface Tops {
  ids: Float32Array;
  probs: Float32Array;
  k: number;
}

export const EMPTY_COLUMNS: Columns = {
  count: 0,
  labels: [],
  strings: [],
  special: [],
  details: [],
  position: [],
  numbers: [],
  fromA: new Map(),
  at: { A: [], B: [] },
  read: [],
};

export class LensPicture {
  readonly manifest: LensManifest;
  readonly rows: Row[];
  readonly names = new Map<number, string>();
  readonly #blocks: Map<string, Block>;
  readonly #decoded = new Map<string, Float32Array>();
  readonly #columns = new Map<Show, Columns>();
  /** Rows whose whole top k came after the picture. */
  readonly #fetched = new Map<string, Tops>();

  constructor(parcel: Parcel) {
    this.manifest = parcel.manifest as LensManifest;
    this.#blocks = parcel.blocks;
    const { layers, streams } = this.manifest;
    const last = layers.length - 1;
    this.rows = layers.map((layer, row) => {
      const stream = streams[row] ?? "resid_post";
      const short = stream.replace(/^resid_|_out$/, "");
      return { layer, stream, label: `L${layer} ${short}`, detail: row === last ? "the model's own output" : streamName(stream) };
    });
    this.#learn(this.manifest.names);
    this.#learn(this.manifest.targets);
  }

  get run(): number {
    return this.manifest.run;
  }

  get prompts(): TokenTable[] {
    const { tokens, compare } = this.manifest;
    return compare?.what === "prompt" ? [tokens, compare.tokens] : [tokens];
  }

  /** How many columns of a partial picture are read, of how many; null of a whole one. */
  get progress(): { read: number; count: number } | null {
    if (!this.manifest.read) return null;
    const { read, count } = this.columns(this.manifest.compare ? "difference" : "A");
    return { read: read.filter(Boolean).length, count };
  }

  get unfinished(): string {
    const { progress } = this;
    return progress ? `${progress.read} of ${progress.count} positions are read` : "";
  }

  get sides(): Side[] {
    return this.manifest.compare ? ["A", "B"] : ["A"];
  }

  /** The number of positions along the axis of a side. */
  width(side: Side): number {
    return (side === "A" ? this.manifest.positions : (this.manifest.compare?.positions ?? [])).length;
  }

  /** [row, position], or null where this picture has no such side. */
  values(side: Side, quantity: Quantity): Float32Array | null {
    return this.#read(`${side}/${quantity}`);
  }

  /** [row, position] of what a block carries: of the top token, of a pinned one, or of the row itself. */
  cells(side: Side, block: string, target: number): Float32Array | null {
    if (block === "top_probs") return this.topProbs(side);
    if (block === "target_probs" || block === "target_ranks")
      return this.target(side, block === "target_probs" ? "probs" : "ranks", target);
    return this.#read(`${side}/${block}`);
  }

  precision(side: Side, block: string): Precision {
    return this.#blocks.get(`${side}/${block}`)?.header.dtype === "f32" ? "exact" : "half";
  }

  /** KL(A‖B) in nats, [row, column of the difference]; null where nothing is compared. */
  get divergence(): Float32Array | null {
    return this.#read("difference/kl");
  }

  /** Probability or rank of one pinned token, [row, position]. */
  target(side: Side, what: "probs" | "ranks", target: number): Float32Array | null {
    const name = `${side}/target_${what}`;
    const known = this.#decoded.get(`${name}/${target}`);
    if (known) return known;
    const all = this.#read(name);
    const count = this.#blocks.get(name)?.header.shape[2] ?? 0;
    if (!all || target < 0 || target >= count) return null;
    const one = new Float32Array(all.length / count);
    for (let cell = 0; cell < one.length; cell++) one[cell] = all[cell * count + target]!;
    this.#decoded.set(`${name}/${target}`, one);
    return one;
  }

  /** The most likely token of a cell: its id, or -1 where there is none. */
  topId(side: Side, row: number, at: number): number {
    const ids = this.#read(`${side}/top_ids`);
    if (!ids || at < 0) return -1;
    return ids[(row * this.width(side) + at) * this.#kept(side)] ?? -1;
  }

  /** A token of a side's prompt: at a place of its axis, or `after` it; null where there is none. */
  tokenAt(side: Side, at: number, after = 0): string | null {
    const { tokens, positions, compare } = this.manifest;
    const [table, axis] = side === "A" ? [tokens, positions] : [compare?.tokens, compare?.positions];
    return at < 0 ? null : (table?.strings[(axis?.[at] ?? -2) + after] ?? null);
  }

  /** The string of a token of the vocabulary. */
  nameOf(id: number): string {
    return id < 0 ? "" : (this.names.get(id) ?? `#${id}`);
  }

  /** The probability of the top token, [row, position]. */
  topProbs(side: Side): Float32Array | null {
    const name = `${side}/top_probs`;
    const known = this.#decoded.get(`${name}/first`);
    if (known) return known;
    const all = this.#read(name);
    if (!all) return null;
    const k = this.#kept(side);
    const first = new Float32Array(all.length / k);
    for (let cell = 0; cell < first.length; cell++) first[cell] = all[cell * k]!;
    this.#decoded.set(`${name}/first`, first);
    return first;
  }

  /** The likeliest tokens of a cell, as many as the page has. */
  guesses(side: Side, row: number, at: number): Guess[] {
    const tops = this.#tops(side, row);
    if (!tops || at < 0 || this.manifest.read?.[side].includes(at) === false) return [];
    const out: Guess[] = [];
    for (let place = at * tops.k; place < (at + 1) * tops.k; place++) {
      const id = tops.ids[place]!;
      out.push({ id, string: this.nameOf(id), probability: tops.probs[place]! });
    }
    return out;
  }

  /** Whether all of a row's top k is here. */
  hasRow(side: Side, row: number): boolean {
    return this.manifest.whole || this.#fetched.has(`${side}/${row}`);
  }

  /** Takes rows that came after the picture; whether there were any. */
  feed(parcel: Parcel): boolean {
    this.#learn((parcel.manifest as LensRows | null)?.names ?? []);
    let fed = false;
    for (const [name, block] of parcel.blocks) {
      const [side, kind, row] = name.split("/");
      const probs = kind === "top_ids" && row !== undefined ? parcel.blocks.get(`${side}/top_probs/${row}`) : undefined;
      if (!probs) continue;
      const [positions, k = 1] = block.header.shape;
      const read = this.#readAlong(side as Side);
      // Rows of another stage of the reading are of no use.
      if (positions !== (read ?? { length: this.width(side as Side) }).length) continue;
      const whole = (values: Float32Array, none: number): Float32Array =>
        read ? spread(values, 1, read, this.width(side as Side), k, none) : values;
      this.#fetched.set(`${side}/${row}`, { ids: whole(decode(block), -1), probs: whole(decode(probs), NaN), k });
      fed = true;
    }
    return fed;
  }

  /** Keeps what came after `other`, a picture of the same run; of one that was read less far, the names. */
  inherit(other: LensPicture): void {
    for (const [id, string] of other.names) if (!this.names.has(id)) this.names.set(id, string);
    if (this.progress?.read !== other.progress?.read) return;
    for (const [name, tops] of other.#fetched) this.#fetched.set(name, tops);
  }

  columns(show: Show): Columns {
    const known = this.#columns.get(show);
    if (known) return known;
    const made = makeColumns(this.manifest, show);
    this.#columns.set(show, made);
    return made;
  }

  #kept(side: Side): number {
    return this.#blocks.get(`${side}/top_ids`)?.header.shape[2] ?? 1;
  }

  #tops(side: Side, row: number): Tops | null {
    const fetched = this.#fetched.get(`${side}/${row}`);
    if (fetched) return fetched;
    const [ids, probs] = [this.#read(`${side}/top_ids`), this.#read(`${side}/top_probs`)];
    if (!ids || !probs) return null;
    const k = this.#kept(side);
    const size = this.width(side) * k;
    return { ids: ids.subarray(row * size, (row + 1) * size), probs: probs.subarray(row * size, (row + 1) * size), k };
  }

  #read(name: string): Float32Array | null {
    const known = this.#decoded.get(name);
    if (known) return known;
    const block = this.#blocks.get(name);
    if (!block) return null;
    const [rows = 1, , each = 1] = block.header.shape;
    const read = name === "difference/kl" ? this.#readColumns() : this.#readAlong(name[0] as Side);
    const width = name === "difference/kl" ? (this.manifest.compare?.pairs ?? []).length : this.width(name[0] as Side);
    const values = decode(block);
    const whole = read ? spread(values, rows, read, width, each, /_ids|rank/.test(name) ? -1 : NaN) : values;
    this.#decoded.set(name, whole);
    return whole;
  }

  /** Which indices of a side's position axis the blocks hold; null for all. */
  #readAlong(side: Side): number[] | null {
    return this.manifest.read?.[side] ?? null;
  }

  /** Which columns of the difference its block holds; null for all. */
  #readColumns(): number[] | null {
    return this.manifest.read ? this.columns("difference").read.flatMap((is, column) => (is ? [column] : [])) : null;
  }

  #learn(names: LensManifest["names"]): void {
    for (const { id, string } of names) this.names.set(id, string);
  }
}

/** What blocks hold of the positions `read`, along all `width` of them; `none` elsewhere. */
function spread(values: Float32Array, rows: number, read: number[], width: number, each: number, none: number): Float32Array {
  const out = new Float32Array(rows * width * each).fill(none);
  for (let row = 0; row < rows; row++) {
    read.forEach((at, place) => {
      const from = (row * read.length + place) * each;
      out.set(values.subarray(from, from + each), (row * width + at) * each);
    });
  }
  return out;
}

/** What columns are called, and which position of A and of B each of them shows. */
function makeColumns(manifest: LensManifest, show: Show): Columns {
  const { tokens, positions, compare } = manifest;
  const none = (count: number): number[] => new Array<number>(count).fill(-1);
  const every = (axis: number[]): number[] => axis.map((_, at) => at);
  // Two lenses on one prompt have the same columns, whatever is shown of them.
  if (!compare || compare.what === "lens" || show === "A") {
    const b = compare?.what === "lens" ? inverse(compare.pairs, positions.length) : none(positions.length);
    return picked(manifest, makePositions(tokens), positions, every(positions), b);
  }
  const axes = { A: positions, B: compare.positions };
  const table = { tokens: compare.tokens, pairs: compare.pairs.map(([a = -1, b = -1]) => [axes.A[a] ?? -1, axes.B[b] ?? -1]) };
  if (show === "B") return picked(manifest, makePositions(tokens, table, "B"), axes.B, none(axes.B.length), every(axes.B));
  const both = makePositions(tokens, table, "difference");
  const [a, b] = [0, 1].map((side) => compare.pairs.map((pair) => pair[side] ?? -1));
  const columns = picked(
    manifest,
    both,
    table.pairs.map((_, at) => at),
    a!,
    b!,
  );
  const number = (position: number): string => (position < 0 ? "–" : String(position));
  return {
    ...columns,
    numbers: table.pairs.map(([own = -1, other = -1]) => (own === other ? number(own) : `${number(own)}|${number(other)}`)),
  };
}

/** The positions `kept`, in their order. */
function picked({ read }: LensManifest, named: Positions, kept: number[], a: number[], b: number[]): Columns {
  const pick = <Value>(values: Value[], none: Value): Value[] => kept.map((at) => values[at] ?? none);
  const position = pick(named.toA, -1);
  const known = read ? { A: new Set(read.A), B: new Set(read.B) } : null;
  const isRead = (side: Side, at: number): boolean => at < 0 || !known || known[side].has(at);
  return {
    count: kept.length,
    labels: pick(named.labels, ""),
    strings: pick(named.strings, ""),
    special: pick(named.special, false),
    details: pick(named.details, ""),
    numbers: kept.map(String),
    position,
    fromA: new Map(position.flatMap((at, column) => (at < 0 ? [] : [[at, column] as const]))),
    at: { A: a, B: b },
    read: kept.map((_, column) => isRead("A", a[column] ?? -1) && isRead("B", b[column] ?? -1)),
  };
}

function inverse(pairs: number[][], count: number): number[] {
  const out = new Array<number>(count).fill(-1);
  for (const [a = -1, b = -1] of pairs) if (a >= 0) out[a] = b;
  return out;
}
