/**
 * Where a view's state comes from, and where its wishes go: a live kernel, a frozen page, or a fake in a test.
 * A view sees a `DataSource`, never the widget model. Knows nothing of any particular view.
 */
import type { Parcel } from "./blocks";
import { Requests, type Asked, RequestFailed } from "./requests";
import { computed, Signal, type Readable } from "./signal";
import type { Answer, Order, Presence, RollCall } from "./wire.gen";

/** What anywidget hands to `render`; static hosts leave out `send` and the manager. */
export interface WidgetModel<State> {
  get<Name extends keyof State & string>(name: Name): State[Name];
  set<Name extends keyof State & string>(name: Name, value: State[Name]): void;
  save_changes(): void;
  on(name: string, callback: (...values: never[]) => void): void;
  off(name: string, callback: (...values: never[]) => void): void;
  send?(content: unknown, callbacks?: unknown, buffers?: unknown): void;
  widget_manager?: unknown;
}

/** `live`: there is a kernel. `gone`: the host says that the kernel went away. `frozen`: a page without one. */
export type Liveness = "live" | "gone" | "frozen";

/**
 * How it stands with something that the kernel has not answered: `waiting`: for a second or more; `silent`: for so long
 * that it must be said (it may be busy with something else: not a reason to give up); `unsent`: the host says that
 * there is no connection, and sends it when there is one again.
 */
export type Overdue = "waiting" | "silent" | "unsent";

export interface DataSource<State> {
  readonly liveness: Readable<Liveness>;
  /** What was asked of the kernel is unanswered: an edit of what is to be computed, or else data. */
  readonly overdue: Readable<{ how: Overdue; edit: boolean } | null>;
  /** Nothing has come back for so long that it must be said. */
  readonly silent: Readable<boolean>;
  /** Grows whenever the kernel asks which renders still stand. */
  readonly rollCalls: Readable<number>;
  get<Name extends keyof State & string>(name: Name): State[Name];
  /** Changes the state here and, if live, in the kernel. */
  set<Name extends keyof State & string>(name: Name, value: State[Name]): void;
  /** The same for several that belong together: the kernel hears of them at once. */
  setTogether(change: Partial<State>): void;
  /** Hears of changes from outside, all that belong together at once. Returns the way to stop. */
  observe(names: (keyof State & string)[], changed: (names: Set<string>) => void): () => void;
  /** Rejects with `RequestFailed`, or with an AbortError once `signal` has aborted. */
  request(asked: Asked, signal?: AbortSignal): Promise<Parcel | null>;
  /** The reader did something that the kernel must answer, an edit perhaps: find out whether it is there. */
  expectKernel(busy: () => boolean, edit?: boolean): void;
  stop(): void;
  /** The kernel is to do something once; what comes of it arrives as a new state. */
  order(order: Omit<Order, "kind">): void;
  /** One render of the view stands on the page, or has left it. Hosts give renders nothing in common: Python counts. */
  announce(kind: Presence["kind"], render: string): void;
  close(): void;
}

/** How often a kernel that was asked something is looked after. */
const LOOK_MS = 1000;
/** No answer for so many looks, though nothing of ours is being computed, is worth telling the reader. */
const SILENT_LOOKS = 8;
/** An echo of what this page has changed since is followed by its successor within this time. */
const ECHO_MS = 300;
/** So many of the values that this page set are remembered, to know their echoes. */
const OWN_VALUES = 8;

/** What a reader does about a kernel that is gone. */
export const RUN_AGAIN = "Run the cells above first, then this one.";
const KERNEL_GONE = { code: "failed", message: "The kernel is gone.", hint: RUN_AGAIN } as const;

interface ManagerLike {
  kernel?: { status?: string; connectionStatus?: string } | null;
}

/** The source behind an anywidget model: live if it can send, else frozen. */
export class ModelSource<State> implements DataSource<State> {
  readonly #liveness: Signal<Liveness>;
  readonly overdue = new Signal<{ how: Overdue; edit: boolean } | null>(null);
  readonly silent: Readable<boolean> = computed(() => this.overdue.value?.how === "silent");
  readonly rollCalls = new Signal(0);
  #requests: Requests | null = null;
  #model: WidgetModel<State>;
  #endings: (() => void)[] = [];
  /** What is being waited for: null if nothing. `again`: another edit came after the question was sent. */
  #asked: { edit: boolean; again: boolean; looks: number } | null = null;
  #looking: ReturnType<typeof setInterval> | undefined;
  #started = false;
  /** What this page set, by trait, as JSON and oldest first. */
  #own = new Map<string, string[]>();

