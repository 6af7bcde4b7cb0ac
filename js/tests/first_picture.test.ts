// @vitest-environment jsdom
/** Every view before its first picture, over a failing first prompt, and mended; and what shows a mistake of the page. */
import { afterEach, beforeEach, describe, expect, test, vi, type MockInstance } from "vitest";
import { Scope, Signal } from "../src/core/signal";
import { framed } from "../src/dom/frame";
import { EVERY_VIEW, NO_PICTURE, status } from "./every_view";
import { FakeModel } from "./fake_model";
import little, { Little, littlePicture, littleState, type LittleState } from "./little_view";
import { cleanups, rendered, useCanvas, useStage } from "./stage";

useStage({ clientWidth: 900, offsetWidth: 900, offsetHeight: 300 });

const settle = (ms = 500): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const errorOf = (root: HTMLElement): HTMLElement => root.querySelector<HTMLElement>(".miw-error")!;
const FAILED = status("error", 1, { message: "The prompt is empty.", hint: "Type some text." });

/** Nothing threw, neither where it is shown nor where it is not. */
let complained: MockInstance;
beforeEach(() => {
  complained = vi.spyOn(console, "error").mockImplementation(() => undefined);
  useCanvas();
});

function drawn(root: HTMLElement, run: string): void {
  expect(complained.mock.calls).toEqual([]);
  expect([root.dataset["run"], root.querySelector<HTMLElement>(".miw-body")!.hidden]).toEqual([run, false]);
  expect([errorOf(root).hidden, errorOf(root).textContent]).toEqual([true, ""]);
}

describe.each(EVERY_VIEW)("$name", ({ view, state, picture }) => {
  const empty = { picture: NO_PICTURE, focus: NO_PICTURE };

  test.each([
    ["computing", status("computing", 1), "Computing the first picture …"],
    ["failed", FAILED, "No picture yet."],
    ["stopped", status("idle", 1, { message: "Stopped." }), "Stopped before the first picture."],
    ["neither asked nor answered", status("idle", 0), "No picture yet."],
  ])("shown while its first run is %s it has its prompt and its word, and draws what comes", async (_, first, says) => {
    const model = new FakeModel(state({ ...empty, status: first, refused: null }));
    const root = rendered(view, model);
    await settle();
    expect(complained.mock.calls).toEqual([]);
    const editor = root.querySelector<HTMLTextAreaElement>("textarea.miw-prompt")!;
    expect([editor.readOnly, editor.closest<HTMLElement>(".miw-prompt-row")!.hidden]).toEqual([false, false]);
    expect([root.querySelector(".miw-empty")!.textContent, root.dataset["run"]]).toEqual([says, undefined]);
    expect(errorOf(root).hidden).toBe(first !== FAILED);
    if (first === FAILED) expect(errorOf(root).textContent).toBe("The prompt is empty. Type some text.");
    model.set("picture", picture(2));
    model.set("status", status("idle", 2));
    await settle();
    drawn(root, "2");
  });

  test("what says that no word was refused, in a notebook of an earlier version, is taken for none", async () => {
    const model = new FakeModel(state({ ...empty, status: FAILED, refused: {} }));
    const root = rendered(view, model);
    await settle();
    expect([complained.mock.calls, errorOf(root).textContent]).toEqual([[], "The prompt is empty. Type some text."]);
    model.set("picture", picture(2));
    model.set("status", status("idle", 2));
    await settle();
    drawn(root, "2");
  });

  test("saved before its first picture it is an empty frame that says so, and its options can be changed", async () => {
    const model = new FakeModel(state({ ...empty, status: status("computing", 1), prompt: { kind: "text", text: "" } }), false);
    const root = rendered(view, model);
    await settle();
    expect([root.dataset["state"], root.querySelector(".miw-empty")!.textContent, errorOf(root).hidden]).toEqual([
      "frozen",
      "No picture was made.",
      true,
    ]);
    expect(root.querySelector(".miw-status")!.textContent).toContain("No kernel.");
    expect(complained.mock.calls).toEqual([]);
  });

  test("keys, pointers and options before the first picture do no harm", async () => {
    const model = new FakeModel(
      state({
        ...empty,
        status: FAILED,
        selection: { layer: 1, head: 1, query: 2, key: 1, position: 2, feature: null, heads: [[0, 1]], stamp: 3 },
      }),
    );
    const root = rendered(view, model);
    await settle();
    const keys = [
      ..."abcdefgijklmnopqrstuvwxyz0123456789[]-+",
      "ArrowUp",
      "ArrowDown",
      "ArrowLeft",
      "ArrowRight",
      "Home",
      "End",
      "PageUp",
      "Enter",
      "Escape",
      " ",
    ];
    for (const part of root.querySelectorAll<HTMLElement>("[tabindex], canvas")) {
      for (const key of keys) part.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      for (const name of ["pointermove", "pointerdown", "pointerup", "pointerleave", "focusin", "focusout", "click", "dblclick", "scroll"])
        part.dispatchEvent(new MouseEvent(name, { bubbles: true, clientX: 40, clientY: 40 }));
    }
    for (const select of root.querySelectorAll("select")) {
      for (const option of select.options) {
        select.value = option.value;
        select.dispatchEvent(new Event("change", { bubbles: true }));
      }
    }
    for (const button of root.querySelectorAll<HTMLButtonElement>("button:not(:disabled)")) button.click();
    await settle();
    expect(complained.mock.calls).toEqual([]);
  });
});

