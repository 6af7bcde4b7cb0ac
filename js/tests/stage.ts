/** A page for one test of a whole view: fake time, no drawing, and an end to everything that was shown. */
import { afterEach, beforeEach, vi } from "vitest";

class QuietObserver {
  observe(): void {}
  disconnect(): void {}
}

/** What `framed` makes, as far as a test needs it. */
interface View {
  render(given: { model: never; el: HTMLElement }): () => void;
}

/** What ends with the test: each render in the order it was made, and what a test adds. */
export const cleanups: (() => void)[] = [];

/** Makes the stage before each test of the file and clears it afterwards; `sizes`: what every element measures. */
export function useStage(sizes?: { clientWidth: number; offsetWidth: number; offsetHeight: number }): void {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("ResizeObserver", QuietObserver);
    // jsdom draws nothing and has no sizes; a browser does, in tests/browser.
    vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(null);
    for (const [name, value] of Object.entries(sizes ?? {})) {
      vi.spyOn(HTMLElement.prototype, name as "clientWidth", "get").mockReturnValue(value);
    }
  });
  afterEach(() => {
    for (const cleanup of cleanups.splice(0)) cleanup();
    document.body.replaceChildren();
    vi.useRealTimers();
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
  });
}

/** A canvas on which everything is drawn to its end, in a place as high as what it holds; `note` hears of every call. */
export function useCanvas(note: (name: string, values: unknown[]) => void = () => undefined): void {
  vi.spyOn(HTMLElement.prototype, "clientHeight", "get").mockReturnValue(300);
  vi.stubGlobal(
    "DOMMatrix",
    class {
      scale = () => this;
    },
  );
  const special: Record<string, unknown> = {
    measureText: (text: string) => ({ width: 6 * text.length }),
    createImageData: (width: number, height: number) => ({ width, height, data: new Uint8ClampedArray(4 * width * height) }),
    createPattern: () => null,
  };
  const paper = new Proxy(special, {
    get: (_, name) => special[name as string] ?? ((...values: unknown[]) => note(name as string, values)),
    set: () => true,
  });
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockReturnValue(paper as never);
}

/** The root of `view`, rendered on `model`. */
export function rendered(view: View, model: object): HTMLElement {
  const el = document.createElement("div");
  document.body.append(el);
  cleanups.push(view.render({ model: model as never, el }));
  return el.querySelector<HTMLElement>(".miw-view")!;
}
