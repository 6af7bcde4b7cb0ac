/**
 * One head's contribution by the position it reads from: the prompt's tokens in its colours, and the strongest five in
 * numbers. Knows nothing of the map or of the parts.
 */
import { compact, rounded, shown } from "../../core/format";
import { nameOfHead } from "../../core/interventions";
import { positionName } from "../../core/positions";
import { colorOf, cssOf, inkOn } from "../../core/scale";
import { clipped } from "../../core/tokens";
import { ablatedBadge } from "../../dom/ablated";
import { code, faint, h } from "../../dom/element";
import { PLAIN, standingBack, TokenStrip } from "../../dom/strip";
import { tokenLine } from "../../dom/token_line";
import type { Tooltip } from "../../dom/tooltip";
import type { Attribution } from "./attribution";
import { strongestOf } from "./picture";
import { decimalsFor, signed } from "./rows";
import { ScaleBar } from "./scale_bar";

const LISTED = 5;
/** Letters of the text that a small number over it covers. */
const NUMBER_ROOM = 4;
/** A number over a token is worth its ink from this share of the range on. */
const WORTH_A_NUMBER = 0.02;
const SOURCES_TIP =
  "A head writes a sum over the positions it reads from: attention weight × value through W_O. Each term's part of what the head contributes";
const UNREAD = standingBack(75);

export class Sources {
  readonly strip: TokenStrip;
  readonly #title = h("span", "miw-sources-title");
  readonly #scale = new ScaleBar();
  readonly #list = h("div", { class: "miw-sources-list", role: "group", "aria-label": "strongest sources" });
  readonly #why = h("div", "miw-sources-why miw-faint");
  readonly element: HTMLElement;
  readonly #attribution: Attribution;
  readonly #tooltip: Tooltip;

