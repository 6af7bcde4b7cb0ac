/**
 * From a value to a colour: range, transform (linear, square root, logarithm) and 256-step palette. Masked and missing
 * cells have their own look. Knows nothing of canvases.
 */
import { DIVERGING, MASKED, MISSING, PALETTES } from "./color.gen";
import type { Scale } from "./wire.gen";

export type Theme = "light" | "dark";

/** Values below this share of the largest are drawn as this share on the logarithmic scale. */
export const LOG_FLOOR = 1e-4;

export interface Mapping {
  low: number;
  high: number;
  scale: Scale;
  /** 256 colours as little-endian RGBA. */
  colors: Uint32Array;
  missing: number;
  masked: string;
  diverging: boolean;
}

const tables = new Map<string, Uint32Array>();

/** The palette's twin for the theme, as 256 little-endian RGBA words. */
export function paletteColors(name: string, theme: Theme): Uint32Array {
  const twin = theme === "dark" ? `${name}_dark` : name;
  const known = tables.get(twin);
  if (known) return known;
  const source = PALETTES[twin] ?? PALETTES[name] ?? PALETTES["blue"]!;
  // The first colour as rrggbb, then what each channel changes by from step to step: two changes in a character.
  const bytes = new Uint8Array(768);
  for (let at = 0; at < 3; at++) bytes[at] = parseInt(source.slice(2 * at, 2 * at + 2), 16);
  for (let at = 3; at < 768; at++) {
    const pair = source.charCodeAt(6 + ((at - 3) >> 1)) - 48;
    bytes[at] = bytes[at - 3]! + (at % 2 ? pair >> 3 : pair & 7) - 4;
  }
  const colors = new Uint32Array(256);
  for (let step = 0; step < 256; step++) {
    colors[step] = rgba(bytes[3 * step]!, bytes[3 * step + 1]!, bytes[3 * step + 2]!);
  }
  tables.set(twin, colors);
  return colors;
}

export function makeMapping(
  options: { low: number; high: number; scale: Scale; palette: string; diverging: boolean },
  theme: Theme,
): Mapping {
  const { low, high, scale, palette, diverging } = options;
  const largest = Math.max(Math.abs(low), Math.abs(high));
  return {
    low: diverging ? -largest : low,
    high: diverging ? largest : high,
    // A logarithm or a root of signed values has no meaning here.
    scale: diverging || low < 0 ? "linear" : scale,
    colors: paletteColors(diverging ? DIVERGING : palette, theme),
    missing: word(MISSING[theme]),
    masked: MASKED[theme],
    diverging,
  };
}

/** Where a value stands in the palette, 0 … 1; NaN stays NaN. */
export function unitOf(value: number, mapping: Mapping): number {
  const { low, high, scale } = mapping;
  if (value !== value) return NaN;
  if (!(high > low)) return mapping.diverging ? 0.5 : value > low ? 1 : 0;
  const unit = Math.min(1, Math.max(0, (value - low) / (high - low)));
  if (scale === "sqrt") return Math.sqrt(unit);
  if (scale === "log") return unit <= LOG_FLOOR ? 0 : 1 - Math.log10(unit) / Math.log10(LOG_FLOOR);
  return unit;
}

/** The palette step 0 … 255 of a value that is a number. */
export function stepOf(value: number, mapping: Mapping): number {
  return Math.min(255, Math.floor(unitOf(value, mapping) * 256));
}

/** The colour of a value as a little-endian RGBA word. */
export function colorOf(value: number, mapping: Mapping): number {
  return value !== value ? mapping.missing : mapping.colors[stepOf(value, mapping)]!;
}

export function cssOf(color: number): string {
  return `rgb(${color & 255}, ${(color >> 8) & 255}, ${(color >> 16) & 255})`;
}

/** Ink that can be read on `color`: relative luminance of WCAG 2 decides. */
export function inkOn(color: number): "#000" | "#fff" {
  const channel = (shift: number): number => {
    const part = ((color >> shift) & 255) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * channel(0) + 0.7152 * channel(8) + 0.0722 * channel(16) > 0.179 ? "#000" : "#fff";
}

export interface Tick {
  value: number;
  /** Where it stands on the legend, 0 … 1. */
  unit: number;
}

/** Round values for the legend, at least `apart` (share of its length) from each other; the ends stay. */
export function ticks(mapping: Mapping, apart = 0.12): Tick[] {
  const { low, high, scale } = mapping;
  if (!(high > low)) return [{ value: low, unit: mapping.diverging ? 0.5 : 0 }];
  const candidates: number[] = [];
  if (scale === "log") {
    for (let power = Math.floor(Math.log10(high)); power >= Math.log10(high * LOG_FLOOR); power--) candidates.push(10 ** power);
  } else {
    const step = roundStep((high - low) / (scale === "sqrt" ? 10 : 4));
    for (let value = Math.ceil(low / step) * step; value < high; value += step) candidates.push(Math.abs(value) < step / 1e6 ? 0 : value);
    if (scale === "sqrt") for (const share of [0.01, 0.05]) candidates.push(roundStep(high * share));
  }
  const bottom: Tick = { value: scale === "log" ? high * LOG_FLOOR : low, unit: 0 };
  const kept: Tick[] = [bottom, { value: high, unit: 1 }];
  // The middle of a diverging palette is zero and must be said.
  if (mapping.diverging) kept.push({ value: 0, unit: 0.5 });
  for (const value of candidates) {
    const unit = unitOf(value, mapping);
    if (kept.every((tick) => Math.abs(tick.unit - unit) >= apart)) kept.push({ value, unit });
  }
  return kept.sort((left, right) => left.unit - right.unit);
}

function roundStep(size: number): number {
  const power = 10 ** Math.floor(Math.log10(size));
  const lead = size / power;
  return power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
}

function rgba(red: number, green: number, blue: number): number {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function word(hex: string): number {
  const value = parseInt(hex.slice(1), 16);
  return rgba((value >> 16) & 255, (value >> 8) & 255, value & 255);
}
