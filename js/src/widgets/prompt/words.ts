/** Numbers of the prompt view in words. Knows nothing of the DOM. */
import { exact, rounded, shown } from "../../core/format";
import type { PromptPicture, Side } from "./picture";

/** JSON has no infinity: the kernel sends this in its place. */
const ENDLESS = 1e300;

export function plural(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** "12 tokens, BOS prepended · 38.2143 bits over 11 scored · perplexity 11.0932". */
export function totalsOf(side: Side, prepended: boolean): string[] {
  const { total, scored } = side.totals,
    perplexity = side.totals.perplexity ?? NaN;
  const parts = [`${plural(side.count, "token")}${prepended ? ", BOS prepended" : ""}`];
  if (total === null) parts.push("no totals: numbers are not finite");
  else if (!scored) parts.push("none scored: nothing stands before the first token");
  else parts.push(`${bits(total)} over ${plural(scored, "scored token")}`, `perplexity ${perplexity >= ENDLESS ? "∞" : exact(perplexity)}`);
  return parts;
}

/** Which prompt the model finds likelier, and by what factor; `power` is the exponent of 2 that the factor is. */
export function verdict(picture: PromptPicture): { difference: string; likelier: "A" | "B" | null; power: string; factor: string } {
  const difference = picture.totalDifference;
  const factor = 2 ** Math.abs(difference);
  return {
    difference: Math.abs(difference) >= ENDLESS ? `${difference < 0 ? "−" : ""}∞` : exact(difference),
    likelier: difference === 0 || !Number.isFinite(difference) || Math.abs(difference) >= ENDLESS ? null : difference < 0 ? "A" : "B",
    power: Math.abs(difference).toFixed(2),
    factor: Number.isFinite(factor) ? rounded(factor) : "",
  };
}

/** For a column of figures: four decimals, and two digits of what they cannot show. */
export function figures(probability: number): string {
  if (!Number.isFinite(probability)) return "–";
  return probability >= 5e-5 || probability === 0 ? probability.toFixed(4) : probability.toExponential(1).replace("-", "−");
}

export function bits(value: number): string {
  if (value === Infinity || value >= ENDLESS) return "∞ bits";
  return Number.isFinite(value) ? `${exact(value)} bits` : "not scored";
}

/** "surprisal ≈ 3.21 bits, p ≈ 0.108, rank 2"; of the first token that it is not scored. */
export function scoreOf(side: Side, position: number): string {
  const surprisal = side.surprisal[position]!;
  if (surprisal === Infinity) return "surprisal ∞: the model rules it out";
  if (!Number.isFinite(surprisal)) return position === 0 ? "not scored: nothing stands before it" : "not a number";
  return `surprisal ${about(surprisal)} bits, p ${about(side.probability(position))}, rank ${side.rank[position]!.toLocaleString("en")}`;
}

/** Three digits, marked as rounded. */
export function about(value: number): string {
  return shown(value, "half");
}
