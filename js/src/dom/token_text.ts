/** A token as text in an element, with faint marks for what cannot be seen. Token strings only ever become text. */
import { clipped, visible } from "../core/tokens";
import { h } from "./element";

/** Fills `element` with the token, cut at `longest` characters. */
export function tokenText(element: HTMLElement, string: string, longest: number): void {
  let plain = "";
  const flush = (): void => {
    if (plain) element.append(plain);
    plain = "";
  };
  for (const character of clipped(string, longest)) {
    const mark = visible(character);
    if (mark === character) plain += character;
    else {
      flush();
      element.append(h("span", "miw-mark", mark));
    }
  }
  flush();
  if (!string) element.append(h("span", "miw-mark", "∅"));
}
