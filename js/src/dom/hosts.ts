/**
 * What hosts differ in, as the page sees it: JupyterLab, Notebook, VS Code, Colab, marimo, a page of our own. How each says
 * that it is dark and that nobody stands behind a view, where it keeps the focus, and which keys are its own. (That some
 * drop buffers, and what an ipywidgets manager knows of its kernel, is for `core/requests.ts` and `core/source.ts`; the
 * colours and fonts that they name, for `theme.css`.)
 */
import type { Theme } from "../core/scale";
import { Signal, type Scope } from "../core/signal";

/** Where hosts say their theme: attributes of the page and its body. */
const SAY_THEME = ["class", "style", "data-jp-theme-light", "data-jp-theme-name", "data-theme", "theme", "data-vscode-theme-kind"];
/** ipywidgets marks the element of a view without a kernel. */
const DISCONNECTED = "jupyter-widgets-disconnected";

/** Keys that move in a text or take from it, whatever is held with them. */
const IN_TEXT = new Set([
  "ArrowLeft",
  "ArrowRight",
  "ArrowUp",
  "ArrowDown",
  "Home",
  "End",
  "PageUp",
  "PageDown",
  "Backspace",
  "Delete",
  "Insert",
]);

/** JupyterLab forbids a field undo by menu, and new lines, for a moment after any key that it hears in it. */
const MODIFIERS = new Set(["Control", "Meta", "Alt"]);

/** The theme of the page around `element`; said by the host, else seen by its background, else the system's. */
function hostTheme(element: Element): Theme {
  const body = document.body;
  const jupyter = element.closest("[data-jp-theme-light]") ?? body;
  const said = jupyter.getAttribute("data-jp-theme-light");
  if (said) return said === "false" ? "dark" : "light";
  const kinds = body.classList;
  if (kinds.contains("vscode-dark") || (kinds.contains("vscode-high-contrast") && !kinds.contains("vscode-high-contrast-light"))) {
    return "dark";
  }
  if (kinds.contains("vscode-light") || kinds.contains("vscode-high-contrast-light")) return "light";
  for (let at: Element | null = element; at; at = at.parentElement) {
    const parts = getComputedStyle(at)
      .backgroundColor.match(/[\d.]+/g)
      ?.map(Number);
    if (!parts || parts.length < 3 || (parts.length > 3 && parts[3]! < 0.5)) continue;
    return 0.2126 * parts[0]! + 0.7152 * parts[1]! + 0.0722 * parts[2]! < 110 ? "dark" : "light";
  }
  const scheme = getComputedStyle(document.documentElement).colorScheme ?? "";
  if (scheme === "dark" || scheme === "light") return scheme;
  return typeof matchMedia === "function" && scheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches
    ? "dark"
    : "light";
}

/** The theme as a signal; `root` carries it as `data-theme`. `around` is the host's element that holds the view. */
export function followTheme(scope: Scope, root: HTMLElement, around: Element): Signal<Theme> {
  const theme = new Signal<Theme>(hostTheme(around));
  root.dataset["theme"] = theme.peek();
  const look = (): void => {
    theme.value = hostTheme(around);
    root.dataset["theme"] = theme.peek();
  };
  const watcher = new MutationObserver(look);
  for (const watched of [document.documentElement, document.body]) {
    watcher.observe(watched, { attributes: true, attributeFilter: SAY_THEME });
  }
  scope.add(() => watcher.disconnect());
  if (typeof matchMedia === "function") {
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener?.("change", look);
    scope.add(() => system.removeEventListener?.("change", look));
  }
  // A view is often rendered before it stands in the page, where no background can be seen yet.
  requestAnimationFrame(look);
  return theme;
}

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

/** What has the focus in the document that holds `root`: a shadow root is one of its own (marimo's views are in one). */
export function focusedBeside(root: HTMLElement): Element | null {
  return (root.getRootNode() as Document | ShadowRoot).activeElement;
}

/**
 * Whether a key stays the host's. Plain keys would be commands on the notebook's cell; Ctrl-S and its like stay the host's,
 * and so does Shift-Enter, except where it is a new line.
 */
export function isHosts(event: KeyboardEvent, { typing, inText }: { typing: boolean; inText: boolean }): boolean {
  const modified = event.ctrlKey || event.metaKey || event.altKey;
  return modified ? !(inText && editsText(event)) : !typing && event.shiftKey && event.key === "Enter";
}

/** Whether this edits the text in a field: undo, redo, select all, cut, copy, paste, move, delete. */
function editsText({ key, ctrlKey, metaKey, altKey, shiftKey }: KeyboardEvent): boolean {
  if (IN_TEXT.has(key) || MODIFIERS.has(key)) return true;
  if (altKey || !(ctrlKey || metaKey)) return false;
  return (shiftKey ? "zv" : "zyaxcv").includes(key.toLowerCase());
}
