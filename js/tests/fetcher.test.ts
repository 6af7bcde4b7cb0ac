/** How blocks are fetched: what is wanted, cancelled, failed, and asked for again. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Fetcher, type Wants } from "../src/core/fetcher";
import { Scope, Signal } from "../src/core/signal";
import type { Liveness } from "../src/core/source";

interface Asked {
  names: string[];
  signal: AbortSignal;
  answer(): void;
  fail(): void;
}

/** A view that wants the named pieces and has none of them until they arrive. */
function fetching(rest = 0, most = Infinity) {
  const wanted = new Signal<string[]>([]);
  const held = new Signal<ReadonlySet<string>>(new Set());
  const liveness = new Signal<Liveness>("live");
  const asked: Asked[] = [];
  const said: unknown[] = [];
  const scope = new Scope();
  const view = {
    scope,
    source: {
      liveness,
      request: ({ heads }: { heads: number[][] }, signal: AbortSignal) =>
        new Promise<null>((resolve, reject) => {
          const names = heads.map(([at = 0]) => String.fromCharCode(97 + at));
          asked.push({ names, signal, answer: () => resolve(null), fail: () => reject(new Error("no")) });
          signal.addEventListener("abort", () => reject(new DOMException("gone", "AbortError")));
        }),
    },
    waiting: new Signal(false),
    report: (reason: unknown) => said.push(reason),
    expectKernel: () => undefined,
  };
  const lacks = (): Wants<string> => {
    const missing = wanted.value.filter((name) => !held.value.has(name));
    return { pieces: new Map(missing.map((name) => [name, name])), rest };
  };
  const fetcher = new Fetcher<string>(
    view,
    lacks,
    (pieces) => [
      {
        names: [...pieces.keys()].slice(0, 2),
        asked: {
          want: "heads",
          run: 1,
          heads: [...pieces.keys()].slice(0, 2).map((name) => [name.charCodeAt(0) - 97]),
          sides: [],
          show: "A",
        },
        arrived: () => void (held.value = new Set([...held.peek(), ...[...pieces.keys()].slice(0, 2)])),
      },
    ],
    most,
  );
  return { asked, fetcher, liveness, said, scope, view, wanted };
}

const settle = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("one request after the other, what is wanted most first", async () => {
  const { asked, fetcher, wanted } = fetching(0, 1);
  wanted.value = ["c", "a", "b"];
  await settle();
  expect(asked.map(({ names }) => names)).toEqual([["c", "a"]]);
  asked[0]!.answer();
  await settle();
  expect(asked[1]!.names).toEqual(["b"]);
  expect(fetcher.complete.value).toBe(false);
  asked[1]!.answer();
  await settle();
  expect(fetcher.complete.value).toBe(true);
});

test("what is passed by is not asked for, what is no longer wanted is cancelled", async () => {
  const { asked, wanted } = fetching(100);
  wanted.value = ["a"];
  await settle(50);
  wanted.value = ["b"];
  await settle(150);
  expect(asked.map(({ names }) => names)).toEqual([["b"]]);
  wanted.value = [];
  await settle();
  expect(asked[0]!.signal.aborted).toBe(true);
});

test("what failed is said and not asked for again until the kernel is back or it is tried anew", async () => {
  const { asked, fetcher, liveness, said, wanted } = fetching();
  wanted.value = ["a"];
  await settle();
  asked[0]!.fail();
  await settle();
  expect(String(said[0])).toBe("Error: no");
  wanted.value = ["a"];
  await settle();
  expect(asked).toHaveLength(1);
  fetcher.retry((name) => name === "a");
  wanted.value = ["a"];
  await settle();
  expect(asked).toHaveLength(2);
  asked[1]!.fail();
  liveness.value = "gone";
  await settle();
  liveness.value = "live";
  await settle();
  expect(asked).toHaveLength(3);
});

test("a request without an answer is told of after a second, and ends with the view", async () => {
  const { asked, scope, view, wanted } = fetching();
  wanted.value = ["a"];
  await settle(900);
  expect(view.waiting.value).toBe(false);
  await settle(200);
  expect(view.waiting.value).toBe(true);
  scope.end();
  expect(asked[0]!.signal.aborted).toBe(true);
});
