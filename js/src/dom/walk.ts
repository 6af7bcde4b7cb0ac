/**
 * The keys of a view: those that walk over what stands in one of its parts, and those that do something wherever they
 * are pressed. What a key has done is read out. Knows nothing of what the parts hold.
 */
import { clipped } from "../core/tokens";
import type { LinkedState } from "../core/linked";
import type { Frame } from "./frame";
import { followKeys, promptKey } from "./keys";

export type Step = [across: number, down: number];

export const STEPS: Record<string, Step> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  Home: [-Infinity, 0],
  End: [Infinity, 0],
};

/** A part with the focus in it: does what the key does there; what is to be said of it, or null where it is no such key. */
export interface Walk {
  element: HTMLElement;
  key(key: string): string | null;
}

/** What keys do, by their names; what they return is said. */
export type Keys<Name extends string = string> = Record<Name, (key: string) => string | void>;

/** `keys` are heard wherever no part knows them; Escape hides the tooltip in any case. */
export function followWays<State extends LinkedState>(frame: Frame<State>, walks: Walk[], keys: Keys): void {
  const { scope, root, announcer, tooltip, prompts, help } = frame;
  const say = (said: string | void): true => {
    if (typeof said === "string") announcer.textContent = clipped(said, 300);
    return true;
  };
  followKeys(scope, root, (key, target) => {
    const said = walks.find(({ element }) => element.contains(target))?.key(key) ?? null;
    if (said !== null) return say(said);
    if (promptKey(prompts, key)) return true;
    if (key === "Escape") tooltip.hide();
    if (key === "?") help.toggle();
    else if (Object.hasOwn(keys, key)) return say(keys[key]!(key));
    else return false;
    return true;
  });
}

/** One thing after the other. */
export interface Line {
  count(): number;
  /** Where a walk begins or goes on. */
  from(): number;
  /** What Enter picks; null while nothing is held. */
  held(): number | null;
  point(at: number): void;
  pick(at: number): string;
  describe(at: number): string;
}

export function walkLine(element: HTMLElement, line: Line): Walk {
  return {
    element,
    key(key) {
      const [across, down] = STEPS[key] ?? [0, 0];
      const count = line.count();
      if ((across || down) && count) {
        const next = Math.max(0, Math.min(count - 1, line.from() + (across || down)));
        line.point(next);
        return line.describe(next);
      }
      if (key !== "Enter" && key !== " ") return null;
      const held = line.held();
      return held === null ? "" : line.pick(held);
    },
  };
}
