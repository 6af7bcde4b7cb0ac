/**
 * The answer that a view asks about and the foil that it is set against, as they were wished for: what one of them makes
 * of the other, and the word that was no token. Knows nothing of the DOM, or of what is asked of them.
 */
import { refusal } from "./linked";
import { Signal, type Readable } from "./signal";
import type { Candidate, RefusedToken, TokenName } from "./wire.gen";

export type Role = "answer" | "foil";
export const ROLES: Role[] = ["answer", "foil"];
/** Text of one token, its id, or null: the model chooses. */
export type Wished = string | number | null;

/** What a picture says of them: those used, and what may follow the tokens up to `position`. */
export interface Asked {
  answer: TokenName | null;
  foil: TokenName | null;
  candidates: Candidate[];
  tokens: { ids: number[]; strings: string[] };
  position: number;
}

/** The traits that hold them. */
export interface AnswersState {
  answer: Wished;
  foil: Wished;
  refused: RefusedToken | null;
}

/** What is seen of the view that they belong to. */
export interface Asking {
  readonly source: {
    get<Name extends keyof AnswersState>(name: Name): AnswersState[Name];
    setTogether(change: Partial<AnswersState>): void;
  };
  readonly canCompute: Readable<boolean>;
  expectKernel(): void;
}

export class Answers implements Record<Role, Readable<Wished>> {
  readonly answer = new Signal<Wished>(null);
  readonly foil = new Signal<Wished>(null);
  /** The last answer or foil that is no single token. */
  readonly refused = new Signal<RefusedToken | null>(null);

  constructor(
    readonly view: Asking,
    readonly asked: Readable<Asked | null>,
  ) {}

  read(names: Set<string>): void {
    const { source } = this.view;
    for (const role of ROLES) if (names.has(role)) this[role].value = source.get(role) ?? null;
    if (names.has("refused")) this.refused.value = refusal(source.get("refused"));
  }

  wish(role: Role, value: Wished): void {
    if (!this.view.canCompute.peek() || this[role].peek() === value) return;
    const change: Partial<Record<Role, Wished>> = { [role]: value };
    const held = this.asked.peek();
    const other: Role = role === "answer" ? "foil" : "answer";
    const there = held?.[other];
    if (value !== null && held?.foil && there) {
      // A token against itself says nothing: the one that stood here takes its place there.
      if (value === there.id || value === there.string) change[other] = held[role]!.id;
      // The model chooses a foil only for an answer of its own: who names another answer keeps the foil in sight.
      else if (role === "answer" && this.foil.peek() === null) change.foil = there.id;
    }
    this.#wishTogether(change);
  }

  /** The answer becomes the foil, the foil the answer. */
  swap(): void {
    const { answer, foil } = this.asked.peek() ?? {};
    if (!answer || !foil || !this.view.canCompute.peek()) return;
    // Words stay words: only what the model chose itself has to be named by its id.
    this.#wishTogether({ answer: this.foil.peek() ?? foil.id, foil: this.answer.peek() ?? answer.id });
  }

  #wishTogether(change: Partial<Record<Role, Wished>>): void {
    for (const role of ROLES) if (change[role] !== undefined) this[role].value = change[role];
    this.view.source.setTogether(change);
    this.view.expectKernel();
  }
}
