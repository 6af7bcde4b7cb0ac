/**
 * What every view of a session knows: the state it shares with the kernel and with its linked views, and the actions on
 * it. A view extends this with its own picture. Knows nothing of the DOM or of any particular picture.
 */
import { openParcel, type Parcel } from "./blocks";
import { Bus, NO_HOVER, type HoverValue } from "./bus";
import { besideOf, Interventions, isRun, nameOfHead, sameLabels, UNTOUCHED, type Beside, type Head } from "./interventions";
import { mayBeOf } from "./prompt";
import { RequestFailed } from "./requests";
import type { Theme } from "./scale";
import { changed, isNewer, NOTHING } from "./selection";
import { computed, Signal, type Readable, type Scope } from "./signal";
import type { DataSource, Liveness, Overdue } from "./source";
import type {
  CheckValue,
  InterventionValue,
  OtherRun,
  PromptValue,
  RefusedToken,
  RunValue,
  SelectionValue,
  Show,
  State as RunState,
  StatusValue,
  TokenTable,
} from "./wire.gen";

/** The traits that views share; a view may lack the optional ones. */
export interface LinkedState {
  session_id: string;
  selection: SelectionValue;
  status: StatusValue;
  height: number;
  options?: object;
  prompt?: PromptValue | null;
  compare?: PromptValue | RunValue | null;
  beside?: PromptValue | RunValue | null;
  interventions?: InterventionValue[];
  history?: PromptValue[];
  picture?: DataView;
}

/** Where a view's state is, how the page around it looks, and when it ends. */
export interface Given<State> {
  readonly source: DataSource<State>;
  readonly theme: Readable<Theme>;
  readonly scope: Scope;
}

/** What must be known of any picture: its run, the prompts it is of, and what the status line says of it. */
export interface Pictured {
  readonly run: number;
  /** Its own prompt, and where it compares two, the second; whatever is asked for now. */
  readonly prompts: TokenTable[];
  /** What was asked of them, where that is more than the prompts and stands beside the picture. */
  readonly asked?: string;
  /** How far a picture is that is not whole; "" or nothing of a whole one. */
  readonly unfinished?: string;
  readonly manifest: {
    model: string;
    checks: CheckValue[];
    notes: string[];
    /** Labels of the interventions made in it, and the heads that they ablate; and what side B is. Pictures of earlier
     * versions say nothing of it. */
    interventions?: string[];
    ablated?: number[][];
    other?: OtherRun | null;
    /** False where the picture was given as data: no kernel can compute another one. */
    live?: boolean;
  };
}

/** A problem that the page itself found. */
export interface Notice {
  message: string;
  hint: string;
  /** What stands in the box is no prompt: the picture is of another. */
  unread?: boolean;
}

/** What was asked of the kernel, here or in a linked view, and has had no answer for a while. */
export interface Unanswered {
  how: Overdue;
  what: "edit" | "linked edit" | "data";
}

/** What is particular to one kind of view. */
export interface Kind<Options> {
  defaults: Options;
  /** In pixels, where the state names none. */
  height: number;
  /** The options that the kernel computes; all others only change how the page draws. */
  computed: (keyof Options)[];
}

/** Any view, whatever its options and its picture: what the frame and the prompts see of it. */
export interface AnyView {
  readonly source: { readonly liveness: Readable<Liveness>; stop(): void };
  readonly scope: Scope;
  readonly options: Readable<object>;
  readonly status: Readable<StatusValue>;
  readonly prompt: Readable<PromptValue | null>;
  readonly compare: Readable<PromptValue | null>;
  readonly interventions: Interventions;
  readonly beside: Readable<Beside | null>;
  readonly lent: Readable<boolean>;
  readonly compares: boolean;
  readonly runNames: readonly [first: string, second: string];
  readonly history: Readable<PromptValue[]>;
  readonly picture: Readable<Pictured | null>;
  readonly height: Readable<number>;
  readonly notice: Signal<Notice | null>;
  readonly waiting: Readable<boolean>;
  readonly unanswered: Readable<Unanswered | null>;
  readonly state: Readable<RunState>;
  readonly stale: Readable<boolean>;
  readonly canCompute: Readable<boolean>;
  setPrompt(which: "prompt" | "compare", value: PromptValue | null): void;
  compareUntouched(): void;
  toggleAblation(heads?: Head[]): string;
  takeAway(at: number): void;
  restore(): string;
}

const QUIET: StatusValue = { state: "idle", run: 0, message: "", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 0 };

const SHARED = ["options", "selection", "status", "prompt", "compare", "beside", "interventions", "history", "height"] as const;

