/** The status line, the progress bar and the error bar of a view. Knows nothing of what is being computed. */
import type { Scope } from "../core/signal";
import { h } from "./element";

export interface StatusLine {
  /** Sentences and self-checks; a check that failed says so. */
  parts: { text: string; tip?: string; kind?: "check" | "failed" | "quiet" | "late" }[];
  computing: { done: number; total: number; text: string } | null;
  errors: { message: string; hint: string }[];
  frozen: string;
}

export class StatusBar {
  readonly error = h("div", { class: "miw-error", role: "alert", hidden: true });
  readonly #bar = h("div", "miw-progress-bar");
  readonly progress = h("div", { class: "miw-progress", role: "progressbar", "aria-label": "computing", hidden: true }, this.#bar);
  readonly #text = h("span", "miw-status-text");
  readonly #stop = h(
    "button",
    { class: "miw-button miw-stop", hidden: true, "data-tip": "Stop the computation; it ends between passes and chunks" },
    "Stop",
  );
  readonly element = h("div", { class: "miw-status", role: "status" }, this.#stop, this.#text);
  #shown = "";

  constructor(scope: Scope, stop: () => void) {
    scope.listen(this.#stop, "click", stop);
  }

  show(line: StatusLine): void {
    // Screen readers read the line anew on every change: change it only when it says something new.
    const key = JSON.stringify(line);
    if (key === this.#shown) return;
    this.#shown = key;
    const { computing, errors } = line;
    this.error.hidden = !errors.length;
    this.error.replaceChildren(
      ...errors.map(({ message, hint }) => h("div", {}, h("strong", {}, message), hint ? h("span", {}, ` ${hint}`) : null)),
    );
    this.progress.hidden = !computing;
    this.#stop.hidden = !computing;
    if (computing) {
      const share = computing.total > 0 ? Math.min(1, computing.done / computing.total) : 0;
      this.#bar.style.width = `${computing.total > 0 ? Math.max(2, share * 100) : 100}%`;
      this.progress.classList.toggle("miw-progress-unknown", computing.total <= 0);
      this.progress.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    }
    const parts: Node[] = [];
    if (line.frozen) parts.push(h("span", { class: "miw-frozen", "data-tip": line.frozen }, line.frozen));
    if (computing) parts.push(h("span", {}, computing.text));
    for (const part of line.parts) {
      const mark = part.kind === "check" ? "✓ " : part.kind === "failed" ? "✗ " : "";
      parts.push(h("span", { class: `miw-status-part miw-status-${part.kind ?? "plain"}`, "data-tip": part.tip }, mark + part.text));
    }
    this.#text.replaceChildren(...parts);
  }
}
