/** Light or dark, as the host shows it, and following the host when it flips. */
import { Signal, type Scope } from "../core/signal";
import type { Theme } from "../core/scale";

/** The theme of the page around `element`; said by the host, else seen by its background, else the system's. */
export function hostTheme(element: Element): Theme {
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
    watcher.observe(watched, {
      attributes: true,
      attributeFilter: ["class", "style", "data-jp-theme-light", "data-jp-theme-name", "data-theme", "theme", "data-vscode-theme-kind"],
    });
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

/** Colours and fonts of the style sheet, for canvases. */
export interface Ink {
  ink: string;
  faint: string;
  line: string;
  accent: string;
  paper: string;
  font: string;
  code: string;
}

export function readInk(root: Element): Ink {
  const style = getComputedStyle(root);
  const read = (name: string, fallback: string): string => style.getPropertyValue(name).trim() || fallback;
  return {
    ink: read("--miw-ink", "#222"),
    faint: read("--miw-faint", "#666"),
    line: read("--miw-line", "#ccc"),
    accent: read("--miw-accent", "#c2185b"),
    paper: read("--miw-paper", "#fff"),
    font: style.fontFamily || "sans-serif",
    code: read("--miw-code", "monospace"),
  };
}
