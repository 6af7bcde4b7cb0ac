/**
 * The page's own way to link views of one session: selection and hover reach every view at once, with or without a
 * kernel; so does the word that an edit is still on its way. Views of other sessions hear nothing. Messages are window
 * events, so that people's own scripts can listen.
 */
import type { Overdue } from "./source";
import type { SelectionValue } from "./wire.gen";

/** What the pointer is over; positions are those of prompt A. */
export interface HoverValue {
  layer: number | null;
  head: number | null;
  query: number | null;
  key: number | null;
  position: number | null;
}

export const NO_HOVER: HoverValue = { layer: null, head: null, query: null, key: null, position: null };

interface Channels {
  selection: SelectionValue;
  hover: HoverValue;
  /** What became of an edit in the view that says so; null once the kernel has it. */
  edit: Overdue | null;
}

export interface BusDetail<Value> {
  session: string;
  origin: string;
  value: Value;
}

let views = 0;

/** One view's seat on the bus. */
export class Bus {
  readonly origin: string;

  constructor(
    readonly session: () => string,
    readonly target: EventTarget = window,
  ) {
    views += 1;
    // Bundles are separate modules: the counter alone would repeat between them.
    this.origin = `${views}.${Math.random().toString(36).slice(2, 10)}`;
  }

  publish<Name extends keyof Channels>(name: Name, value: Channels[Name]): void {
    const detail: BusDetail<Channels[Name]> = { session: this.session(), origin: this.origin, value };
    this.target.dispatchEvent(new CustomEvent(`miw:${name}`, { detail }));
  }

  /** Hears what other views of the session say. Returns the way to stop. */
  subscribe<Name extends keyof Channels>(name: Name, heard: (value: Channels[Name], origin: string) => void): () => void {
    const listener = (event: Event): void => {
      const detail = (event as CustomEvent<BusDetail<Channels[Name]>>).detail;
      if (!detail || detail.session !== this.session() || detail.origin === this.origin) return;
      heard(detail.value, detail.origin);
    };
    this.target.addEventListener(`miw:${name}`, listener);
    return () => this.target.removeEventListener(`miw:${name}`, listener);
  }
}
