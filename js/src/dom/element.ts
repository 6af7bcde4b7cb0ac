/** Elements from names, attributes and children. Text is always text: nothing here ever parses HTML. */
/** A function hears of the event of its name; `style` may be properties and their values, which no host forbids. */
type Attributes = Record<string, string | number | boolean | null | undefined | (() => void) | Record<string, string>>;

/** `attributes`: words alone are its class. */
export function h<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes | string = {},
  ...children: (Node | string | null)[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  const given = typeof attributes === "string" ? { class: attributes } : attributes;
  setAttributes(element, { type: name === "button" ? "button" : null, ...given });
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

export function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "object" && value)
      for (const [part, how] of Object.entries(value)) (element as HTMLElement).style.setProperty(part, how);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** The closest element around what an event is of that `selector` finds. */
export function around(target: EventTarget | null, selector: string): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>(selector) : null;
}

/** Text that stands back. */
export function faint(...children: (Node | string)[]): HTMLElement {
  return h("span", "miw-faint", ...children);
}

/** Text that explains itself. */
export function tipped(text: string, tip: string, kind: string | null = null): HTMLElement {
  return h("span", { class: kind, "data-tip": tip }, text);
}

/** A token, or part of a text, as code in its own reading direction. */
export function code(text: string): HTMLElement {
  return h("code", {}, h("bdi", {}, text));
}

let named = 0;

/** An id for labels and descriptions, unique in the page. */
export function freshId(purpose: string): string {
  named += 1;
  return `miw-${purpose}-${named}-${Math.random().toString(36).slice(2, 7)}`;
}
