/**
 * The wall: every head as a thumbnail, layer × head or sorted by a score. Heads that share a KV head stand together.
 * Knows nothing of the other panels.
 */
import type { Axis } from "../../core/axis";
import { CATEGORICAL } from "../../core/color.gen";
import { brief, rounded } from "../../core/format";
import { nameOfHead } from "../../core/interventions";
import { codeColors, paintThumbnail } from "../../core/paint";
import type { Readable } from "../../core/signal";
import { markAblated } from "../../dom/ablated";
import { cellOf, CellGrid, type Area, type Drawing, type Mark, type Place, type Spot, type Tone } from "../../dom/grid";
import { resized, type Offscreen, type Size } from "../../dom/surface";
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
/** Before the first head of the lattice; more above it where groups are named. */
const LEFT = 28;
const TOP = 18;
const GROUPED_TOP = 34;
const FLOW_SMALLEST = 48;
const FLOW_LARGEST = 72;
const FLOW_LABEL = 13;
const FLOW_GAP = 6;
const LABEL = 10;
const TABLE_ROWS = 200;

/** Pixels of all heads, and which of them are painted; `key` is what they were painted with. */
interface Sheet extends Offscreen {
  pixels: ImageData;
  key: unknown[];
  painted: Uint8Array;
}

export class Wall extends CellGrid {
  #explorer: Explorer;
  #sheet: Sheet | null = null;
  #listed = "";

  constructor(explorer: Explorer, ink: Readable<Ink>) {
    super(explorer.scope, ink, "wall", "attention heads, layer by head");
    this.#explorer = explorer;
    this.begin();
    explorer.scope.effect(() => this.#list());
  }

  protected lay(size: Size): Area | null {
    const picture = this.#explorer.picture.value;
    if (!picture || size.width < 40) return null;
    return this.#explorer.sortColumn.value ? flow(this.#explorer.order.value.length, size) : lattice(picture, size);
  }

  /** The width at which every head of the lattice is as tall as the panel lets it be. */
  idealWidth(picture: Picture, height: number): number {
    const size = Math.max(COMFORTABLE, Math.min(LARGEST, Math.floor((height - 34) / picture.manifest.layers.length) - GAP));
    return 34 + picture.manifest.heads * (size + GAP) + (groupsOf(picture) - 1) * (GROUP_GAP - GAP) + BAR;
  }

  describe(place: Place): string {
    const explorer = this.#explorer;
    const head = this.#headAt(place);
    if (!head) return "";
    const sort = explorer.sortColumn.peek();
    const score = sort && head.score !== null ? `, ${sort.label} ${rounded(head.score)}` : "";
    const ablated = explorer.ablatedShown.peek().has(nameOfHead(head)) ? ", ablated" : "";
    return `layer ${head.layer} head ${head.head}${ablated}${score}${head.dimmed ? ", below the filter" : ""}`;
  }

  override key(key: string): string | null {
    const explorer = this.#explorer;
    const head = explorer.focused.peek();
    if (!head || (key !== " " && key !== "+")) return super.key(key);
    explorer.toggleOverlay(head);
    const names = explorer.overlaid.peek().map((other) => `${other.layer}.${other.head}`);
    return `heads over the text: ${names.join(", ") || "none"}`;
  }

  protected override has(place: Place): boolean {
    return this.#headAt(place) !== null;
  }

  protected cursor(): { at: Place | null; fresh: boolean } {
    return { at: this.#placeOf(this.#explorer.focused.peek()), fresh: false };
  }

  protected point(spot: Spot | null): void {
    const head = this.#headAt(cellOf(spot));
    this.#explorer.pointAtHead(head && { layer: head.layer, head: head.head });
  }

  protected pick(spot: Spot, event: MouseEvent | null): void {
    const head = this.#headAt(cellOf(spot));
    if (!head) return;
    if (event && (event.ctrlKey || event.metaKey || event.shiftKey)) this.#explorer.toggleOverlay(head);
    else this.#explorer.lockHead(head);
    if (!event) this.#explorer.pointAtHead(null);
  }

  #headAt(place: Place | null): WallHead | null {
    const columns = this.area.value?.columns.count ?? 0;
    return (place && this.#explorer.order.value[place.row * columns + place.column]) ?? null;
  }

  #placeOf(head: Head | null): Place | null {
    const columns = this.area.value?.columns.count;
    const at = head ? this.#explorer.order.value.findIndex((other) => other.layer === head.layer && other.head === head.head) : -1;
    return at < 0 || !columns ? null : { row: Math.floor(at / columns), column: at % columns };
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
    this.table.show(caption, columns, rows);
  }

  protected paint({ context, area, ink, sight, left, top }: Drawing): void {
    const explorer = this.#explorer;
    const picture = explorer.picture.value!;
    const shared = explorer.sharedMapping.value;
    const ablated = explorer.ablatedShown.value;
    const sorted = explorer.sortColumn.value !== null;
    const size = area.columns.cell;
    const inSight: { head: WallHead; x: number; y: number }[] = [];
    for (let row = sight.rows.first; row < sight.rows.last; row++) {
      for (let column = sight.columns.first; column < sight.columns.last; column++) {
        const head = this.#headAt({ row, column });
        if (head) inSight.push({ head, x: left(column), y: top(row) });
      }
    }
    const sheet = this.#painted(
      inSight.map(({ head }) => head),
      size,
      picture,
    );
    context.imageSmoothingEnabled = false;
    context.font = `${LABEL}px ${ink.font}`;
    for (const { head, x, y } of inSight) {
      context.globalAlpha = head.dimmed ? 0.14 : 1;
      context.fillStyle = shared.masked;
      context.fillRect(x, y, size, size);
      if (sheet) {
        const { canvas, cell } = sheet;
        context.drawImage(canvas, head.head * cell, picture.rowOf(head.layer) * cell, cell, cell, x, y, size, size);
      }
      if (ablated.has(nameOfHead(head))) markAblated(context, x, y, size, size, ink);
      if (!sorted) continue;
      context.globalAlpha = head.dimmed ? 0.45 : 1;
      context.fillStyle = ink.faint;
      context.textAlign = "left";
      context.fillText(`${head.layer}.${head.head}`, x, y + size + 7);
      context.fillStyle = ink.ink;
      context.textAlign = "right";
      context.fillText(head.score === null ? "–" : brief(head.score), x + size, y + size + 7);
    }
    context.globalAlpha = 1;
    explorer.overlaid.value.forEach((head, at) => {
      const place = this.#placeOf(head);
      if (!place) return;
      const bar = Math.max(3, Math.round(size * 0.08));
      context.fillStyle = CATEGORICAL[at % CATEGORICAL.length]!;
      context.fillRect(left(place.column), top(place.row) + size - bar, size, bar);
    });
  }

