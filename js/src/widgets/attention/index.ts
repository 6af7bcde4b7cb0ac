/** The attention explorer as an anywidget module: builds the view from its parts and ties them to the host. */
import { ModelSource, type WidgetModel } from "../../core/source";
import { Scope, Signal } from "../../core/signal";
import type { AttentionState } from "../../core/wire.gen";
import { followConnection } from "../../dom/connection";
import { h } from "../../dom/element";
import { StatusBar, type StatusLine } from "../../dom/status";
import { followTheme, readInk } from "../../dom/theme";
import { Tooltip } from "../../dom/tooltip";
import { Explorer } from "./explorer";
import { handleKeys } from "./keyboard";
import { Loader } from "./loader";
import { Matrix } from "./matrix";
import { Reading } from "./reading";
import { Toolbar } from "./toolbar";
import { Wall } from "./wall";

/** Below this width the wall stands above the focused head. */
const NARROW = 620;
/** Room that the text needs beside the matrix, its legend included. */
const BESIDE = 400;
const LEGEND = 120;
/** How much wider than high the heat map may be for its row labels. */
const AXIS = 60;

interface RenderArguments {
  model: WidgetModel<AttentionState>;
  el: HTMLElement;
  signal?: AbortSignal;
}

function render({ model, el }: RenderArguments): () => void {
  const scope = new Scope();
  const root = h("div", {
    class: "miw-view miw-attention",
    "data-view": "attention",
    "data-state": "idle",
  });
  el.append(root);
  scope.add(() => root.remove());

  const source = new ModelSource<AttentionState>(model);
  scope.add(() => source.close());
  followConnection(scope, el, (connected) => source.setConnected(connected));
  announcePresence(scope, source);
  const theme = followTheme(scope, root, el);
  const explorer = new Explorer(source, theme, scope);
  const ink = new Signal(readInk(root));
  scope.effect(() => {
    void theme.value;
    ink.value = readInk(root);
  });
  const tooltip = new Tooltip(scope, root);
  const toolbar = new Toolbar(explorer);
  const wall = new Wall(explorer, ink);
  const matrix = new Matrix(explorer, ink, tooltip);
  const reading = new Reading(explorer, tooltip);
  const loader = new Loader(explorer);
  const status = new StatusBar(scope, () => source.stop());
  const announcer = h("div", { class: "miw-hidden", "aria-live": "polite" });
  const focus = h("div", { class: "miw-focus" }, matrix.element, reading.element);
  const body = h("div", { class: "miw-body" }, wall.element, focus);
  const empty = h("div", { class: "miw-empty" });
  root.prepend(toolbar.prompts, toolbar.controls, status.progress, status.error, body, empty, status.element, announcer);
  root.append(...toolbar.popovers);
  handleKeys({ explorer, toolbar, wall, matrix, reading, tooltip, root, announcer });

  scope.effect(() => (root.style.height = `${explorer.height.value}px`));
  scope.effect(() => (root.dataset["state"] = explorer.state.value));
  scope.effect(() => (root.dataset["panel"] = explorer.options.value.panel));
  scope.effect(() => status.show(statusLine(explorer)));
  scope.effect(() => {
    const picture = explorer.picture.value;
    body.hidden = !picture;
    empty.hidden = !!picture;
    const { state } = explorer.status.value;
    empty.textContent = state === "computing" ? "Computing the first picture …" : state === "error" ? "" : "No picture yet.";
  });

  fitToPlace(scope, root, body, { explorer, wall, matrix, reading, toolbar });

  // `data-run` follows the wall; a run's picture is complete when nothing more of it is on its way.
  let announced: unknown = null;
  scope.effect(() => {
    const picture = explorer.picture.value;
    const complete = loader.complete.value;
    if (!picture || !wall.drawn.value || (announced === picture && complete)) return;
    // What has just arrived is drawn with the next frame.
    requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        if (scope.ended || explorer.picture.peek() !== picture) return;
        root.dataset["run"] = String(picture.run);
        if (!complete || announced === picture) return;
        announced = picture;
        root.dispatchEvent(new CustomEvent("miw-drawn", { bubbles: true, detail: { run: picture.run } }));
      }),
    );
  });
  return () => scope.end();
}

/** A live kernel hears once that this render is here, and once that it has left. */
function announcePresence(scope: Scope, source: ModelSource<AttentionState>): void {
  let announced = false;
  scope.effect(() => {
    if (announced || source.liveness.value !== "live") return;
    announced = true;
    source.announce("shown");
  });
  scope.add(() => {
    if (announced) source.announce("hidden");
  });
}

