/** The logit lens as an anywidget module: builds the view from its parts and ties them together. */
import type { LensState } from "../../core/wire.gen";
import { computed } from "../../core/signal";
import { h } from "../../dom/element";
import { framed, type Frame } from "../../dom/frame";
import { Legend } from "../../dom/legend";
import { sizeOf } from "../../dom/surface";
import type { HiddenTable } from "../../dom/table";
import { CurvesPanel } from "./curves";
import { cellName } from "./details";
import { sayValue } from "./field";
import { handleKeys, KEYS } from "./keyboard";
import { goodHeight } from "./layout";
import { Lens } from "./lens";
import { loadRows } from "./loader";
import { PinsPanel } from "./pins";
import { followSight } from "./sight";
import { LensTable } from "./table";
import { Toolbar } from "./toolbar";

/** The width that the panel beside the table has at least, with the gaps; and the legend's. */
const PANEL = 292;
const LEGEND = 100;
/** The width of cells for which the panel makes room. */
const COMFORTABLE = 72;
/** Below this width a table beside that panel would show a few columns only: the panel goes under it. */
const TIGHT = 760;
/** The least height of that panel, where it stands under a table of few rows. */
const UNDER = 196;

export default framed<LensState>(
  "logit_lens",
  (frame) => {
    const { scope, ink, tooltip } = frame;
    const lens = new Lens(frame);
    frame.begin(lens, KEYS, () => `${lens.picture.value!.rows.length} rows × ${lens.picture.value!.manifest.positions.length} positions`);
    const table = new LensTable(lens, ink, tooltip);
    const toolbar = new Toolbar(lens, table);
    const legend = new Legend();
    const bold = h("div", "miw-lens-key", h("strong", {}, "bold"), ": what follows");
    legend.element.append(bold);
    const unreadText = h("span");
    const unread = h("div", "miw-swatch-row", h("span", "miw-swatch miw-lens-unread"), unreadText);
    const curves = new CurvesPanel(lens, tooltip);
    const pins = new PinsPanel(lens);
    const loader = loadRows(lens, table.rowsInSight);
    followSight(lens, table.columnsInSight);
    const panel = h("div", "miw-lens-panel", curves.element, pins.element);
    frame.hold(lens, { controls: toolbar.elements, body: [h("div", "miw-lens-main", table.element, legend.element), panel] });
    handleKeys(frame, { lens, toolbar, table, pins });
    scope.effect(() => {
      const field = lens.field.value;
      if (!field) return;
      bold.hidden = field.show === "difference" || !table.text.value;
      legend.show({
        mapping: field.mapping,
        unit: field.title,
        masked: field.none !== "",
        maskedText: field.none,
        missing: field.missing,
        clipped: 0,
        scaleText: field.scaleText,
        marks: field.marks,
        extra: field.read.every(Boolean) ? [] : [unread, h("div", "miw-lens-progress", lens.picture.value?.unfinished ?? "")],
      });
      unreadText.textContent = lens.filling.value ? "not read yet" : "not read";
    });
    listRows(lens, table.table);
    fitParts(frame, lens, table, curves);
    frame.announce(
      lens,
      computed(() => loader.complete.value && !lens.filling.value),
      table.drawn,
    );
  },
  TIGHT,
);

/** How wide the table is, and what is left beside it. */
function fitParts(frame: Frame<LensState>, lens: Lens, table: LensTable, curves: CurvesPanel): void {
  const { body, root, width } = frame;
  const follow = (): void => void [lens.columns, lens.pins, lens.refused, lens.cell, lens.arrived, table.cellWidth].map((one) => one.value);
  frame.fit(lens, follow, () => {
    const rows = lens.picture.peek()?.rows.length ?? 0;
    const { low, high } = goodHeight(rows);
    const room = body.clientHeight - UNDER;
    const under = !frame.narrow && low <= room;
    root.classList.toggle("miw-lens-under", under);
    body.style.setProperty("--high", `${Math.min(high, room)}px`);
    if (frame.narrow || under) body.style.removeProperty("--table");
    else {
      const most = width.peek() - PANEL - LEGEND;
      body.style.setProperty("--table", `${Math.round(Math.max(160, Math.min(most, table.idealWidth(COMFORTABLE)))) + LEGEND}px`);
    }
    // A wider table would only push the legend away from it.
    table.element.style.maxWidth = `${Math.ceil(table.idealWidth())}px`;
    table.fit();
    curves.size.value = sizeOf(curves.plot, curves.size.peek());
    table.revealFirst();
  });
}

/** The rows at the position that is locked, as a table for screen readers. */
function listRows(lens: Lens, table: HiddenTable): void {
  lens.scope.effect(() => {
    const picture = lens.picture.value;
    const field = lens.field.value;
    const column = lens.cell.value?.column;
    if (!picture || !field || column === undefined) return;
    const columns = lens.columns.value;
    const sides = lens.sides.value;
    const rows = picture.rows.map((row, at) => [
      row.label,
      ...sides.map((side) => picture.nameOf(picture.topId(side, at, columns.at[side][column] ?? -1))),
      sayValue(field, at * field.columns + column),
    ]);
    const names = sides.map((side) => (sides.length > 1 ? `top token, ${side}` : "top token"));
    table.show(`rows at ${cellName(lens, { row: null, column })}`, ["layer", ...names, field.title], rows.reverse());
  });
}
