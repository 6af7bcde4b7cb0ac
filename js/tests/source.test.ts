/** Every request settles; a silent kernel is noticed; nothing is left behind. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readFileSync } from "node:fs";
import { ModelSource } from "../src/core/source";
import type { Asked } from "../src/core/requests";
import { goldenPath } from "./golden";
import { FakeModel } from "./fake_model";

const bytes = new Uint8Array(readFileSync(goldenPath("parcel.bin")));
const parcel = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const asked: Asked = { want: "heads", run: 1, heads: [[0, 1]], sides: ["A"], show: "A" };
const source = (model: FakeModel) => new ModelSource<{ prompt: unknown; selection: unknown }>(model as never);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("a request is answered with a parcel", async () => {
  const model = new FakeModel({});
  const answer = source(model).request(asked);
  const [sent] = model.requests("heads");
  expect(sent).toMatchObject({ kind: "request", heads: [[0, 1]], encoding: "buffers" });
  model.answer({ req: sent!["req"], nbytes: bytes.length }, [parcel]);
  expect((await answer)?.blocks.has("f16/dense/linear")).toBe(true);
});

test("an error of the kernel rejects with its message and hint", async () => {
  const model = new FakeModel({});
  const answer = source(model).request(asked);
  model.answer({ req: model.sent[0]!["req"], ok: false, error: { code: "unknown", message: "no head 99", hint: "there are 12" } });
  await expect(answer).rejects.toMatchObject({ reason: { code: "unknown", message: "no head 99", hint: "there are 12" } });
});

test("a host that drops buffers is asked for base64, once and for all", async () => {
  const model = new FakeModel({});
  const live = source(model);
  const answer = live.request(asked);
  model.answer({ req: model.sent[0]!["req"], nbytes: bytes.length }, []);
  expect(model.sent[1]).toMatchObject({ want: "heads", encoding: "base64" });
  model.answer({ req: model.sent[1]!["req"], nbytes: bytes.length, base64: Buffer.from(bytes).toString("base64") });
  expect((await answer)?.blocks.size).toBeGreaterThan(3);
  void live.request(asked).catch(() => undefined);
  expect(model.sent[2]).toMatchObject({ encoding: "base64" });
  live.close();
});

test("what is no longer wanted is cancelled, and its late answer dropped", async () => {
  const model = new FakeModel({});
  const abort = new AbortController();
  const answer = source(model).request(asked, abort.signal);
  abort.abort();
  await expect(answer).rejects.toThrow("no longer wanted");
  const req = model.sent[0]!["req"];
  expect(model.sent[1]).toEqual({ kind: "cancel", req });
  model.answer({ req, nbytes: bytes.length }, [parcel]);
});

test("two views of one model do not take each other's answers", async () => {
  const model = new FakeModel({});
  const [one, two] = [source(model), source(model)];
  const first = one.request(asked);
  const second = two.request(asked);
  expect(model.sent[0]!["req"]).not.toBe(model.sent[1]!["req"]);
  model.answer({ req: model.sent[1]!["req"], nbytes: bytes.length }, [parcel]);
  expect(await second).not.toBeNull();
  one.close();
  await expect(first).rejects.toThrow();
});

test("a model that cannot send is frozen, and so is one whose manager has no kernel", async () => {
  expect(source(new FakeModel({}, false)).liveness.value).toBe("frozen");
  await expect(source(new FakeModel({}, false)).request(asked)).rejects.toThrow("no kernel");
  const model = new FakeModel({});
  model.widget_manager = { kernel: null };
  expect(source(model).liveness.value).toBe("frozen");
});

test("a kernel that says nothing while it computes nothing is silent, not gone, until it speaks again", async () => {
  const model = new FakeModel({});
  const live = source(model);
  let busy = true;
  live.expectKernel(() => busy);
  await vi.advanceTimersByTimeAsync(9000);
  expect(live.silent.value).toBe(false);
  busy = false;
  await vi.advanceTimersByTimeAsync(8000);
  expect([live.silent.value, live.liveness.value]).toEqual([true, "live"]);
  model.answer({ req: model.requests("ping")[0]!["req"] });
  expect([live.silent.value, live.liveness.value]).toEqual([false, "live"]);
});

test("a silent kernel is asked again, with one ping and one timer at a time; any word from it ends the silence", async () => {
  const model = new FakeModel({});
  const live = source(model);
  const listening = model.listening;
  for (let time = 1; time <= 5; time++) {
    live.expectKernel(() => false);
    live.expectKernel(() => false);
    expect([model.requests("ping").length, vi.getTimerCount()]).toEqual([time, 1]);
    await vi.advanceTimersByTimeAsync(8000);
    expect([live.silent.value, vi.getTimerCount()]).toEqual([true, 0]);
  }
  expect(model.listening).toBe(listening);
  model.emit("msg:custom", { kind: "answer", req: -1, ok: true, nbytes: 0, base64: null, error: null }, []);
  expect(live.silent.value).toBe(false);
  live.close();
});

test("a silent kernel that the manager has not got any more is gone", async () => {
  const model = new FakeModel({});
  model.widget_manager = { kernel: { status: "idle" } };
  const live = source(model);
  live.expectKernel(() => false);
  model.widget_manager = { kernel: null };
  await vi.advanceTimersByTimeAsync(8000);
  expect(live.liveness.value).toBe("gone");
});

test("a kernel that answers the ping is there", async () => {
  const model = new FakeModel({});
  const live = source(model);
  live.expectKernel(() => false);
  model.answer({ req: model.sent[0]!["req"] });
  await vi.advanceTimersByTimeAsync(60000);
  expect([live.silent.value, live.liveness.value]).toEqual([false, "live"]);
});

test("the host's own word that the kernel went away is believed at once", () => {
  const model = new FakeModel({ selection: 1 }) as FakeModel & { comm_live?: boolean };
  const live = source(model);
  model.comm_live = false;
  model.emit("comm_live_update");
  expect(live.liveness.value).toBe("gone");
});

test("changes that arrive together are heard once", async () => {
  const model = new FakeModel({ prompt: 1, selection: 1 });
  const heard: string[][] = [];
  source(model).observe(["prompt", "selection"], (names) => heard.push([...names]));
  model.set("prompt", 2);
  model.set("selection", 2);
  await Promise.resolve();
  expect(heard).toEqual([["prompt", "selection"]]);
});

test("a closed source listens to nothing", () => {
  const model = new FakeModel({ prompt: 1 });
  const live = source(model);
  live.observe(["prompt"], () => undefined);
  live.expectKernel(() => false);
  live.close();
  expect(model.listening).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test("requests that are pending when the kernel goes are rejected, and so is what is asked after; not the next ping", async () => {
  const model = new FakeModel({}) as FakeModel & { comm_live?: boolean };
  const live = source(model);
  const answer = live.request(asked);
  live.expectKernel(() => false, true);
  model.comm_live = false;
  model.emit("comm_live_update");
  await expect(answer).rejects.toMatchObject({
    reason: { message: "The kernel is gone.", hint: expect.stringContaining("Run the cells above first") },
  });
  await expect(live.request(asked)).rejects.toMatchObject({ reason: { message: "The kernel is gone." } });
  expect([live.overdue.value, vi.getTimerCount(), model.requests("heads").length]).toEqual([null, 0, 1]);
  live.expectKernel(() => false);
  model.answer({ req: model.requests("ping").at(-1)!["req"] });
  expect(live.liveness.value).toBe("live");
});

test("what waits for an answer is overdue after a second, and silent after eight; an edit stays one", async () => {
  const model = new FakeModel({});
  const live = source(model);
  live.expectKernel(() => false, true);
  await vi.advanceTimersByTimeAsync(900);
  expect(live.overdue.value).toBeNull();
  await vi.advanceTimersByTimeAsync(200);
  expect(live.overdue.value).toEqual({ how: "waiting", edit: true });
  live.expectKernel(() => false);
  await vi.advanceTimersByTimeAsync(7000);
  expect(live.overdue.value).toEqual({ how: "silent", edit: true });
  model.answer({ req: -1 });
  expect([live.overdue.value, vi.getTimerCount()]).toEqual([null, 0]);
});

test("an edit after the question is asked for anew: the first answer says nothing of it", async () => {
  const model = new FakeModel({});
  const live = source(model);
  live.expectKernel(() => false, true);
  live.expectKernel(() => false, true);
  live.expectKernel(() => false);
  expect(model.requests("ping")).toHaveLength(1);
  model.answer({ req: model.requests("ping")[0]!["req"] });
  expect(model.requests("ping")).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1000);
  expect(live.overdue.value).toEqual({ how: "waiting", edit: true });
  model.answer({ req: model.requests("ping")[1]!["req"] });
  expect([live.overdue.value, vi.getTimerCount(), model.requests("ping").length]).toEqual([null, 0, 2]);
});

test("without a connection an edit is known to be unsent at once, also while an earlier run is computed", async () => {
  const model = new FakeModel({});
  const kernel = { status: "busy", connectionStatus: "connecting" };
  model.widget_manager = { kernel };
  const live = source(model);
  live.expectKernel(() => true, true);
  expect(live.overdue.value).toEqual({ how: "unsent", edit: true });
  await vi.advanceTimersByTimeAsync(20000);
  expect([live.overdue.value?.how, live.silent.value, live.liveness.value]).toEqual(["unsent", false, "live"]);
  Object.assign(kernel, { status: "idle", connectionStatus: "connected" });
  await vi.advanceTimersByTimeAsync(1000);
  expect(live.overdue.value).toBeNull(); // the run is computed, as the status says
});

test("a kernel that runs a cell is waited for, and never silent", async () => {
  const model = new FakeModel({});
  model.widget_manager = { kernel: { status: "busy" } };
  const live = source(model);
  live.expectKernel(() => false, true);
  await vi.advanceTimersByTimeAsync(60000);
  expect(live.overdue.value).toEqual({ how: "waiting", edit: true });
});

test("a roll call is heard", () => {
  const model = new FakeModel({});
  const live = source(model);
  model.emit("msg:custom", { kind: "roll_call" }, []);
  expect(live.rollCalls.value).toBe(1);
});

test("the echo of a value that this page has replaced undoes nothing; what follows it, and what Python sets, arrives", async () => {
  const model = new FakeModel({ prompt: "" });
  const live = source(model);
  const heard: unknown[] = [];
  live.observe(["prompt"], () => heard.push(live.get("prompt")));
  const settled = async (value: unknown, ms: number): Promise<unknown[]> => {
    model.set("prompt", value);
    await vi.advanceTimersByTimeAsync(ms);
    return heard.splice(0);
  };
  live.set("prompt", "a");
  live.set("prompt", "ab");
  await vi.advanceTimersByTimeAsync(0);
  expect(heard.splice(0)).toEqual(["ab"]);
  expect(await settled("a", 100)).toEqual([]); // an echo, late
  expect(await settled("ab", 0)).toEqual(["ab"]); // and its successor
  expect(await settled("a", 100)).toEqual([]);
  expect(await settled("ab", 400)).toEqual(["ab", "ab"]);
  expect(await settled("set in Python", 0)).toEqual(["set in Python"]);
  expect(await settled("a", 0)).toEqual(["a"]); // by someone else, after that
  live.set("prompt", "b");
  live.set("prompt", "bc");
  expect(await settled("b", 400)).toEqual(["b"]); // it stays: someone set it again
  live.close();
  expect(vi.getTimerCount()).toBe(0);
});
