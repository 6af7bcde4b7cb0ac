/**
 * Tokens as running text: each a span that can be pointed at, picked, shaded, numbered and underlined. Token strings are
 * untrusted and only ever become text. Knows nothing of attention.
 */
import type { Scope } from "../core/signal";
import { h } from "./element";
import { makeToken, mayBreakBefore, RunningText, type TextEvents } from "./running_text";

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

export const PLAIN: TokenLook = { background: "", ink: "", bars: [] };

/** A token that is there to be read by people, and no more; `share` of its ink. */
export function standingBack(share: number): TokenLook {
  return { ...PLAIN, ink: `color-mix(in srgb, var(--miw-faint) ${share}%, transparent)` };
}

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

export class TokenStrip extends RunningText<number, "pointed" | "locked"> {
  readonly #numbers = h("div", { class: "miw-strip-numbers", "aria-hidden": "true" });
  #tokens: StripTokens | null = null;
  #shown: Shown[] = [];
  #look: ((position: number) => TokenLook) | null = null;
  #layers = 0;
  #values = new Map<number, string>();
  #placing = false;
  readonly #placeSafely: () => void;

  constructor(scope: Scope, label: string, events: TextEvents<number>) {
    super(scope, events);
    this.element.setAttribute("aria-label", label);
    this.element.append(this.#numbers);
    this.#placeSafely = scope.guard(() => this.#place());
  }

  protected get count(): number {
    return this.#shown.length;
  }

  protected elementAt(position: number): HTMLElement | undefined {
    return this.#shown[position]?.span;
  }

  protected under(target: EventTarget | null): number | null {
    const span = this.closest(target, ".miw-token");
    return span && Number(span.dataset["position"]);
  }

  /** Shows other tokens; those at the start and at the end that an edit left alone stay as they are. */
  setTokens(tokens: StripTokens): void {
    const held = this.#tokens;
    if (held && held.strings === tokens.strings && held.special === tokens.special) return;
    this.#tokens = tokens;
    this.#look = null;
    this.unmarked(() => this.#exchange(tokens));
  }

  #exchange(tokens: StripTokens): void {
    const before = this.#shown;
    const count = tokens.strings.length;
    const least = Math.min(count, before.length);
    let head = 0;
    while (head < least && isToken(before[head]!, tokens, head)) head += 1;
    let tail = 0;
    while (tail < least - head && isToken(before[before.length - 1 - tail]!, tokens, count - 1 - tail)) tail += 1;
    const behind = before.slice(before.length - tail);
    const made = Array.from({ length: count - head - tail }, (_, at) => makeShown(tokens, head + at));
    const gone = document.createRange();
    gone.selectNodeContents(this.text);
    if (head) gone.setStartAfter(before[head - 1]!.nodes.at(-1)!);
    if (behind.length) gone.setEndBefore(behind[0]!.nodes[0]!);
    gone.deleteContents();
    const added = document.createDocumentFragment();
    for (const { nodes } of made) added.append(...nodes);
    this.text.insertBefore(added, behind[0]?.nodes[0] ?? null);
    this.#shown = [...before.slice(0, head), ...made, ...behind];
    if (before.length !== count) behind.forEach(({ span }, at) => (span.dataset["position"] = String(count - tail + at)));
  }

  /** Gives every token in sight its look; `layers` is how many bars there are. */
  paint(layers: number, look: (position: number) => TokenLook): void {
    if (layers !== this.#layers) {
      this.element.style.setProperty("--layers", String(layers));
      this.element.classList.toggle("miw-overlaid", layers > 0);
    }
    this.#layers = layers;
    this.#look = look;
    this.paintSight();
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
      ...places.map(({ text, left, top }) =>
        h("span", { class: "miw-number", style: { transform: `translate(${left}px, ${top - 8}px)` } }, text),
      ),
    );
  }

  override look(): void {
    super.look();
    this.number(this.#values);
  }

  protected paintSight(): void {
    const look = this.#look;
    if (!look) return;
    const last = Math.min(this.#shown.length, this.sight.last);
    for (let position = this.sight.first; position < last; position++) {
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

  /** The height that the text would take at the present width. */
  get textHeight(): number {
    return this.text.offsetHeight;
  }
}

function isToken(shown: Shown, tokens: StripTokens, position: number): boolean {
  return (
    shown.string === tokens.strings[position] &&
    shown.special === !!tokens.special[position] &&
    shown.mayBreak === mayBreakBefore(tokens.strings, position)
  );
}

function makeShown(tokens: StripTokens, position: number): Shown {
  const string = tokens.strings[position]!;
  const special = !!tokens.special[position];
  const mayBreak = mayBreakBefore(tokens.strings, position);
  const span = makeToken(string, special, position);
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
