/**
 * The wall: every head as a thumbnail, layer × head or sorted by a score, on one canvas that draws only what is in
 * sight. Heads that share a KV head stand together. Knows nothing of the other panels.
 */
import { brief, rounded } from "../../core/format";
import { codeColors, paintThumbnail } from "../../core/paint";
import { computed, frame, Signal, type Readable } from "../../core/signal";
import { thinned } from "../../core/thin";
import { CATEGORICAL } from "../../core/color.gen";
import { nameOfHead } from "../../core/interventions";
import { markAblated } from "../../dom/ablated";
import { h } from "../../dom/element";
import { prepare, resized, type Offscreen } from "../../dom/surface";
import { HiddenTable } from "../../dom/table";
import type { Ink } from "../../dom/theme";
import type { Explorer, Head, WallHead } from "./explorer";
import { thumbnailCodes } from "./heads";
import type { Picture } from "./picture";

const GAP = 2;
const GROUP_GAP = 5;
const SMALLEST = 12;
/** Below this size it is better to scroll than to squint, where the width allows. */
const COMFORTABLE = 16;
/** Room for a scroll bar. */
const BAR = 14;
const LARGEST = 112;
const FLOW_SMALLEST = 48;
const FLOW_LARGEST = 72;
const FLOW_LABEL = 13;
const LABEL = 10;
const TABLE_ROWS = 200;

interface Place {
  head: WallHead;
  x: number;
  y: number;
}

interface Layout {
  size: number;
  width: number;
  height: number;
  places: Place[];
  sorted: boolean;
  left: number;
  top: number;
  groups: number;
  columns: number;
}

/** Pixels of all heads, and which of them are painted; `key` is what they were painted with. */
interface Sheet extends Offscreen {
  pixels: ImageData;
  key: unknown[];
  painted: Uint8Array;
}

const NOWHERE: Layout = { size: 0, width: 0, height: 0, places: [], sorted: false, left: 0, top: 0, groups: 1, columns: 1 };

export class Wall {
  readonly canvas = h("canvas", { class: "miw-wall-canvas", "aria-hidden": "true" });
  readonly #spacer = h("div", { class: "miw-wall-spacer" });
  readonly #scroller = h("div", { class: "miw-wall-scroll" }, this.canvas, this.#spacer);
  readonly #table = new HiddenTable();
  readonly element = h(
    "div",
    { class: "miw-wall", tabindex: 0, role: "group", "aria-label": "attention heads, layer by head" },
    this.#scroller,
    this.#table.element,
  );
  readonly size = new Signal({ width: 0, height: 0 });
  readonly drawn = new Signal(0);
  readonly #scroll = new Signal(0);
  readonly #across = new Signal(0);
  #explorer: Explorer;
  #ink: Readable<Ink>;
  #sheet: Sheet | null = null;
  #listed = "";

