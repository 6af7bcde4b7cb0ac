/** What the logit lens knows without a page: places of cells, colours, columns of two prompts, curves. */
import { expect, test } from "vitest";
import { openParcel } from "../src/core/blocks";
import type { LensOptions } from "../src/core/wire.gen";
import { roundUp } from "../src/widgets/logit_lens/curves";
import { fieldOf, possible, rankMarks, sayValue } from "../src/widgets/logit_lens/field";
import { fittingCell, layOut, textIn, TEXT_CELL } from "../src/widgets/logit_lens/layout";
import { kindOf } from "../src/core/described";
import { LENS } from "../src/core/options.gen";
import { LensPicture } from "../src/widgets/logit_lens/picture";
import { lensPicture, lensRows, type LensGiven } from "./lens_state";

const STRINGS = ["<bos>", " When", " Mary", " to"];
const PROMPTS: LensGiven = {
  strings: STRINGS,
  targets: [0],
  compare: {
    what: "prompt",
    strings: ["<bos>", " Tom", " When", " to"],
    pairs: [
      [0, 0],
      [-1, 1],
      [1, 2],
      [2, -1],
      [3, 3],
    ],
  },
};

const picture = (given: LensGiven): LensPicture => new LensPicture(openParcel(lensPicture(given))!);
const options = (change: Partial<LensOptions> = {}): LensOptions => ({ ...kindOf(LENS).defaults, ...change });

test("few positions get readable cells, many are shown whole as colour", () => {
  expect(fittingCell(10, 700)).toBe(70);
  expect(fittingCell(40, 700)).toBe(56);
  expect(fittingCell(300, 700)).toBeCloseTo(700 / 300);
  expect(fittingCell(5000, 700)).toBe(2);
  expect(textIn(layOut(12, 40, 60, { width: 762, height: 400 }, null)!).text).toBe(true);
  expect(textIn(layOut(12, 40, 60, { width: 762, height: 400 }, TEXT_CELL - 1)!).text).toBe(false);
});

test("probability runs from 0 to 1; entropy to the largest of the picture, on both sides", () => {
  const shown = picture(PROMPTS);
  const probability = fieldOf(shown, "A", options(), "light");
  expect([probability.mapping.low, probability.mapping.high, probability.title]).toEqual([0, 1, "probability of the top token"]);
  const [a, b] = (["A", "B"] as const).map((show) => fieldOf(shown, show, options({ color: "entropy" }), "light"));
  expect(a!.mapping.high).toBeCloseTo(3.3);
  expect(b!.mapping.high).toBe(a!.mapping.high);
  expect(sayValue(a!, 1)).toBe("1.1");
});

test("ranks are drawn on a logarithm that keeps 0, and said as they are", () => {
  const field = fieldOf(picture({ strings: STRINGS }), "A", options({ color: "next_rank" }), "light");
  expect([field.values[0], field.mapping.high]).toEqual([2, 2]);
  expect(sayValue(field, 0)).toBe("99");
  expect(sayValue(field, 8)).toBe("0");
  expect([field.mask[3], sayValue(field, 3), field.none]).toEqual([0, "nothing follows", "nothing follows"]);
  expect(field.marks.map((mark) => mark.text)).toEqual(["0", "10", "99"]);
  expect(rankMarks(50256).map((mark) => mark.text)).toEqual(["0", "10", "100", "1k", "50k"]);
});

test("a rank that is missing is not a token that does not follow", () => {
  const shown = picture({ strings: STRINGS });
  shown.values("A", "next_rank")![0] = -1;
  const field = fieldOf(shown, "A", options({ color: "next_rank" }), "light");
  expect([field.mask[0], sayValue(field, 0), field.missing]).toEqual([1, "–", true]);
  expect(sayValue(field, 3)).toBe("nothing follows");
});

test("the first row has no row before it", () => {
  const field = fieldOf(picture({ strings: STRINGS }), "A", options({ color: "change" }), "light");
  expect([...field.mask.slice(0, 5)]).toEqual([0, 0, 0, 0, 1]);
  expect([sayValue(field, 0), field.missing]).toEqual(["no row before", false]);
});

test("what cannot be shown gives way to what can", () => {
  expect(possible("target_rank", "A", 0)).toBe("probability");
  expect(possible("target_rank", "A", 1)).toBe("target_rank");
  expect(possible("entropy", "difference", 1)).toBe("kl");
  expect(possible("target_rank", "difference", 1)).toBe("target_probability");
});

