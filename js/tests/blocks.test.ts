/** Parcels are read exactly as Python wrote them: the golden bytes of `tests/golden/`. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { goldenPath } from "./golden";
import { asBytes, decodeDense, fromBase64, openParcel } from "../src/core/blocks";

const bytes = new Uint8Array(readFileSync(goldenPath("parcel.bin")));
const golden = JSON.parse(readFileSync(goldenPath("parcel.json"), "utf8")) as { manifest: unknown; arrays: Record<string, unknown[]> };

test("the manifest crosses as it is, with any text", () => {
  expect(openParcel(bytes)?.manifest).toEqual(golden.manifest);
});

test.each(Object.keys(golden.arrays))("block %s holds the values that Python reads back", (name) => {
  const block = openParcel(bytes)!.blocks.get(name)!;
  const wanted = (golden.arrays[name]!.flat(Infinity) as (number | null)[]).map((value) => value ?? NaN);
  const values = decodeDense(block);
  expect(values.length).toBe(wanted.length);
  wanted.forEach((value, at) => {
    if (Number.isNaN(value)) expect(values[at]).toBeNaN();
    else expect(Math.abs(values[at]! - value)).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(value)));
  });
});

test("a view of a larger buffer at an odd offset is read all the same", () => {
  const larger = new Uint8Array(bytes.length + 3);
  larger.set(bytes, 3);
  const view = new DataView(larger.buffer, 3, bytes.length);
  const block = openParcel(view)!.blocks.get("f32/dense/linear")!;
  expect([...decodeDense(block)]).toEqual((golden.arrays["f32/dense/linear"]!.flat(Infinity) as number[]).map(Math.fround));
});

test("an empty trait holds nothing", () => {
  expect(openParcel(new DataView(new ArrayBuffer(0)))).toBeNull();
  expect(openParcel(null)).toBeNull();
  expect(asBytes("text")).toBeNull();
});

test("bytes that are cut short are refused", () => {
  expect(() => openParcel(bytes.subarray(0, bytes.length - 8))).toThrow("cut short");
});

test("a parcel of a newer schema is refused", () => {
  const text = new TextEncoder().encode(JSON.stringify({ schema: 2, manifest: null, blocks: [] }));
  const parcel = new Uint8Array(4 + text.length);
  new DataView(parcel.buffer).setUint32(0, text.length, true);
  parcel.set(text, 4);
  expect(() => openParcel(parcel)).toThrow("newer");
});

test("base64 gives the bytes back", () => {
  expect([...fromBase64(btoa("\x00\xff\x10"))]).toEqual([0, 255, 16]);
});