  constructor(attribution: Attribution, tooltip: Tooltip) {
    this.#attribution = attribution;
    this.#tooltip = tooltip;
    const { scope } = attribution;
    this.strip = new TokenStrip(scope, "the head's contribution by source token", {
      point: (position, event) => this.#point(position, event),
      pick: (position) => this.choose(position),
    });
    this.element = h(
      "section",
      { class: "miw-sources", "aria-label": "sources of the head" },
      h("div", "miw-panel-title", this.#title, this.#scale.element),
      this.#why,
      this.#list,
      this.strip.element,
    );
    scope.effect(() => this.#paint());
    scope.effect(() => this.#showTitle());
    scope.effect(() => this.#showList());
    scope.effect(() => {
      const { key } = attribution.remote.value;
      this.strip.mark({ pointed: attribution.hoverSource.value ?? attribution.placeOf(key), locked: this.#locked() });
    });
    // The text follows the head that is chosen, never the pointer: nothing moves under the reader's eyes.
    scope.effect(() => {
      void attribution.chosen.value;
      void attribution.shown.value;
      void this.#locked();
      this.reveal();
    });
  }

  /** Brings the read that is locked into sight, or else the strongest of the chosen head. */
  reveal(): void {
    const picture = this.#attribution.shown.peek();
    const head = this.#attribution.chosen.peek() ?? picture?.strongest();
    const values = head && picture?.sourcesOf(head);
    const position = this.#locked() ?? (values ? strongestOf(values, 1)[0] : undefined);
    if (position !== undefined) this.strip.reveal(position);
  }

  /** Locks the read of this token, or lets go of it. */
  choose(position: number): void {
    const attribution = this.#attribution;
    const picture = attribution.picture.peek();
    if (!picture || !attribution.sources.peek()) return;
    const held = this.#locked() === position && attribution.selection.peek().query === picture.manifest.position;
    attribution.chooseSource(held ? null : position);
  }

  describe(position: number): string {
    const positions = this.#attribution.positions.peek();
    const value = this.#attribution.sources.peek()?.[position];
    return `${positionName(positions, position)}: ${value === undefined ? "not known" : `${this.#number(value)} logits`}`;
  }

  #locked(): number | null {
    return this.#attribution.placeOf(this.#attribution.selection.value.key);
  }

  #number(value: number): string {
    return shown(value, this.#attribution.shown.peek()?.precision ?? "half");
  }

  #paint(): void {
    const attribution = this.#attribution;
    this.strip.setTokens(attribution.positions.value);
    const values = attribution.sources.value;
    const mapping = attribution.sourceMapping.value;
    const position = attribution.shown.value?.manifest.position ?? 0;
    if (!values) {
      this.strip.paint(0, () => PLAIN);
      this.strip.number(new Map());
      return;
    }
    this.strip.paint(0, (other) => {
      const value = values[other]!;
      if (!(mapping.high > 0) || (other > position && !value)) return other > position ? UNREAD : PLAIN;
      const color = colorOf(value, mapping);
      return { background: cssOf(color), ink: inkOn(color), bars: [] };
    });
    const worth = strongestOf(values, LISTED).filter((other) => Math.abs(values[other]!) > mapping.high * WORTH_A_NUMBER);
    const numbered = apart(worth, attribution.positions.value.labels);
    this.strip.number(new Map(numbered.map((other) => [other, compact(values[other]!, mapping.high)])));
  }

  #showTitle(): void {
    const attribution = this.#attribution;
    const picture = attribution.shown.value;
    const head = attribution.head.value;
    const values = attribution.sources.value;
    const why = !picture
      ? ""
      : !picture.manifest.has_sources
        ? picture.manifest.why_no_sources || "The sources of heads are not known here."
        : "";
    this.#why.textContent = why;
    this.#why.hidden = !why;
    this.strip.element.hidden = !values;
    this.#list.hidden = !values;
    this.#scale.element.hidden = !values;
    if (!picture || !head) return this.#title.replaceChildren();
    const chosen = attribution.chosen.value;
    const preview = chosen
      ? chosen.layer !== head.layer || chosen.head !== head.head
      : attribution.pointedSpan.value !== null || attribution.remoteHead.value !== null;
    const value = picture.valueAt(head.layer, head.head);
    this.#title.replaceChildren(
      h("span", { "data-tip": SOURCES_TIP }, h("strong", {}, nameOfHead(head)), ` ${value > 0 ? "+" : ""}${rounded(value)}`),
      attribution.ablatedShown.value.has(nameOfHead(head)) ? ablatedBadge() : "",
      faint(
        `${attribution.show.value === "difference" ? ", A − B," : ""} by source${preview ? ", preview" : chosen ? "" : ", the strongest"}`,
      ),
    );
    if (values) this.#scale.show(attribution.sourceMapping.value, "", false, attribution.show.value === "difference");
  }

  #showList(): void {
    const attribution = this.#attribution;
    const values = attribution.sources.value;
    const positions = attribution.positions.value;
    const locked = this.#locked();
    if (!values) return this.#list.replaceChildren();
    const strongest = strongestOf(values, LISTED);
    const decimals = Math.max(0, decimalsFor(strongest.map((position) => values[position]!)) - 1);
    this.#list.replaceChildren(
      ...(strongest.length ? [] : [faint("reads nothing that adds or takes")]),
      ...strongest.map((position) => {
        const number = signed(values[position]!, decimals);
        return h(
          "button",
          {
            class: "miw-source",
            "aria-pressed": String(position === locked),
            "aria-label": `source ${positionName(positions, position)}: ${number} logits`,
            click: () => this.choose(position),
            pointerenter: () => attribution.pointAtSource(position),
            pointerleave: () => attribution.pointAtSource(null),
          },
          code(clipped(positions.labels[position] ?? "", 16)),
          faint(` ${position} `),
          h("span", "miw-source-value", number),
        );
      }),
    );
  }

  #point(position: number | null, event: PointerEvent): void {
    const attribution = this.#attribution;
    const values = attribution.sources.peek();
    attribution.pointAtSource(values ? position : null);
    this.#tooltip.over(position === null || !values ? [] : this.#tooltipLines(position, values), event);
  }

  showTooltipAt(position: number): void {
    const values = this.#attribution.sources.peek();
    const place = this.strip.element.querySelector(`[data-position="${position}"]`)?.getBoundingClientRect();
    if (place && values) this.#tooltip.show(this.#tooltipLines(position, values), place.left, place.bottom - 10);
  }

  #tooltipLines(position: number, values: Float32Array): Node[] {
    const attribution = this.#attribution;
    const picture = attribution.shown.peek();
    const head = attribution.head.peek();
    const value = values[position]!;
    const whole = head && picture ? picture.valueAt(head.layer, head.head) : NaN;
    const after = position > (picture?.manifest.position ?? 0) && !value;
    const lines: Node[] = [
      h("span", "miw-tip-value", after ? "not read: it stands after the position" : `${this.#number(value)} logits`),
      tokenLine("source", attribution.positions.peek(), position),
    ];
    if (!after && Math.abs(whole) > Math.abs(value) / 50)
      lines.push(faint(`${((100 * value) / whole).toFixed(1).replace("-", "−")} % of what L${head!.layer} H${head!.head} adds`));
    return lines;
  }
}

/** Of positions in order of strength, those whose numbers do not run into a stronger one's. */
function apart(positions: number[], labels: string[]): number[] {
  const starts: number[] = [];
  let letters = 0;
  for (const label of labels) {
    starts.push(letters);
    letters += label.length;
  }
  const kept: number[] = [];
  for (const position of positions) {
    if (kept.every((other) => Math.abs(starts[other]! - starts[position]!) >= NUMBER_ROOM)) kept.push(position);
  }
  return kept;
}
