/** What keys do in the logit attribution; `keys.ts` lists them for people. */
import { clipped, visible } from "../../core/tokens";
import { ARROWS, followKeys, promptKey, type KeyHelp } from "../../dom/keys";
import type { Prompts } from "../../dom/prompts";
import type { Tooltip } from "../../dom/tooltip";
import type { Attribution } from "./attribution";
import type { HeadMap } from "./head_map";
import type { Parts } from "./parts";
import type { Question } from "./question";
import type { Sources } from "./sources";
import type { Toolbar } from "./toolbar";

interface View {
  attribution: Attribution;
  prompts: Prompts;
  toolbar: Toolbar;
  help: KeyHelp;
  question: Question;
  parts: Parts;
  map: HeadMap;
  sources: Sources;
  tooltip: Tooltip;
  root: HTMLElement;
  announcer: HTMLElement;
}

export function handleKeys(view: View): void {
  const { attribution, root, question, sources } = view;
  followKeys(
    attribution.scope,
    root,
    (key, target) =>
      (view.parts.list.contains(target) && partsKey(view, key)) ||
      (view.map.map.contains(target) && mapKey(view, key)) ||
      (question.strip.element.contains(target) && promptTokenKey(view, key)) ||
      (sources.strip.element.contains(target) && sourceKey(view, key)) ||
      promptKey(view.prompts, key) ||
      anywhere(view, key),
  );
  // What keys pointed at is let go of with the focus.
  attribution.scope.listen(question.strip.element, "focusout", () => attribution.pointAtPosition(null));
  attribution.scope.listen(sources.strip.element, "focusout", () => attribution.pointAtSource(null));
}

function say(view: View, text: string): true {
  view.announcer.textContent = clipped(text, 300);
  return true;
}

function partsKey(view: View, key: string): boolean {
  const { attribution, parts } = view;
  const rows = attribution.rows.peek();
  const held = attribution.hoverRow.peek();
  const down = ARROWS[key]?.[1] ?? 0;
  if (rows.length && (down || key === "Home" || key === "End")) {
    const chosen = rows.findIndex((row) => attribution.relation(row, attribution.chosenSpan.peek()) === "same");
    const start = held ?? (chosen >= 0 ? chosen : -1);
    const next = key === "Home" ? 0 : key === "End" ? rows.length - 1 : Math.max(0, Math.min(rows.length - 1, start + down));
    attribution.pointAtRow(next);
    parts.reveal(next);
    parts.showTooltipAt(next);
    return say(view, parts.describe(next));
  }
  if (key === "Enter" && held !== null) {
    const row = rows[held];
    if (!row || !attribution.chooseRow(row)) return true;
    const { layer, head } = attribution.selection.peek();
    return say(view, `chosen layer ${layer}${head === null ? "" : ` head ${head}`}`);
  }
  return false;
}

function mapKey(view: View, key: string): boolean {
  const { attribution, map } = view;
  const picture = attribution.picture.peek();
  if (!picture) return false;
  const held = attribution.hoverCell.peek();
  const arrow = ARROWS[key];
  if (arrow) {
    const head = attribution.head.peek();
    const start = held ?? (head ? { layer: head.layer, column: head.head } : { layer: 0, column: 0 });
    // The first arrow goes to where the eye is already.
    const [across, down] = held || attribution.chosen.peek() ? arrow : [0, 0];
    const next = {
      layer: Math.max(0, Math.min(picture.manifest.n_layers - 1, start.layer + down)),
      column: Math.max(0, Math.min(picture.columns - 1, start.column + across)),
    };
    attribution.pointAtCell(next);
    map.reveal(next);
    map.showTooltipAt(next);
    return say(view, map.describe(next));
  }
  if (key === "Enter") {
    if (held) attribution.chooseCell(held.layer, held.column);
    return say(view, held ? `chosen ${map.describe(held)}` : "");
  }
  return false;
}

function promptTokenKey(view: View, key: string): boolean {
  const { attribution, question } = view;
  const count = attribution.positions.peek().count;
  const step = steps(key);
  const held = attribution.hoverPosition.peek();
  if (step && count) {
    const next = Math.max(0, Math.min(count - 1, (held ?? attribution.position.peek() ?? 0) + step));
    attribution.pointAtPosition(next);
    question.strip.reveal(next);
    return say(view, question.describe(next));
  }
  if (key === "Enter" || key === " ") {
    if (held === null) return true;
    attribution.choosePosition(held);
    return say(view, question.describe(held));
  }
  return false;
}

function sourceKey(view: View, key: string): boolean {
  const { attribution, sources } = view;
  const count = attribution.positions.peek().count;
  const step = steps(key);
  const held = attribution.hoverSource.peek();
  if (step && count && attribution.sources.peek()) {
    const start = held ?? attribution.selection.peek().key ?? attribution.picture.peek()?.manifest.position ?? 0;
    const next = Math.max(0, Math.min(count - 1, start + step));
    attribution.pointAtSource(next);
    sources.strip.reveal(next);
    sources.showTooltipAt(next);
    return say(view, sources.describe(next));
  }
  if (key === "Enter" || key === " ") {
    if (held === null) return true;
    sources.choose(held);
    return say(view, `${attribution.selection.peek().key === null ? "let go of" : "chosen"} ${sources.describe(held)}`);
  }
  return false;
}

function steps(key: string): number {
  const arrow = ARROWS[key];
  return arrow ? arrow[0] || arrow[1] : 0;
}

function anywhere(view: View, key: string): boolean {
  const { attribution, question, toolbar } = view;
  switch (key) {
    case "Escape":
      release(view);
      return true;
    case "?":
      view.help.toggle();
      return true;
    case "a":
      question.answer.focus();
      return true;
    case "f":
      question.foil.focus();
      return true;
    case "x": {
      const foil = attribution.picture.peek()?.manifest.foil;
      if (!foil || !attribution.canCompute.peek()) return say(view, "without a kernel and a foil there is nothing to swap");
      attribution.swap();
      return say(view, `swapped: the answer is now ${visible(foil.string)}`);
    }
    case "[":
    case "]": {
      const held = attribution.position.peek();
      if (held !== null) attribution.choosePosition(held + (key === "[" ? -1 : 1));
      const position = attribution.position.peek();
      return position === null || say(view, question.describe(position));
    }
    default:
      return toolbar.controls.key(key);
  }
}

/** Escape lets go of the last thing held: what is pointed at, then the read, then the head. */
function release(view: View): void {
  const { attribution, tooltip } = view;
  tooltip.hide();
  const pointing =
    attribution.hoverRow.peek() ?? attribution.hoverCell.peek() ?? attribution.hoverPosition.peek() ?? attribution.hoverSource.peek();
  if (pointing !== null) {
    attribution.pointAtRow(null);
    attribution.pointAtCell(null);
    attribution.pointAtPosition(null);
    attribution.pointAtSource(null);
    return;
  }
  const selection = attribution.selection.peek();
  if (selection.key !== null || selection.query !== null) attribution.select({ key: null, query: null });
  else if (selection.layer !== null) attribution.select({ layer: null, head: null });
}
