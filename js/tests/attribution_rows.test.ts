// @vitest-environment jsdom
/** The rows of an attribution, and what its model knows, without any page. */
import { expect, test } from "vitest";
import { openParcel } from "../src/core/blocks";
import { Scope, Signal } from "../src/core/signal";
import { ModelSource } from "../src/core/source";
import type { AttributionManifest, AttributionState, SelectionValue } from "../src/core/wire.gen";
import { Attribution } from "../src/widgets/logit_attribution/attribution";
import { AttributionPicture, strongestOf } from "../src/widgets/logit_attribution/picture";
import { compact } from "../src/core/format";
import { barOf, decimalsFor, domainOf, makeRows, roundValues, signed } from "../src/widgets/logit_attribution/rows";
import { attributionPicture, attributionState, BY_HEAD, PARTS } from "./attribution_state";
import { FakeModel } from "./fake_model";

function picture(change: Partial<AttributionManifest> = {}, parts?: number[]): AttributionPicture {
  const parcel = openParcel(attributionPicture(change, parts))!;
  return new AttributionPicture(parcel.manifest as AttributionManifest, parcel);
}

function live(change: Partial<AttributionState> = {}, canSend = true): { model: FakeModel; view: Attribution } {
  const model = new FakeModel(attributionState(change), canSend);
  return {
    model,
    view: new Attribution({
      source: new ModelSource<AttributionState>(model as never),
      theme: new Signal("light" as const),
      scope: new Scope(),
    }),
  };
}

const chosen = (change: Partial<SelectionValue>): SelectionValue => ({
  layer: null,
  head: null,
  query: null,
  key: null,
  position: null,
  feature: null,
  heads: [],
  stamp: 9,
  ...change,
});

test("the running total climbs from 0 over every part to the sum", () => {
  const rows = makeRows(picture(), { sort: "model", rows: 40 });
  expect(rows.map((row) => row.label)).toEqual([
    "embedding",
    "L0 attention",
    "L0 MLP",
    "L1 attention",
    "L1 MLP",
    "unembedding bias",
    "sum",
  ]);
  expect(rows.map((row) => row.from)).toEqual([0, 0.75, 0.5, 1, 3.125, 2.125, 0]);
  expect(rows.map((row) => row.to)).toEqual([0.75, 0.5, 1, 3.125, 2.125, 2.375, 2.375]);
});

test("rows that are not shown stand together, and the total stays", () => {
  const rows = makeRows(picture(), { sort: "model", rows: 3 });
  expect(rows.map((row) => row.label)).toEqual(["embedding", "L1 attention", "L1 MLP", "all others (3)", "sum"]);
  expect(rows[3]).toMatchObject({ kind: "others", value: 0.5, from: 1.875, to: 2.375, count: 3 });
  expect(rows[4]).toMatchObject({ value: 2.375, count: 6 });
});

test("a single part is never hidden behind “all others (1)”", () => {
  const rows = makeRows(picture(), { sort: "size", rows: 5 });
  expect(rows.map((row) => row.kind)).toEqual(["part", "part", "part", "part", "part", "part", "sum"]);
});

test("by size, the largest magnitude comes first, whatever its sign", () => {
  const rows = makeRows(picture(), { sort: "size", rows: 4 });
  expect(rows.map((row) => row.value)).toEqual([2.125, -1, 0.75, 0.5, 0, 2.375]);
});

test("a thousand parts become as many rows as asked for, one for the others, and the sum", () => {
  const parts = Array.from({ length: 1000 }, (_, at) => (at % 2 ? -1 : 1) / (at + 1));
  const rows = makeRows(picture({ part_labels: parts.map(String) }, parts), { sort: "size", rows: 20 });
  expect(rows).toHaveLength(22);
  expect(rows[20]!.count).toBe(980);
  expect(rows[20]!.to).toBeCloseTo(rows[21]!.value, 5);
});

