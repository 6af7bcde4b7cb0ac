/**
 * What the attention explorer lacks: the heads in view at full resolution, and the thumbnails of the other side. Nothing
 * is fetched while the pointer only passes over a head.
 */
import { Fetcher, type Order } from "../../core/fetcher";
import type { Explorer, Head } from "./explorer";

/** The pointer must rest on a head this long before its block is fetched. */
const DWELL_MS = 120;

/** A head and the sides of it that are missing; null: the thumbnails. */
type Piece = { head: Head; sides: ("A" | "B")[] } | null;

export function loadHeads(explorer: Explorer): Fetcher<Piece> {
  const lacks = (): Map<string, Piece> => {
    const pieces = new Map<string, Piece>();
    const picture = explorer.picture.value;
    const show = explorer.show.value;
    void explorer.heads.version.value;
    if (!picture) return pieces;
    if (!picture.atlases.has(show)) pieces.set(`${picture.run}/${show}/atlas`, null);
    for (const head of [explorer.focused.value, explorer.locked.value, ...explorer.overlaid.value]) {
      const sides = head ? explorer.heads.missing(picture.run, show, head.layer, head.head) : [];
      if (head && sides.length) pieces.set(`${picture.run}/${show}/${head.layer}.${head.head}`, { head, sides });
    }
    return pieces;
  };
  const order = (pieces: Map<string, Piece>): Order[] => {
    const run = explorer.picture.peek()!.run;
    const show = explorer.show.peek();
    const entries = [...pieces.values()].filter((piece) => piece !== null);
    const [atlas, names] = [true, false].map((thumbnails) =>
      [...pieces.keys()].filter((name) => (pieces.get(name) === null) === thumbnails),
    );
    const sides = (["A", "B"] as const).filter((side) => entries.some((entry) => entry.sides.includes(side)));
    const orders: Order[] = [
      {
        names: atlas!,
        asked: { want: "atlas", run, heads: [], sides: [], show },
        arrived: (parcel) => parcel?.blocks.has(`atlas/${show}`) && explorer.addAtlas(run, parcel),
      },
      {
        names: names!,
        asked: { want: "heads", run, heads: entries.map(({ head }) => [head.layer, head.head]), sides, show },
        arrived: (parcel) => parcel && explorer.heads.feed(parcel, run),
      },
    ];
    return orders.filter((each) => each.names.length);
  };
  let selected = explorer.selection.peek();
  const fetcher: Fetcher<Piece> = new Fetcher(
    explorer,
    () => {
      const held = [explorer.locked.value, ...explorer.overlaid.value];
      if (explorer.selection.value !== selected) {
        selected = explorer.selection.peek();
        fetcher.retry((name) => held.some((head) => head && name.endsWith(`/${head.layer}.${head.head}`)));
      }
      return { pieces: lacks(), rest: explorer.hoverHead.value ? DWELL_MS : 0 };
    },
    order,
  );
  return fetcher;
}
