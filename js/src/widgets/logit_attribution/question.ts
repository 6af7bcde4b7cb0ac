/**
 * What is attributed, as a line that can be edited: logit( Mary) − logit( John) at a position = so much; words that are
 * no single token with what may be meant; and the prompt, on which the position is chosen. Knows nothing of the parts.
 */
import { exact, rounded } from "../../core/format";
import { positionName } from "../../core/positions";
import { clipped, isolated, visible } from "../../core/tokens";
import type { TokenName } from "../../core/wire.gen";
import { makeButton } from "../../dom/controls";
import { code, faint, h } from "../../dom/element";
import { TokenStrip, type TokenLook } from "../../dom/strip";
import { tokenLine } from "../../dom/token_line";
import type { Tooltip } from "../../dom/tooltip";
import type { Attribution, Role } from "./attribution";
import { decimalsFor, signed } from "./rows";
import { TokenInput, type Suggestion } from "./token_input";

const PLAIN: TokenLook = { background: "", ink: "", bars: [] };
/** What the attributed position cannot read. */
const AFTER: TokenLook = { ...PLAIN, ink: "color-mix(in srgb, var(--miw-faint) 75%, transparent)" };
const MOST_PIECES = 12;
const ROLE_TIPS: Record<Role, string> = {
  answer: "The answer: the token whose logit is explained. Empty: the model's first choice",
  foil: "The foil: the token that the answer is set against; what adds to both alike cancels. Empty: the model's second choice, or none if the answer is given",
};