  /**
   * The sheet that holds every head's pixels, with those in sight painted. All are painted before any is drawn: a browser
   * copies a whole canvas when it is drawn from and written to in turn.
   */
  #painted(inSight: WallHead[], size: number, picture: Picture): { canvas: HTMLCanvasElement; cell: number } | null {
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
    for (const head of inSight) {
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

  protected marks(): Mark[] {
    const { remote, locked, selected, hoverHead } = this.#explorer;
    const { layer, head } = remote.value;
    const mark = (of: Head | null, tone: Tone): Mark[] => {
      const place = this.#placeOf(of);
      return place ? [{ ...place, tone }] : [];
    };
    return [
      ...mark(layer === null || head === null ? null : { layer, head }, "linked"),
      ...mark(locked.value, selected.value ? "locked" : "likely"),
      ...mark(hoverHead.value, "pointed"),
    ];
  }

  protected label(drawing: Drawing): void {
    const picture = this.#explorer.picture.value!;
    if (this.#explorer.sortColumn.value) return;
    const { heads, layers } = picture.manifest;
    this.labelRows(drawing, { text: (row) => `L${layers[row]}` });
    this.labelColumns(drawing, drawing.area.rows.start - 8, { text: (head) => `H${head}`, room: heads > 10 ? 22 : 18 });
    this.#nameGroups(drawing, groupsOf(picture));
  }

  #nameGroups({ context, area, ink, left }: Drawing, groups: number): void {
    const { each = 0, start, cell } = area.columns;
    for (let group = 0; each && group < groups; group++) {
      const from = left(group * each);
      const to = left((group + 1) * each - 1) + cell;
      if (to < start) continue;
      context.strokeStyle = ink.faint;
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(from + 0.5, 17.5);
      context.lineTo(from + 0.5, 14.5);
      context.lineTo(to - 0.5, 14.5);
      context.lineTo(to - 0.5, 17.5);
      context.stroke();
      context.font = `${LABEL}px ${ink.font}`;
      context.textAlign = "center";
      context.fillStyle = ink.faint;
      const text = to - from > 34 ? `KV ${group}` : `${group}`;
      if (to - from > context.measureText(text).width + 2) context.fillText(text, (from + to) / 2, 7);
    }
  }
}

function groupsOf(picture: Picture): number {
  const { kv_heads, heads } = picture.manifest;
  return kv_heads && kv_heads < heads && heads % kv_heads === 0 ? kv_heads : 1;
}

function lattice(picture: Picture, { width, height }: Size): Area {
  const { heads, layers } = picture.manifest;
  const groups = groupsOf(picture);
  const top = groups > 1 ? GROUPED_TOP : TOP;
  const gaps = (groups - 1) * (GROUP_GAP - GAP);
  const high = (height - top - 2) / layers.length - GAP;
  const wide = (width - LEFT - 2 - gaps - (high < COMFORTABLE ? BAR : 0)) / heads - GAP;
  const cell = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(Math.min(wide, Math.max(high, COMFORTABLE)))));
  return {
    columns: { count: heads, start: LEFT, cell, gap: GAP, ...(groups > 1 ? { each: heads / groups, apart: GROUP_GAP - GAP } : {}) },
    rows: { count: layers.length, start: top, cell, gap: GAP },
  };
}

/** As many in a row as fit, as large as lets all of them be seen, within reason; beyond that the wall scrolls. */
function flow(heads: number, { width, height }: Size): Area {
  const across = (cell: number): number => Math.max(1, Math.floor((width - BAR + FLOW_GAP) / (cell + FLOW_GAP)));
  const rows = (cell: number): Axis => ({ count: Math.ceil(heads / across(cell)), start: 3, cell, gap: FLOW_LABEL + 4 });
  let cell = FLOW_LARGEST;
  while (cell > FLOW_SMALLEST && rows(cell).count * (cell + FLOW_LABEL + 4) > height) cell -= 4;
  return { columns: { count: across(cell), start: 2, cell, gap: FLOW_GAP, end: -FLOW_GAP }, rows: rows(cell) };
}