test("two prompts are compared on their aligned columns", () => {
  const shown = picture(PROMPTS);
  const columns = shown.columns("difference");
  expect(columns.labels).toEqual(["<bos>", "∅|·Tom", "·When", "·Mary|∅", "·to"]);
  expect(columns.numbers).toEqual(["0", "–|1", "1|2", "2|–", "3"]);
  expect(columns.position).toEqual([0, -1, 1, 2, 3]);
  expect(columns.at).toEqual({ A: [0, -1, 1, 2, 3], B: [0, 1, 2, -1, 3] });
  const kl = fieldOf(shown, "difference", options(), "light");
  expect([...kl.mask.slice(0, 5)]).toEqual([1, 0, 1, 0, 1]);
  expect([kl.title, kl.none, sayValue(kl, 1), sayValue(kl, 5)]).toEqual(["KL(A ‖ B), nats", "no counterpart", "no counterpart", "1"]);
});

test("a pinned token's difference is A − B, symmetric about zero", () => {
  const field = fieldOf(picture(PROMPTS), "difference", options({ color: "target_probability" }), "light");
  // Column 2 is position 1 of A and 2 of B; B lies 0.001 higher, and 0.0001 for the position.
  expect(field.values[2]).toBeCloseTo(-0.0011, 5);
  expect(field.mapping.diverging).toBe(true);
  expect(field.mapping.low).toBe(-field.mapping.high);
});

test("prompt B counts in its own positions and answers to those of A", () => {
  const columns = picture(PROMPTS).columns("B");
  expect(columns.labels).toEqual(["<bos>", "·Tom", "·When", "·to"]);
  expect(columns.numbers).toEqual(["0", "1", "2", "3"]);
  expect(columns.position).toEqual([0, -1, 1, 3]);
  expect(columns.fromA.get(3)).toBe(3);
});

test("a range of positions keeps the prompt's own counting", () => {
  const shown = picture({
    strings: ["a", "b"],
    manifest: {
      positions: [5, 6],
      tokens: { ids: [0, 1, 2, 3, 4, 5, 6, 7], strings: [..."uvwxyabc"], special: [..."uvwxyabc"].map(() => false), spans: [], text: null },
    },
  });
  const columns = shown.columns("A");
  expect([columns.labels, columns.position, columns.numbers]).toEqual([
    ["a", "b"],
    [5, 6],
    ["5", "6"],
  ]);
  expect(shown.tokenAt("A", 1, 1)).toBe("c");
});

test("two lenses on one prompt have one set of columns", () => {
  const shown = picture({
    strings: STRINGS,
    compare: {
      what: "lens",
      strings: STRINGS,
      pairs: [
        [0, 0],
        [1, 1],
        [2, 2],
        [3, 3],
      ],
    },
  });
  for (const show of ["A", "B", "difference"] as const) expect(shown.columns(show).at).toEqual({ A: [0, 1, 2, 3], B: [0, 1, 2, 3] });
});

test("a row's whole top k may come after the picture", () => {
  const shown = picture({ strings: STRINGS, whole: false });
  expect(shown.guesses("A", 1, 2)).toEqual([{ id: 3, string: ".", probability: 0.5 }]);
  expect(shown.hasRow("A", 1)).toBe(false);
  expect(shown.feed(openParcel(lensRows([1], 4))!)).toBe(true);
  expect([shown.hasRow("A", 1), shown.hasRow("A", 0)]).toEqual([true, false]);
  expect(shown.guesses("A", 1, 2).map(({ string, probability }) => [string, probability])).toEqual([
    [".", 0.5],
    ["\n", 0.25],
    [" the", 0.125],
  ]);
});

test("rows are named by layer and stream, the last is the model's own", () => {
  const { rows } = picture({ strings: STRINGS, layers: [0, 1, 1], streams: ["attn_out", "attn_out", "resid_post"] });
  expect(rows.map((row) => row.label)).toEqual(["L0 attn", "L1 attn", "L1 post"]);
  expect(rows[2]!.detail).toBe("the model's own output");
});

test("the axis of probabilities ends at a round number that is large enough", () => {
  expect([0.63, 0.5, 0.21, 0.034, 1, 0].map(roundUp)).toEqual([1, 0.5, 0.5, 0.05, 1, 1]);
});
