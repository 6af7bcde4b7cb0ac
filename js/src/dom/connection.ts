/** Whether the host says that nobody stands behind a view: ipywidgets marks the element of a view without a kernel. */
import type { Scope } from "../core/signal";

const DISCONNECTED = "jupyter-widgets-disconnected";

/** Tells at once, and whenever it changes, whether the view in `element` is connected; hosts without marks are. */
export function followConnection(scope: Scope, element: Element, told: (connected: boolean) => void): void {
  let held = !element.classList.contains(DISCONNECTED);
  told(held);
  const watcher = new MutationObserver(() => {
    const connected = !element.classList.contains(DISCONNECTED);
    if (connected === held) return;
    held = connected;
    told(connected);
  });
  watcher.observe(element, { attributes: true, attributeFilter: ["class"] });
  scope.add(() => watcher.disconnect());
}
