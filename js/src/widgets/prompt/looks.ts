/**
 * What colours mean in the prompt view: the value of each token under the chosen colouring, and the range, palette and
 * legend that go with it. Knows nothing of the DOM.
 */
import { PROMPT, SCALES } from "../../core/options.gen";
import { makeMapping, type Mapping, type Theme } from "../../core/scale";
import type { PromptOptions } from "../../core/wire.gen";
import type { PromptPicture, Side } from "./picture";

export type Coloring = PromptOptions["color"] | "difference";

export interface Look {
  coloring: Coloring;
  mapping: Mapping;
  unit: string;
  /** Round values with names of their own, where the mapped value is not the one that is meant. */
  marks: { unit: number; text: string }[] | null;
  /** How the values lie between the ends, in words. */
  scale: string;
}

/** A difference of less says little: two equal prompts are not blown up to full colour. */
const LEAST_DIFFERENCE = 1;

export function makeLook(picture: PromptPicture, coloring: Coloring, theme: Theme): Look {
  const { d_vocab } = picture.manifest;
  const even = (low: number, high: number, diverging = false): Mapping =>
    makeMapping({ low, high, scale: "linear", palette: "blue", diverging }, theme);
  const measure = coloring === "none" ? null : coloring === "difference" ? PROMPT.differences.surprisal : PROMPT.measures[coloring];
  const look = { coloring, unit: measure?.legend ?? "", marks: null, scale: SCALES[measure?.scale ?? "linear"] };
  switch (coloring) {
    case "difference": {
      const high = Math.max(LEAST_DIFFERENCE, ...picture.columns.map((_, at) => Math.abs(picture.difference(at))).filter(Number.isFinite));
      return { ...look, mapping: even(-high, high, true) };
    }
    case "rank": {
      const high = Math.log10(Math.max(d_vocab, 2));
      const marks = [{ unit: 0, text: "0" }];
      for (let power = 0; power <= high; power++) {
        const unit = Math.log10(1 + 10 ** power) / high;
        // Between the 0 at the foot and the end there must be room for their own names.
        if (unit >= 0.1 && unit <= 1) marks.push({ unit, text: (10 ** power).toLocaleString("en") });
      }
      return { ...look, mapping: even(0, high), marks };
    }
    case "probability":
      return { ...look, mapping: even(0, 1) };
    default:
      return {
        ...look,
        mapping: even(0, bitsOf(picture)),
        scale: d_vocab > 1 ? `${look.scale}; the end is a blind guess, log₂ d_vocab` : look.scale,
      };
  }
}

/**
 * The colour range of bits: up to those of a blind guess over the vocabulary, so that colours stay while a prompt is
 * edited. Of a picture that names no vocabulary, up to its largest.
 */
function bitsOf(picture: PromptPicture): number {
  const { d_vocab } = picture.manifest;
  if (d_vocab > 1) return Math.log2(d_vocab);
  const sides = picture.b ? [picture.a, picture.b] : [picture.a];
  return Math.max(1, ...sides.flatMap((side) => [...side.surprisal, ...side.entropy]).filter(Number.isFinite));
}

/** The mapped value of one token; NaN where there is none. */
export function valueOf(side: Side, position: number, coloring: Coloring): number {
  if (!side.has(position)) return NaN;
  switch (coloring) {
    case "surprisal":
      return side.surprisal[position]!;
    case "probability":
      return side.probability(position);
    case "entropy":
      return side.entropy[position]!;
    case "rank":
      return side.rank[position]! >= 0 ? Math.log10(1 + side.rank[position]!) : NaN;
    default:
      return NaN;
  }
}
