/**
 * From a value to a colour: range, transform (linear, square root, logarithm) and 256-step palette. Masked and missing
 * cells have their own look. Knows nothing of canvases.
 */
import { DIVERGING, MASKED, MISSING, PALETTES } from "./color.gen";
import { rounded } from "./format";
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
  /** Where it stands on the legend, 0 … 1. */
  unit: number;
  text: string;
}

/** The least distance of two ticks on a legend with room for about `count`; rounding decides nothing. */
export function clearance(count: number): number {
  return 1 / (count + 1) - 1e-9;
}

/** Ticks of a legend with room for about `count`, as paper prints them (`figures/scale.py`): the ends, 0, round values. */
export function ticks(mapping: Mapping, count = 7): Tick[] {
  const { low, high, scale } = mapping;
  if (!(high > low)) return [{ unit: mapping.diverging ? 0.5 : 0, text: rounded(low) }];
  const clear = clearance(count);
  const bottom = scale === "log" ? low + LOG_FLOOR * (high - low) : low;
  const chosen = [high, bottom];
  const away = (value: number, other: number): number => Math.abs(unitOf(value, mapping) - unitOf(other, mapping));
  for (const value of [0, ...roundValues(mapping, clear)]) {
    if (bottom < value && value < high && chosen.every((other) => away(value, other) >= clear)) chosen.push(value);
  }
  chosen.sort((left, right) => left - right);
  return chosen.map((value) => ({
    unit: unitOf(value, mapping),
    text: `${scale === "log" && value === bottom ? "≤" : ""}${rounded(value)}`,
  }));
}

/** Candidates for ticks, the most wanted first: on an even scale even steps, the finest that leave room. */
function roundValues({ low, high, scale }: Mapping, clear: number): number[] {
  const sizes = roundSizes(high - low, scale === "log");
  if (scale !== "linear") return sizes;
  const size = sizes.filter((step) => step >= clear * (high - low)).at(-1) ?? sizes[0]!;
  const [first, last] = [Math.ceil(low / size), Math.floor(high / size)];
  return Array.from({ length: last - first + 1 }, (_, step) => (first + step) * size);
}

/** 1-2-5 numbers (powers of ten of a logarithm) up to `span`, coarse first, over the decades that a legend can resolve. */
function roundSizes(span: number, log: boolean): number[] {
  const top = Math.floor(Math.log10(span));
  const digits = log ? [1] : [5, 2, 1];
  const sizes = [0, 1, 2, 3, 4].flatMap((down) => digits.map((digit) => Number(`${digit}e${top - down}`)));
  return sizes.filter((size) => size <= span);
}

function rgba(red: number, green: number, blue: number): number {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function word(hex: string): number {
  const value = parseInt(hex.slice(1), 16);
  return rgba((value >> 16) & 255, (value >> 8) & 255, value & 255);
}
