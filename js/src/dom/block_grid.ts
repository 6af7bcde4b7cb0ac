/**
 * Cells as blocks of rows and columns, all alike, as many beside each other as lets cells be largest: colours, and how a
 * cell looks that is an estimate, not known yet, not possible, or beyond the colours. Knows nothing of what cells mean.
 */
import { compact } from "../core/format";
import { colorOf, inkOn, type Mapping } from "../core/scale";
import { computed, type Readable } from "../core/signal";
import { clipped } from "../core/tokens";
import { cellOf, CellGrid, type Area, type Drawing, type Labels, type Mark, type Place, type Spot, type Tone } from "./grid";
import { disc, offscreen, type Size } from "./surface";
import { listLater, type Listed } from "./table";

/** What a cell is; where there is "none", nothing stands. */
export type CellKind = "exact" | "estimate" | "pending" | "impossible" | "missing" | "none";

/**
 * The entries of one side of every block, and what each is called, there or in all blocks beside each other. Tokens stand
 * in code, and upright over columns.
 */
export interface Side {
  count: number;
  labels: string[];
  tokens?: boolean;
  /** Those that stand out. */
  strong?(at: number): boolean;
}

/** Cells lie block by block, row by row. */
export interface Blocks {
  /** What stands above each. */
  titles: string[];
  rows: Side;
  columns: Side;
  values: Float32Array;
  kinds: CellKind[];
  mapping: Mapping;
  /** Rows and columns are the same. */
  square?: boolean;
}

const LABEL = 10;
/** Of a character of a token. */
const CHARACTER = 6.1;
const LONGEST = 11;
const EDGE = { left: 30, top: 18 };
/** Above each of several blocks. */
const TITLE = 16;
const APART = 12;
const SMALLEST = 4;
const LARGEST = { width: 56, height: 26 };
/** From these sizes on cells are set apart and may be cut; have room for their number. */
const GAPS = 8;
const WRITTEN = { width: 34, height: 14 };
const CUT = 5;
/** What prints as the end of the colours is not beyond them: this part of their width. */
const ROUNDING = 0.0025;

export abstract class BlockGrid extends CellGrid {
  abstract readonly blocks: Readable<Blocks | null>;
  readonly #across = computed(() => this.#fittest());
  #image: { of: Blocks; canvas: HTMLCanvasElement } | null = null;

  // ---- what a view says ------------------------------------------------------------------------------------------

  protected abstract pointAt(cell: number | null): void;
  protected abstract pickCell(cell: number): void;
  protected abstract tipOf(cell: number): Node[];
  protected abstract say(cell: number): string;
  /** The cells that are marked, by how. */
  protected abstract marked(): Partial<Record<Tone, number | null>>;
  protected abstract listed(blocks: Blocks): Listed;
  /** From which block, and there from which row and column on, cells are shaded. */
  protected shaded(): { block: number; row: number; column: number } | null {
    return null;
  }

  protected override begin(): void {
    super.begin();
    this.scope.effect(() => {
      void this.blocks.value;
      this.tellAgain();
    });
    listLater(this.scope, this.table, () => {
      const blocks = this.blocks.value;
      return blocks && (() => this.listed(blocks));
    });
  }

  // ---- places ----------------------------------------------------------------------------------------------------

  protected lay({ width, height }: Size): Area | null {
    const blocks = this.blocks.value;
    if (!blocks || width < 40 || height < 30) return null;
    const { left, top } = edgesOf(blocks);
    const across = this.#across.value;
    const down = Math.ceil(blocks.titles.length / across);
    const [rows, columns] = [blocks.rows.count, blocks.columns.count];
    const fair = (room: number, count: number, most: number): number => Math.max(SMALLEST, Math.min(most, room / count));
    let wide = fair(width - left - 4 - (across - 1) * APART, across * columns, LARGEST.width);
    let high = fair(height - top - 4 - (down - 1) * TITLE, down * rows, LARGEST.height);
    if (blocks.square) wide = high = Math.min(wide, high);
    const sized = (pitch: number): { cell: number; gap: number } =>
      pitch < GAPS ? { cell: pitch, gap: 0 } : { cell: Math.floor(pitch) - 1, gap: 1 };
    return {
      columns: { count: across * columns, start: left, ...sized(wide), each: columns, apart: APART, end: 3 },
      rows: { count: down * rows, start: top, ...sized(high), each: rows, apart: TITLE, end: 3 },
    };
  }

