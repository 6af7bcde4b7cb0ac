// @vitest-environment jsdom
/** What every view of a session knows, without any page: `core/linked.ts`. */
import { expect, test, vi } from "vitest";
import { NO_HOVER, type HoverValue } from "../src/core/bus";
import { NOTHING } from "../src/core/selection";
import { Scope, Signal } from "../src/core/signal";
import { ModelSource } from "../src/core/source";
import { FakeModel } from "./fake_model";
import { Little, littlePicture, littleState, type LittleState } from "./little_view";

function linked(change: Partial<LittleState> = {}, live = true): { model: FakeModel; view: Little; scope: Scope } {
  const model = new FakeModel(littleState(change), live);
  const scope = new Scope();
  const source = new ModelSource<LittleState>(model as never);
  return { model, scope, view: new Little({ source, theme: new Signal("light" as const), scope }) };
}

const turn = (): Promise<void> => Promise.resolve().then(() => undefined);

test("a view starts with what its traits hold; options that are not there have their defaults", () => {
  const { view } = linked({ options: { depth: 3 } as never, height: 0 });
  expect(view.prompt.value).toEqual({ kind: "text", text: "one" });
  expect(view.options.value).toEqual({ depth: 3, loud: false });
  expect([view.height.value, view.picture.value?.word, view.state.value]).toEqual([300, "one", "idle"]);
  expect([view.compare.value, view.notice.value]).toEqual([null, null]);
});

test("an option goes to the kernel as part of the whole; only a computed one asks whether the kernel is there", () => {
  const { model, view } = linked();
  view.setOptions({ loud: true });
  expect(model.values["options"]).toEqual({ depth: 1, loud: true });
  expect(model.requests("ping")).toHaveLength(0);
  view.setOptions({ depth: 2 });
  expect(model.values["options"]).toEqual({ depth: 2, loud: true });
  expect(model.requests("ping")).toHaveLength(1);
});

test("a newer selection is taken over from Python and from linked views, an older one is not", async () => {
  const one = linked();
  const two = linked();
  one.view.select({ position: 4 });
  expect(two.view.selection.value).toMatchObject({ position: 4, stamp: 1 });
  expect(two.model.saves).toBe(0);
  one.model.set("selection", { ...one.view.selection.value, position: 7, stamp: 0 });
  await turn();
  expect(one.view.selection.value.position).toBe(4);
  one.model.set("selection", { ...one.view.selection.value, position: 7, stamp: 5 });
  await turn();
  expect(one.view.selection.value.position).toBe(7);
});

test("what views to come point at is kept beside what this one changes, and stands on linked views", async () => {
  const one = linked();
  const two = linked();
  const edge = { neuron: 3, component: "mlp", node: "a", edge: ["a", "b"], run: "B" } as const;
  one.model.set("selection", { ...NOTHING, ...edge, layer: 1, stamp: 5 });
  await turn();
  one.view.select({ position: 4 });
  expect(two.view.selection.value).toEqual({ ...NOTHING, ...edge, layer: 1, position: 4, stamp: 6 });
  expect(one.model.values["selection"]).toEqual(two.view.selection.value);
  one.view.select({ neuron: null });
  expect(two.view.selection.value).toMatchObject({ neuron: null, component: "mlp" });
});

test("a selection saved before it could hold so much is one in which nothing more is chosen", () => {
  const { heads, layer, stamp } = { ...NOTHING, layer: 2, stamp: 3 };
  const { view } = linked({ selection: { heads, layer, stamp } as never });
  expect(view.selection.value).toEqual({ ...NOTHING, layer: 2, stamp: 3 });
});

test("what the pointer is over reaches linked views, and leaves them with the view that said it", () => {
  const one = linked();
  const two = linked();
  const heard = (): HoverValue => two.view.remote.value;
  one.view.publishHover({ position: 2 });
  expect(heard()).toEqual({ ...NO_HOVER, position: 2 });
  one.scope.end();
  expect(heard()).toBe(NO_HOVER);
});

test("a parcel that cannot be read is a notice over the last good picture", async () => {
  const { model, view } = linked();
  model.set("picture", new DataView(new ArrayBuffer(6)));
  await turn();
  expect(view.notice.value?.hint).toBe("Run the cell again.");
  expect(view.picture.value?.word).toBe("one");
  model.set("picture", littlePicture(2, "two"));
  await turn();
  expect([view.notice.value, view.picture.value?.run]).toEqual([null, 2]);
});

test("without a kernel a view is frozen and computes nothing", () => {
  const { view } = linked({}, false);
  expect([view.state.value, view.canCompute.value]).toEqual(["frozen", false]);
});

test("echoes that come late undo neither an option nor a selection; what another tab has set arrives", async () => {
  vi.useFakeTimers();
  try {
    const { model, view } = linked();
    view.setOptions({ depth: 2 });
    view.setOptions({ depth: 3 });
    view.select({ position: 1 });
    view.select({ position: 2 });
    await turn();
    // As a host hands them on that drops no echo: the first ones come back when the last ones are set here already.
    model.set("options", { depth: 2, loud: false });
    model.set("selection", { ...view.selection.value, position: 1, stamp: 1 });
    await vi.advanceTimersByTimeAsync(100);
    expect([view.options.value.depth, view.selection.value.position]).toEqual([3, 2]);
    model.set("options", { depth: 3, loud: false });
    model.set("selection", { ...view.selection.value });
    await vi.advanceTimersByTimeAsync(1000);
    expect([view.options.value.depth, view.selection.value.position]).toEqual([3, 2]);
    // Another tab on the same notebook: its values come through the kernel.
    model.set("options", { depth: 7, loud: true });
    model.set("selection", { ...view.selection.value, position: 9, stamp: 3 });
    model.set("prompt", { kind: "text", text: "typed there" });
    await turn();
    expect([view.options.value, view.selection.value.position, view.prompt.value]).toEqual([
      { depth: 7, loud: true },
      9,
      { kind: "text", text: "typed there" },
    ]);
    // And what is changed here next is newer than that.
    view.select({ position: 4 });
    expect(model.values["selection"]).toMatchObject({ position: 4, stamp: 4 });
  } finally {
    vi.useRealTimers();
  }
});
