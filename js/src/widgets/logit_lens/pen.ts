/**
 * Writes tokens into cells of a canvas: cut to the cell, whitespace as faint marks, each in its own reading direction.
 * What fits is measured once per token and width. Knows nothing of tables.
 */
import { isolated, visible } from "../../core/tokens";

interface Piece {
  text: string;
  mark: boolean;
  left: number;
}

interface Written {
  pieces: Piece[];
  width: number;
}

const MOST_KEPT = 20000;
const MARK_ALPHA = 0.45;
/** No glyph is narrower: so many characters are enough to look at. */
const NARROWEST = 2.5;

export class Pen {
  #written = new Map<string, Written>();

  constructor(readonly context: CanvasRenderingContext2D) {}

  /** Writes `string` with the present font from `x` on, into `room` pixels; returns the width it took. */
  write(string: string, x: number, y: number, room: number): number {
    const { context } = this;
    const { pieces, width } = this.#fit(string, Math.floor(room));
    const alpha = context.globalAlpha;
    for (const { text, mark, left } of pieces) {
      if (mark) context.globalAlpha = alpha * MARK_ALPHA;
      context.fillText(text, x + left, y);
      if (mark) context.globalAlpha = alpha;
    }
    return width;
  }

  /** The width that `string` takes of `room` pixels. */
  widthOf(string: string, room: number): number {
    return this.#fit(string, Math.floor(room)).width;
  }

  #fit(string: string, room: number): Written {
    const key = `${this.context.font}|${room}|${string}`;
    const known = this.#written.get(key);
    if (known) return known;
    if (this.#written.size > MOST_KEPT) this.#written.clear();
    const most = Math.ceil(room / NARROWEST);
    const characters: string[] = [];
    for (const character of string) {
      if (characters.length > most) break;
      characters.push(character);
    }
    const whole = string === "" ? ["∅"] : characters;
    let length = whole.length;
    let written = this.#lay(whole, length, false);
    while (length > 1 && written.width > room) {
      // The widths of the pieces tell about how many characters are too many.
      const over = Math.floor(((written.width - room) / written.width) * length * 0.8);
      length = Math.max(1, length - Math.max(1, over));
      written = this.#lay(whole, length, true);
    }
    this.#written.set(key, written);
    return written;
  }

  #lay(characters: string[], length: number, cut: boolean): Written {
    const pieces: Piece[] = [];
    for (const character of characters.slice(0, length)) {
      const text = visible(character);
      const mark = text !== character || character === "∅";
      const last = pieces[pieces.length - 1];
      if (last && last.mark === mark) last.text += text;
      else pieces.push({ text, mark, left: 0 });
    }
    if (cut) pieces.push({ text: "…", mark: false, left: 0 });
    let width = 0;
    for (const piece of pieces) {
      piece.left = width;
      if (!piece.mark) piece.text = isolated(piece.text);
      width += this.context.measureText(piece.text).width;
    }
    return { pieces, width };
  }
}