describe("a mistake in the page's own code", () => {
  const broken = new Signal(true);
  const failing = framed<LittleState>("little", (frame) => {
    const view = new Little(frame);
    frame.begin(view, [], () => "");
    frame.scope.effect(() => {
      if (broken.value && view.picture.value) throw new Error("no such layer");
    });
    const word = document.createElement("p");
    frame.hold(view, { controls: [], body: [word] });
    frame.scope.effect(() => void (word.textContent = view.picture.value?.word ?? ""));
  });
  const SAYS = "A part of this view failed in the page: no such layer. Run the cell again, or report this.";
  afterEach(() => (broken.value = true));

  test("shows in the error bar and the console; all else goes on, and it is mended once it runs through", async () => {
    const model = new FakeModel(littleState());
    const root = rendered(failing, model);
    await settle();
    expect([errorOf(root).hidden, errorOf(root).textContent]).toEqual([false, SAYS]);
    expect(complained.mock.calls.map(String)).toEqual(["Error: no such layer"]);
    model.set("picture", littlePicture(2, "two"));
    await settle();
    expect([root.querySelector("p")!.textContent, errorOf(root).textContent]).toEqual(["two", SAYS]);
    broken.value = false;
    await settle();
    expect(errorOf(root).hidden).toBe(true);
  });

  test("stands beside what the kernel says", async () => {
    const root = rendered(failing, new FakeModel(littleState({ status: FAILED as never })));
    await settle();
    expect(errorOf(root).textContent).toBe(`The prompt is empty. Type some text.${SAYS}`);
  });

  test("that leaves a view half built says so, and nothing of it escapes to the host", async () => {
    const half = framed<LittleState>("little", () => {
      throw new Error("no such part");
    });
    const root = rendered(half, new FakeModel(littleState()));
    expect(errorOf(root).textContent).toContain("no such part. Run the cell again");
    cleanups.pop()!();
    expect(document.querySelector(".miw-view")).toBeNull();
  });

  test("in a listener or in what waits for the next frame is one too", async () => {
    const scope = new Scope();
    const button = document.createElement("button");
    let wrong = true;
    scope.listen(button, "click", () => {
      if (wrong) throw new Error("no such button");
    });
    button.click();
    expect(String(scope.fault.value)).toBe("Error: no such button");
    wrong = false;
    button.click();
    expect(scope.fault.value).toBeNull();
    const later = scope.guard(() => {
      throw new Error("too late");
    });
    later();
    expect(String(scope.fault.value)).toBe("Error: too late");
  });

  test("in who shows mistakes does not go on for ever", async () => {
    const scope = new Scope();
    let shown = 0;
    scope.effect(() => {
      shown += 1;
      void scope.fault.value;
      throw new Error("cannot show it");
    });
    await settle();
    expect(shown).toBeLessThan(4);
    expect(complained).toHaveBeenCalledOnce();
  });
});

test("the little view itself says nothing of faults while there are none", async () => {
  const root = rendered(little, new FakeModel(littleState()));
  await settle();
  expect(errorOf(root).hidden).toBe(true);
});
