/**
 * The effect of one head through each of its receivers: maps of heads by layer for queries, keys and values, and the MLPs
 * and the logits; over them the heads that were walked. Knows nothing of the grid of patches.
 */
import { exact } from "../../core/format";
import { nameOfHead } from "../../core/interventions";
import { computed, Signal, type Readable } from "../../core/signal";
import type { PathsValue, PathStep } from "../../core/wire.gen";
import { BlockGrid, type Blocks, type CellKind } from "../../dom/block_grid";
import { faint, h } from "../../dom/element";
import type { Tone } from "../../dom/grid";
import type { Listed } from "../../dom/table";
import type { Ink } from "../../dom/theme";
import type { Tooltip } from "../../dom/tooltip";
import { about, reachOf, type PatchingView } from "./model";

const ENTRIES = ["q", "k", "v"];
const SAID: Record<string, string> = { q: "queries", k: "keys", v: "values", mlp: "MLP", logits: "logits" };
const TABLE_ROWS = 100;

interface Receiver {
  kind: string;
  layer: number;
  /** A key-value head of keys and values; -1 of an MLP. */
  head: number;
}

export class PathsGrid extends BlockGrid {
  readonly #view: PatchingView;
  readonly #crumbs = h("nav", { class: "miw-patching-crumbs", "aria-label": "the path walked" });
  readonly section = h("section", { class: "miw-patching-paths", "aria-label": "paths from a head" }, this.#crumbs, this.element);
  readonly #pointed = new Signal<number | null>(null);
  readonly #tooltip: Tooltip;
  readonly blocks: Readable<Blocks | null>;

  constructor(view: PatchingView, ink: Readable<Ink>, tooltip: Tooltip) {
    super(view.scope, ink, "patching-receivers", "receivers of the head, by layer", tooltip);
    this.#view = view;
    this.#tooltip = tooltip;
    this.blocks = computed(() => {
      const paths = view.picture.value?.manifest.paths;
      return paths ? this.#blocksOf(paths) : null;
    });
    this.begin();
    view.scope.effect(() => this.#showCrumbs());
  }

  /** Whether anything was pointed at, which is let go of. */
  release(): boolean {
    const pointed = this.#pointed.peek() !== null;
    if (pointed) this.pointAt(null);
    return pointed;
  }

  protected pointAt(cell: number | null): void {
    this.#pointed.value = cell;
    const { kind = "", layer = -1, head = -1 } = cell === null ? {} : this.#receiver(cell);
    this.#view.publishHover(head >= 0 ? { layer, head: head * (kind === "q" ? 1 : this.#sizes.group) } : {});
  }

  protected pickCell(cell: number): void {
    const paths = this.#view.picture.peek()?.manifest.paths;
    const { kind, layer, head } = this.#receiver(cell);
    if (!paths || this.blocks.peek()!.kinds[cell] !== "exact" || kind === "logits") return;
    // Another picture comes: what was told of this one goes.
    this.pointAt(null);
    this.#tooltip.hide();
    this.#view.walk([...paths.path, { layer, head, entered: kind }]);
  }

  protected tipOf(cell: number): Node[] {
    const receiver = this.#receiver(cell);
    const on = receiver.kind !== "logits" && this.#view.canCompute.peek() ? [faint("click: walk on from here")] : [];
    return [h("span", "miw-tip-value", `effect ${this.#value(cell)}`), h("span", {}, titleOf(receiver)), ...on];
  }

  protected say(cell: number): string {
    return `${titleOf(this.#receiver(cell))}: ${this.#value(cell)}`;
  }

  protected marked(): Partial<Record<Tone, number | null>> {
    const step = this.#view.picture.value?.manifest.paths?.path.at(-1);
    const entered = step ? ENTRIES.indexOf(step.entered) : -1;
    const column = entered > 0 ? step!.head * this.#sizes.group : step?.head;
    return { locked: entered < 0 ? null : this.#cellOf(entered, step!.layer, column!), pointed: this.#pointed.value };
  }

  protected listed({ values, kinds }: Blocks): Listed {
    const cells = [...kinds.keys()].filter((cell) => kinds[cell] === "exact");
    cells.sort((left, right) => Math.abs(values[right]!) - Math.abs(values[left]!));
    // A key-value head stands under several heads, and is one receiver.
    const rows = new Map(cells.map((cell) => [titleOf(this.#receiver(cell)), this.#value(cell)]));
    return ["effect through each receiver, the largest first", ["receiver", "effect"], [...rows].slice(0, TABLE_ROWS)];
  }

  // ---- where receivers stand: blocks of layers × heads, the last of MLPs and logits ---------------------------------

  get #sizes(): { layers: number; heads: number; columns: number; group: number } {
    const { n_layers, n_heads, n_kv_heads } = this.#view.picture.value!.manifest;
    return { layers: n_layers, heads: n_heads, columns: Math.max(2, n_heads), group: Math.max(1, n_heads / Math.max(1, n_kv_heads)) };
  }

  #cellOf(block: number, layer: number, column: number): number {
    const { layers, columns } = this.#sizes;
    return (block * layers + layer) * columns + column;
  }

  #receiver(cell: number): Receiver {
    const { layers, columns, group } = this.#sizes;
    const [block, layer, column] = [Math.floor(cell / (layers * columns)), Math.floor(cell / columns) % layers, cell % columns];
    if (block < ENTRIES.length) return { kind: ENTRIES[block]!, layer, head: block ? Math.floor(column / group) : column };
    return column ? { kind: "logits", layer: -1, head: -1 } : { kind: "mlp", layer, head: -1 };
  }

  #blocksOf({ kinds: ways, layers: at, heads, effects }: PathsValue): Blocks {
    const { layers, heads: count, columns, group } = this.#sizes;
    const values = new Float32Array(4 * layers * columns).fill(NaN);
    const kinds = new Array<CellKind>(values.length).fill("none");
    const put = (cell: number, effect: number | null): void => {
      values[cell] = effect ?? NaN;
      kinds[cell] = effect === null ? "impossible" : "exact";
    };
    // What stands before the sender receives nothing of it.
    for (let cell = 0; cell < kinds.length; cell++) {
      const { kind } = this.#receiver(cell);
      if (kind !== "logits" && cell % columns < (kind === "mlp" ? 1 : count)) kinds[cell] = "impossible";
    }
    ways.forEach((way, place) => {
      const [block, effect] = [ENTRIES.indexOf(way), effects[place]!];
      if (block < 0) put(this.#cellOf(3, way === "mlp" ? at[place]! : layers - 1, way === "mlp" ? 0 : 1), effect);
      // A key-value head stands under each of the heads that read of it.
      else if (block === 0) put(this.#cellOf(0, at[place]!, heads[place]!), effect);
      else for (let one = 0; one < group; one++) put(this.#cellOf(block, at[place]!, heads[place]! * group + one), effect);
    });
    const { neutral } = this.#view.picture.value!.manifest;
    const labels = (length: number, letter: string): string[] => Array.from({ length }, (_, number) => `${letter}${number}`);
    return {
      ...{ values, kinds, mapping: about(neutral, Math.min(1, reachOf(values, neutral)), this.#view.theme.value) },
      titles: [...ENTRIES.map((entry) => SAID[entry]!), "MLP, logits"],
      rows: { count: layers, labels: labels(layers, "L") },
      columns: { count: columns, labels: ENTRIES.flatMap(() => labels(columns, "H")).concat(labels(columns, "").map(() => "")) },
    };
  }

  #value(cell: number): string {
    const effect = this.blocks.peek()?.values[cell] ?? NaN;
    return Number.isFinite(effect) ? exact(effect) : "none";
  }

  /** The path above the maps: each of its heads leads back to it. */
  #showCrumbs(): void {
    const view = this.#view;
    const path = view.picture.value?.manifest.paths?.path ?? [];
    const live = view.canCompute.value;
    this.element.hidden = !path.length;
    const step = ({ layer, head, entered }: PathStep, at: number): Node[] => {
      const last = at === path.length - 1;
      const name = nodeName(layer, head);
      const look = { class: "miw-button", disabled: last || !live, "aria-current": last ? "step" : null };
      const back = { click: () => view.walk(path.slice(0, at + 1)), "data-tip": last ? "Its effects are shown" : `Back to ${name}` };
      return [...(entered ? [faint(head < 0 ? "→" : `→ ${SAID[entered] ?? entered} of`)] : []), h("button", { ...look, ...back }, name)];
    };
    const none =
      view.picture.value?.manifest.experiment === "ablation"
        ? "Paths are walked in patching: what is ablated has no other run to take from."
        : "Choose a head, in a grid by head or in a linked view: its effects through each receiver stand here.";
    this.#crumbs.replaceChildren(
      ...(path.length ? [faint("from"), ...path.flatMap(step), faint("through each receiver")] : [h("span", {}, none)]),
    );
  }
}

function titleOf({ kind, layer, head }: Receiver): string {
  if (kind === "logits") return "the logits directly";
  return head < 0 ? nodeName(layer, head) : `${SAID[kind]} of ${nodeName(layer, head)}`;
}

function nodeName(layer: number, head: number): string {
  return head < 0 ? `L${layer} MLP` : nameOfHead({ layer, head });
}
