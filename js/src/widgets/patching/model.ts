/**
 * What the patching view knows beyond what every view does: what each cell shows, the cell that is chosen and the one
 * pointed at, what a patch there can reach, and the path that is walked. Knows nothing of the DOM.
 */
import { Answers } from "../../core/answers";
import type { Parcel } from "../../core/blocks";
import { kindOf } from "../../core/described";
import { Linked, type Given } from "../../core/linked";
import { PATCHING } from "../../core/options.gen";
import { makeMapping, type Mapping, type Theme } from "../../core/scale";
import { computed, Signal, type Readable } from "../../core/signal";
import type { PatchingManifest, PatchingOptions, PatchingState, PathStep } from "../../core/wire.gen";
import type { CellKind } from "../../dom/block_grid";
import { PatchingPicture, type Shows } from "./picture";

export interface Field {
  shows: Shows;
  /** What the legend says over the colours. */
  title: string;
  /** As drawn: exact where known, else estimated; NaN where neither is. */
  values: Float32Array;
  kinds: CellKind[];
  mapping: Mapping;
  /** How many cells lie beyond the ends of the colours. */
  clipped: number;
}

export class PatchingView extends Linked<PatchingState, PatchingOptions, PatchingPicture> {
  override readonly runNames = ["clean", "corrupt"] as const;
  readonly answers = new Answers(
    this,
    computed(() => {
      const manifest = this.picture.value?.manifest;
      return manifest ? { ...manifest, position: manifest.tokens.ids.length - 1 } : null;
    }),
  );
  /** The heads walked in the chart of paths; of none the selected head is looked at. */
  readonly path = new Signal<PathStep[]>([]);
  readonly proposal = new Signal("");
  /** The cell pointed at in this view. */
  readonly hover = new Signal<number | null>(null);

  constructor(given: Given<PatchingState>) {
    super(given, kindOf(PATCHING));
    this.begin(["answer", "foil", "refused", "path", "proposal", "picture"]);
  }

  /** What stands beside the clean run here is no matter of comparing. */
  override get compares(): boolean {
    return false;
  }

  // ---- what follows from the state -------------------------------------------------------------------------------

  readonly field: Readable<Field | null> = computed(() => {
    const picture = this.picture.value;
    return picture && fieldOf(picture, this.options.value.shows, this.theme.value);
  });

  /** The cell that was chosen: a selection means one where it names the site. */
  readonly chosen: Readable<number | null> = computed(() => {
    const [picture, selected] = [this.picture.value, this.selection.value];
    return picture && selected.component === picture.manifest.site ? picture.ofClean(selected) : null;
  });

  /** The cell that a linked view points at. */
  readonly linked: Readable<number | null> = computed(() => {
    const [picture, pointed] = [this.picture.value, this.remote.value];
    const head = picture && pointed.head !== null ? Math.floor(pointed.head / picture.group) : null;
    return picture && picture.ofClean({ ...pointed, head });
  });

  /** What a patch in the cell pointed at can reach: the layers after `layer`, and there the positions from `position` on. */
  readonly cone: Readable<{ layer: number; position: number } | null> = computed(() => {
    const [picture, cell] = [this.picture.value, this.hover.value];
    const { layer, position = 0 } = picture && cell !== null ? picture.at(cell) : {};
    return layer === undefined ? null : { layer, position: picture!.manifest.causal ? position : 0 };
  });

  // ---- actions ---------------------------------------------------------------------------------------------------

  choose(cell: number): void {
    const picture = this.picture.peek();
    if (!picture || picture.impossible(cell)) return;
    // A head that was chosen before is not of this cell's layer.
    this.select({ component: picture.manifest.site, head: null, ...picture.inClean(cell) });
  }

  release(): void {
    const by = this.picture.peek()?.manifest.by ?? [];
    this.select({ component: null, layer: null, ...Object.fromEntries(by.map((axis) => [axis, null])) });
  }

  point(cell: number | null): void {
    if (this.hover.peek() === cell) return;
    this.hover.value = cell;
    const picture = this.picture.peek();
    const { neuron: _, head, ...pointed } = picture && cell !== null ? picture.inClean(cell) : {};
    this.publishHover(typeof head === "number" ? { ...pointed, head: head * picture!.group } : pointed);
  }

  /** Looks at the effects of the last of these heads through its receivers, by way of the others. */
  walk(path: PathStep[]): void {
    if (!this.canCompute.peek()) return;
    this.path.value = path;
    this.source.set("path", path);
    this.expectKernel();
  }

  // ---- within ----------------------------------------------------------------------------------------------------

  protected pictured(parcel: Parcel): PatchingPicture {
    const picture = new PatchingPicture(parcel.manifest as PatchingManifest, parcel);
    // Cells of another run's grid mean nothing in this one; while one grid fills, they stay what they are.
    if (picture.run !== this.picture.peek()?.run) this.hover.value = null;
    return picture;
  }

  protected override take(names: Set<string>): void {
    this.answers.read(names);
    if (names.has("path")) this.path.value = this.source.get("path") ?? [];
    if (names.has("proposal")) this.proposal.value = this.source.get("proposal") ?? "";
  }
}

/** Colours diverge about what changes nothing and reach as far as the cells do; of effects no further than 1. */
function fieldOf(picture: PatchingPicture, asked: Shows, theme: Theme): Field {
  const { manifest } = picture;
  const shows: Shows = manifest.differs ? asked : "change";
  const [exact, estimate, neutral] = [picture.exact(shows), picture.estimate(shows), picture.neutral(shows)];
  const unknown: CellKind = picture.unfinished ? "pending" : "missing";
  const values = new Float32Array(picture.cells).fill(NaN);
  const kinds = Array.from(values, (_, cell): CellKind => {
    const known = Number.isFinite(exact[cell]);
    if (picture.impossible(cell)) return "impossible";
    values[cell] = (known ? exact : estimate)[cell] ?? NaN;
    return !Number.isFinite(values[cell]) ? unknown : known ? "exact" : "estimate";
  });
  const far = reachOf(values, neutral);
  const reach = shows === "effect" ? Math.min(1, far) : far;
  const clipped = far > reach ? values.filter((value) => Math.abs(value - neutral) > reach * 1.005).length : 0;
  const { legend } = PATCHING.measures[shows];
  const title = shows === "effect" ? legend : `change of the ${manifest.metric_title}${manifest.unit && `, ${manifest.unit}`}`;
  return { shows, title, values, kinds, mapping: about(neutral, reach, theme), clipped };
}

/** How far values lie from what changes nothing. */
export function reachOf(values: Float32Array, neutral: number): number {
  return values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value - neutral)) : most), 0);
}

/** Colours that diverge about `neutral`, as far as `reach` on both sides. */
export function about(neutral: number, reach: number, theme: Theme): Mapping {
  const mapping = makeMapping({ low: -reach, high: reach, scale: "linear", palette: "blue", diverging: true }, theme);
  return { ...mapping, low: neutral - reach, high: neutral + reach };
}