export abstract class Linked<State extends LinkedState, Options extends object, Picture extends Pictured> implements AnyView {
  readonly source: DataSource<State>;
  readonly theme: Readable<Theme>;
  readonly scope: Scope;
  readonly options: Signal<Options>;
  readonly selection = new Signal<SelectionValue>(NOTHING);
  readonly status = new Signal<StatusValue>(QUIET);
  readonly prompt = new Signal<PromptValue | null>(null);
  /** Side B as the view was given it: another prompt, or another run. And what its session sets beside all its views. */
  readonly #compare = new Signal<PromptValue | RunValue | null>(null);
  readonly #lent = new Signal<PromptValue | RunValue | null>(null);
  readonly interventions: Interventions;
  readonly history = new Signal<PromptValue[]>([]);
  readonly picture = new Signal<Picture | null>(null);
  readonly height: Signal<number>;
  readonly notice = new Signal<Notice | null>(null);
  /** The kernel was asked for something a second ago and has not answered. */
  readonly waiting = new Signal(false);
  /** Pointed at in a linked view: positions of prompt A. */
  readonly remote = new Signal<HoverValue>(NO_HOVER);
  readonly bus: Bus;
  /** What the runs of two prompts are called. */
  readonly runNames: readonly [first: string, second: string] = ["A", "B"];
  readonly #kind: Kind<Options>;
  /** Edits in linked views that the kernel has not answered, by view. */
  readonly #edits = new Signal<ReadonlyMap<string, Overdue>>(new Map());
  #pointing = false;
  /** What was last said of a request that failed. */
  #failure: Notice | null = null;

  constructor({ source, theme, scope }: Given<State>, kind: Kind<Options>) {
    this.source = source;
    this.theme = theme;
    this.scope = scope;
    this.#kind = kind;
    this.options = new Signal(kind.defaults);
    this.height = new Signal(kind.height);
    this.bus = new Bus(() => source.get("session_id") ?? "");
    this.interventions = new Interventions((order) => {
      source.order(order);
      this.expectKernel();
    });
  }

  /** The picture in a parcel. What it throws is shown over the last good one. */
  protected abstract pictured(parcel: Parcel): Picture;

  /** There is no picture: of most views the last one stays. */
  protected unpictured(): void {}

  /** Takes what else is new of the view's own state, once the picture is read. */
  protected take(_names: Set<string>): void {}