  constructor(explorer: Explorer, ink: Readable<Ink>) {
    this.#explorer = explorer;
    this.#ink = ink;
    const { scope } = explorer;
    scope.effect(() => this.#draw(), frame);
    scope.effect(() => this.#list());
    scope.listen(this.#scroller, "scroll", () => {
      this.#scroll.value = this.#scroller.scrollTop;
      this.#across.value = this.#scroller.scrollLeft;
    });
    scope.listen(this.element, "pointermove", (event) => explorer.pointAtHead(this.#headAt(event)));
    scope.listen(this.element, "pointerleave", () => explorer.pointAtHead(null));
    scope.listen(this.element, "click", (event) => {
      const head = this.#headAt(event);
      if (!head) return;
      if (event.ctrlKey || event.metaKey || event.shiftKey) explorer.toggleOverlay(head);
      else explorer.lockHead(head);
    });
    scope.listen(this.element, "focusout", () => explorer.pointAtHead(null));
  }

  readonly layout: Readable<Layout> = computed(() => {
    const picture = this.#explorer.picture.value;
    const { width, height } = this.size.value;
    if (!picture || width < 40) return NOWHERE;
    return this.#explorer.sortColumn.value
      ? flow(this.#explorer.order.value, width, height)
      : lattice(this.#explorer.order.value, picture, width, height);
  });

  /** The width at which every head of the lattice is as tall as the panel lets it be. */
  idealWidth(picture: Picture, height: number): number {
    const rows = picture.manifest.layers.length;
    const columns = picture.manifest.heads;
    const size = Math.max(COMFORTABLE, Math.min(LARGEST, Math.floor((height - 34) / rows) - GAP));
    const groups = groupsOf(picture);
    return 34 + columns * (size + GAP) + (groups - 1) * (GROUP_GAP - GAP) + BAR;
  }

  /** The head one step away, as the eye sees the wall. */
  step(from: Head, across: number, down: number): WallHead | null {
    const { places, columns } = this.layout.peek();
    const at = places.findIndex(({ head }) => head.layer === from.layer && head.head === from.head);
    if (at < 0) return places[0]?.head ?? null;
    const column = at % columns;
    if (across && (column + across < 0 || column + across >= columns)) return null;
    return places[at + across + down * columns]?.head ?? null;
  }

  /** Scrolls until the head is in sight. */
  reveal(head: Head): void {
    const { places, size } = this.layout.peek();
    const place = places.find((candidate) => candidate.head.layer === head.layer && candidate.head.head === head.head);
    if (!place) return;
    const box = this.#scroller;
    if (place.y < box.scrollTop + 16) box.scrollTop = place.y - 24;
    else if (place.y + size > box.scrollTop + box.clientHeight) box.scrollTop = place.y + size - box.clientHeight + 16;
    if (place.x < box.scrollLeft + 24) box.scrollLeft = place.x - 32;
    else if (place.x + size > box.scrollLeft + box.clientWidth) box.scrollLeft = place.x + size - box.clientWidth + 8;
  }

  #headAt(event: MouseEvent): Head | null {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left + this.#across.peek();
    const y = event.clientY - box.top + this.#scroll.peek();
    const { places, size, sorted } = this.layout.peek();
    const tall = sorted ? size + FLOW_LABEL : size;
    const hit = places.find((place) => x >= place.x && x < place.x + size + GAP && y >= place.y && y < place.y + tall + GAP);
    return hit ? { layer: hit.head.layer, head: hit.head.head } : null;
  }

  /** The heads in their order as a table for screen readers, which would read it anew on every change. */
  #list(): void {
    const order = this.#explorer.order.value;
    const sort = this.#explorer.sortColumn.value;
    const ablated = this.#explorer.ablatedShown.value;
    const columns = ["layer", "head", ...(sort ? [sort.label] : [])];
    const rows = order.slice(0, TABLE_ROWS).map(({ layer, head, score }) => {
      const place = [String(layer), `${head}${ablated.has(nameOfHead({ layer, head })) ? ", ablated" : ""}`];
      return sort ? [...place, score === null ? "none" : rounded(score)] : place;
    });
    const part = order.length > rows.length ? `, first ${rows.length} of ${order.length}` : "";
    const caption = `attention heads, ${sort ? `sorted by ${sort.label}` : "layer by head"}${part}`;
    const listed = JSON.stringify([caption, rows]);
    if (listed === this.#listed) return;
    this.#listed = listed;
    this.#table.show(caption, columns, rows);
  }

  #draw(): void {
    const layout = this.layout.value;
    const { width, height } = this.size.value;
    const scrolled = this.#scroll.value;
    const across = this.#across.value;
    const ink = this.#ink.value;
    const picture = this.#explorer.picture.value;
    this.#spacer.style.width = `${layout.width}px`;
    this.#spacer.style.height = `${layout.height}px`;
    const visibleWidth = Math.min(width, this.#scroller.clientWidth || width);
    const visibleHeight = Math.min(height, this.#scroller.clientHeight || height);
    const context = visibleWidth > 0 && visibleHeight > 0 ? prepare(this.canvas, visibleWidth, visibleHeight) : null;
    if (!context || !picture) return;
    this.#drawHeads(context, layout, picture, scrolled, across, visibleWidth, visibleHeight);
    this.#drawMarks(context, layout, scrolled, across, ink);
    if (!layout.sorted) this.#drawLabels(context, layout, picture, scrolled, across, visibleWidth, visibleHeight, ink);
    this.drawn.value = this.drawn.peek() + 1;
  }

  #drawHeads(
    context: CanvasRenderingContext2D,
    layout: Layout,
    picture: Picture,
    scrolled: number,
    across: number,
    width: number,
    height: number,
  ): void {
    const shared = this.#explorer.sharedMapping.value;
    const ablated = this.#explorer.ablatedShown.value;
    const ink = this.#ink.peek();
    const inSight = layout.places.filter(
      (place) =>
        place.x - across < width &&
        place.y - scrolled < height &&
        place.x - across + layout.size > 0 &&
        place.y - scrolled + layout.size + FLOW_LABEL > 0,
    );
    const sheet = this.#painted(inSight, layout.size, picture);
    context.imageSmoothingEnabled = false;
    context.font = `${LABEL}px ${ink.font}`;
    context.textBaseline = "middle";
    for (const place of inSight) {
      const x = place.x - across;
      const y = place.y - scrolled;
      context.globalAlpha = place.head.dimmed ? 0.14 : 1;
      context.fillStyle = shared.masked;
      context.fillRect(x, y, layout.size, layout.size);
      if (sheet) {
        const { canvas, cell } = sheet;
        const row = picture.rowOf(place.head.layer);
        context.drawImage(canvas, place.head.head * cell, row * cell, cell, cell, x, y, layout.size, layout.size);
      }
      if (ablated.has(nameOfHead(place.head))) markAblated(context, x, y, layout.size, layout.size, ink);
      if (layout.sorted) {
        context.globalAlpha = place.head.dimmed ? 0.45 : 1;
        context.fillStyle = ink.faint;
        context.textAlign = "left";
        context.fillText(`${place.head.layer}.${place.head.head}`, x, y + layout.size + 7);
        context.fillStyle = ink.ink;
        context.textAlign = "right";
        context.fillText(place.head.score === null ? "–" : brief(place.head.score), x + layout.size, y + layout.size + 7);
      }
    }
    context.globalAlpha = 1;
  }

  /**
   * The sheet that holds every head's pixels, with those in sight painted. All are painted before any is drawn: a browser
   * copies a whole canvas when it is drawn from and written to in turn.
   */
  #painted(inSight: Place[], size: number, picture: Picture): { canvas: HTMLCanvasElement; cell: number } | null {
    const explorer = this.#explorer;
    const show = explorer.show.value;
    const shared = explorer.sharedMapping.value;
    const { shared_range } = explorer.options.value;
    const atlas = picture.atlases.get(show);
    if (!atlas) return null;
    const side = atlas.header.shape[3] ?? 1;
    const cell = Math.max(1, Math.min(side, Math.round(size * (window.devicePixelRatio || 1))));
    const sheet = this.#sheetFor(picture, cell, [atlas, shared, cell]);
    if (!sheet) return null;
    const lower = atlas.header.layout === "lower";
    const middle = show === "difference" ? 127 : null;
    const columns = picture.manifest.heads;
    const words = new Uint32Array(sheet.pixels.data.buffer);
    const one = new Uint32Array(cell * cell);
    const table = shared_range ? codeColors(atlas.header, shared) : null;
    let firstRow = Infinity;
    let lastRow = -1;
    for (const { head } of inSight) {
      const row = picture.rowOf(head.layer);
      const at = row * columns + head.head;
      if (sheet.painted[at]) continue;
      sheet.painted[at] = 1;
      firstRow = Math.min(firstRow, row);
      lastRow = Math.max(lastRow, row);
      const mask = picture.thumbnailMask(head.layer, show, side);
      const colors = table ?? codeColors(atlas.header, explorer.mappingOf(head));
      paintThumbnail({ ...thumbnailCodes(picture, atlas, head.layer, head.head), lower, mask }, colors, cell, middle, one);
      for (let line = 0; line < cell; line++) {
        words.set(one.subarray(line * cell, (line + 1) * cell), (row * cell + line) * columns * cell + head.head * cell);
      }
    }
    if (lastRow >= 0) {
      const rows = (lastRow - firstRow + 1) * cell;
      sheet.context.putImageData(sheet.pixels, 0, 0, 0, firstRow * cell, columns * cell, rows);
    }
    return { canvas: sheet.canvas, cell };
  }

  #sheetFor(picture: Picture, cell: number, key: unknown[]): Sheet | null {
    const held = this.#sheet;
    if (held && key.every((part, at) => part === held.key[at])) return held;
    const width = picture.manifest.heads * cell;
    const height = picture.manifest.layers.length * cell;
    const target = resized(held, width, height);
    if (!target) return null;
    const pixels = target.context.createImageData(width, height);
    const painted = new Uint8Array(picture.manifest.heads * picture.manifest.layers.length);
    return (this.#sheet = { ...target, pixels, key, painted });
  }

  #drawMarks(context: CanvasRenderingContext2D, layout: Layout, scrolled: number, across: number, ink: Ink): void {
    const explorer = this.#explorer;
    const locked = explorer.locked.value;
    const hovered = explorer.hoverHead.value;
    const remote = explorer.remote.value;
    const overlaid = explorer.overlaid.value;
    const chosen = explorer.selected.value;
    const find = (layer: number | null, head: number | null): Place | undefined =>
      layer === null ? undefined : layout.places.find((place) => place.head.layer === layer && place.head.head === head);
    const frameOf = (place: Place | undefined, color: string, thick: number, out: number, dash: number[] = []): void => {
      if (!place) return;
      context.strokeStyle = color;
      context.lineWidth = thick;
      context.setLineDash(dash);
      context.strokeRect(place.x - across - out, place.y - scrolled - out, layout.size + 2 * out, layout.size + 2 * out);
      context.setLineDash([]);
    };
    overlaid.forEach((head, at) => {
      const place = find(head.layer, head.head);
      if (!place) return;
      const bar = Math.max(3, Math.round(layout.size * 0.08));
      context.fillStyle = CATEGORICAL[at % CATEGORICAL.length]!;
      context.fillRect(place.x - across, place.y - scrolled + layout.size - bar, layout.size, bar);
    });
    if (remote.layer !== null) frameOf(find(remote.layer, remote.head), ink.faint, 1, 0.5, [3, 3]);
    if (locked) frameOf(find(locked.layer, locked.head), chosen ? ink.accent : ink.faint, chosen ? 2 : 1, chosen ? 1 : 0.5);
    if (hovered) frameOf(find(hovered.layer, hovered.head), ink.ink, 1.5, 0.75);
  }

  #drawLabels(
    context: CanvasRenderingContext2D,
    layout: Layout,
    picture: Picture,
    scrolled: number,
    across: number,
    width: number,
    height: number,
    ink: Ink,
  ): void {
    const { manifest } = picture;
    const columns = manifest.heads;
    const pitch = layout.size + GAP;
    // Labels stay in sight while the heads scroll under them.
    context.fillStyle = ink.paper;
    context.fillRect(0, 0, width, layout.top - 2);
    context.fillRect(0, 0, layout.left - 3, height);
    context.font = `${LABEL}px ${ink.font}`;
    context.textBaseline = "middle";
    const { layer, head } = this.#explorer.focused.value ?? { layer: -1, head: -1 };
    const row = picture.rowOf(layer);
    context.textAlign = "right";
    for (const at of thinned(0, manifest.layers.length, pitch, 12, row >= 0 ? [row] : [])) {
      const place = layout.places[at * columns];
      if (!place) continue;
      const y = place.y - scrolled + layout.size / 2;
      if (y < layout.top) continue;
      context.fillStyle = at === row ? ink.ink : ink.faint;
      context.fillText(`L${manifest.layers[at]}`, layout.left - 6, y);
    }
    context.textAlign = "center";
    const room = columns > 10 ? 22 : 18;
    for (const at of thinned(0, columns, pitch, room, head >= 0 ? [head] : [])) {
      const place = layout.places[at];
      if (!place) continue;
      const x = place.x - across + layout.size / 2;
      if (x < layout.left - 2) continue;
      context.fillStyle = at === head ? ink.ink : ink.faint;
      context.fillText(`H${at}`, x, layout.top - 8);
    }
    if (layout.groups > 1) {
      const each = columns / layout.groups;
      for (let group = 0; group < layout.groups; group++) {
        const first = layout.places[Math.round(group * each)];
        const last = layout.places[Math.round((group + 1) * each) - 1];
        if (!first || !last) continue;
        const from = first.x - across;
        const to = last.x - across + layout.size;
        if (to < layout.left) continue;
        context.strokeStyle = ink.faint;
        context.lineWidth = 1;
        context.beginPath();
        context.moveTo(from + 0.5, 17.5);
        context.lineTo(from + 0.5, 14.5);
        context.lineTo(to - 0.5, 14.5);
        context.lineTo(to - 0.5, 17.5);
        context.stroke();
        context.fillStyle = ink.faint;
        const text = to - from > 34 ? `KV ${group}` : `${group}`;
        if (to - from > context.measureText(text).width + 2) context.fillText(text, (from + to) / 2, 7);
      }
    }
  }
}

function groupsOf(picture: Picture): number {
  const { kv_heads, heads } = picture.manifest;
  return kv_heads && kv_heads < heads && heads % kv_heads === 0 ? kv_heads : 1;
}

function lattice(order: WallHead[], picture: Picture, width: number, height: number): Layout {
  const columns = picture.manifest.heads;
  const rows = picture.manifest.layers.length;
  const groups = groupsOf(picture);
  const left = 28;
  const top = groups > 1 ? 34 : 18;
  const gaps = (groups - 1) * (GROUP_GAP - GAP);
  const high = (height - top - 2) / rows - GAP;
  const wide = (width - left - 2 - gaps - (high < COMFORTABLE ? BAR : 0)) / columns - GAP;
  const size = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(Math.min(wide, Math.max(high, COMFORTABLE)))));
  const each = columns / groups;
  const places = order.map((head, at) => ({
    head,
    x: left + head.head * (size + GAP) + Math.floor(head.head / each) * (GROUP_GAP - GAP),
    y: top + Math.floor(at / columns) * (size + GAP),
  }));
  return {
    size,
    places,
    sorted: false,
    left,
    top,
    groups,
    columns,
    width: left + columns * (size + GAP) + gaps,
    height: top + rows * (size + GAP),
  };
}

function flow(order: WallHead[], width: number, height: number): Layout {
  const inner = width - BAR;
  // As large as lets all of them be seen, within reason; beyond that the wall scrolls.
  let size = FLOW_LARGEST;
  while (size > FLOW_SMALLEST) {
    const columns = Math.max(1, Math.floor((inner + 6) / (size + 6)));
    if (Math.ceil(order.length / columns) * (size + FLOW_LABEL + 4) <= height) break;
    size -= 4;
  }
  const columns = Math.max(1, Math.floor((inner + 6) / (size + 6)));
  const places = order.map((head, at) => ({
    head,
    x: 2 + (at % columns) * (size + 6),
    y: 3 + Math.floor(at / columns) * (size + FLOW_LABEL + 4),
  }));
  const rows = Math.ceil(order.length / columns);
  return { size, places, sorted: true, left: 0, top: 0, groups: 1, columns, width: inner, height: rows * (size + FLOW_LABEL + 4) + 3 };
}
