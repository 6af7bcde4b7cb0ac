/**
 * The frame around every view: its root element, its source and theme, error bar, progress, status line and empty
 * state, its sizes, and the word that a run's picture is complete. Knows nothing of what the view draws.
 */
import type { AnyView, LinkedState, Pictured } from "../core/linked";
import { promptLine, textOf } from "../core/prompt";
import { Scope, Signal, type Readable } from "../core/signal";
import type { Theme } from "../core/scale";
import { ModelSource, type WidgetModel } from "../core/source";
import { code, h } from "./element";
import { followConnection, followTheme } from "./hosts";
import { KeyHelp, type KeyRow } from "./keys";
import { Prompts, type PromptsGiven } from "./prompts";
import { StatusBar } from "./status";
import { RunLine } from "./run_line";
import { faultNotice, statusLine } from "./status_line";
import { readInk, type Ink } from "./theme";
import { Tooltip } from "./tooltip";

/** Below this width the parts of a view stand under each other. */
export const NARROW = 620;

/** So much of a stale picture's prompt is named, in characters. */
const NAMED = 160;

/** What anywidget hands to a view's module. */
export interface RenderArguments<State> {
  model: WidgetModel<State>;
  el: HTMLElement;
  signal?: AbortSignal;
}

/** The parts of a view: the row of controls under its prompts, the picture's panels, and what opens over all of it. */
export interface Parts {
  controls: HTMLElement[];
  /** What the row is for. */
  about?: string;
  /** Of the picture, and over it: below what says that the picture is not of what was asked for. */
  over?: HTMLElement[];
  body: HTMLElement[];
  popovers?: HTMLElement[];
}

/** The anywidget module of the view `name`, narrow below that width; `build` fills the frame and ties its parts together. */
export function framed<State extends LinkedState>(
  name: string,
  build: (frame: Frame<State>) => void,
  narrow = NARROW,
): { render(given: RenderArguments<State>): () => void } {
  return {
    render(given) {
      const frame = new Frame(name, given, narrow);
      try {
        build(frame);
      } catch (reason) {
        frame.fail(reason);
      }
      return () => frame.scope.end();
    },
  };
}