  /** Wider than this a grid would only push what stands beside it away; in pixels. */
  get widest(): number {
    const blocks = this.blocks.peek();
    return blocks?.titles.length === 1 ? edgesOf(blocks).left + blocks.columns.count * LARGEST.width + 6 : Infinity;
  }

  /** How many blocks stand beside each other: as many as make the shorter sides of cells longest. */
  #fittest(): number {
    const blocks = this.blocks.value;
    const { width, height } = this.size.value;
    if (!blocks) return 1;
    const { left, top } = edgesOf(blocks);
    const count = blocks.titles.length;
    let [fittest, best] = [1, -1];
    for (let across = 1; across <= count; across++) {
      const down = Math.ceil(count / across);
      const wide = (width - left - (across - 1) * APART) / (across * blocks.columns.count);
      const high = (height - top - (down - 1) * TITLE) / (down * blocks.rows.count);
      if (Math.min(wide, high) > best) [fittest, best] = [across, Math.min(wide, high)];
    }
    return fittest;
  }

  /** The cell of a place; null where nothing stands. */
  #cellAt(place: Place | null): number | null {
    const blocks = this.blocks.value;
    if (!place || !blocks) return null;
    const [rows, columns] = [blocks.rows.count, blocks.columns.count];
    const block = Math.floor(place.row / rows) * this.#across.value + Math.floor(place.column / columns);
    const cell = (block * rows + (place.row % rows)) * columns + (place.column % columns);
    return (blocks.kinds[cell] ?? "none") === "none" ? null : cell;
  }

  #placeOf(cell: number): Place {
    const { rows, columns } = this.blocks.value!;
    const [high, wide, across] = [rows.count, columns.count, this.#across.value];
    const block = Math.floor(cell / (high * wide));
    return { row: Math.floor(block / across) * high + (Math.floor(cell / wide) % high), column: (block % across) * wide + (cell % wide) };
  }

  describe(place: Place): string {
    const cell = this.#cellAt(place);
    return cell === null ? "" : this.say(cell);
  }

  protected override has(place: Place): boolean {
    return this.#cellAt(place) !== null;
  }

  protected cursor(): { at: Place | null; fresh: boolean; held: boolean } {
    const { pointed = null, locked = null } = this.marked();
    const held = pointed ?? locked;
    return { at: this.blocks.peek() && this.#placeOf(held ?? 0), fresh: held === null, held: pointed !== null };
  }

  protected point(spot: Spot | null): void {
    this.pointAt(this.#cellAt(cellOf(spot)));
  }

  protected pick(spot: Spot): void {
    const cell = this.#cellAt(cellOf(spot));
    if (cell !== null) this.pickCell(cell);
  }

  protected override tip(spot: Spot): Node[] {
    const cell = this.#cellAt(cellOf(spot));
    return cell === null ? [] : this.tipOf(cell);
  }

  protected marks(): Mark[] {
    const marked = this.marked();
    const tones: Tone[] = ["linked", "locked", "pointed"];
    return tones.flatMap((tone) => (typeof marked[tone] === "number" ? [{ ...this.#placeOf(marked[tone]), tone }] : []));
  }

  // ---- drawing ---------------------------------------------------------------------------------------------------

  protected paint(drawing: Drawing): void {
    const blocks = this.blocks.value;
    if (!blocks) return;
    const image = this.#imageOf(blocks);
    const [rows, columns] = [blocks.rows.count, blocks.columns.count];
    drawing.context.imageSmoothingEnabled = false;
    blocks.titles.forEach((_, block) => {
      const { x, y, wide, high } = this.#boxOf(drawing, block);
      if (image) drawing.context.drawImage(image, 0, block * rows, columns, rows, x, y, wide, high);
    });
    rule(drawing);
    this.#mark(drawing, blocks);
    this.#shade(drawing, blocks);
  }

  /** A pixel for each cell: they lie in it as they are drawn. */
  #imageOf(blocks: Blocks): HTMLCanvasElement | null {
    if (this.#image?.of === blocks) return this.#image.canvas;
    const [wide, high] = [blocks.columns.count, blocks.rows.count * blocks.titles.length];
    const target = offscreen(wide, high);
    if (!target) return null;
    const pixels = target.context.createImageData(wide, high);
    const words = new Uint32Array(pixels.data.buffer);
    blocks.kinds.forEach((kind, cell) => {
      if (kind === "exact" || kind === "estimate" || kind === "missing") words[cell] = colorOf(blocks.values[cell]!, blocks.mapping);
    });
    target.context.putImageData(pixels, 0, 0);
    this.#image = { of: blocks, canvas: target.canvas };
    return target.canvas;
  }

  /** What cells look like beside their colour: textures where there is none, dots, cut corners, numbers. */
  #mark({ context, ink, area, sight, left, top }: Drawing, { values, kinds, mapping }: Blocks): void {
    const [wide, high] = [area.columns.cell, area.rows.cell];
    const written = wide >= WRITTEN.width && high >= WRITTEN.height;
    const dot = Math.max(0.7, Math.min(2, 0.16 * Math.min(wide, high)));
    const extreme = Math.max(Math.abs(mapping.low), Math.abs(mapping.high));
    const paths: Record<string, (() => void)[]> = {};
    const add = (look: string, outline: () => void): number => (paths[look] ??= []).push(outline);
    context.font = `${LABEL}px ${ink.font}`;
    context.textAlign = "center";
    for (let row = sight.rows.first; row < sight.rows.last; row++) {
      let open = { kind: "none" as CellKind, cell: -1, end: 0 };
      for (let column = sight.columns.first; column < sight.columns.last; column++) {
        const cell = this.#cellAt({ row, column });
        if (cell === null || kinds[cell] === "missing") continue;
        const [kind, value, x, y] = [kinds[cell]!, values[cell]!, left(column), top(row)];
        if (kind === "pending" || kind === "impossible") {
          // Cells beside each other in one rectangle: of a causal pattern half of them are.
          if (open.kind === kind && open.cell === cell - 1) open.end = x + wide;
          else {
            const begun = (open = { kind, cell, end: x + wide });
            add(kind, () => context.rect(x, y, begun.end - x, high));
          }
          open.cell = cell;
          continue;
        }
        const on = written || kind === "estimate" ? inkOn(colorOf(value, mapping)) : "";
        if (kind === "estimate") {
          const [across, down] = written ? [x + CUT, y + CUT] : [x + wide / 2, y + high / 2];
          add(on, () => (dot < 1 ? context.rect(across - dot, down - dot, 2 * dot, 2 * dot) : disc(context, across, down, dot)));
        }
        const near = ROUNDING * (mapping.high - mapping.low);
        const beyond = value > mapping.high + near || value < mapping.low - near;
        if (beyond && Math.min(wide, high) >= GAPS - 1) add("cut", () => corner(context, x + wide, y));
        if (!written) continue;
        context.fillStyle = on;
        context.fillText(compact(value, extreme), x + wide / 2, y + high / 2 + 0.5);
      }
    }
    const looks: Record<string, () => CanvasPattern | string> = {
      pending: () => this.textured(context, "dots", ink.paper, ink.faint),
      impossible: () => this.textured(context, "hatch", mapping.masked, ink.line),
      cut: () => ink.paper,
    };
    for (const [look, outlines] of Object.entries(paths)) {
      context.fillStyle = looks[look]?.() ?? look;
      context.beginPath();
      for (const outline of outlines) outline();
      context.fill();
    }
  }

  #shade(drawing: Drawing, { rows, columns, titles }: Blocks): void {
    const from = this.shaded();
    const [high, wide] = [rows.count, columns.count];
    if (!from || from.row >= high || from.column >= wide) return;
    const { context, area, ink } = drawing;
    context.fillStyle = context.strokeStyle = ink.ink;
    context.lineWidth = 1;
    for (let block = from.block; block < titles.length; block++) {
      const { x, y, ...box } = this.#boxOf(drawing, block);
      const [across, down] = [(box.wide / wide) * from.column, (box.high / high) * from.row];
      const [width, height] = [box.wide - across - area.columns.gap, box.high - down - area.rows.gap];
      context.globalAlpha = 0.12;
      context.fillRect(x + across, y + down, width, height);
      context.globalAlpha = 0.6;
      context.strokeRect(x + across - 0.5, y + down - 0.5, width + 1, height + 1);
    }
    context.globalAlpha = 1;
  }

  protected label(drawing: Drawing): void {
    const { context, ink, area, bottom, right } = drawing;
    const { rows, columns, titles } = this.blocks.value!;
    const of = ({ labels, tokens, strong }: Side): Labels => ({
      text: (at) => clipped(labels[at % labels.length]!, LONGEST),
      font: tokens ? ink.code : ink.font,
      strong: (at) => !!strong?.(at % labels.length),
    });
    this.labelRows(drawing, of(rows));
    const y = area.rows.start - (titles.length > 1 ? TITLE : 0) - 6;
    this.labelColumns(drawing, y, { ...of(columns), ...(columns.tokens ? {} : { room: 26 }) }, columns.tokens ? "up" : null);
    context.textAlign = "left";
    context.fillStyle = ink.ink;
    context.font = `${LABEL}px ${ink.font}`;
    titles.forEach((title, block) => {
      const { x, y } = this.#boxOf(drawing, block);
      const seen = x >= area.columns.start - 1 && x < right && y >= area.rows.start - 1 && y < bottom;
      if (seen && titles.length > 1) context.fillText(title, x, y - 7);
    });
  }

  #boxOf({ area, left, top }: Drawing, block: number): Record<"x" | "y" | "wide" | "high", number> {
    const { rows, columns } = this.blocks.value!;
    const [high, wide] = [rows.count, columns.count];
    const { row, column } = this.#placeOf(block * high * wide);
    return {
      ...{ x: left(column), y: top(row) },
      ...{ wide: wide * (area.columns.cell + area.columns.gap), high: high * (area.rows.cell + area.rows.gap) },
    };
  }
}

/** Where the first cell begins: after the labels, of which tokens take what the longest needs. */
function edgesOf({ rows, columns, titles }: Blocks): { left: number; top: number } {
  const longest = ({ labels }: Side): number =>
    Math.ceil(Math.max(...labels.map(({ length }) => Math.min(length, LONGEST))) * CHARACTER) + 10;
  const top = columns.tokens ? longest(columns) : EDGE.top;
  return { left: Math.max(EDGE.left, longest(rows)), top: top + (titles.length > 1 ? TITLE : 0) };
}

/** Hairlines between cells that are large enough. */
function rule({ context, ink, area, sight, left, top }: Drawing): void {
  const [x, y] = [area.columns.start, area.rows.start];
  const foot = top(sight.rows.last - 1) + area.rows.cell + 1;
  const end = left(sight.columns.last - 1) + area.columns.cell + 1;
  context.fillStyle = ink.paper;
  if (area.columns.gap)
    for (let column = sight.columns.first; column < sight.columns.last; column++)
      context.fillRect(left(column) + area.columns.cell, y, 1, foot - y);
  if (area.rows.gap)
    for (let row = sight.rows.first; row < sight.rows.last; row++) context.fillRect(x, top(row) + area.rows.cell, end - x, 1);
}

function corner(path: CanvasRenderingContext2D, right: number, top: number): void {
  path.moveTo(right - CUT, top);
  path.lineTo(right, top);
  path.lineTo(right, top + CUT);
  path.closePath();
}
