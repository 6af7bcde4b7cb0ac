/** Numbers as people read them: exact ones in full, rounded ones marked "≈". */
import { NOT_A_NUMBER } from "./options.gen";

export type Precision = "exact" | "half" | "reduced";

/** Up to six significant digits, no exponent for everyday sizes. */
export function exact(value: number): string {
  if (!Number.isFinite(value)) return NOT_A_NUMBER;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-5) return tidy(value.toExponential(3));
  return tidy(value.toPrecision(6));
}

/** Three significant digits. */
export function rounded(value: number): string {
  if (!Number.isFinite(value)) return NOT_A_NUMBER;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return tidy(value.toExponential(1));
  return tidy(value.toPrecision(3));
}

/** The value with the mark that its precision asks for. */
export function shown(value: number, precision: Precision): string {
  if (!Number.isFinite(value)) return NOT_A_NUMBER;
  return precision === "exact" ? exact(value) : `≈ ${rounded(value)}`;
}

/** Two decimals without the leading zero, for the small numbers over tokens. */
export function brief(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return "–";
  const text = size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
  return text.replace(/^(-?)0\./, "$1.").replace("-", "−");
}

/** A number where there is little room: ".31", "−1.20"; `extreme` is the largest in sight and gives the decimals. */
export function compact(value: number, extreme: number): string {
  if (!Number.isFinite(value)) return "–";
  const decimals = extreme > 0 ? Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(extreme) + (extreme < 1 ? 1 : 0)))) : 0;
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? "0" : text.replace(/^(-?)0\./, "$1.").replace("-", "−");
}

function tidy(text: string): string {
  return text
    .replace(/(\.\d*?)0+(e|$)/, "$1$2")
    .replace(/\.(e|$)/, "$1")
    .replace("e+", "e")
    .replace(/-/g, "−");
}