export class Frame<State extends LinkedState> {
  readonly scope = new Scope();
  readonly root: HTMLElement;
  readonly source: ModelSource<State>;
  readonly theme: Signal<Theme>;
  readonly ink: Signal<Ink>;
  readonly tooltip: Tooltip;
  /** What it holds is read out. */
  readonly announcer = h("div", { class: "miw-hidden", "aria-live": "polite" });
  readonly body = h("div", "miw-body");
  /** That the host gives, in pixels; 0 before it is known. */
  readonly width = new Signal(0);
  /** Grows whenever the root or the body may have another size. */
  readonly #measured = new Signal(0);
  readonly #empty = h("div", "miw-empty");
  /** What a picture is of that is not of what was asked for last. */
  readonly #own = h("div", {
    class: "miw-own",
    hidden: true,
    "data-tip": "The last good picture: what was asked for since was not computed",
  });
  readonly #status: StatusBar;
  readonly #least: number;
  /** Over every view, and of every view; `begin` makes them. */
  prompts!: Prompts;
  help!: KeyHelp;

  constructor(name: string, { model, el }: RenderArguments<State>, narrow: number) {
    const { scope } = this;
    this.#least = narrow;
    this.root = h("div", { class: `miw-view miw-${name}`, "data-view": name, "data-state": "idle" });
    el.append(this.root);
    scope.add(() => this.root.remove());
    this.source = new ModelSource<State>(model);
    scope.add(() => this.source.close());
    followConnection(scope, el, (connected) => this.source.setConnected(connected));
    this.#announcePresence();
    this.theme = followTheme(scope, this.root, el);
    this.ink = new Signal(readInk(this.root));
    scope.effect(() => {
      void this.theme.value;
      this.#inkAgain();
    });
    // A view is often rendered before it stands in the page, where its style sheet says nothing yet: the theme may be
    // known by then, and the colours of its lines not.
    requestAnimationFrame(() => !scope.ended && this.#inkAgain());
    this.tooltip = new Tooltip(scope, this.root);
    this.#status = new StatusBar(scope, () => this.source.stop());
    this.#measureAlways();
  }

  get narrow(): boolean {
    return this.width.peek() < this.#least;
  }

  /**
   * Makes what every view has: its prompts, and the list of its keys. `size`: what a view of plain data says in the place
   * of its prompt; it follows what it reads.
   */
  begin(view: AnyView, keys: KeyRow[], size: () => string, more: Partial<PromptsGiven> = {}): void {
    this.prompts = new Prompts(view, { compare: true, width: this.width, size, ...more });
    this.help = new KeyHelp(this.scope, keys);
  }

  /** Puts the parts in their places and shows around them how the view is. */
  hold(view: AnyView, { controls, about = "what is shown", over = [], body, popovers = [] }: Parts): void {
    const { root, scope, prompts, help } = this;
    const status = this.#status;
    this.body.append(...body);
    root.prepend(
      prompts.element,
      h("div", { class: "miw-controls", role: "toolbar", "aria-label": about }, ...controls, help.button),
      new RunLine(view).element,
      status.progress,
      status.error,
      this.#own,
      ...over,
      this.body,
      this.#empty,
      status.element,
      this.announcer,
    );
    root.append(help.popover, prompts.popover, ...popovers);
    scope.effect(() => (root.style.height = `${view.height.value}px`));
    scope.effect(() => (root.dataset["state"] = view.state.value));
    scope.effect(() => status.show(statusLine(view)));
    scope.effect(() => {
      const picture = view.picture.value;
      this.body.hidden = !picture;
      this.#empty.hidden = !!picture;
      const { message } = view.status.value;
      const nothing = {
        computing: "Computing the first picture …",
        idle: message ? "Stopped before the first picture." : "No picture yet.",
        error: "No picture yet.",
        frozen: "No picture was made.",
      };
      this.#empty.textContent = nothing[view.state.value];
    });
    scope.effect(() => {
      const picture = view.picture.value;
      const stale = view.stale.value && picture !== null;
      if (stale) root.dataset["stale"] = "true";
      else delete root.dataset["stale"];
      this.#own.hidden = !stale;
      this.#own.replaceChildren(...(stale ? ownRuns(picture, view.runNames, view.interventions.made.value.length > 0) : []));
      this.#inkAgain();
    });
    scope.effect(() => {
      // What is being computed adds to the very picture that stands, which is as good as it will be.
      const adds = view.picture.value !== null && view.picture.value.run === view.status.value.run;
      root.toggleAttribute("data-adds", adds);
    });
  }

  /** The view could not be built as a whole; it says so where it can. */
  fail(reason: unknown): void {
    this.scope.guard(() => {
      throw reason;
    })();
    if (this.root.contains(this.#status.error)) return;
    this.root.append(this.#status.error);
    this.#status.show({ parts: [], computing: null, errors: [faultNotice(reason)], frozen: "" });
  }

  /**
   * Calls `place` whenever the sizes of the parts may have changed, and after what `also` reads has. Sizes follow the
   * width that the host gives and the fixed height: never the content, which follows them.
   */
  fit(view: AnyView, also: () => void, place: () => void): void {
    const placed = this.scope.guard(place);
    this.scope.effect(() => {
      const { picture, height, options, compare, interventions, beside, notice, status, stale } = view;
      for (const of of [this.#measured, picture, height, options, compare, interventions.made, beside, notice, status, stale])
        void of.value;
      also();
      // After the other effects of this turn have changed the page.
      queueMicrotask(() => {
        if (view.picture.peek() && !this.body.hidden) placed();
      });
    });
  }

  /**
   * Says on the page which run is shown: `data-run` once something of it is drawn, the event `miw-drawn` once nothing
   * more of it is on its way. `drawn` grows with every drawing, and is 0 before the first.
   */
  announce(view: AnyView, complete: Readable<boolean>, drawn: Readable<number>): void {
    let announced: unknown = null;
    this.scope.effect(() => {
      const picture = view.picture.value;
      const whole = complete.value;
      if (!picture || !drawn.value || (announced === picture && whole)) return;
      // What has just arrived is drawn with the next frame.
      requestAnimationFrame(() =>
        requestAnimationFrame(() => {
          if (this.scope.ended || view.picture.peek() !== picture) return;
          this.root.dataset["run"] = String(picture.run);
          if (!whole || announced === picture) return;
          announced = picture;
          this.root.dispatchEvent(new CustomEvent("miw-drawn", { bubbles: true, detail: { run: picture.run } }));
        }),
      );
    });
  }

  /**
   * A live kernel hears that this render is here: at first, and whenever it asks or may have lost it, which a page that
   * was asleep and a connection that was broken do not tell. And it hears once that it has left.
   */
  #announcePresence(): void {
    const { scope, source } = this;
    const render = crypto.getRandomValues(new Uint32Array(2)).join("-");
    let announced = false;
    const announce = (): void => {
      if (source.liveness.peek() !== "live") return;
      announced = true;
      source.announce("shown", render);
    };
    scope.effect(() => {
      void source.rollCalls.value;
      void source.liveness.value;
      announce();
    });
    scope.listen(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") announce();
    });
    scope.add(() => {
      if (announced) source.announce("hidden", render);
    });
  }

  #inkAgain(): void {
    // As it is within the body: a stale picture has its own.
    const ink = readInk(this.body.isConnected ? this.body : this.root);
    if (JSON.stringify(ink) !== JSON.stringify(this.ink.peek())) this.ink.value = ink;
  }

  #measureAlways(): void {
    const { root, scope, width } = this;
    const measure = (): void => {
      const own = root.clientWidth;
      if (!own) return;
      width.value = own;
      root.classList.toggle("miw-narrow", own < this.#least);
      this.#measured.value = this.#measured.peek() + 1;
    };
    const watcher = new ResizeObserver(scope.guard(measure));
    watcher.observe(root);
    watcher.observe(this.body);
    scope.add(() => watcher.disconnect());
    requestAnimationFrame(measure);
  }
}

/**
 * "Picture of: …", with what was asked of it; both prompts where two are compared, and what was changed in each run, also
 * where nothing was and now is.
 */
function ownRuns({ prompts, asked, manifest }: Pictured, names: readonly string[], changedNow: boolean): Node[] {
  const { interventions = [], other } = manifest;
  const runs = [interventions, [...(other?.model ? [`model ${other.model}`] : []), ...(other?.interventions ?? [])]];
  const changed = changedNow || runs.some((made) => made.length);
  const sides = prompts.flatMap((prompt, at) => [
    prompts.length > 1 ? h("span", "miw-side", names[at]!) : null,
    code(promptLine(textOf(prompt), NAMED)),
    changed ? h("span", "miw-own-run", h("bdi", {}, runs[at]!.join(", ") || "untouched")) : null,
  ]);
  const parts = [h("span", "miw-own-word", "Picture of:"), asked ? h("span", "miw-own-asked", h("bdi", {}, asked)) : null, ...sides];
  return parts.filter((part) => part !== null);
}
