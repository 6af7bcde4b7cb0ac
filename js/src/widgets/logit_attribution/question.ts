/**
 * What is attributed, as a line that can be edited: logit( Mary) − logit( John) at a position = so much; words that are
 * no single token with what may be meant; and the prompt, on which the position is chosen. Knows nothing of the parts.
 */
import { exact, rounded } from "../../core/format";
import { positionName } from "../../core/positions";
import { clipped, isolated, visible } from "../../core/tokens";
import type { TokenName } from "../../core/wire.gen";
import { AnswerTerms } from "../../dom/answers";
import { code, faint, h } from "../../dom/element";
import { PLAIN, standingBack, TokenStrip } from "../../dom/strip";
import { tokenLine } from "../../dom/token_line";
import type { Tooltip } from "../../dom/tooltip";
import type { Attribution } from "./attribution";
import { decimalsFor, signed } from "./rows";

/** What the attributed position cannot read. */
const AFTER = standingBack(75);
const TERMS = {
  answer: { before: "logit(", after: ")", tip: "The answer: the token whose logit is explained. Empty: the model's first choice" },
  foil: {
    before: "− logit(",
    after: ")",
    tip: "The foil: the token that the answer is set against; what adds to both alike cancels. Empty: the model's second choice, or none if the answer is given",
  },
};

export class Question {
  readonly terms: AnswerTerms;
  readonly strip: TokenStrip;
  readonly element: HTMLElement;
  readonly #line = h("div", "miw-question-line");
  readonly #where = h("span", "miw-question-where");
  readonly #result = h("strong", "miw-question-result");
  readonly #attribution: Attribution;
  readonly #tooltip: Tooltip;

  constructor(attribution: Attribution, tooltip: Tooltip) {
    this.#attribution = attribution;
    this.#tooltip = tooltip;
    const { scope } = attribution;
    this.terms = new AnswerTerms(scope, attribution.answers, { value: TERMS, peek: () => TERMS });
    this.#line.append(...this.terms.elements, h("span", "miw-question-term", this.#where, this.#result));
    this.strip = new TokenStrip(scope, "the prompt: choose the position whose prediction is attributed", {
      point: (position, event) => this.#point(position, event),
      pick: (position) => attribution.choosePosition(position),
    });
    this.element = h(
      "section",
      { class: "miw-question", "aria-label": "what is attributed" },
      this.#line,
      this.terms.refused,
      h("div", "miw-context", this.strip.element),
    );
    scope.effect(() => this.#showLine());
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
