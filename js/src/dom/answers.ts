/**
 * The answer and the foil as terms of a line that can be edited, and of a word that is no single token what may be
 * meant. Knows nothing of what is asked of them.
 */
import { ROLES, type Answers, type Role } from "../core/answers";
import type { Readable, Scope } from "../core/signal";
import { clipped, visible } from "../core/tokens";
import { makeButton } from "./controls";
import { h } from "./element";
import { TokenInput, type Suggestion } from "./token_input";

/** What stands around a field, and what explains it. */
export interface Term {
  before: string;
  after: string;
  tip: string;
}

const MOST_PIECES = 12;

export class AnswerTerms {
  readonly answer: TokenInput;
  readonly foil: TokenInput;
  /** Both terms, and the button that swaps them. */
  readonly elements: HTMLElement[];
  readonly refused = h("div", { class: "miw-refused", role: "status" });
  readonly #answers: Answers;
  readonly #terms: Readable<Record<Role, Term | null>>;
  readonly #live: Readable<boolean>;
  readonly #auto = { answer: auto(), foil: auto() };
  readonly #around = { answer: around(), foil: around() };

  /** Of a term that is null the view has no use now. */
  constructor(scope: Scope, answers: Answers, terms: Readable<Record<Role, Term | null>>) {
    this.#answers = answers;
    this.#terms = terms;
    this.#live = answers.view.canCompute;
    const input = (role: Role): TokenInput =>
      new TokenInput(scope, role, { chosen: (value) => answers.wish(role, value), suggestions: () => this.#suggestions(role) });
    this.answer = input("answer");
    this.foil = input("foil");
    const swap = makeButton(
      scope,
      { label: "swap answer and foil", tip: "Swap answer and foil: every sign turns", shortcut: "x", text: "⇄" },
      () => answers.swap(),
    );
    swap.element.classList.add("miw-button-bare");
    for (const role of ROLES) {
      const { before, element, after } = this.#around[role];
      element.append(before, this[role].element, this.#auto[role], after);
    }
    this.elements = [this.#around.answer.element, this.#around.foil.element, swap.element];
    scope.effect(() => this.#showTerms());
    scope.effect(() => this.#showRefused());
    scope.effect(() => swap.show({ disabled: !this.#live.value || !answers.asked.value?.foil, hidden: !terms.value.foil }));
  }

  /** What the key does that swaps them. */
  swapped(): string {
    const foil = this.#answers.asked.peek()?.foil;
    if (!foil || !this.#live.peek()) return "without a kernel and a foil there is nothing to swap";
    this.#answers.swap();
    return `swapped: the answer is now ${visible(foil.string)}`;
  }

  #showTerms(): void {
    const answers = this.#answers;
    const asked = answers.asked.value;
    const live = this.#live.value;
    const refused = answers.refused.value;
    for (const role of ROLES) {
      const wished = answers[role].value;
      const used = asked?.[role] ?? null;
      const [text, placeholder] =
        wished === null
          ? ["", used ? visible(used.string) : "none"]
          : [typeof wished === "string" ? wished : (this.#named(wished)?.string ?? `id ${wished}`), ""];
      this[role].show({ text, placeholder, readOnly: !live, none: wished === null && !used, refused: refused?.role === role });
      const term = this.#terms.value[role];
      const { element, before, after } = this.#around[role];
      element.hidden = !term || (role === "foil" && !!asked && !asked.foil && !live);
      before.textContent = term?.before ?? "";
      after.textContent = term?.after ?? "";
      element.dataset["tip"] = `${term?.tip}${live ? `  [${role === "answer" ? "a" : "f"}]` : ". Another one needs the model"}`;
      this.#auto[role].hidden = wished !== null || !used;
    }
  }

  #showRefused(): void {
    const refused = this.#answers.refused.value;
    const live = this.#live.value;
    this.refused.hidden = !refused;
    if (!refused) return this.refused.replaceChildren();
    const { role, text, pieces, offers } = refused;
    const token = (string: string): HTMLElement => h("code", "miw-piece", h("bdi", {}, clipped(visible(string), 40)));
    const count = pieces.length === 1 ? "is no token by itself here:" : `is ${pieces.length} tokens here:`;
    const parts: Node[] = [
      h("strong", {}, role),
      token(text),
      h("span", {}, pieces.length ? count : "is no token of this model."),
      ...pieces.slice(0, MOST_PIECES).map(token),
    ];
    if (pieces.length > MOST_PIECES) parts.push(h("span", {}, "…"));
    if (offers.length) parts.push(h("span", {}, "Single tokens:"));
    for (const offer of offers) {
      const take = { class: "miw-button miw-chip", disabled: !live, click: () => this.#answers.wish(role as Role, offer.id) };
      const named = {
        "aria-label": `take ${visible(offer.string)} as the ${role}`,
        "data-tip": `One token, id ${offer.id}: take it as the ${role}`,
      };
      parts.push(h("button", { ...take, ...named }, token(offer.string)));
    }
    this.refused.replaceChildren(...parts);
  }

  #suggestions(role: Role): Suggestion[] {
    const asked = this.#answers.asked.peek();
    if (!asked) return [];
    const { candidates, tokens, position } = asked;
    const alone = role === "foil" && this.#answers.answer.peek() !== null;
    const none = alone ? "none: the logit of the answer alone" : `automatic: the model's ${role === "answer" ? "first" : "second"} choice`;
    const out: Suggestion[] = [{ value: null, text: "", note: none, share: 0 }];
    for (const { id, string, probability } of candidates) {
      out.push({ value: id, text: string, note: percent(probability), share: probability });
    }
    const follows = tokens.ids[position + 1] ?? -1;
    if (follows >= 0 && !candidates.some(({ id }) => id === follows)) {
      out.push({ value: follows, text: tokens.strings[position + 1] ?? "", note: "follows in the prompt", share: 0 });
    }
    return out;
  }

  /** The token of an id, where anything in sight names it. */
  #named(id: number): { string: string } | null {
    const asked = this.#answers.asked.peek();
    if (!asked) return null;
    const { answer, foil, candidates, tokens } = asked;
    const known = [answer, foil, ...candidates, ...(this.#answers.refused.peek()?.offers ?? [])];
    const at = tokens.ids.indexOf(id);
    return known.find((token) => token?.id === id) ?? (at >= 0 ? { string: tokens.strings[at]! } : null);
  }
}

function auto(): HTMLElement {
  return h("span", "miw-question-auto miw-faint", "auto");
}

function around(): Record<"element" | "before" | "after", HTMLElement> {
  return { element: h("span", "miw-question-term"), before: h("span"), after: h("span") };
}

function percent(probability: number): string {
  const share = 100 * probability;
  return share >= 99.95 ? "> 99.9 %" : share >= 1 ? `${share.toFixed(1)} %` : share >= 0.01 ? `${share.toFixed(2)} %` : "< 0.01 %";
}
