/**
 * The keyboard's place in a view. What has the focus may vanish under it: a button that its own click takes away, a
 * panel that a key hides, a field that is switched off. A browser then gives the focus to the page, where no key of the
 * view is heard; here it goes to what stands in that place now. Knows nothing of what the parts of a view mean.
 */
import type { Scope } from "../core/signal";
import { setAttributes } from "./element";
import { focusedBeside } from "./hosts";

/** What can take the focus and leaves the view its keys, which a field would take for typing. */
const HEIRS = 'button:not(:disabled, [aria-disabled="true"]), [tabindex="0"]';

/** Where the view is read: its first panel, or while there is none the view itself. */
export function pictureOf(root: HTMLElement): HTMLElement {
  return heirsIn(root.querySelector(".miw-body") ?? root)[0] ?? root;
}

/** From now on the focus leaves the view only where the reader takes it away. */
export function keepFocus(scope: Scope, root: HTMLElement): void {
  // A click beside all controls gives the keys to the view, too; and what can have the focus has a name.
  setAttributes(root, { tabindex: -1, role: "group", "aria-label": `${(root.dataset["view"] ?? "").replaceAll("_", " ")} view` });
  let held: HTMLElement | null = null;
  const watcher = new MutationObserver((records) => look(records));
  const look = (records: MutationRecord[]): void => {
    if (!held || scope.ended) return;
    const active = focusedBeside(root);
    const nowhere = !active || active === document.body;
    if (active === held || nowhere) {
      if (!isThere(held, root)) heirOf(held, root, records).focus({ preventScroll: true });
      else if (nowhere) letGo();
    } else if (!root.contains(active)) letGo();
  };
  const letGo = (): void => {
    held = null;
    watcher.disconnect();
  };
  scope.listen(root, "focusin", (event) => {
    if (!(event.target instanceof HTMLElement)) return;
    if (!held) watcher.observe(root, { subtree: true, childList: true, attributes: true, attributeFilter: ["hidden", "disabled"] });
    held = event.target;
  });
  // What a style sheet hides is told of in this way only; and where the reader goes is known only afterwards.
  scope.listen(root, "focusout", () => queueMicrotask(() => look(watcher.takeRecords())));
  scope.add(letGo);
}

function isThere(element: HTMLElement, root: HTMLElement): boolean {
  return root.contains(element) && !element.matches(":disabled") && isVisible(element);
}

export function isVisible(element: HTMLElement): boolean {
  // Not every host's browser answers this; there what is hidden by name counts.
  return element.checkVisibility?.() ?? !element.closest("[hidden]");
}

function heirsIn(group: Element): HTMLElement[] {
  return [...group.querySelectorAll<HTMLElement>(HEIRS)].filter(isVisible);
}

/** What stands where `lost` stood; else what follows in the smallest group that still has anything, or precedes. */
function heirOf(lost: HTMLElement, root: HTMLElement, records: MutationRecord[]): HTMLElement {
  let place: Element = lost;
  while (!root.contains(place)) {
    const removal = records.find(({ removedNodes }) => [...removedNodes].some((node) => node.contains(place)));
    if (!removal) return pictureOf(root);
    const group = removal.target as Element;
    const heirs = heirsIn(group);
    if (heirs.length) return heirs[Math.min(rankIn(removal, place), heirs.length - 1)]!;
    place = group;
  }
  for (let group = place.parentElement; group && group !== root; group = group.parentElement) {
    const heirs = heirsIn(group).filter((heir) => !place.contains(heir));
    const next = heirs.find((heir) => isBefore(place, heir)) ?? heirs.at(-1);
    if (next) return next;
  }
  return pictureOf(root);
}

/** How many heirs stood before `place` in the group that it was removed from. */
function rankIn({ target, removedNodes, previousSibling }: MutationRecord, place: Element): number {
  const kept = previousSibling
    ? heirsIn(target as Element).filter((heir) => previousSibling.contains(heir) || isBefore(heir, previousSibling))
    : [];
  const removed = [...removedNodes].flatMap((node) =>
    node instanceof Element ? [...(node.matches(HEIRS) ? [node] : []), ...node.querySelectorAll(HEIRS)] : [],
  );
  return (
    kept.length +
    Math.max(
      0,
      removed.findIndex((element) => place.contains(element)),
    )
  );
}

function isBefore(first: Node, second: Node): boolean {
  return (first.compareDocumentPosition(second) & Node.DOCUMENT_POSITION_FOLLOWING) !== 0;
}
