// @vitest-environment jsdom
/** What the patching view knows of a picture: colours, cells that cannot be, cones, and how linked views count. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { openParcel } from "../src/core/blocks";
import { Bus, NO_HOVER } from "../src/core/bus";
import { Scope, Signal } from "../src/core/signal";
import { ModelSource } from "../src/core/source";
import type { PatchingManifest, PatchingState } from "../src/core/wire.gen";
import { PatchingView } from "../src/widgets/patching/model";
import { PatchingPicture } from "../src/widgets/patching/picture";
import { FakeModel } from "./fake_model";
import { CLEAN, CORRUPT, EFFECTS, patchingPicture, patchingState, table } from "./patching_state";

let scope: Scope;
beforeEach(() => void (scope = new Scope()));
afterEach(() => scope.end());

function viewOf(change: Partial<PatchingManifest>, values?: (number | null)[], options: Partial<PatchingState["options"]> = {}) {
  const model = new FakeModel(patchingState({ picture: patchingPicture(change, values), options: options as never }));
  return new PatchingView({ source: new ModelSource<PatchingState>(model as never), theme: new Signal("light" as const), scope });
}

function pictureOf(change: Partial<PatchingManifest>, values?: (number | null)[]): PatchingPicture {
  const parcel = openParcel(patchingPicture(change, values))!;
  return new PatchingPicture(parcel.manifest as PatchingManifest, parcel);
}

/** The corrupt prompt has one token more, which the clean one lacks. */
const LONGER = [...CORRUPT.slice(0, 3), " Lee", ...CORRUPT.slice(3)];
const UNEQUAL = {
  compare: {
    tokens: table(LONGER),
    pairs: [[0, 0], [1, 1], [2, 2], [-1, 3], [3, 4], [4, 5]], // prettier-ignore
  },
  numbers: [
    [0, 1],
    [0, 1, 2, 3, 4, 5],
  ],
};

test("effects end at 1 and what lies beyond is counted; small ones use the whole palette", () => {
  const field = viewOf({}).field.value!;
  expect([field.mapping.low, field.mapping.high, field.clipped]).toEqual([-1, 1, 1]);
  const small = viewOf({}, EFFECTS.map((effect) => effect / 5)).field.value!; // prettier-ignore
  expect([small.mapping.low, small.mapping.high, small.clipped]).toEqual([-0.25, 0.25, 0]);
});

test("where noise is put into the clean run colours diverge about 1", () => {
  const field = viewOf({ direction: "noise", neutral: 1, base: "A" }, EFFECTS.map((effect) => 1 - effect)).field.value!; // prettier-ignore
  expect([field.mapping.low, field.mapping.high, field.clipped]).toEqual([0, 2, 1]);
});

test("changes have a range of their own", () => {
  const field = viewOf({}, undefined, { shows: "change" }).field.value!;
  expect([field.mapping.high, field.values[8], field.title]).toEqual([5, 5, "change of the logit difference, logits"]);
});

test("a position without a partner has no patch, nor has a key after its query", () => {
  const view = viewOf(UNEQUAL, [...EFFECTS, 0, 0].map((effect, cell) => (cell % 6 === 3 ? null : effect))); // prettier-ignore
  expect(view.field.value!.kinds[3]).toBe("impossible");
  view.choose(3);
  expect(view.selection.peek().layer).toBeNull();
  const numbers = [[0], [0, 1], [0, 1]];
  const pattern = pictureOf({ site: "pattern", by: ["head", "query", "key"], layer: 1, numbers }, [0, 0, 0, 0]);
  expect([0, 1, 2].map((cell) => pattern.impossible(cell))).toEqual(["", "a query reads no later key", ""]);
  expect(viewOf({ site: "pattern", by: ["head", "query", "key"], layer: 1, numbers }, [0, 0, 0, 0]).field.value!.kinds[1]).toBe(
    "impossible",
  );
  expect(pattern.nameOf(2).replace(/[\u2068\u2069]/g, "")).toBe("L1 H0 When (1) ← <bos> (0)");
});

test("a cell that has no number though its run was made is not a number", () => {
  expect(viewOf({}, [null, ...EFFECTS.slice(1)], {}).field.value!.kinds[0]).toBe("estimate");
  expect(viewOf({ estimated_by: "" }, [null, ...EFFECTS.slice(1)]).field.value!.kinds[0]).toBe("missing");
});

test("a cone begins a layer later, at the position of the patch; of models that are not causal at the first", () => {
  const view = viewOf({});
  view.point(2);
  expect(view.cone.value).toEqual({ layer: 0, position: 2 });
  const both = viewOf({ causal: false });
  both.point(2);
  expect(both.cone.value).toEqual({ layer: 0, position: 0 });
  const heads = viewOf({ site: "z", by: ["head", "position"], layer: 1, numbers: [[0, 1], [0, 1, 2, 3, 4]] }); // prettier-ignore
  heads.point(2);
  expect(heads.cone.value).toBeNull();
});

test("linked views are pointed at as they count: positions of the clean prompt, heads that read", () => {
  const other = new Bus(() => "session");
  const heard: unknown[] = [];
  scope.add(other.subscribe("hover", (value) => heard.push(value)));
  const view = viewOf(UNEQUAL, [...EFFECTS, 0, 0]);
  view.point(5);
  expect(heard.at(-1)).toEqual({ ...NO_HOVER, layer: 0, position: 4 });
  const keys = viewOf({ site: "k", by: ["layer", "head"], numbers: [[0, 1], [0, 1]], n_heads: 4, n_kv_heads: 2 }, [0, 1, 0, 0]); // prettier-ignore
  keys.point(3);
  expect(heard.at(-1)).toEqual({ ...NO_HOVER, layer: 1, head: 2 });
  other.publish("hover", { ...NO_HOVER, layer: 0, head: 3 });
  expect(keys.linked.value).toBe(1);
});

test("a chosen cell is selected by positions of the clean prompt, and found by them", () => {
  const view = viewOf(UNEQUAL, [...EFFECTS, 0, 0]);
  view.choose(5);
  expect(view.selection.peek()).toMatchObject({ component: "resid_pre", layer: 0, position: 4 });
  expect(view.chosen.value).toBe(5);
});

test("positions are those of the run that is changed", () => {
  expect(pictureOf({}).nameOf(2).replace(/[\u2068\u2069]/g, "")).toBe("L0 ·Anna (2)"); // prettier-ignore
  const noise = pictureOf({ direction: "noise", base: "A" });
  expect([noise.nameOf(2).replace(/[\u2068\u2069]/g, ""), noise.otherToken(2), noise.otherToken(1)]).toEqual([
    "L0 ·Mary (2)",
    " Anna",
    null,
  ]);
  expect(CLEAN.length).toBe(noise.positions.count);
});
