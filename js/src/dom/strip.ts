/**
 * Tokens as running text: each a span that can be pointed at, picked, shaded, numbered and underlined. Token strings are
 * untrusted and only ever become text. Knows nothing of attention.
 */
import type { Scope } from "../core/signal";
import { clipped, visible } from "../core/tokens";
import { h } from "./element";

export interface StripTokens {
  strings: string[];
  special: boolean[];
}

export interface TokenLook {
  background: string;
  ink: string;
  /** Colours of the bars under the token, "" for none. */
  bars: string[];
}

export interface StripMarks {
  pointed: number | null;
  locked: number | null;
}

export interface StripEvents {
  point(position: number | null, event: PointerEvent): void;
  pick(position: number): void;
}

/** Longer tokens are cut in the text and shown whole in the tooltip. */
const LONGEST = 40;
/** Painted before the strip's size is known. */
const FIRST_PAINTED = 300;
const NO_BARS = "linear-gradient(transparent 0 0)";

export class TokenStrip {
  readonly #text = h("div", { class: "miw-strip-text" });
  readonly #numbers = h("div", { class: "miw-strip-numbers", "aria-hidden": "true" });
  readonly element = h("div", { class: "miw-strip", tabindex: 0, role: "group" }, this.#text, this.#numbers);
  #tokens: StripTokens | null = null;
  #spans: HTMLElement[] = [];
  #looks: string[] = [];
  #look: ((position: number) => TokenLook) | null = null;
  /** The tokens in sight and a little more: a long prompt has thousands, and only these are painted. */
  #sight = { first: 0, last: Infinity };
  #layers = 0;
  #shown = new Map<number, string>();
  #placing = false;
  #marks: StripMarks = { pointed: null, locked: null };

  constructor(scope: Scope, events: StripEvents) {
    const position = (event: Event): number | null => {
      const span = event.target instanceof Element ? event.target.closest<HTMLElement>(".miw-token") : null;
      return span && this.element.contains(span) ? Number(span.dataset["position"]) : null;
    };
    scope.listen(this.element, "pointermove", (event) => events.point(position(event), event));
    scope.listen(this.element, "pointerleave", (event) => events.point(null, event));
    scope.listen(this.element, "scroll", () => this.look());
    scope.listen(this.element, "click", (event) => {
      const picked = position(event);
      if (picked !== null) events.pick(picked);
    });
  }

  setTokens(tokens: StripTokens): void {
    const held = this.#tokens;
    if (held && held.strings === tokens.strings && held.special === tokens.special) return;
    this.#tokens = tokens;
    this.#looks = [];
    this.#look = null;
    this.#sight = { first: 0, last: FIRST_PAINTED };
    this.#marks = { pointed: null, locked: null };
    const parts: Node[] = [];
    this.#spans = tokens.strings.map((string, position) => {
      const span = h("span", { class: tokens.special[position] ? "miw-token miw-token-special" : "miw-token", "data-position": position });
      fillToken(span, string);
      // Marks stand where spaces were: say where the line may break.
      if (/^\s/.test(string) || /\s$/.test(tokens.strings[position - 1] ?? "")) parts.push(document.createElement("wbr"));
      parts.push(span);
      if (string.includes("\n")) parts.push(document.createElement("br"));
      return span;
    });
    this.#text.replaceChildren(...parts);
  }

  /** Gives every token in sight its look; `layers` is how many bars there are. */
  paint(layers: number, look: (position: number) => TokenLook): void {
    if (layers !== this.#layers) {
      this.element.style.setProperty("--layers", String(layers));
      this.element.classList.toggle("miw-overlaid", layers > 0);
    }
    this.#layers = layers;
    this.#look = look;
    this.#paint();
  }

  /** Small numbers over a few tokens. They stand in a layer of their own, so that the text is never set anew. */
  number(numbers: Map<number, string>): void {
    this.#shown = numbers;
    if (this.#placing) return;
    // Where a token stands is only known once the text is laid out: wait for the frame that does so anyway.
    this.#placing = true;
    requestAnimationFrame(() => {
      this.#placing = false;
      this.#place();
    });
  }

  #place(): void {
    const places = [...this.#shown].map(([position, text]) => {
      const span = this.#spans[position];
      return { text, left: span?.offsetLeft ?? 0, top: span?.offsetTop ?? 0 };
    });
    this.#numbers.replaceChildren(
      ...places.map(({ text, left, top }) => {
        const number = h("span", { class: "miw-number" }, text);
        number.style.transform = `translate(${left}px, ${top - 8}px)`;
        return number;
      }),
    );
  }

  /** Finds out which tokens are in sight; called when the strip's size has changed. */
  look(): void {
    const spans = this.#spans;
    const { scrollTop, clientHeight } = this.element;
    // Tokens stand in reading order, so their tops only grow.
    const firstAt = (height: number): number => {
      let low = 0;
      let high = spans.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (spans[middle]!.offsetTop < height) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    if (!clientHeight) return;
    this.#sight = { first: firstAt(scrollTop - clientHeight), last: firstAt(scrollTop + 2 * clientHeight) };
    this.#paint();
    this.number(this.#shown);
  }

  #paint(): void {
    const look = this.#look;
    if (!look) return;
    const last = Math.min(this.#spans.length, this.#sight.last);
    for (let position = this.#sight.first; position < last; position++) {
      const span = this.#spans[position]!;
      const { background, ink, bars } = look(position);
      const key = `${background}|${ink}|${bars.join()}`;
      if (this.#looks[position] === key) continue;
      this.#looks[position] = key;
      span.style.backgroundColor = background;
      span.style.color = ink;
      if (bars.length || span.style.getPropertyValue("--bars")) span.style.setProperty("--bars", bars.length ? layered(bars) : NO_BARS);
    }
  }

  mark(marks: StripMarks): void {
    for (const kind of ["pointed", "locked"] as const) {
      const before = this.#marks[kind];
      const after = marks[kind];
      if (before === after) continue;
      if (before !== null) this.#spans[before]?.classList.remove(`miw-token-${kind}`);
      if (after !== null) this.#spans[after]?.classList.add(`miw-token-${kind}`);
    }
    this.#marks = { ...marks };
  }

  /** The height that the text would take at the present width. */
  get textHeight(): number {
    return this.#text.offsetHeight;
  }

  /** Scrolls the strip, and nothing around it, until the token is in sight. */
  reveal(position: number): void {
    const span = this.#spans[position];
    if (!span) return;
    const box = this.element;
    const top = span.offsetTop;
    if (top < box.scrollTop + 8) box.scrollTop = Math.max(0, top - 24);
    else if (top + span.offsetHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = top + span.offsetHeight - box.clientHeight + 12;
    }
  }
}

/** The token's text with faint marks for whitespace; bidirectional text stays within its own token. */
function fillToken(span: HTMLElement, string: string): void {
  const text = clipped(string, LONGEST);
  let plain = "";
  const flush = (): void => {
    if (plain) span.append(plain);
    plain = "";
  };
  for (const character of text) {
    const mark = visible(character);
    if (mark === character) plain += character;
    else {
      flush();
      span.append(h("span", { class: "miw-mark" }, mark));
    }
  }
  flush();
  if (!text) span.append(h("span", { class: "miw-mark" }, "∅"));
}

/** Bars of 3 pixels, one under the other, as background layers: no further elements for thousands of tokens. */
function layered(bars: string[]): string {
  return bars
    .map((color, at) => `linear-gradient(${color || "transparent"} 0 0) 0 calc(100% - ${(bars.length - 1 - at) * 4}px) / 100% 3px no-repeat`)
    .join(", ");
}
