/**
 * Pinned tokens: their list with values, the likeliest tokens of the locked cell to pick from, a field to type one, and
 * what the kernel offers in place of a word that is no single token. Knows nothing of the chart.
 */
import { clipped, visible } from "../../core/tokens";
import { composes } from "../../dom/composition";
import { code, faint, h } from "../../dom/element";
import { cellName, percent, token, whyUnread } from "./details";
import { rankText } from "./field";
import { MAX_PINS, type Lens, type Pin } from "./lens";
import { swatch } from "./svg";

const INPUT_TIP =
  "Pin a token to follow it over the layers. Spaces count: most words in a text begin with one, “ Paris” and “Paris” are two tokens.  [i]";

export class PinsPanel {
  readonly #list = h("div", { class: "miw-lens-pins", role: "group", "aria-label": "pinned tokens" });
  readonly #chipsTitle = h("div", "miw-faint");
  readonly #chips = h("div", { class: "miw-lens-chips", role: "group", "aria-label": "likeliest tokens of the locked cell" });
  readonly #input = h("input", {
    class: "miw-lens-input",
    type: "text",
    "aria-label": "pin a token",
    placeholder: "type a token to pin",
    "data-tip": INPUT_TIP,
    spellcheck: "false",
    autocomplete: "off",
  });
  readonly #refused = h("div", { class: "miw-lens-refused", role: "alert", hidden: true });
  readonly element = h(
    "section",
    { class: "miw-lens-pick", "aria-label": "pins" },
    this.#list,
    this.#input,
    this.#refused,
    this.#chipsTitle,
    this.#chips,
  );
  #lens: Lens;

  constructor(lens: Lens) {
    this.#lens = lens;
    const { scope } = lens;
    scope.listen(this.#input, "keydown", (event) => {
      if (composes(event)) return;
      if (event.key === "Escape") this.#input.value = "";
      if (event.key !== "Enter" || !this.#input.value) return;
      event.preventDefault();
      lens.pin(this.#input.value);
      this.#input.value = "";
    });
    scope.effect(() => this.#showList());
    scope.effect(() => this.#showChips());
    scope.effect(() => this.#showRefused());
    scope.effect(() => {
      const reason = this.#why();
      this.#input.disabled = reason !== "";
      this.#input.dataset["tip"] = reason || INPUT_TIP;
      this.#input.placeholder = !reason ? "type a token to pin" : lens.canCompute.value ? "eight are pinned" : "no kernel: the pins stay";
    });
  }

  /** Goes to the field; where nothing can be pinned it says why. */
  focus(): string {
    this.#input.focus();
    return this.#why();
  }

  /** Why nothing can be pinned now, or "". */
  #why(): string {
    const lens = this.#lens;
    if (!lens.canCompute.value) return "Pinning needs the model; this picture stands without a kernel";
    return lens.options.value.targets.length >= MAX_PINS ? "Eight tokens are pinned; take one off first" : "";
  }

  #showList(): void {
    const lens = this.#lens;
    const { target, color } = lens.options.value;
    const live = lens.canCompute.value;
    const entry = (pin: Pin, at: number): HTMLElement => {
      const chosen = pin.target === target && color.startsWith("target_");
      const name = h(
        "button",
        {
          class: "miw-lens-pin-name",
          disabled: pin.target < 0,
          "aria-pressed": String(chosen),
          "aria-label": `colour by ${visible(pin.string)}${pin.target < 0 ? "" : `: ${this.#valueOf(pin)}`}`,
          "data-tip": "Colour the table by this token",
          click: () =>
            lens.setOptions({ target: pin.target, color: chosen ? "probability" : color === "target_rank" ? color : "target_probability" }),
        },
        pin.target < 0 ? null : swatch(pin.target),
        token(pin.string, 18),
        h("span", "miw-lens-pin-value", pin.target < 0 ? "…" : this.#valueOf(pin)),
      );
      const said = { "aria-label": `unpin ${visible(pin.string)}`, "data-tip": "Take this token off the chart" };
      const off = h("button", { class: "miw-lens-unpin", disabled: !live, ...said, click: () => lens.unpin(at) }, "×");
      return h("span", "miw-lens-pin", name, off);
    };
    // A word without a token is on its way while the kernel computes, and else was refused.
    const coming = lens.status.value.state === "computing";
    const shown = lens.pins.value
      .map((pin, at) => [pin, at] as const)
      .filter(([pin]) => pin.target >= 0 || (coming && pin.given !== lens.refused.value?.text));
    this.#list.replaceChildren(...shown.map(([pin, at]) => entry(pin, at)));
    this.#list.hidden = !this.#list.childElementCount;
  }

  /** The pinned token's number at the cell that is read. */
  #valueOf(pin: Pin): string {
    const lens = this.#lens;
    const picture = lens.picture.value;
    const reading = lens.reading.value;
    if (!picture || !reading) return "";
    const rank = lens.options.value.chart === "rank";
    const { at, read } = lens.columns.value;
    if (!read[reading.column]) return "…";
    const values = lens.sides.value.map((side) => {
      const place = at[side][reading.column] ?? -1;
      const value =
        place < 0 ? NaN : (picture.target(side, rank ? "ranks" : "probs", pin.target)?.[reading.row * picture.width(side) + place] ?? NaN);
      return value !== value ? "–" : rank ? `#${rankText(value)}` : percent(value);
    });
    return values.join(" | ");
  }

  #showChips(): void {
    const lens = this.#lens;
    const picture = lens.picture.value;
    const cell = lens.cell.value;
    void lens.arrived.value;
    const side = lens.sides.value[0]!;
    const at = cell ? (lens.columns.value.at[side][cell.column] ?? -1) : -1;
    const guesses = picture && cell ? picture.guesses(side, cell.row, at) : [];
    const why = this.#why();
    if (cell && !lens.columns.value.read[cell.column]) this.#chipsTitle.textContent = `${cellName(lens, cell)}: ${whyUnread(lens)}`;
    else
      this.#chipsTitle.textContent =
        cell && guesses.length
          ? `top ${guesses.length}${lens.sides.value.length > 1 ? ` of ${side}` : ""} at ${cellName(lens, cell)}${why ? "" : "; click to pin"}`
          : "";
    this.#chips.replaceChildren(
      ...guesses.map(({ id, string, probability }) => {
        const pinned = lens.pins.value.findIndex(
          (pin) => pin.given === id || (pin.target >= 0 && picture!.manifest.targets[pin.target]!.id === id),
        );
        const tip = pinned >= 0 ? "Pinned; click to take it off the chart" : why || `Follow this token over the layers (id ${id})`;
        return h(
          "button",
          {
            class: "miw-lens-chip",
            "aria-pressed": String(pinned >= 0),
            "aria-label": `pin ${visible(string)}, probability ${percent(probability)}`,
            disabled: !lens.canCompute.value || (pinned < 0 && why !== ""),
            "data-tip": tip,
            click: () => (pinned >= 0 ? lens.unpin(pinned) : lens.pin(id)),
          },
          token(string, 16),
          faint(percent(probability)),
        );
      }),
    );
  }

  #showRefused(): void {
    const lens = this.#lens;
    const refused = lens.refused.value;
    this.#refused.hidden = !refused;
    if (!refused) return this.#refused.replaceChildren();
    const offers = refused.offers.map(({ id, string }) => {
      return h(
        "button",
        {
          class: "miw-lens-chip",
          disabled: !lens.canCompute.value,
          "data-tip": `Pin this token instead (id ${id})`,
          click: () => lens.pin(id),
        },
        token(string, 16),
      );
    });
    const dismiss = { "aria-label": "dismiss", "data-tip": "Let it be", click: () => lens.dismissRefusal() };
    const pieces = refused.pieces.flatMap((piece, at) => [at ? " + " : "", token(piece, 16)]);
    const text = clipped(visible(refused.text), 30);
    this.#refused.replaceChildren(
      h(
        "div",
        {},
        code(text),
        refused.pieces.length > 1 ? ` is ${refused.pieces.length} tokens: ` : " is no token of this model. ",
        ...(refused.pieces.length > 1 ? pieces : []),
        h("button", { class: "miw-lens-unpin", ...dismiss }, "×"),
      ),
      offers.length ? h("div", "miw-lens-chips", faint("single tokens near it:"), ...offers) : "",
    );
  }
}
