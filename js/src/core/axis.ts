/**
 * One axis of a grid in pixels: where cells begin, which of them are in sight, which one lies at a point. Knows nothing
 * of canvases or of what the cells hold.
 */
export interface Axis {
  count: number;
  /** Where the first cell begins; what lies before are the labels, which stay while cells scroll. */
  start: number;
  /** The length of a cell, and what is left free after it. */
  cell: number;
  gap: number;
  /** After every so many cells, so much more is left free. */
  each?: number;
  apart?: number;
  /** The last one stands first. */
  reversed?: boolean;
  /** What is left free at the end. */
  end?: number;
}

/** The place in the order on screen of an index, and the other way round. */
export function slotOf({ count, reversed }: Axis, index: number): number {
  return reversed ? count - 1 - index : index;
}

export function pitchOf({ cell, gap }: Axis): number {
  return cell + gap;
}

/** Where the cell begins, unscrolled. */
export function beginOf(axis: Axis, index: number): number {
  const { start, each, apart = 0 } = axis;
  const slot = slotOf(axis, index);
  return start + slot * pitchOf(axis) + (each ? Math.floor(slot / each) * apart : 0);
}

/** The length of all of it, labels included. */
export function lengthOf(axis: Axis): number {
  const { count, start, each, apart = 0, end = 0 } = axis;
  return start + count * pitchOf(axis) + (each && count ? Math.floor((count - 1) / each) * apart : 0) + end;
}

/** The index of the cell at a place, the gap after it included; null between groups and beyond the ends. */
export function indexAt(axis: Axis, place: number): number | null {
  const { count, each = count } = axis;
  const { group, within } = groupAt(axis, place);
  const slot = group * each + Math.floor(within / pitchOf(axis));
  return within < 0 || within >= each * pitchOf(axis) || slot >= count ? null : slotOf(axis, slot);
}

/** The slots that are at least partly in sight, from … to (not included), scrolled so far, up to `edge` on screen. */
export function slotsIn(axis: Axis, scrolled: number, edge: number): [number, number] {
  const { count, start, each = count } = axis;
  const near = (place: number, round: (slot: number) => number): number => {
    const { group, within } = groupAt(axis, place);
    return Math.max(0, Math.min(count, group * each + Math.min(each, round(within / pitchOf(axis)))));
  };
  return count ? [near(start + scrolled, Math.floor), near(edge + scrolled, Math.ceil)] : [0, 0];
}

/** The same as indexes. */
export function indexesIn(axis: Axis, scrolled: number, edge: number): { first: number; last: number } {
  const [from, to] = slotsIn(axis, scrolled, edge);
  return axis.reversed ? { first: axis.count - to, last: axis.count - from } : { first: from, last: to };
}

function groupAt(axis: Axis, place: number): { group: number; within: number } {
  const { count, start, each = count, apart = 0 } = axis;
  const period = each * pitchOf(axis) + apart;
  const group = Math.max(0, Math.floor((place - start) / period));
  return { group, within: place - start - group * period };
}
