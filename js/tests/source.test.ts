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
