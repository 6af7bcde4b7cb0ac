/**
 * Small signals: values that effects follow by reading them. Effects run together, after the present task's
 * changes (or with the next frame), never half way through them. Knows nothing of the page but `requestAnimationFrame`.
 */
interface Source {
  followers: Set<Follower>;
  /** Raised with every change of its value. */
  version: number;
  /** Brings the version up to date. */
  refresh(): void;
}

interface Follower {
  stale(): void;
  /** What it read, in that order, and in which version first. */
  sources: Map<Source, number>;
}

let reader: Follower | null = null;

function track(source: Source): void {
  if (!reader) return;
  source.followers.add(reader);
  if (!reader.sources.has(source)) reader.sources.set(source, source.version);
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
  for (const source of follower.sources.keys()) source.followers.delete(follower);
  follower.sources.clear();
}

/** Whether anything that it read has another value now: one that was made again may be what it was. */
function outdated(follower: Follower): boolean {
  for (const [source, version] of follower.sources) {
    source.refresh();
    if (source.version !== version) return true;
  }
  return false;
}

export class Signal<T> {
  #value: T;
  #source: Source = { followers: new Set(), version: 0, refresh: () => {} };

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    track(this.#source);
    return this.#value;
  }

  set value(value: T) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    this.#source.version++;
    for (const follower of [...this.#source.followers]) follower.stale();
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
  let fresh = false;
  let outcome: { value: T } | { reason: unknown } | null = null;
  const self: Follower & Source = {
    sources: new Map(),
    followers: new Set(),
    version: 0,
    stale() {
      if (!fresh) return;
      fresh = false;
      for (const follower of [...self.followers]) follower.stale();
    },
    refresh() {
      if (fresh) return;
      // Set first: a change made while making the value must be able to mark it stale again.
      fresh = true;
      if (outcome && !outdated(self)) return;
      const before = outcome;
      try {
        outcome = { value: follow(self, make) };
      } catch (reason) {
        outcome = { reason };
      }
      const same = before && "value" in before && "value" in outcome && Object.is(before.value, outcome.value);
      if (!same) self.version++;
    },
  };
  const read = (): T => {
    // What failed fails for every reader, until something that it is made of changes.
    if ("reason" in outcome!) throw outcome.reason;
    return outcome!.value;
  };
  return {
    get value() {
      self.refresh();
      track(self);
      return read();
    },
    peek() {
      self.refresh();
      return read();
    },
  };
}

export type Timing = (run: () => void) => void;
export const soon: Timing = (run) => queueMicrotask(run);
export const frame: Timing = (run) => void requestAnimationFrame(run);

/** Runs `body` now and again after what it read has changed. Returns the way to end it. */
export function effect(body: () => void, timing: Timing = soon): () => void {
  let ended = false;
  let waiting = false;
  let ran = false;
  const run = (): void => {
    waiting = false;
    if (ended || (ran && !outdated(self))) return;
    ran = true;
    follow(self, body);
  };
  const self: Follower = {
    sources: new Map(),
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