test("bars start at 0, a waterfall's where the last one ended; the axis holds them all and 0", () => {
  const rows = makeRows(picture(), { sort: "model", rows: 40 });
  expect(barOf(rows[3]!, "waterfall")).toEqual([1, 3.125]);
  expect(barOf(rows[3]!, "bars")).toEqual([0, 2.125]);
  expect(barOf(rows[6]!, "bars")).toBeNull();
  expect(domainOf(rows, "waterfall")).toEqual([0, 3.125]);
  expect(domainOf(rows, "bars")).toEqual([-1, 2.125]);
  expect(domainOf(makeRows(picture({}, [0, 0, 0, 0, 0, 0]), { sort: "model", rows: 9 }), "bars")).toEqual([0, 1]);
});

test.each([
  [0, 3.125, 4, [0, 1, 2, 3]],
  [-7, 2.5, 5, [-6, -4, -2, 0, 2]],
  [-0.0031, 0.0042, 4, [-0.002, 0, 0.002, 0.004]],
])("round values between %d and %d", (low, high, count, expected) => {
  expect(roundValues(low, high, count)).toEqual(expected);
});

test("numbers of one column have the same decimals and their sign", () => {
  expect(decimalsFor([16.4, -0.01])).toBe(2);
  expect(decimalsFor([0.031])).toBe(5);
  expect([signed(1.25, 2), signed(-0.031, 2), signed(0, 2), signed(NaN, 2)]).toEqual(["+1.25", "−0.03", "0.00", "not a number"]);
});

test.each([
  [5.24, 5.24, "5.24"],
  [-0.26, 5.24, "−.26"],
  [0.001, 5.24, "0"],
  [16.42, 20, "16.4"],
  [0.0035, 0.046, ".004"],
  [NaN, 1, "–"],
])("%d beside %d is short as %s", (value, extreme, expected) => {
  expect(compact(value, extreme)).toBe(expected);
});

test("the strongest positions are those of largest magnitude, zeros left out", () => {
  expect(strongestOf(new Float32Array([0, 0.5, -2, NaN, 0, 0.25]), 5)).toEqual([2, 1, 5]);
});

test("a part lies on the map where it is: a head in its cell, a layer in its row, an embedding nowhere", () => {
  const by = (kind: string, layer: number, head = -1): unknown =>
    picture({ part_kinds: [kind as never], part_layers: [layer], part_heads: [head] }).spanOf(0);
  expect(by("head", 1, 1)).toEqual({ layer: 1, first: 1, last: 1 });
  expect(by("attention", 1)).toEqual({ layer: 1, first: 0, last: 1 });
  expect(by("neuron", 0)).toEqual({ layer: 0, first: 2, last: 2 });
  expect(by("layer", 0)).toEqual({ layer: 0, first: 0, last: 2 });
  expect([by("embedding", -1), by("attention bias", 0)]).toEqual([null, null]);
});

test("without heads the map has its column of MLPs alone", () => {
  const shown = picture({ n_heads: 0, why_no_heads: "fused", has_sources: false });
  expect([shown.columns, shown.valueAt(1, 0), shown.strongest(), shown.sourcesOf({ layer: 0, head: 0 })]).toEqual([1, -1, null, null]);
});

test("until a head is chosen, the sources are those of the strongest; a linked view's pointing previews another", () => {
  const one = live();
  const two = live();
  expect(one.view.head.value).toEqual({ layer: 1, head: 0 });
  two.view.pointAtCell({ layer: 0, column: 1 });
  expect(one.view.head.value).toEqual({ layer: 0, head: 1 });
  two.view.pointAtCell(null);
  two.view.chooseCell(1, 1);
  expect(one.view.head.value).toEqual({ layer: 1, head: 1 });
  expect([...one.view.sources.value!].map((value) => Number(value.toFixed(4)))).toEqual([-0.0125, 0, 0, 0, 0.1375, 0, 0]);
});