  /** Reads all state, and from now on every change of it; a view calls this once its own fields are there. */
  protected begin(parcels: (keyof State & string)[]): void {
    const { source, scope } = this;
    const names = [...SHARED, ...parcels] as (keyof State & string)[];
    this.#read(new Set(names));
    scope.add(source.observe(names, (changedNames) => this.#read(changedNames)));
    scope.add(this.bus.subscribe("selection", (value) => this.#adopt(value)));
    scope.add(this.bus.subscribe("hover", (value) => (this.remote.value = value)));
    this.#shareEdits();
    // A kernel that is gone does nothing more of what was ordered.
    scope.effect(() => source.liveness.value !== "live" && this.interventions.takeBack());
    // Linked views must not keep pointing at what a view that is gone pointed at.
    scope.add(() => {
      if (this.#pointing) this.bus.publish("hover", NO_HOVER);
    });
  }

  // ---- what follows from the state -------------------------------------------------------------------------------

  readonly state: Readable<RunState> = computed(() => {
    if (this.source.liveness.value !== "live") return "frozen";
    return this.status.value.state;
  });

  /** The picture is not of the last run, or not of the prompt in sight, and no other one is on its way. */
  readonly stale: Readable<boolean> = computed(() => {
    const picture = this.picture.value;
    if (!picture) return false;
    const { state, run } = this.status.value;
    if (this.source.liveness.value === "live") {
      if (state === "computing") return false;
      const overdue = this.source.overdue.value;
      if (this.notice.value?.unread) return true;
      if (!overdue?.edit) return run > picture.run;
    }
    return run > picture.run || !mayBeOf(picture.prompts, this.prompt.value, this.compare.value) || this.#otherwiseMade(picture);
  });

  /** Side B: the view's own, or that of its session. */
  readonly #second: Readable<PromptValue | RunValue | null> = computed(() => this.#compare.value ?? this.#lent.value);

  /** Side B is the session's: not for this view to edit, only to take away. */
  readonly lent: Readable<boolean> = computed(() => this.#compare.value === null && this.#lent.value !== null);

  /** The prompt of side B: its own, or that of the session. */
  readonly compare: Readable<PromptValue | null> = computed(() => {
    const compare = this.#second.value;
    return isRun(compare) ? (compare.prompt ?? this.prompt.value) : compare;
  });

  readonly beside: Readable<Beside | null> = computed(() =>
    besideOf(this.interventions.made.value, this.#second.value, this.picture.value?.manifest),
  );

  /** A second prompt or run can stand beside the first. */
  get compares(): boolean {
    return this.source.get("compare") !== undefined;
  }

  /** The heads that an ablation would be of: those chosen, here or in a linked view. */
  readonly aimed: Readable<Head[]> = computed(() => {
    const { layer, head, heads } = this.selection.value;
    return layer === null || head === null ? heads.map(([layer = -1, head = -1]) => ({ layer, head })) : [{ layer, head }];
  });

  /** The heads that are ablated, by side: as asked for where the picture follows, else as the picture has it. */
  readonly ablated: Readable<{ A: Head[]; B: Head[] }> = computed(() => {
    const manifest = this.picture.value?.manifest;
    const asHeads = (pairs: number[][] | undefined): Head[] => (pairs ?? []).map(([layer = -1, head = -1]) => ({ layer, head }));
    const asked = this.canCompute.value && !this.stale.value;
    const A = asked
      ? this.interventions.made.value
          .filter(({ kind, head }) => kind === "ablate" && head !== null)
          .map(({ layer, head }) => ({ layer: layer!, head: head! }))
      : asHeads(manifest?.ablated);
    const compare = this.#second.value;
    const shared = asked && compare !== null && !(isRun(compare) && compare.interventions);
    return { A, B: shared ? A : asHeads(manifest?.other?.ablated) };
  });

  /** The names of the heads that are ablated in what is shown. */
  protected ablatedIn(show: Show): ReadonlySet<string> {
    const { A, B } = this.ablated.value;
    return new Set([...(show === "B" ? [] : A), ...(show === "A" ? [] : B)].map(nameOfHead));
  }

  readonly unanswered: Readable<Unanswered | null> = computed(() => {
    if (this.source.liveness.value !== "live") return null;
    const own = this.source.overdue.value;
    if (own?.edit) return { how: own.how, what: "edit" };
    const [elsewhere] = this.#edits.value.values();
    if (elsewhere) return { how: elsewhere, what: "linked edit" };
    return own && { how: own.how, what: "data" };
  });

  /** Other prompts and options can be asked of the kernel. */
  readonly canCompute: Readable<boolean> = computed(
    () => this.source.liveness.value === "live" && (this.picture.value?.manifest.live ?? true),
  );

  // ---- actions ---------------------------------------------------------------------------------------------------

  setOptions(change: Partial<Options>): void {
    const options: Options = { ...this.options.peek(), ...change };
    this.options.value = options;
    this.source.set("options", options as State["options"]);
    if (this.#kind.computed.some((name) => change[name] !== undefined)) this.expectKernel();
  }

  select(change: Partial<SelectionValue>): void {
    const next = changed(this.selection.peek(), change, this.source.get("selection")?.stamp ?? 0);
    this.selection.value = next;
    this.bus.publish("selection", next);
    this.source.set("selection", next);
  }

  setPrompt(which: "prompt" | "compare", value: PromptValue | null): void {
    this.notice.value = null;
    const held = this.#compare.peek();
    if (which === "prompt") this.#ask({ prompt: value });
    else if (this.lent.peek()) this.#giveBack();
    // Another prompt for a run leaves the rest of it as it is.
    else this.#ask({ compare: value && isRun(held) ? { ...held, prompt: value } : value });
  }

  /** Sets the untouched run of the same prompt beside the one in sight. */
  compareUntouched(): void {
    if (this.compares && this.canCompute.peek()) this.#ask({ compare: UNTOUCHED });
  }

  /** Ablates the heads, or puts them back where all are ablated; says what was done. */
  toggleAblation(heads: Head[] = this.aimed.peek()): string {
    if (!this.canCompute.peek()) return "without a model no head can be ablated";
    if (!heads.length) return "no head is chosen";
    const named = heads.map(nameOfHead).join(", ");
    return `${named} ${this.interventions.toggle(heads) ? "ablated" : "restored"}`;
  }

  /** Takes one intervention away. */
  takeAway(at: number): void {
    if (this.canCompute.peek()) this.interventions.remove(at);
  }

  /** Takes all interventions away, or puts back those that were taken away last; says what was done. */
  restore(): string {
    const { made, aside } = this.interventions;
    if (!this.canCompute.peek() || !(made.peek().length || aside.peek().length)) return "no intervention is made";
    const away = made.peek().length > 0;
    if (away) this.interventions.restore();
    else this.interventions.putBack();
    return away ? "all interventions taken away" : "interventions put back";
  }

  /** Tells linked views what the pointer is over, in positions of prompt A; nothing given, nothing pointed at. */
  publishHover(pointed: Partial<HoverValue>): void {
    const value: HoverValue = { ...NO_HOVER, ...pointed };
    this.#pointing = Object.values(value).some((part) => part !== null);
    this.bus.publish("hover", value);
  }

  /** The kernel has to answer now; if it stays silent, the status line says so. */
  expectKernel(edit = true): void {
    this.source.expectKernel(() => this.status.peek().state === "computing", edit);
  }

  /** Says why a request failed; with null, that one succeeded, which takes back that and not what others have said. */
  report(reason: unknown): void {
    // A stale request is answered by the newer picture, which is on its way.
    if (reason instanceof RequestFailed && reason.reason.code === "stale") return;
    const held = this.#failure;
    if (reason === null) this.#failure = null;
    else if (reason instanceof RequestFailed) this.#failure = { message: reason.reason.message, hint: reason.reason.hint };
    else {
      console.error(reason);
      this.#failure = { message: reason instanceof Error ? reason.message : String(reason), hint: "Run the cell again, or report this." };
    }
    if (this.#failure || (held && this.notice.peek() === held)) this.notice.value = this.#failure;
  }

  // ---- within ----------------------------------------------------------------------------------------------------

  #ask(change: Partial<Pick<LinkedState, "prompt" | "compare">>): void {
    if (change.prompt !== undefined) this.prompt.value = change.prompt;
    if (change.compare !== undefined) this.#compare.value = change.compare;
    this.source.setTogether(change as Partial<State>);
    this.expectKernel();
  }

  /** Takes away what the session sets beside all its views. */
  #giveBack(): void {
    if (!this.canCompute.peek()) return;
    this.#lent.value = null;
    this.source.order({ order: "alone" });
    this.expectKernel();
  }

  /** Other interventions are made than those of the picture, as far as it names them. */
  #otherwiseMade({ manifest }: Picture): boolean {
    const own = manifest.interventions;
    return (
      own !== undefined &&
      !sameLabels(
        own,
        this.interventions.made.value.map(({ label }) => label),
      )
    );
  }

  /** Linked views say of each other's edits that they are still on their way. */
  #shareEdits(): void {
    const { bus, scope, source } = this;
    let said: Overdue | null = null;
    const say = (how: Overdue | null): void => {
      if (how === said) return;
      said = how;
      bus.publish("edit", how);
    };
    scope.effect(() => {
      const overdue = source.overdue.value;
      say(overdue?.edit ? overdue.how : null);
    });
    scope.add(() => say(null));
    scope.add(
      bus.subscribe("edit", (how, origin) => {
        const edits = new Map(this.#edits.peek());
        if (how) edits.set(origin, how);
        else edits.delete(origin);
        this.#edits.value = edits;
      }),
    );
  }

  #read(names: Set<string>): void {
    const { source } = this;
    const kind = this.#kind;
    if (names.has("height")) this.height.value = source.get("height") || kind.height;
    if (names.has("options")) this.options.value = { ...kind.defaults, ...source.get("options") };
    if (names.has("status")) {
      this.status.value = { ...QUIET, ...source.get("status") };
      if (this.status.peek().state === "error") this.interventions.takeBack();
    }
    if (names.has("prompt")) this.prompt.value = source.get("prompt") ?? null;
    if (names.has("compare")) this.#compare.value = source.get("compare") ?? null;
    if (names.has("beside")) this.#lent.value = source.get("beside") ?? null;
    if (names.has("interventions")) this.interventions.tell(source.get("interventions") ?? []);
    if (names.has("history")) this.history.value = source.get("history") ?? [];
    if (names.has("selection")) this.#adopt(source.get("selection"));
    for (const read of [() => names.has("picture") && this.#readPicture(), () => this.take(names)]) {
      try {
        read();
      } catch (reason) {
        this.notice.value = { message: reason instanceof Error ? reason.message : String(reason), hint: "Run the cell again." };
      }
    }
  }

  #readPicture(): void {
    const parcel = openParcel(this.source.get("picture"));
    if (!parcel?.manifest) return this.unpictured();
    const picture = this.pictured(parcel);
    this.notice.value = null;
    this.picture.value = picture;
  }

  #adopt(offered: SelectionValue | null | undefined): void {
    if (offered && isNewer(offered, this.selection.peek())) this.selection.value = { ...NOTHING, ...offered };
  }
}

/** What a view's `refused` says; notebooks saved by earlier versions hold `{}` where no word was refused. */
export function refusal(value: Partial<RefusedToken> | null | undefined): RefusedToken | null {
  return value?.text === undefined ? null : { role: "target", pieces: [], offers: [], ...value, text: value.text };
}