  constructor(model: WidgetModel<State>) {
    this.#model = model;
    const canSend = typeof model.send === "function";
    this.#liveness = new Signal<Liveness>(canSend && !this.#kernelMissing() ? "live" : "frozen");
    if (!canSend) return;
    const requests = new Requests((message) => model.send?.(message));
    this.#requests = requests;
    this.#on("msg:custom", (message: unknown, buffers: unknown) => {
      const answered = requests.answer(message as Answer, Array.isArray(buffers) ? buffers : []);
      this.#heard();
      if (answered) this.#become("live");
      if ((message as RollCall | null)?.kind === "roll_call") this.rollCalls.value = this.rollCalls.peek() + 1;
    });
    this.#watchComm();
  }

  get liveness(): Readable<Liveness> {
    return this.#liveness;
  }

  get<Name extends keyof State & string>(name: Name): State[Name] {
    return this.#model.get(name);
  }

  set<Name extends keyof State & string>(name: Name, value: State[Name]): void {
    this.setTogether({ [name]: value } as unknown as Partial<State>);
  }

  setTogether(change: Partial<State>): void {
    for (const [name, value] of Object.entries(change)) {
      this.#own.set(name, [...(this.#own.get(name) ?? []), JSON.stringify(value)].slice(-OWN_VALUES));
      this.#model.set(name as keyof State & string, value as never);
    }
    this.#model.save_changes();
  }

  observe(names: (keyof State & string)[], changed: (names: Set<string>) => void): () => void {
    // One message from the kernel changes several traits, with one event each: gather them.
    let gathered: Set<string> | null = null;
    let ended = false;
    let echo: ReturnType<typeof setTimeout> | undefined;
    const echoes = new Set<string>();
    const tell = (): void => {
      const together = gathered ?? new Set<string>();
      gathered = null;
      if (ended) return;
      for (const name of [...together]) {
        if (!this.#overtaken(name as keyof State & string)) continue;
        together.delete(name);
        echoes.add(name);
        clearTimeout(echo);
        echo = setTimeout(() => {
          const late = new Set(echoes);
          echoes.clear();
          changed(late);
        }, ECHO_MS);
      }
      if (together.size) changed(together);
    };
    const endings = names.map((name) =>
      this.#on(`change:${name}`, () => {
        if (!gathered) {
          gathered = new Set();
          queueMicrotask(tell);
        }
        gathered.add(name);
      }),
    );
    const end = (): void => {
      ended = true;
      clearTimeout(echo);
      for (const stop of endings) stop();
    };
    this.#endings.push(end);
    return end;
  }

  /** What the host's own marks say. A view that starts without a kernel is a saved picture; later, a loss. */
  setConnected(connected: boolean): void {
    if (!this.#requests) return;
    if (connected) {
      if (this.#started) this.#become("live");
    } else this.#become(this.#started ? "gone" : "frozen");
    this.#started = true;
  }

  request(asked: Asked, signal?: AbortSignal): Promise<Parcel | null> {
    if (!this.#requests) {
      return Promise.reject(new RequestFailed({ code: "failed", message: "There is no kernel to ask.", hint: "" }));
    }
    if (this.#liveness.peek() === "gone") return Promise.reject(new RequestFailed(KERNEL_GONE));
    return this.#requests.ask(asked, signal);
  }

  expectKernel(busy: () => boolean, edit = false): void {
    if (!this.#requests) return;
    if (this.#asked) {
      // The answer that is awaited says nothing of what was sent after the question.
      if (edit) Object.assign(this.#asked, { edit, again: true, looks: 0 });
      return;
    }
    this.#ask(edit);
    this.#looking = setInterval(() => this.#look(busy()), LOOK_MS);
    if (!this.#connected()) this.#look(false);
  }

  stop(): void {
    this.#model.send?.({ kind: "stop" });
  }

  order(order: Omit<Order, "kind">): void {
    const message: Order = { kind: "order", ...order };
    this.#model.send?.(message);
  }

  announce(kind: Presence["kind"], render: string): void {
    const presence: Presence = { kind, render };
    try {
      this.#model.send?.(presence);
    } catch {
      // A channel that was closed already: nobody is left to tell.
    }
  }

  close(): void {
    this.#endPing();
    this.#requests?.close();
    for (const end of this.#endings.splice(0)) end();
  }

  #become(liveness: Liveness): void {
    if (liveness === this.#liveness.peek()) return;
    this.#liveness.value = liveness;
    if (liveness === "live") return;
    this.#endPing();
    this.overdue.value = null;
    this.#requests?.fail(KERNEL_GONE);
  }

  #ask(edit: boolean): void {
    this.#asked = { edit, again: false, looks: 0 };
    const ping: Asked = { want: "ping", run: 0, heads: [], sides: [], show: "A" };
    // Every answer is heard where it arrives; an error is one too.
    this.#requests?.ask(ping).catch(() => undefined);
  }

  #look(busy: boolean): void {
    const asked = this.#asked;
    if (!asked) return;
    const late = (how: Overdue): void => {
      const held = this.overdue.peek();
      if (held?.how !== how || held.edit !== asked.edit) this.overdue.value = { how, edit: asked.edit };
    };
    if (!this.#connected()) return late("unsent");
    if (busy || this.#managerStatus() === "busy") {
      asked.looks = 0;
      if (busy) this.overdue.value = null;
      else late("waiting");
      return;
    }
    asked.looks += 1;
    if (asked.looks < SILENT_LOOKS) return late("waiting");
    // What the reader does next asks again.
    this.#endPing();
    late("silent");
    if (this.#kernelMissing()) this.#become("gone");
  }

  /** Whatever the kernel says, it is there. */
  #heard(): void {
    const { edit, again } = this.#asked ?? { edit: false, again: false };
    this.overdue.value = null;
    if (again) this.#ask(edit);
    else this.#endPing();
  }

  #endPing(): void {
    clearInterval(this.#looking);
    this.#asked = null;
  }

  /** The trait holds what this page itself has set, and has replaced since: an echo that comes late. */
  #overtaken(name: keyof State & string): boolean {
    const own = this.#own.get(name);
    if (!own) return false;
    const held = JSON.stringify(this.#model.get(name));
    // Where someone else has set it since, whatever follows is news.
    if (!own.includes(held)) this.#own.delete(name);
    return own.at(-1) !== held && own.includes(held);
  }

  #on(name: string, callback: (...values: never[]) => void): () => void {
    this.#model.on(name, callback);
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      this.#model.off(name, callback);
    };
    this.#endings.push(end);
    return end;
  }

  /** A notebook that was opened without a kernel says so through its manager; other hosts leave us to ask. */
  #kernelMissing(): boolean {
    const manager = this.#model.widget_manager as ManagerLike | undefined;
    try {
      return !!manager && typeof manager === "object" && "kernel" in manager && manager.kernel === null;
    } catch {
      return false;
    }
  }

  #managerStatus(): string | undefined {
    return this.#kernel()?.status;
  }

  /** Hosts that say nothing of it are connected. */
  #connected(): boolean {
    return (this.#kernel()?.connectionStatus ?? "connected") === "connected";
  }

  #kernel(): ManagerLike["kernel"] {
    try {
      return (this.#model.widget_manager as ManagerLike | undefined)?.kernel;
    } catch {
      return undefined;
    }
  }

  /**
   * ipywidgets marks a model whose kernel went away with `comm_live`, and says so with an event. anywidget's proxy
   * hides the model, but events carry it: as the callback's `this.model` or as the first value of a change.
   */
  #watchComm(): void {
    const look = (candidate: unknown): void => {
      if (typeof candidate !== "object" || candidate === null || !("comm_live" in candidate)) return;
      const live = !!(candidate as { comm_live: unknown }).comm_live;
      if (live) this.#become("live");
      else if (this.#liveness.peek() === "live") this.#become("gone");
    };
    this.#on("comm_live_update", function (this: { model?: unknown } | undefined): void {
      look(this?.model);
    });
    this.#on("change:selection", (model: unknown) => look(model));
    this.#on("change:prompt", (model: unknown) => look(model));
    this.#on("change:options", (model: unknown) => look(model));
  }
}
