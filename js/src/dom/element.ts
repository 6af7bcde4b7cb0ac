/** Elements from names, attributes and children. Text is always text: nothing here ever parses HTML. */
type Attributes = Record<string, string | number | boolean | null | undefined>;

export function h<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: (Node | string | null)[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  setAttributes(element, attributes);
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

export function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

let named = 0;

/** An id for labels and descriptions, unique in the page. */
export function freshId(purpose: string): string {
  named += 1;
  return `miw-${purpose}-${named}-${Math.random().toString(36).slice(2, 7)}`;
}
