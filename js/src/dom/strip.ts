/**
 * Tokens as running text: each a span that can be pointed at, picked, shaded, numbered and underlined. Token strings are
 * untrusted and only ever become text. Knows nothing of attention.
 */
import type { Scope } from "../core/signal";
import { h } from "./element";
import { tokenText } from "./token_text";

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
/** Before Hebrew in Unicode nothing runs from right to left: only these tokens need to keep their direction to themselves. */
const MAY_RUN_BACK = /[\u0590-\uffff]/;
/** Zero width, as <wbr>, without an element to be styled for each token. */
const MAY_BREAK = "\u200b";
const NO_BARS = "linear-gradient(transparent 0 0)";

/** A token in the page. */
interface Shown {
  string: string;
  special: boolean;
  /** Whether the line may break before it. */
  mayBreak: boolean;
  span: HTMLElement;
  /** The span and the line breaks around it. */
  nodes: ChildNode[];
  /** The key of the look it was given last. */
  look: string;
}

export class TokenStrip {
  readonly #text = h("div", { class: "miw-strip-text" });
  readonly #numbers = h("div", { class: "miw-strip-numbers", "aria-hidden": "true" });
  readonly element = h("div", { class: "miw-strip", tabindex: 0, role: "group" }, this.#text, this.#numbers);
  #tokens: StripTokens | null = null;
  #shown: Shown[] = [];
  #look: ((position: number) => TokenLook) | null = null;
  /** The tokens in sight and a little more: a long prompt has thousands, and only these are painted. */
  #sight = { first: 0, last: FIRST_PAINTED };
  #layers = 0;
  #values = new Map<number, string>();
  #placing = false;
  readonly #placeSafely: () => void;
  #marks: StripMarks = { pointed: null, locked: null };
  /** The token that is kept in sight until the reader scrolls, and whether it has to be looked for. */
  #kept: number | null = null;
  #lost = false;
  #height = 0;
  #scrolled = 0;

  constructor(scope: Scope, events: StripEvents) {
    this.#placeSafely = scope.guard(() => this.#place());
    const position = (event: Event): number | null => {
      const span = event.target instanceof Element ? event.target.closest<HTMLElement>(".miw-token") : null;
      return span && this.element.contains(span) ? Number(span.dataset["position"]) : null;
    };
    scope.listen(this.element, "pointermove", (event) => events.point(position(event), event));
    scope.listen(this.element, "pointerleave", (event) => events.point(null, event));
    scope.listen(this.element, "scroll", () => {
      if (Math.abs(this.element.scrollTop - this.#scrolled) > 1) this.#kept = null;
      this.look();
    });
    scope.listen(this.element, "click", (event) => {
      const picked = position(event);
      if (picked !== null) events.pick(picked);
    });
  }

  /** Shows other tokens; those at the start and at the end that an edit left alone stay as they are. */
  setTokens(tokens: StripTokens): void {
    const held = this.#tokens;
    if (held && held.strings === tokens.strings && held.special === tokens.special) return;
    this.#tokens = tokens;
    this.#look = null;
    const marks = this.#marks;
    this.mark({ pointed: null, locked: null });
    const before = this.#shown;
    const count = tokens.strings.length;
    const least = Math.min(count, before.length);
    let head = 0;
    while (head < least && isToken(before[head]!, tokens, head)) head += 1;
    let tail = 0;
    while (tail < least - head && isToken(before[before.length - 1 - tail]!, tokens, count - 1 - tail)) tail += 1;
    const behind = before.slice(before.length - tail);
    const made = Array.from({ length: count - head - tail }, (_, at) => makeToken(tokens, head + at));
    const gone = document.createRange();
    gone.selectNodeContents(this.#text);
    if (head) gone.setStartAfter(before[head - 1]!.nodes.at(-1)!);
    if (behind.length) gone.setEndBefore(behind[0]!.nodes[0]!);
    gone.deleteContents();
    const added = document.createDocumentFragment();
    for (const { nodes } of made) added.append(...nodes);
    this.#text.insertBefore(added, behind[0]?.nodes[0] ?? null);
    this.#shown = [...before.slice(0, head), ...made, ...behind];
    if (before.length !== count) behind.forEach(({ span }, at) => (span.dataset["position"] = String(count - tail + at)));
    this.mark(marks); // who changes them may have done so before the tokens came
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
    this.#values = numbers;
    if (this.#placing) return;
    // Where a token stands is only known once the text is laid out: wait for the frame that does so anyway.
    this.#placing = true;
    requestAnimationFrame(() => {
      this.#placing = false;
      this.#placeSafely();
    });
  }

  #place(): void {
    const places = [...this.#values].map(([position, text]) => {
      const span = this.#shown[position]?.span;
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
    const shown = this.#shown;
    const { clientHeight } = this.element;
    if (!clientHeight) return;
    if (this.#lost || clientHeight !== this.#height) this.#scrollToKept();
    this.#height = clientHeight;
    const { scrollTop } = this.element;
    // Tokens stand in reading order, so their tops only grow.
    const firstAt = (height: number): number => {
      let low = 0;
      let high = shown.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (shown[middle]!.span.offsetTop < height) low = middle + 1;
        else high = middle;
      }
      return low;
    };
    this.#sight = { first: firstAt(scrollTop - clientHeight), last: firstAt(scrollTop + 2 * clientHeight) };
    this.#paint();
    this.number(this.#values);
  }

  #paint(): void {
    const look = this.#look;
    if (!look) return;
    const last = Math.min(this.#shown.length, this.#sight.last);
    for (let position = this.#sight.first; position < last; position++) {
      const shown = this.#shown[position]!;
      const { span } = shown;
      const { background, ink, bars } = look(position);
      const key = `${background}|${ink}|${bars.join()}`;
      if (shown.look === key) continue;
      shown.look = key;
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
      if (before !== null) this.#shown[before]?.span.classList.remove(`miw-token-${kind}`);
      if (after !== null) this.#shown[after]?.span.classList.add(`miw-token-${kind}`);
    }
    this.#marks = { ...marks };
  }

  /** The height that the text would take at the present width. */
  get textHeight(): number {
    return this.#text.offsetHeight;
  }

  /** Scrolls the strip, and nothing around it, until the token is in sight: with the next frame or the next look. */
  reveal(position: number): void {
    this.#kept = position;
    this.#lost = true;
    requestAnimationFrame(() => {
      if (this.#lost) this.look();
    });
  }

  #scrollToKept(): void {
    this.#lost = false;
    const span = this.#kept === null ? null : this.#shown[this.#kept]?.span;
    if (!span) return;
    const box = this.element;
    const top = span.offsetTop;
    if (top < box.scrollTop + 8) box.scrollTop = Math.max(0, top - 24);
    else if (top + span.offsetHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = top + span.offsetHeight - box.clientHeight + 12;
    }
    this.#scrolled = box.scrollTop;
  }
}

/** Marks stand where spaces were: says where the line may break. */
function mayBreakBefore({ strings }: StripTokens, position: number): boolean {
  return /^\s/.test(strings[position]!) || /\s$/.test(strings[position - 1] ?? "");
}

function isToken(shown: Shown, tokens: StripTokens, position: number): boolean {
  return (
    shown.string === tokens.strings[position] &&
    shown.special === !!tokens.special[position] &&
    shown.mayBreak === mayBreakBefore(tokens, position)
  );
}

function makeToken(tokens: StripTokens, position: number): Shown {
  const string = tokens.strings[position]!;
  const special = !!tokens.special[position];
  const mayBreak = mayBreakBefore(tokens, position);
  const span = document.createElement("span");
  span.className = `miw-token${special ? " miw-token-special" : ""}${MAY_RUN_BACK.test(string) ? " miw-token-isolated" : ""}`;
  span.dataset["position"] = String(position);
  tokenText(span, string, LONGEST);
  const nodes: ChildNode[] = [span];
  if (mayBreak) nodes.unshift(document.createTextNode(MAY_BREAK));
  if (string.includes("\n")) nodes.push(document.createElement("br"));
  return { string, special, mayBreak, span, nodes, look: "" };
}

/** Bars of 3 pixels, one under the other, as background layers: no further elements for thousands of tokens. */
function layered(bars: string[]): string {
  return bars
    .map(
      (color, at) => `linear-gradient(${color || "transparent"} 0 0) 0 calc(100% - ${(bars.length - 1 - at) * 4}px) / 100% 3px no-repeat`,
    )
    .join(", ");
}
