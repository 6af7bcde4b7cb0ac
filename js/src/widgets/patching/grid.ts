/** The grid of patches, by its axes, and what a patch in the cell pointed at can reach. Knows nothing of how cells are drawn. */
import { computed, type Readable } from "../../core/signal";
import { BlockGrid, type Blocks, type Side } from "../../dom/block_grid";
import type { Tone } from "../../dom/grid";
import type { Listed } from "../../dom/table";
import type { Ink } from "../../dom/theme";
import type { Tooltip } from "../../dom/tooltip";
import { cellLines, describe, valueText } from "./details";
import type { Field, PatchingView } from "./model";
import { LETTERS, TOKEN_AXES, type PatchingPicture } from "./picture";

/** So many neurons stand in a row. */
const WRAPPED = 64;
const TABLE_ROWS = 100;

export class PatchingGrid extends BlockGrid {
  readonly #view: PatchingView;
  readonly blocks: Readable<Blocks | null>;

  constructor(view: PatchingView, ink: Readable<Ink>, tooltip: Tooltip) {
    super(view.scope, ink, "patching-grid", "effects of patches", tooltip);
    this.#view = view;
    this.blocks = computed(() => {
      const [picture, field] = [view.picture.value, view.field.value];
      return picture && field && blocksOf(picture, field);
    });
    this.begin();
  }

  protected pointAt(cell: number | null): void {
    this.#view.point(cell);
  }

  protected pickCell(cell: number): void {
    this.#view.choose(cell);
  }

  protected tipOf(cell: number): Node[] {
    return cellLines(this.#view, cell);
  }

  protected say(cell: number): string {
    return describe(this.#view, cell);
  }

  protected marked(): Partial<Record<Tone, number | null>> {
    const { linked, chosen, hover } = this.#view;
    return { linked: linked.value, locked: chosen.value, pointed: hover.value };
  }

  protected override shaded(): { block: number; row: number; column: number } | null {
    const cone = this.#view.cone.value;
    const { by, numbers } = this.#view.picture.value!.manifest;
    if (!cone) return null;
    const from = (axis: string, least: number): number => {
      const at = numbers[by.indexOf(axis)]?.findIndex((number) => number >= least) ?? 0;
      return at < 0 ? Infinity : at;
    };
    const layer = from("layer", cone.layer + 1);
    return { block: by.length > 2 ? layer : 0, row: by.length > 2 ? 0 : layer, column: from("position", cone.position) };
  }

  /** What changes most comes first. */
  protected listed(): Listed {
    const view = this.#view;
    const [picture, { shows, values, kinds, title }] = [view.picture.peek()!, view.field.peek()!];
    const away = (cell: number): number => Math.abs(values[cell]! - picture.neutral(shows));
    const known = [...kinds.keys()].filter((cell) => kinds[cell] === "exact" || kinds[cell] === "estimate");
    const rows = known.sort((left, right) => away(right) - away(left)).slice(0, TABLE_ROWS);
    const part = known.length > TABLE_ROWS ? `, the first ${TABLE_ROWS} of ${known.length}` : "";
    return [`patches, what changes most first${part}`, ["where", title], rows.map((cell) => [picture.nameOf(cell), valueText(view, cell)])];
  }
}

/** Of three axes a block for each entry of the first; of one a column, but of neurons rows of them. */
function blocksOf(picture: PatchingPicture, { values, kinds, mapping }: Field): Blocks {
  const { by, numbers } = picture.manifest;
  const side = (axis: number): Side => {
    const [name, own] = [by.at(axis)!, numbers.at(axis)!];
    if (!TOKEN_AXES.includes(name)) return { count: own.length, labels: own.map((number) => `${LETTERS[name]}${number}`) };
    const labels = own.map((position) => picture.positions.labels[position] ?? "");
    return { count: own.length, labels, tokens: true, strong: (at) => picture.otherToken(own[at]!) !== null };
  };
  const shared = { values, kinds, mapping, titles: by.length > 2 ? side(0).labels : [""], square: by.includes("query") };
  if (by.length > 1) return { ...shared, rows: side(-2), columns: side(-1) };
  const { labels } = side(0);
  const wrapped = by[0] === "neuron" ? Math.min(WRAPPED, labels.length) : 1;
  const columns = { count: wrapped, labels: Array.from({ length: wrapped }, (_, at) => (wrapped > 1 ? `+${at}` : "")) };
  const firsts = labels.filter((_, at) => at % wrapped === 0);
  return { ...shared, rows: { count: firsts.length, labels: firsts }, columns };
}
