/**
 * The positions of a prompt as views name them, and of two prompts that are aligned column by column; linked views
 * count in those of prompt A. Knows nothing of the DOM or of what is drawn over the positions.
 */
import { clipped, isolated, visible } from "./tokens";
import type { CompareTable, Show, TokenTable } from "./wire.gen";

/** The positions along an axis of what is shown, and how they answer to those of prompt A. */
export interface Positions {
  count: number;
  labels: string[];
  special: boolean[];
  /** The strings as they stand in the text, for the reading view. */
  strings: string[];
  /** What a tooltip adds to the label, e.g. the token id. */
  details: string[];
  /** -1 where prompt A has no such position. */
  toA: number[];
  fromA: Map<number, number>;
}

export const EMPTY_POSITIONS: Positions = { count: 0, labels: [], special: [], strings: [], details: [], toA: [], fromA: new Map() };

/** The positions of prompt A, of prompt B, or of the columns on which both are aligned. */
export function makePositions(tokens: TokenTable, compare: CompareTable | null = null, show: Show = "A"): Positions {
  if (!compare || show === "A") {
    const own = tokens.strings.map((_, position) => position);
    return named(tokens, own);
  }
  if (show === "B") {
    const toA = new Array<number>(compare.tokens.strings.length).fill(-1);
    for (const [a = -1, b = -1] of compare.pairs) if (b >= 0) toA[b] = a;
    return named(compare.tokens, toA);
  }
  const toA = compare.pairs.map(([a = -1]) => a);
  const strings: string[] = [];
  const labels: string[] = [];
  const special: boolean[] = [];
  const details: string[] = [];
  for (const [a = -1, b = -1] of compare.pairs) {
    const left = a < 0 ? "∅" : (tokens.strings[a] ?? "");
    const right = b < 0 ? "∅" : (compare.tokens.strings[b] ?? "");
    strings.push(left === right ? left : `${left}|${right}`);
    labels.push(visible(left === right ? left : `${left}|${right}`));
    special.push((a < 0 || !!tokens.special[a]) && (b < 0 || !!compare.tokens.special[b]));
    details.push(`A ${a < 0 ? "–" : a}, B ${b < 0 ? "–" : b}`);
  }
  return { count: toA.length, strings, labels, special, details, toA, fromA: inverse(toA) };
}

/** "·token (12)", isolated and cut: for sentences that name a position. */
export function positionName(positions: Positions, position: number): string {
  return `${isolated(clipped(positions.labels[position] ?? "", 60))} (${position})`;
}

function named(tokens: TokenTable, toA: number[]): Positions {
  return {
    count: tokens.strings.length,
    strings: tokens.strings,
    labels: tokens.strings.map(visible),
    special: tokens.special,
    details: tokens.ids.map((id) => (id >= 0 ? `id ${id}` : "")),
    toA,
    fromA: inverse(toA),
  };
}

function inverse(toA: number[]): Map<number, number> {
  const out = new Map<number, number>();
  toA.forEach((a, position) => {
    if (a >= 0) out.set(a, position);
  });
  return out;
}
