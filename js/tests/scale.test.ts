/** Values become colours as the legend says. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import * as described from "../src/core/options.gen";
import type { Scale } from "../src/core/wire.gen";
import { rankMarks } from "../src/widgets/logit_lens/field";
import { goldenPath } from "./golden";
import { paintGrid, paintThumbnail } from "../src/core/paint";
import { attentionMask } from "../src/core/grid";
import { brief, exact, shown } from "../src/core/format";
import { colorOf, inkOn, LOG_FLOOR, makeMapping, paletteColors, ticks, unitOf } from "../src/core/scale";

const made = (change: object) => makeMapping({ low: 0, high: 1, scale: "linear", palette: "blue", diverging: false, ...change }, "light");

test("linear, square root and logarithm place values between 0 and 1", () => {
  expect(unitOf(0.25, made({}))).toBeCloseTo(0.25);
  expect(unitOf(0.25, made({ scale: "sqrt" }))).toBeCloseTo(0.5);
  expect(unitOf(0.01, made({ scale: "log" }))).toBeCloseTo(0.5);
  expect(unitOf(LOG_FLOOR / 10, made({ scale: "log" }))).toBe(0);
  expect(unitOf(2, made({}))).toBe(1);
  expect(unitOf(-1, made({}))).toBe(0);
  expect(unitOf(NaN, made({}))).toBeNaN();
});

test("a range of one value does not divide by nothing", () => {
  expect(unitOf(0, made({ high: 0 }))).toBe(0);
  expect(ticks(made({ high: 0 }))).toHaveLength(1);
});

test("differences are symmetric about zero and always linear", () => {
  const mapping = made({ low: -0.2, high: 0.5, scale: "log", diverging: true });
  expect([mapping.low, mapping.high, mapping.scale]).toEqual([-0.5, 0.5, "linear"]);
  expect(unitOf(0, mapping)).toBe(0.5);
});

test("a range below zero is always linear", () => {
  expect(made({ low: -3, scale: "sqrt" }).scale).toBe("linear");
});

test("ticks keep both ends, never crowd and name the floor of a logarithm", () => {
  for (const scale of ["linear", "sqrt", "log"] as const) {
    const marks = ticks(made({ scale, high: 0.973 }));
    expect(marks[0]!.unit).toBe(0);
    expect(marks.at(-1)!.unit).toBe(1);
    for (let at = 1; at < marks.length; at++) expect(marks[at]!.unit - marks[at - 1]!.unit).toBeGreaterThan(0.1);
  }
  expect(ticks(made({ scale: "log" }))[0]!.text).toBe("≤0.0001");
  expect(ticks(made({ scale: "log", high: 0.5 })).map((tick) => tick.text)).toEqual(["≤5e−5", "0.001", "0.01", "0.1", "0.5"]);
});

interface Golden {
  ranges: { low: number; high: number; scale: Scale; diverging: boolean; count: number; ticks: [number, string][] }[];
  ranks: { largest: number; ticks: [number, string][] }[];
}

const golden = JSON.parse(readFileSync(goldenPath("ticks.json"), "utf8")) as Golden;
const near = (marks: [number, string][]): object[] => marks.map(([unit, text]) => ({ unit: expect.closeTo(unit, 9) as number, text }));

test("ticks are those that paper prints", () => {
  for (const { count, ticks: wanted, ...range } of golden.ranges)
    expect(ticks(made(range), count), JSON.stringify(range)).toEqual(near(wanted));
});

test("ranks are those that paper prints", () => {
  for (const { largest, ticks: wanted } of golden.ranks) expect(rankMarks(largest)).toEqual(near(wanted));
});

test("painting a grid gives the colours of its cells, nothing where masked", () => {
  for (const scale of ["linear", "sqrt", "log"] as const) {
    const mapping = made({ scale });
    const values = Float32Array.from([0.3, 9, 0, 0.9, NaN, 0.00005, 1, 0.5, 0.2]);
    const mask = attentionMask(3, true, null);
    const out = new Uint32Array(9);
    paintGrid({ side: 3, values, mask, precision: "exact", signed: false }, mapping, out);
    values.forEach((value, at) => expect(out[at]).toBe(mask[at] ? colorOf(value, mapping) : 0));
  }
});

test("a thumbnail keeps its strongest cell when it is made smaller", () => {
  const colors = Uint32Array.from({ length: 256 }, (_, code) => code + 1000);
  const codes = new Uint8Array(16);
  codes[6] = 200;
  codes[15] = 255;
  const out = new Uint32Array(4);
  const mask = new Uint8Array(16).fill(1);
  paintThumbnail({ side: 4, codes, lower: false, mask }, colors, 2, null, out);
  expect([...out]).toEqual([1000, 1200, 1000, 1000]);
  codes[0] = 120;
  codes[1] = 20;
  paintThumbnail({ side: 4, codes: codes.map((code) => code || 127), lower: false, mask }, colors, 2, 127, out);
  expect(out[0]).toBe(1020);
});

test("palettes have 256 colours, and ink that can be read on them", () => {
  const colors = paletteColors("blue", "light");
  expect(colors).toHaveLength(256);
  expect(inkOn(colors[0]!)).toBe("#000");
  expect(inkOn(colors[255]!)).toBe("#fff");
  expect(paletteColors("blue", "dark")[0]).not.toBe(colors[0]);
});

// First, middle and last colour of each, as Python has them: an error on the way would reach the last.
const PYTHON = {
  blue: ["f7fbfc", "418fce", "171e58"],
  amber: ["fbfaf6", "c47134", "441410"],
  grey: ["fafafa", "7e7e7e", "161616"],
  blue_dark: ["14171e", "2f7fb9", "c4fafd"],
  amber_dark: ["1c1513", "ab6530", "fdefba"],
  grey_dark: ["171717", "7a7a7a", "f2f2f2"],
  blue_orange: ["11316f", "f9f9fa", "58230f"],
  blue_orange_dark: ["bef1ff", "171818", "fee5b3"],
};

test("palettes are unpacked to Python's colours", () => {
  for (const [name, colours] of Object.entries(PYTHON)) {
    const found = paletteColors(name.replace("_dark", ""), name.endsWith("_dark") ? "dark" : "light");
    const bytes = new Uint8Array(found.buffer);
    const shown = [0, 127, 255].map((step) =>
      [...bytes.subarray(4 * step, 4 * step + 3)].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    );
    expect([name, shown]).toEqual([name, colours]);
  }
});

test("a view that offers a choice of palettes has them in its bundle", () => {
  const views = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../src/widgets");
  const offering = Object.entries(described).flatMap(([name, view]) => (JSON.stringify(view).includes('"palette"') ? [name] : []));
  const folders = readdirSync(views).map((folder) => {
    const files = readdirSync(path.join(views, folder)).filter((file) => file.endsWith(".ts"));
    return files.map((file) => readFileSync(path.join(views, folder, file), "utf8")).join("\n");
  });
  const having = offering.filter((name) => folders.some((code) => code.includes(name) && code.includes('import "../../core/palettes"')));
  expect(offering).toContain("ATTENTION");
  expect(having).toEqual(offering);
});

test("exact values have six digits, rounded ones say so", () => {
  expect(exact(0.12345678)).toBe("0.123457");
  expect(exact(1)).toBe("1");
  expect(exact(-2.5)).toBe("−2.5");
  expect(exact(1.5e-7)).toBe("1.5e−7");
  expect(shown(0.1234567, "half")).toBe("≈ 0.123");
  expect(shown(NaN, "exact")).toBe("not a number");
  expect([brief(0.934), brief(-0.1), brief(12.34), brief(1)]).toEqual([".93", "−.10", "12.3", "1.00"]);
});
