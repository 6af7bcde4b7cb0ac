/**
 * The line over a picture that says which run it is of, where that is not the untouched one: the interventions made, and
 * of a comparison what tells its sides apart. Each can be taken away, and all at once. Knows nothing of what they do.
 */
import type { AnyView } from "../core/linked";
import type { InterventionValue } from "../core/wire.gen";
import { ablatedMark } from "./ablated";
import { makeButton } from "./controls";
import { h } from "./element";

/** So many are named. */
const NAMED = 40;

const TIPS: Record<string, string> = {
  zero: "Ablation: its output is replaced by zeros (of a head: z, before W_O), so that it writes nothing. What changes is what the model used it for",
  mean: "Mean ablation: its output is replaced by its mean, so that it writes the same whatever it reads",
  resample: "Resampling: its output is replaced by what stands there in the run of another prompt",
  patch: "Patching: here stands what the run of another prompt has in this place",
  add: "Steering: a direction is added to what the model computes here",
  own: "A function of your own at a hook of the model",
};

export class RunLine {
  readonly element = h("div", { class: "miw-run", role: "group", "aria-label": "interventions", hidden: true });
  readonly #sides = h("div", "miw-run-sides");
  readonly #view: AnyView;
  #shown = "";

  constructor(view: AnyView) {
    this.#view = view;
    const { scope } = view;
    const { made, aside } = view.interventions;
    const restore = makeButton(
      scope,
      { label: "restore all", tip: "Take all interventions away: the untouched run", shortcut: "K", text: "restore" },
      () => view.restore(),
    );
    const putBack = makeButton(
      scope,
      { label: "put the interventions back", tip: "Make again what was taken away last", shortcut: "K", text: "put back" },
      () => view.restore(),
    );
    const beside = makeButton(
      scope,
      {
        label: "compare with the untouched run",
        tip: "Compare with the untouched run of the same prompt: A with the interventions, B without",
        shortcut: "",
        text: "+ untouched",
      },
      () => view.compareUntouched(),
    );
    this.element.append(this.#sides, h("span", "miw-run-buttons", beside.element, restore.element, putBack.element));
    scope.effect(() => {
      const own = made.value;
      const live = view.canCompute.value;
      const other = view.beside.value;
      const lent = view.lent.value;
      const back = live ? aside.value : [];
      this.element.hidden = !own.length && !other?.differs && !back.length;
      restore.show({ hidden: !live || !own.length });
      putBack.show({ hidden: !back.length });
      beside.show({ hidden: !live || !own.length || !view.compares || other !== null });
      // Anew only where it says something new: what has the focus may be in it.
      const key = JSON.stringify([own, live, other, lent, back]);
      if (key === this.#shown) return;
      this.#shown = key;
      this.#sides.replaceChildren(...this.#content(own, live, back));
    });
  }

  #content(own: InterventionValue[], live: boolean, back: InterventionValue[]): Node[] {
    const beside = this.#view.beside.peek();
    const aside = back.length ? [h("span", "miw-run-aside", h("bdi", {}, names(back.map(({ label }) => label))))] : [];
    const chips = own.length ? this.#chips(own, live) : [untouched(), ...aside];
    if (!beside?.differs) return [side(null, chips)];
    const model = beside.model === null ? [] : [chip(`model ${beside.model}`, "Side B is the run of another model")];
    const other = beside.interventions.slice(0, NAMED).map((label) => chip(label, ""));
    if (beside.interventions.length > NAMED) other.push(more(beside.interventions.length));
    const away = live && this.#view.lent.peek() ? [this.#alone()] : [];
    const [first, second] = this.#view.runNames;
    return [side(first, chips), side(second, [...(model.length || other.length ? [...model, ...other] : [untouched()]), ...away])];
  }

  #chips(own: InterventionValue[], live: boolean): HTMLElement[] {
    const shown = own.slice(0, NAMED).map((made, at) => {
      const named = chip(made.label, TIPS[made.by ?? made.kind] ?? "", made.kind === "ablate" && made.head !== null);
      const tip = `Take this one away: ${made.label}`;
      if (live) named.append(away(`take away: ${made.label}`, tip, () => this.#view.takeAway(at)));
      return named;
    });
    return own.length > NAMED ? [...shown, more(own.length)] : shown;
  }

  /** Takes away the run that the session sets beside. */
  #alone(): HTMLElement {
    const tip = "Take this run away, here and in all linked views";
    return away("take the run beside away", tip, () => this.#view.setPrompt("compare", null));
  }
}

function away(label: string, tip: string, click: () => void): HTMLElement {
  return h("button", { class: "miw-chip-away", "aria-label": label, "data-tip": tip, click }, "×");
}

function untouched(): HTMLElement {
  return h("span", { class: "miw-run-none", "data-tip": "No intervention is made in this run" }, "untouched");
}

function more(count: number): HTMLElement {
  return h("span", {}, `and ${count - NAMED} more`);
}

function side(name: string | null, chips: HTMLElement[]): HTMLElement {
  return h("span", "miw-run-side", name && h("span", "miw-side", name), ...chips);
}

function chip(label: string, tip: string, ablated = false): HTMLElement {
  const name = h("bdi", {}, label);
  return h("span", "miw-chip", h("span", { class: "miw-chip-name", "data-tip": tip || null }, ablated ? ablatedMark() : null, name));
}

function names(labels: string[]): string {
  const rest = labels.length - 3;
  return labels.slice(0, 3).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
