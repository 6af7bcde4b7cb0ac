/**
 * Small signals: values that effects follow by reading them. Effects run together, after the present task's
 * changes (or with the next frame), never half way through them. Knows nothing of the page but `requestAnimationFrame`.
 */
interface Follower {
  stale(): void;
  sources: Set<Set<Follower>>;
}

let reader: Follower | null = null;

function track(followers: Set<Follower>): void {
  if (!reader) return;
  followers.add(reader);
  reader.sources.add(followers);
}

function follow<T>(follower: Follower, body: () => T): T {
  unfollow(follower);
  const outer = reader;
  reader = follower;
  try {
    return body();
  } finally {
    reader = outer;
  }
}

function unfollow(follower: Follower): void {
  for (const followers of follower.sources) followers.delete(follower);
  follower.sources.clear();
}

export class Signal<T> {
  #value: T;
  #followers = new Set<Follower>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    track(this.#followers);
    return this.#value;
  }

  set value(value: T) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const follower of [...this.#followers]) follower.stale();
  }

  /** The value, without following it. */
  peek(): T {
    return this.#value;
  }
}

export interface Readable<T> {
  readonly value: T;
  peek(): T;
}

/** A value made of other values; made again only when read after one of them changed. */
export function computed<T>(make: () => T): Readable<T> {
  const followers = new Set<Follower>();
  let fresh = false;
  let outcome: { value: T } | { reason: unknown };
  const self: Follower = {
    sources: new Set(),
    stale() {
      if (!fresh) return;
      fresh = false;
      for (const follower of [...followers]) follower.stale();
    },
  };
  const read = (): T => {
    if (!fresh) {
      // Set first: a change made while making the value must be able to mark it stale again.
      fresh = true;
      try {
        outcome = { value: follow(self, make) };
      } catch (reason) {
        outcome = { reason };
      }
    }
    // What failed fails for every reader, until something that it is made of changes.
    if ("reason" in outcome) throw outcome.reason;
    return outcome.value;
  };
  return {
    get value() {
      track(followers);
      return read();
    },
    peek: read,
  };
}

export type Timing = (run: () => void) => void;
export const soon: Timing = (run) => queueMicrotask(run);
export const frame: Timing = (run) => void requestAnimationFrame(run);

/** Runs `body` now and again after what it read has changed. Returns the way to end it. */
export function effect(body: () => void, timing: Timing = soon): () => void {
  let ended = false;
  let waiting = false;
  const run = (): void => {
    waiting = false;
    if (!ended) follow(self, body);
  };
  const self: Follower = {
    sources: new Set(),
    stale() {
      if (waiting || ended) return;
      waiting = true;
      timing(run);
    },
  };
  if (timing === soon) run();
  else self.stale();
  return () => {
    ended = true;
    unfollow(self);
  };
}

/**
 * Everything that must end when a view is closed. What throws within is told to whoever follows `fault`, and in the
 * console; all else goes on.
 */
export class Scope {
  #endings: (() => void)[] = [];
  #ended = false;
  #failing = new Signal<ReadonlyMap<unknown, unknown>>(new Map());

  /** What failed last and has not run through since; null where all is well. */
  readonly fault: Readable<unknown> = computed(() => [...this.#failing.value.values()].at(-1) ?? null);

  add(ending: () => void): void {
    if (this.#ended) ending();
    else this.#endings.push(ending);
  }

  /** `body` for someone who calls it later: what it throws is this scope's fault until it runs through again. */
  guard<Values extends unknown[]>(body: (...values: Values) => void): (...values: Values) => void {
    return (...values) => {
      try {
        body(...values);
        this.#tell(body, null);
      } catch (reason) {
        this.#tell(body, reason ?? new Error("unknown"));
      }
    };
  }

  effect(body: () => void, timing?: Timing): void {
    this.add(effect(this.guard(body), timing));
  }

  listen<Name extends keyof HTMLElementEventMap>(
    target: EventTarget,
    name: Name | (string & {}),
    listener: (event: HTMLElementEventMap[Name]) => void,
    options?: AddEventListenerOptions,
  ): void {
    const guarded = this.guard(listener) as EventListener;
    target.addEventListener(name, guarded, options);
    this.add(() => target.removeEventListener(name, guarded, options));
  }

  get ended(): boolean {
    return this.#ended;
  }

  end(): void {
    this.#ended = true;
    for (const ending of this.#endings.splice(0).reverse()) ending();
  }

  #tell(who: unknown, reason: unknown): void {
    const held = this.#failing.peek();
    if (this.#ended || (reason === null && !held.has(who))) return;
    // Who shows faults may fail too: the same one twice is no news, or it would go on for ever.
    if (reason !== null && String(held.get(who)) === String(reason)) return;
    const failing = new Map(held);
    failing.delete(who);
    if (reason !== null) {
      failing.set(who, reason);
      console.error(reason);
    }
    this.#failing.value = failing;
  }
}
