/** The attention explorer as an anywidget module: builds the view from its parts and ties them together. */
import type { AttentionState } from "../../core/wire.gen";
import { h } from "../../dom/element";
import { framed, type Frame } from "../../dom/frame";
import { Explorer } from "./explorer";
import { handleKeys, KEYS } from "./keyboard";
import { loadHeads } from "./loader";
import { Matrix } from "./matrix";
import { Reading } from "./reading";
import { Toolbar } from "./toolbar";
import { Wall } from "./wall";

/** Room that the text needs beside the matrix, its legend included. */
const BESIDE = 400;
const LEGEND = 120;
/** How much wider than high the heat map may be for its row labels. */
const AXIS = 60;

export default framed<AttentionState>("attention", (frame) => {
  const { scope, root, ink, tooltip } = frame;
  const explorer = new Explorer(frame);
  frame.begin(explorer, KEYS, () => size(explorer));
  const toolbar = new Toolbar(explorer);
  const wall = new Wall(explorer, ink);
  const matrix = new Matrix(explorer, ink, tooltip);
  const reading = new Reading(explorer, tooltip);
  const loader = loadHeads(explorer);
  const focus = h("div", "miw-focus", matrix.section, reading.element);
  frame.hold(explorer, { controls: toolbar.elements, body: [wall.element, focus] });
  handleKeys(frame, { explorer, toolbar, wall, matrix, reading });
  scope.effect(() => (root.dataset["panel"] = explorer.options.value.panel));
  fitPanels(frame, explorer, focus, { wall, matrix, reading });
  frame.announce(explorer, loader.complete, wall.drawn);
});

/** How wide the wall is, and where the matrix and the text share what is left. */
function fitPanels(
  frame: Frame<AttentionState>,
  explorer: Explorer,
  focus: HTMLElement,
  { wall, matrix, reading }: { wall: Wall; matrix: Matrix; reading: Reading },
): void {
  const { root, body, width } = frame;
  const follow = (): void => void [explorer.sortColumn.value, explorer.overlaid.value, explorer.positions.value];
  frame.fit(explorer, follow, () => {
    if (frame.narrow) body.style.removeProperty("--wall");
    else {
      const picture = explorer.picture.peek()!;
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
    matrix.element.style.maxWidth = `${matrix.element.clientHeight + AXIS}px`;
    wall.fit();
    matrix.fit();
    reading.strip.look();
  });
}

/** What a view of plain data says in the place of its prompt. */
function size(explorer: Explorer): string {
  const { layers, heads, tokens } = explorer.picture.value!.manifest;
  return `${layers.length} layers × ${heads} heads, ${tokens.strings.length} positions`;
}
