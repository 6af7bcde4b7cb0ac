/**
 * The interventions made in what is looked at, as the page knows them: what the kernel says, and until it answers what
 * was just ordered of it. And what side B of a comparison is. Knows nothing of the DOM.
 */
import { computed, Signal, type Readable } from "./signal";
import type { InterventionValue, Order, OtherRun, PromptValue, RunValue } from "./wire.gen";

export interface Head {
  layer: number;
  head: number;
}

/** The untouched run beside the session's. */
export const UNTOUCHED: RunValue = { kind: "run", prompt: null, model: null, interventions: [] };

export const nameOfHead = ({ layer, head }: Head): string => `L${layer} H${head}`;

export function isRun(compare: PromptValue | RunValue | null): compare is RunValue {
  return compare?.kind === "run";
}

export class Interventions {
  /** As the kernel has them. */
  readonly #told = new Signal<InterventionValue[]>([]);
  /** As they will be when it has done what was ordered; null where nothing is on its way. */
  readonly #ordered = new Signal<InterventionValue[] | null>(null);
  #onTheirWay = 0;
  /** The last that were made and are not any more. */
  readonly #last = new Signal<InterventionValue[]>([]);

  constructor(readonly order: (order: Omit<Order, "kind">) => void) {}

  readonly made: Readable<InterventionValue[]> = computed(() => this.#ordered.value ?? this.#told.value);

  /** Where none is made: those that were, and can be put back. */
  readonly aside: Readable<InterventionValue[]> = computed(() => (this.made.value.length ? [] : this.#last.value));

  /** The kernel says what is made. */
  tell(values: InterventionValue[]): void {
    this.#keep(values);
    this.#told.value = values;
    this.#onTheirWay = Math.max(0, this.#onTheirWay - 1);
    if (!this.#onTheirWay) this.#ordered.value = null;
  }

  /** Nothing comes of what was ordered. */
  takeBack(): void {
    this.#onTheirWay = 0;
    this.#ordered.value = null;
  }

  isAblated(head: Head): boolean {
    return this.made.value.some((made) => ablates(made, head));
  }

  /** Ablates the heads, or where all of them are ablated puts them back; whether they are ablated then. */
  toggle(heads: Head[]): boolean {
    const made = this.made.peek();
    const missing = heads.filter((head) => !made.some((one) => ablates(one, head)));
    const next = missing.length
      ? [...made, ...missing.map((head) => ({ label: `${nameOfHead(head)} ablated`, kind: "ablate", by: "zero", ...head }))]
      : made.filter((one) => !heads.some((head) => ablates(one, head)));
    this.#order({ order: "ablate", heads: heads.map(({ layer, head }) => [layer, head]) }, next);
    return missing.length > 0;
  }

  remove(at: number): void {
    const made = this.made.peek();
    const label = made[at]?.label;
    if (label !== undefined)
      this.#order(
        { order: "remove", at, label },
        made.filter((_, place) => place !== at),
      );
  }

  /** Takes all away. */
  restore(): void {
    if (this.made.peek().length) this.#order({ order: "restore" }, []);
  }

  /** The way back from there. */
  putBack(): void {
    const aside = this.aside.peek();
    if (aside.length) this.#order({ order: "undo" }, aside);
  }

  #order(order: Omit<Order, "kind">, next: InterventionValue[]): void {
    this.#keep(next);
    this.#onTheirWay += 1;
    this.#ordered.value = next;
    this.order(order);
  }

  #keep(next: InterventionValue[]): void {
    const made = this.made.peek();
    if (made.length && !next.length) this.#last.value = made;
  }
}

/** What side B is beside its prompt. */
export interface Beside {
  interventions: string[];
  /** Where it is another than A's. */
  model: string | null;
  /** Not the run of side A with another prompt. */
  differs: boolean;
}

/** Side B as it was asked for, or where nothing was as the picture has it; null where nothing is compared. */
export function besideOf(
  made: InterventionValue[],
  compare: PromptValue | RunValue | null,
  pictured: { interventions?: string[]; other?: OtherRun | null } | undefined,
): Beside | null {
  const other = pictured?.other;
  if (!compare && !other) return null;
  const own = made.map(({ label }) => label);
  const run = isRun(compare) ? compare : null;
  // What was the same in the picture is the same in the one that is on its way.
  const theirs = compare || !other || sameLabels(other.interventions, pictured.interventions ?? []) ? own : other.interventions;
  const interventions = run?.interventions ?? theirs;
  const model = run ? run.model : (other?.model ?? null);
  return { interventions, model, differs: model !== null || !sameLabels(interventions, own) };
}

export function sameLabels(left: string[], right: string[]): boolean {
  return left.length === right.length && left.every((label, at) => label === right[at]);
}

function ablates(made: InterventionValue, { layer, head }: Head): boolean {
  return made.kind === "ablate" && made.layer === layer && made.head === head;
}
