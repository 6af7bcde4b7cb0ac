/**
 * Where a view's state comes from, and where its wishes go: a live kernel, a frozen page, or a fake in a test.
 * A view sees a `DataSource`, never the widget model. Knows nothing of any particular view.
 */
import type { Parcel } from "./blocks";
import { Requests, type Asked, RequestFailed } from "./requests";
import { Signal, type Readable } from "./signal";
import type { Answer, Order, Presence } from "./wire.gen";

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

export interface DataSource<State> {
  readonly liveness: Readable<Liveness>;
  /** The kernel was asked something and says nothing. It may be busy with something else: not a reason to give up. */
  readonly silent: Readable<boolean>;
  get<Name extends keyof State & string>(name: Name): State[Name];
  /** Changes the state here and, if live, in the kernel. */
  set<Name extends keyof State & string>(name: Name, value: State[Name]): void;
  /** The same for several that belong together: the kernel hears of them at once. */
  setTogether(change: Partial<State>): void;
  /** Hears of changes from outside, all that belong together at once. Returns the way to stop. */
  observe(names: (keyof State & string)[], changed: (names: Set<string>) => void): () => void;
  /** Rejects with `RequestFailed`, or with an AbortError once `signal` has aborted. */
  request(asked: Asked, signal?: AbortSignal): Promise<Parcel | null>;
  /** The reader did something that the kernel must answer: find out whether it is there. */
  expectKernel(busy: () => boolean): void;
  stop(): void;
  /** The kernel is to do something once; what comes of it arrives as a new state. */
  order(order: Omit<Order, "kind">): void;
  /** One render of the view stands on the page, or has left it. Hosts give renders nothing in common: Python counts. */
  announce(kind: Presence["kind"], render: string): void;
  close(): void;
}

/** No answer for this long, though nothing of ours is being computed, is worth telling the reader. */
const SILENCE_MS = 8000;

interface ManagerLike {
  kernel?: { status?: string } | null;
}

/** The source behind an anywidget model: live if it can send, else frozen. */
export class ModelSource<State> implements DataSource<State> {
  readonly liveness: Signal<Liveness>;
  readonly silent = new Signal(false);
  #requests: Requests | null = null;
  #model: WidgetModel<State>;
  #endings: (() => void)[] = [];
  #pinging = false;
  #silence: ReturnType<typeof setInterval> | undefined;
  #started = false;

  constructor(model: WidgetModel<State>) {
    this.#model = model;
    const canSend = typeof model.send === "function";
    this.liveness = new Signal<Liveness>(canSend && !this.#kernelMissing() ? "live" : "frozen");
    if (!canSend) return;
    const requests = new Requests((message) => model.send?.(message));
    this.#requests = requests;
    this.#on("msg:custom", (message: unknown, buffers: unknown) => {
      this.#heard();
      if (requests.answer(message as Answer, Array.isArray(buffers) ? buffers : [])) this.liveness.value = "live";
    });
    this.#watchComm();
  }

  get<Name extends keyof State & string>(name: Name): State[Name] {
    return this.#model.get(name);
  }

  set<Name extends keyof State & string>(name: Name, value: State[Name]): void {
    this.#model.set(name, value);
    this.#model.save_changes();
  }

  setTogether(change: Partial<State>): void {
    for (const [name, value] of Object.entries(change)) this.#model.set(name as keyof State & string, value as never);
    this.#model.save_changes();
  }

  observe(names: (keyof State & string)[], changed: (names: Set<string>) => void): () => void {
    // One message from the kernel changes several traits, with one event each: gather them.
    let gathered: Set<string> | null = null;
    let ended = false;
    const endings = names.map((name) =>
      this.#on(`change:${name}`, () => {
        if (!gathered) {
          gathered = new Set();
          queueMicrotask(() => {
            const together = gathered ?? new Set<string>();
            gathered = null;
            if (!ended) changed(together);
          });
        }
        gathered.add(name);
      }),
    );
    return () => {
      ended = true;
      for (const end of endings) end();
    };
  }

  /** What the host's own marks say. A view that starts without a kernel is a saved picture; later, a loss. */
  setConnected(connected: boolean): void {
    if (!this.#requests) return;
    if (connected) {
      if (this.#started) this.liveness.value = "live";
    } else this.liveness.value = this.#started ? "gone" : "frozen";
    this.#started = true;
  }

  request(asked: Asked, signal?: AbortSignal): Promise<Parcel | null> {
    if (!this.#requests) {
      return Promise.reject(new RequestFailed({ code: "failed", message: "There is no kernel to ask.", hint: "" }));
    }
    return this.#requests.ask(asked, signal);
  }

  expectKernel(busy: () => boolean): void {
    if (!this.#requests || this.#pinging) return;
    this.#pinging = true;
    this.#silence = setInterval(() => {
      if (busy() || this.#managerStatus() === "busy") return;
      // What the reader does next asks again.
      this.#endPing();
      this.silent.value = true;
      if (this.#kernelMissing()) this.liveness.value = "gone";
    }, SILENCE_MS);
    const ping: Asked = { want: "ping", run: 0, heads: [], sides: [], show: "A" };
    // Every answer is heard where it arrives; an error is one too.
    this.#requests.ask(ping).catch(() => undefined);
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

  /** Whatever the kernel says, it is there. */
  #heard(): void {
    this.#endPing();
    this.silent.value = false;
  }

  #endPing(): void {
    clearInterval(this.#silence);
    this.#pinging = false;
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
    try {
      return (this.#model.widget_manager as ManagerLike | undefined)?.kernel?.status;
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
      if (live) this.liveness.value = "live";
      else if (this.liveness.peek() === "live") this.liveness.value = "gone";
    };
    this.#on("comm_live_update", function (this: { model?: unknown } | undefined): void {
      look(this?.model);
    });
    this.#on("change:selection", (model: unknown) => look(model));
    this.#on("change:prompt", (model: unknown) => look(model));
    this.#on("change:options", (model: unknown) => look(model));
  }
}