test("choosing a layer's attention chooses its strongest head; choosing its MLP the layer", () => {
  const { model, view } = live();
  const rows = view.rows.value;
  expect(view.chooseRow(rows[1]!)).toBe(true);
  expect(model.values["selection"]).toMatchObject({ layer: 0, head: 1 });
  view.chooseRow(rows[4]!);
  expect(model.values["selection"]).toMatchObject({ layer: 1, head: null });
  expect(view.chooseRow(rows[0]!)).toBe(false);
});

test("a chosen head is the row of that head, and within the row of its layer's attention", () => {
  const component = live({ selection: chosen({ layer: 1, head: 0 }) }).view;
  expect(component.rows.value.map((row) => component.relation(row, component.chosenSpan.value))).toEqual([
    null,
    null,
    null,
    "holds",
    null,
    null,
    null,
  ]);
  const heads = live({ selection: chosen({ layer: 1, head: 0 }), picture: attributionPicture(BY_HEAD) }).view;
  expect(heads.rows.value.map((row) => heads.relation(row, heads.chosenSpan.value))).toEqual([null, null, "same", null, null, null]);
});

test("a selection that this model does not have is none", () => {
  const { view } = live({ selection: chosen({ layer: 5, head: 9 }) });
  expect([view.chosen.value, view.chosenSpan.value]).toEqual([null, null]);
});

test("a position is asked of the kernel; the last one stays the last when the prompt grows", () => {
  const { model, view } = live();
  view.choosePosition(4);
  expect(model.values["options"]).toMatchObject({ position: 4 });
  expect([view.position.value, model.requests("ping")]).toEqual([4, [expect.anything()]]);
  view.choosePosition(6);
  expect(model.values["options"]).toMatchObject({ position: null });
  view.choosePosition(7);
  expect(view.position.value).toBe(6);
});

test("after an error the position is that of the last good picture", () => {
  const { view } = live({ options: { position: 2 } as never, status: { state: "error", run: 1 } as never });
  expect(view.position.value).toBe(6);
});

test("who names another answer keeps the foil in sight; naming the foil itself turns the question round", () => {
  const one = live();
  one.view.answers.wish("answer", " Sue");
  expect([one.model.values["answer"], one.model.values["foil"], one.model.saves]).toEqual([" Sue", 104, 1]);
  const two = live();
  two.view.answers.wish("answer", 104);
  expect([two.model.values["answer"], two.model.values["foil"]]).toEqual([104, 102]);
  const three = live({ answer: " Mary", foil: " John" });
  three.view.answers.wish("foil", " Mary");
  expect([three.model.values["answer"], three.model.values["foil"]]).toEqual([104, " Mary"]);
  const alone = live({ answer: " Mary", picture: attributionPicture({ foil: null }) });
  alone.view.answers.wish("answer", " Sue");
  expect(alone.model.values["foil"]).toBeNull();
});

test("answer and foil change places in one message", () => {
  const { model, view } = live({ answer: " Mary" });
  const saves = model.saves;
  view.answers.swap();
  expect([model.values["answer"], model.values["foil"], model.saves - saves]).toEqual([104, " Mary", 1]);
});

test("without a kernel nothing is asked for", () => {
  const { model, view } = live({}, false);
  view.answers.wish("answer", " Sue");
  view.answers.swap();
  view.choosePosition(3);
  expect([model.values["answer"], model.values["foil"], model.values["options"]]).toEqual([null, null, {}]);
});

test("choosing a source locks one read: head, query and key", () => {
  const { model, view } = live();
  view.chooseSource(4);
  expect(model.values["selection"]).toMatchObject({ layer: 1, head: 0, query: 6, key: 4 });
});

test("colours are symmetric about 0, to the largest head or MLP", () => {
  const { view } = live();
  expect([view.mapMapping.value.low, view.mapMapping.value.high, view.mapMapping.value.diverging]).toEqual([-2, 2, true]);
  expect(view.sourceMapping.value.high).toBeCloseTo(2.2, 5);
});

test("the parts given sum as the picture says", () => {
  expect(picture().sum).toBe(PARTS.reduce((total, value) => total + value, 0));
});