/** Sizes follow the width that the host gives and the fixed height: never the content, which follows them. */
function fitToPlace(
  scope: Scope,
  root: HTMLElement,
  body: HTMLElement,
  parts: { explorer: Explorer; wall: Wall; matrix: Matrix; reading: Reading; toolbar: Toolbar },
): void {
  const { explorer, wall, matrix, reading, toolbar } = parts;
  const width = new Signal(0);
  const tick = new Signal(0);
  const measure = (): void => {
    const own = root.clientWidth;
    if (!own) return;
    if (own !== width.peek()) {
      width.value = own;
      root.classList.toggle("miw-narrow", own < NARROW);
      toolbar.grow();
    }
    tick.value = tick.peek() + 1;
  };
  const fit = (): void => {
    const picture = explorer.picture.peek();
    if (!picture || body.hidden) return;
    const narrow = width.peek() < NARROW;
    const focus = body.lastElementChild!;
    if (narrow) body.style.removeProperty("--wall");
    else {
      const ideal = explorer.sortColumn.peek() ? width.peek() * 0.44 : wall.idealWidth(picture, body.clientHeight);
      body.style.setProperty("--wall", `${Math.round(Math.min(Math.max(ideal, 120), width.peek() * 0.48))}px`);
    }
    // Where there is room beside the square, the text stands there; else under it, and a short one leaves its room.
    const beside = explorer.options.peek().panel === "both" && focus.clientWidth >= focus.clientHeight + BESIDE;
    root.classList.toggle("miw-beside", beside);
    body.style.setProperty("--matrix", `${focus.clientHeight + LEGEND}px`);
    const text = Math.min(Math.max(reading.strip.textHeight + 32, 72), Math.round(focus.clientHeight * 0.36));
    body.style.setProperty("--reading", `${text}px`);
    // The plot is a square: a wider canvas would only push the legend away from it.
    matrix.heatmap.element.style.maxWidth = `${matrix.heatmap.element.clientHeight + AXIS}px`;
    const place = (element: HTMLElement): { width: number; height: number } => ({ width: element.clientWidth, height: element.clientHeight });
    const resized = (signal: Signal<{ width: number; height: number }>, next: { width: number; height: number }): void => {
      const held = signal.peek();
      if (held.width !== next.width || held.height !== next.height) signal.value = next;
    };
    resized(wall.size, place(wall.element));
    resized(matrix.heatmap.size, place(matrix.heatmap.element));
    reading.strip.look();
  };
  scope.effect(() => {
    void tick.value;
    void explorer.picture.value;
    void explorer.sortColumn.value;
    void explorer.height.value;
    void explorer.options.value;
    void explorer.compare.value;
    void explorer.notice.value;
    void explorer.status.value;
    void explorer.overlaid.value;
    void explorer.positions.value;
    // After the other effects of this turn have changed the page.
    queueMicrotask(fit);
  });
  const watcher = new ResizeObserver(measure);
  watcher.observe(root);
  watcher.observe(body);
  scope.add(() => watcher.disconnect());
  requestAnimationFrame(measure);
}

function statusLine(explorer: Explorer): StatusLine {
  const status = explorer.status.value;
  const liveness = explorer.source.liveness.value;
  const manifest = explorer.picture.value?.manifest;
  const notice = explorer.notice.value;
  const parts: StatusLine["parts"] = [];
  const computing = liveness === "live" && status.state === "computing";
  if (!computing && manifest) {
    if (manifest.model && explorer.prompt.value) parts.push({ text: manifest.model, kind: "quiet" });
    if (status.elapsed_ms > 0) parts.push({ text: `${Math.round(status.elapsed_ms)} ms`, kind: "quiet", tip: "Time of the last run in the kernel" });
    for (const check of manifest.checks) {
      parts.push({ text: `${check.label} (${check.detail})`, kind: check.ok ? "check" : "failed", tip: check.ok ? "Self-check: holds" : "Self-check: does not hold; do not trust this picture" });
    }
    for (const note of manifest.notes) parts.push({ text: note, tip: note });
    if (status.state === "idle" && status.message) parts.push({ text: status.message, tip: status.hint });
  }
  if (liveness === "live" && explorer.source.silent.value) parts.push({ text: "the kernel does not answer (busy?)", tip: "Nothing came back for 8 s. What you ask for now is answered when the kernel has time." });
  else if (explorer.waiting.value && liveness === "live") parts.push({ text: "waiting for the kernel …", kind: "quiet" });
  const frozen =
    liveness === "gone"
      ? "The kernel is gone; this is the last picture. Run the cell again to go on."
      : liveness === "frozen"
        ? "Saved picture: no kernel."
        : "";
  const error =
    liveness === "live" && status.state === "error"
      ? { message: status.message || "The computation failed.", hint: status.hint }
      : notice;
  return {
    parts,
    computing: computing
      ? { done: status.done, total: status.total, text: [status.message || "computing …", status.estimate].filter(Boolean).join("  ") }
      : null,
    error,
    frozen,
  };
}

export default { render };
