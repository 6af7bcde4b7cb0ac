/**
 * How an ablated head looks, and the button that ablates: a hatched corner on the head's cell, here on canvases and in
 * `run_line.css` in the lines over a picture. Knows nothing of what a cell shows.
 */
import { nameOfHead, type Head } from "../core/interventions";
import type { AnyView } from "../core/linked";
import type { Readable } from "../core/signal";
import { makeButton } from "./controls";
import { h } from "./element";
import type { Ink } from "./theme";

export const ABLATED_TIP = "Ablated: it still reads what is shown, but what it read (z, before W_O) is replaced before it is written";
const ABLATE_TIP =
  "what the head read (z, before W_O) is replaced by zeros, so that it writes nothing. What changes everywhere is what the model used it for";
/** The corner's share of the cell's shorter side, and its least and largest size in pixels. */
const SHARE = 0.45;
const LEAST = 7;
const MOST = 18;
const STEP = 4;

/** The word that stands beside a head's name. */
export function ablatedBadge(): HTMLElement {
  return h("span", { class: "miw-ablated", "data-tip": ABLATED_TIP }, ablatedMark(), "ablated");
}

/** The hatched corner by itself. */
export function ablatedMark(): HTMLElement {
  return h("span", { class: "miw-ablated-mark", "aria-hidden": "true" });
}

/** Hatches the upper right corner of a cell, which a causal pattern leaves free. */
export function markAblated(context: CanvasRenderingContext2D, x: number, y: number, width: number, height: number, ink: Ink): void {
  const side = Math.round(Math.max(LEAST, Math.min(MOST, SHARE * Math.min(width, height))));
  const right = x + width;
  context.save();
  context.beginPath();
  context.moveTo(right - side, y);
  context.lineTo(right, y);
  context.lineTo(right, y + side);
  context.closePath();
  context.fillStyle = ink.paper;
  context.fill();
  context.clip();
  context.strokeStyle = ink.ink;
  context.lineWidth = 1.2;
  // Along the corner's edge, and parallel to it.
  for (let at = side; at > 0; at -= STEP) {
    context.beginPath();
    context.moveTo(right - at, y - 0.5);
    context.lineTo(right + 0.5, y + at);
    context.stroke();
  }
  context.restore();
}

/** The button that ablates `heads`, those held in sight whatever the pointer is over, and puts them back. */
export function makeAblateButton(view: AnyView, heads: Readable<Head[]>): HTMLElement {
  const button = makeButton(
    view.scope,
    { label: "ablate", tip: "", shortcut: "k", text: "ablate" },
    () => void view.toggleAblation(heads.peek()),
  );
  view.scope.effect(() => {
    const held = heads.value;
    const live = view.canCompute.value;
    const pressed = held.length > 0 && held.every((head) => view.interventions.isAblated(head));
    const names = held.map(nameOfHead).join(", ");
    const tip = !held.length
      ? "Choose a head to ablate"
      : pressed
        ? `${names}: ablated. Press to restore`
        : `Ablate ${names}: ${ABLATE_TIP}`;
    button.show({ pressed, hidden: !live, disabled: !held.length, text: held.length > 1 ? `ablate ${held.length}` : "ablate", tip });
  });
  return button.element;
}
