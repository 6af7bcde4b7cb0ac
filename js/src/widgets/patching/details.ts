/** What is told of a cell, beside the pointer and to who hears it, and of the metric in both runs. Knows nothing of canvases. */
import { rounded } from "../../core/format";
import { clipped, visible } from "../../core/tokens";
import { code, faint, h } from "../../dom/element";
import { tokenLine } from "../../dom/token_line";
import type { PatchingView } from "./model";
import { TOKEN_AXES } from "./picture";

const WORDS: Record<string, string> = {
  estimate: "estimate",
  pending: "not computed yet",
  impossible: "no such patch",
  missing: "not a number",
};

/** "0.8124", "≈ 0.812, an estimate", "not computed yet". */
export function valueText(view: PatchingView, cell: number): string {
  const [field, picture] = [view.field.peek(), view.picture.peek()];
  const kind = field?.kinds[cell];
  if (!field || !picture || !kind) return "";
  if (kind === "exact") return picture.say(field.values[cell]!, false);
  return kind === "estimate" ? `${picture.say(field.values[cell]!, true)}, an estimate` : WORDS[kind]!;
}

export function describe(view: PatchingView, cell: number): string {
  return `${view.picture.peek()?.nameOf(cell) ?? ""}: ${valueText(view, cell)}`;
}

/** The lines of a cell's tooltip. */
export function cellLines(view: PatchingView, cell: number): Node[] {
  const [field, picture] = [view.field.peek(), view.picture.peek()];
  if (!field || !picture) return [];
  const { manifest, positions } = picture;
  const at = picture.at(cell);
  const kind = field.kinds[cell]!;
  const lines: Node[] = [h("span", "miw-tip-value", `${field.shows} ${valueText(view, cell)}`)];
  const why = picture.impossible(cell);
  if (why) lines.push(faint(why));
  const parts = manifest.by.filter((axis) => !TOKEN_AXES.includes(axis)).map((axis) => `${axis} ${at[axis]}`);
  lines.push(h("span", {}, [manifest.site, ...(manifest.layer === null ? [] : [`layer ${manifest.layer}`]), ...parts].join(", ")));
  for (const axis of manifest.by.filter((axis) => TOKEN_AXES.includes(axis))) {
    lines.push(tokenLine(axis, positions, at[axis]!));
    const other = picture.otherToken(at[axis]!);
    if (other !== null) lines.push(h("span", {}, faint("  in the other run "), code(clipped(visible(other), 60))));
  }
  if (kind !== "exact" && kind !== "estimate") return lines;
  const told = (name: string, text: string): void => void lines.push(h("span", {}, faint(`${name} `), text));
  const [effect, change] = [picture.exact("effect")[cell] ?? NaN, picture.exact("change")[cell] ?? NaN];
  const unit = manifest.unit && ` ${manifest.unit}`;
  if (field.shows === "effect" && change === change) told("change", picture.say(change, false) + unit);
  if (field.shows === "change" && effect === effect) told("effect", picture.say(effect, false));
  const guess = picture.estimate(field.shows)[cell] ?? NaN;
  if (kind === "exact" && guess === guess) told("estimate", picture.say(guess, true));
  if (kind === "estimate") lines.push(faint(`by ${manifest.estimated_by}`));
  const interval = picture.interval(cell);
  if (interval) told("effect over the pairs, 95 %", interval.map(rounded).join(" … "));
  const cone = view.cone.peek();
  const last = manifest.n_layers - 1;
  if (cone && cone.layer < last) {
    const layers = `layer${cone.layer + 1 < last ? `s ${cone.layer + 1} to` : ""} ${last}`;
    lines.push(faint(`can change ${layers}${cone.position ? ` from position ${cone.position} on` : ""}`));
  }
  return lines;
}