export class Question {
  readonly answer: TokenInput;
  readonly foil: TokenInput;
  readonly strip: TokenStrip;
  readonly element: HTMLElement;
  readonly #line = h("div", { class: "miw-question-line" });
  readonly #refused = h("div", { class: "miw-refused", role: "status" });
  readonly #where = h("span", { class: "miw-question-where" });
  readonly #result = h("strong", { class: "miw-question-result" });
  readonly #terms: Record<Role, HTMLElement> = {
    answer: h("span", { class: "miw-question-term" }),
    foil: h("span", { class: "miw-question-term" }),
  };
  readonly #auto: Record<Role, HTMLElement>;
  readonly #attribution: Attribution;
  readonly #tooltip: Tooltip;

  constructor(attribution: Attribution, tooltip: Tooltip) {
    this.#attribution = attribution;
    this.#tooltip = tooltip;
    const { scope } = attribution;
    const input = (role: Role): TokenInput =>
      new TokenInput(scope, role, { chosen: (value) => attribution.wish(role, value), suggestions: () => this.#suggestions(role) });
    this.answer = input("answer");
    this.foil = input("foil");
    const auto = (): HTMLElement => h("span", { class: "miw-question-auto miw-faint" }, "auto");
    this.#auto = { answer: auto(), foil: auto() };
    const swap = makeButton(
      scope,
      { label: "swap answer and foil", tip: "Swap answer and foil: every sign turns", shortcut: "x", text: "⇄" },
      () => attribution.swap(),
    );
    swap.element.classList.add("miw-button-bare");
    this.#terms.answer.append("logit(", this.answer.element, this.#auto.answer, ")");
    this.#terms.foil.append("− logit(", this.foil.element, this.#auto.foil, ")");
    this.#line.append(
      this.#terms.answer,
      this.#terms.foil,
      swap.element,
      h("span", { class: "miw-question-term" }, this.#where, this.#result),
    );
    this.strip = new TokenStrip(scope, {
      point: (position, event) => this.#point(position, event),
      pick: (position) => attribution.choosePosition(position),
    });
    this.strip.element.setAttribute("aria-label", "the prompt: choose the position whose prediction is attributed");
    this.element = h(
      "section",
      { class: "miw-question", "aria-label": "what is attributed" },
      this.#line,
      this.#refused,
      h("div", { class: "miw-context" }, this.strip.element),
    );
    scope.effect(() => this.#showLine());
    scope.effect(() => this.#showRefused());
    scope.effect(() => swap.show({ disabled: !attribution.canCompute.value || !attribution.picture.value?.manifest.foil }));
    scope.effect(() => {
      this.strip.setTokens(attribution.positions.value);
      const position = attribution.position.value;
      this.strip.paint(0, (other) => (position !== null && other > position ? AFTER : PLAIN));
    });
    scope.effect(() => {
      const { position: there, query } = attribution.remote.value;
      const pointed = attribution.hoverPosition.value ?? attribution.placeOf(there ?? query);
      this.strip.mark({ pointed, locked: attribution.position.value });
    });
    scope.effect(() => {
      void attribution.position.value;
      this.strip.element.classList.toggle("miw-context-fixed", !attribution.canCompute.value);
      this.reveal();
    });
  }

  /** Brings the position that is attributed into sight. */
  reveal(): void {
    const position = this.#attribution.position.peek();
    if (position !== null) this.strip.reveal(position);
  }

  describe(position: number): string {
    const attribution = this.#attribution;
    const now = position === attribution.position.peek() ? ", attributed" : "";
    return `${positionName(attribution.positions.peek(), position)}${now}`;
  }

  #showLine(): void {
    const attribution = this.#attribution;
    const manifest = attribution.picture.value?.manifest;
    const live = attribution.canCompute.value;
    const refused = attribution.refused.value;
    for (const role of ["answer", "foil"] as const) {
      const wished = attribution[role].value;
      const used = manifest?.[role] ?? null;
      const [text, placeholder] =
        wished === null
          ? ["", used ? visible(used.string) : "none"]
          : [typeof wished === "string" ? wished : (this.#named(wished)?.string ?? `id ${wished}`), ""];
      this[role].show({ text, placeholder, readOnly: !live, none: wished === null && !used, refused: refused?.role === role });
      this.#terms[role].dataset["tip"] =
        `${ROLE_TIPS[role]}${live ? `  [${role === "answer" ? "a" : "f"}]` : ". Another one needs the model"}`;
      this.#auto[role].hidden = wished !== null || !used;
    }
    this.#terms.foil.hidden = !!manifest && !manifest.foil && !live;
    if (!manifest) return;
    // The words in sight may be others than the picture's: its own stand above, and no number beside these.
    this.#where.hidden = this.#result.hidden = attribution.stale.value;
    const { position, difference } = attribution.shown.value!.manifest;
    const show = attribution.show.value;
    const positions = attribution.positions.value;
    const label = clipped(positions.labels[position] ?? "", 24);
    const side = manifest.compare ? `${show === "difference" ? "A − B" : show} ` : "";
    this.#where.replaceChildren(faint(`${side}at position ${position} `), code(label), faint(" ="));
    this.#result.textContent = signed(difference, decimalsFor([difference])).replace("+", "");
    if (show === "difference") {
      const [a, b] = [manifest.difference, manifest.compare!.B.difference];
      this.#result.dataset["tip"] = `${exact(difference)} logits: A ${exact(a)}, B ${exact(b)}`;
      return;
    }
    this.#result.dataset["tip"] = manifest.foil
      ? `${exact(difference)} logits: the model gives ${quoted(manifest.answer)} ${odds(difference)} the probability of ${quoted(manifest.foil)} after this token`
      : `${exact(difference)}: the logit of ${quoted(manifest.answer)} after this token`;
  }

  #showRefused(): void {
    const attribution = this.#attribution;
    const refused = attribution.refused.value;
    const live = attribution.canCompute.value;
    this.#refused.hidden = !refused;
    if (!refused) return this.#refused.replaceChildren();
    const { role, text, pieces, offers } = refused;
    const token = (string: string): HTMLElement => h("code", { class: "miw-piece" }, h("bdi", {}, clipped(visible(string), 40)));
    const parts: Node[] = [
      h("strong", {}, role),
      token(text),
      h(
        "span",
        {},
        pieces.length
          ? pieces.length === 1
            ? "is no token by itself here:"
            : `is ${pieces.length} tokens here:`
          : "is no token of this model.",
      ),
    ];
    pieces.slice(0, MOST_PIECES).forEach((piece) => parts.push(token(piece)));
    if (pieces.length > MOST_PIECES) parts.push(h("span", {}, "…"));
    if (offers.length) parts.push(h("span", {}, "Single tokens:"));
    for (const offer of offers) {
      const chip = h(
        "button",
        {
          class: "miw-button miw-chip",
          disabled: !live,
          "aria-label": `take ${visible(offer.string)} as the ${role}`,
          "data-tip": `One token, id ${offer.id}: take it as the ${role}`,
        },
        token(offer.string),
      );
      chip.addEventListener("click", () => attribution.wish(role as Role, offer.id));
      parts.push(chip);
    }
    this.#refused.replaceChildren(...parts);
  }

  #suggestions(role: Role): Suggestion[] {
    const manifest = this.#attribution.picture.peek()?.manifest;
    if (!manifest) return [];
    const { candidates, tokens, position } = manifest;
    const alone = role === "foil" && this.#attribution.answer.peek() !== null;
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
    const manifest = this.#attribution.picture.peek()?.manifest;
    if (!manifest) return null;
    const known: { id: number; string: string }[] = [
      manifest.answer,
      ...(manifest.foil ? [manifest.foil] : []),
      ...manifest.candidates,
      ...(this.#attribution.refused.peek()?.offers ?? []),
    ];
    const at = manifest.tokens.ids.indexOf(id);
    return known.find((token) => token.id === id) ?? (at >= 0 ? { string: manifest.tokens.strings[at]! } : null);
  }

  #point(position: number | null, event: PointerEvent): void {
    const attribution = this.#attribution;
    attribution.pointAtPosition(position);
    if (position === null) return this.#tooltip.hide();
    const present = position === attribution.position.peek();
    const line = present
      ? "attributed: the prediction after this token"
      : attribution.canCompute.peek()
        ? "click: attribute the prediction after this token"
        : "another position needs the model";
    this.#tooltip.over([tokenLine("", attribution.positions.peek(), position), faint(line)], event);
  }
}

function quoted(token: TokenName): string {
  return `“${isolated(clipped(visible(token.string), 24))}”`;
}

/** e^difference as people say it: logits differ by the logarithm of the odds. */
function odds(difference: number): string {
  return `${rounded(Math.exp(difference))} times`;
}

export function percent(probability: number): string {
  const share = 100 * probability;
  return share >= 99.95 ? "> 99.9 %" : share >= 1 ? `${share.toFixed(1)} %` : share >= 0.01 ? `${share.toFixed(2)} %` : "< 0.01 %";
}
