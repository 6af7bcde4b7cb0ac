/** What canvases take from the style sheet `theme.css`. */

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
