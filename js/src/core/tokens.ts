/** Token strings as one line of visible marks, and cut to a width. The marks are those of `data/tokens.py`. */
const MARKS: Record<string, string> = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽", "\u200b": "⟨ZWSP⟩", "\x7f": "␡" };
/** Control characters of Latin-1, and characters that take no room: SOFT HYPHEN, WORD JOINER, byte order mark. */
const UNSEEN = /[\u0080-\u009f\u00ad\u2060\ufeff]/;
const DIRECTION = /[\u2028\u2029\u202a-\u202e\u2066-\u2069\u200e\u200f]/;

/** `text` on one line with whitespace, control and direction characters as marks. */
export function visible(text: string): string {
  let out = "";
  for (const character of text) {
    const mark = MARKS[character];
    const code = character.charCodeAt(0);
    if (mark !== undefined) out += mark;
    else if (code < 32) out += String.fromCharCode(0x2400 + code);
    else if (UNSEEN.test(character) || DIRECTION.test(character)) out += `⟨${code.toString(16).toUpperCase()}⟩`;
    else out += character;
  }
  return out;
}

/** At most `length` characters, the rest as "…"; never half of a surrogate pair. */
export function clipped(text: string, length: number): string {
  if (text.length <= length) return text;
  let out = "";
  for (const character of text) {
    if (out.length + character.length > length - 1) break;
    out += character;
  }
  return `${out}…`;
}

/** Isolated from the reading direction of its surroundings. */
export function isolated(text: string): string {
  return `\u2068${text}\u2069`;
}
