/**
 * One run of the prompt view as the page holds it: each prompt's tokens with how far they were expected, and the columns
 * on which two prompts are aligned. Knows nothing of the DOM or of the kernel.
 */
import { decode, type Block, type Parcel } from "../../core/blocks";
import type { Precision } from "../../core/format";
import type { Pictured } from "../../core/linked";
import { makePositions, type Positions } from "../../core/positions";
import type { PromptManifest, PromptSide, TokenTable } from "../../core/wire.gen";

export type SideName = "A" | "B";

/** A token that may come next. */
export interface Candidate {
  id: number;
  string: string;
  probability: number;
  /** How many tokens are likelier: 0 is the likeliest. */
  rank: number;
}

/** One column of what is shown: a position of A and one of B, -1 where that prompt has no token there. */
export type Column = Record<SideName, number>;

/** One prompt as the model ran it. */
export class Side {
  readonly positions: Positions;
  /** Bits, of the token at a position given those before it; NaN where nothing stands before. */
  readonly surprisal: Float32Array;
  /** How many tokens were likelier than the one that came; -1 where nothing stands before. */
  readonly rank: Float32Array;
  /** Bits, of what may follow a position. */
  readonly entropy: Float32Array;
  /** Of the candidates' probabilities. */
  readonly precision: Precision;
  readonly #topIds: Float32Array;
  readonly #topProbs: Float32Array;
  readonly #names: Map<number, string>;
  readonly #k: number;

  constructor(
    readonly name: SideName,
    readonly totals: PromptSide,
    parcel: Parcel,
    names: Map<number, string>,
  ) {
    const block = (what: string): Block => {
      const found = parcel.blocks.get(`${name}/${what}`);
      if (!found) throw new Error(`The picture lacks the block ${name}/${what}.`);
      return found;
    };
    this.positions = makePositions(totals.tokens);
    this.surprisal = decode(block("surprisal"));
    this.rank = decode(block("rank"));
    this.entropy = decode(block("entropy"));
    this.#topIds = decode(block("top_ids"));
    this.#topProbs = decode(block("top_probs"));
    this.#k = block("top_ids").header.shape[1] ?? 0;
    this.precision = block("top_probs").header.dtype === "f32" ? "exact" : "half";
    this.#names = names;
  }

  get count(): number {
    return this.positions.count;
  }

  has(position: number): boolean {
    return position >= 0 && position < this.count;
  }

  idOf(position: number): number {
    return this.totals.tokens.ids[position] ?? -1;
  }

  probability(position: number): number {
    return 2 ** -this.surprisal[position]!;
  }

  /** The likeliest tokens after `position`, most likely first. */
  candidates(position: number): Candidate[] {
    if (!this.has(position)) return [];
    return Array.from({ length: this.#k }, (_, place) => {
      const id = this.#topIds[position * this.#k + place]!;
      return { id, string: this.#names.get(id) ?? String(id), probability: this.#topProbs[position * this.#k + place]!, rank: place };
    });
  }

  /** The token that stands after `position`, as a candidate; null after the last. */
  follower(position: number): Candidate | null {
    const at = position + 1;
    if (!this.has(position) || !this.has(at)) return null;
    return { id: this.idOf(at), string: this.positions.strings[at] ?? "", probability: this.probability(at), rank: this.rank[at]! };
  }

  /** What the model expected at `position` rather than the token that came. */
  instead(position: number, count: number): Candidate[] {
    const came = this.idOf(position);
    return this.candidates(position - 1)
      .filter((candidate) => candidate.id !== came)
      .slice(0, count);
  }
}

export class PromptPicture implements Pictured {
  readonly a: Side;
  readonly b: Side | null;
  readonly columns: Column[];
  readonly #ofA = new Map<number, number>();

  constructor(
    readonly manifest: PromptManifest,
    parcel: Parcel,
  ) {
    const names = new Map(manifest.names.map(({ id, string }) => [id, string]));
    const [first, second] = manifest.sides;
    if (!first) throw new Error("The picture holds no prompt.");
    this.a = new Side("A", first, parcel, names);
    this.b = second && manifest.pairs ? new Side("B", second, parcel, names) : null;
    this.columns = this.b
      ? manifest.pairs!.map(([a = -1, b = -1]) => ({ A: a, B: b }))
      : this.a.positions.strings.map((_, position) => ({ A: position, B: -1 }));
    this.columns.forEach((column, at) => {
      if (column.A >= 0) this.#ofA.set(column.A, at);
    });
  }

  get run(): number {
    return this.manifest.run;
  }

  get prompts(): TokenTable[] {
    return this.manifest.sides.map(({ tokens }) => tokens);
  }

  side(name: SideName): Side | null {
    return name === "A" ? this.a : this.b;
  }

  /** The column that holds a position of prompt A. */
  columnOfA(position: number | null): number | null {
    return position === null ? null : (this.#ofA.get(position) ?? null);
  }

  /** Surprisal of A − that of B in bits; NaN where either has no scored token. */
  difference(at: number): number {
    const column = this.columns[at];
    if (!column || !this.b || column.A < 0 || column.B < 0) return NaN;
    return this.a.surprisal[column.A]! - this.b.surprisal[column.B]!;
  }

  /** Total surprisal of A − that of B in bits, aligned or not. */
  get totalDifference(): number {
    return (this.a.totals.total ?? NaN) - (this.b?.totals.total ?? NaN);
  }
}
