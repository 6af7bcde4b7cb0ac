/** Prompts as people type them: text, token ids as "[1, 2, 3]", or chat messages. Knows nothing of editors. */
import { clipped, visible } from "./tokens";
import type { PromptValue, TokenTable } from "./wire.gen";

export type PromptKind = "text" | "ids" | "chat";

export function kindOf(prompt: PromptValue): PromptKind {
  return prompt.kind ?? (prompt.ids ? "ids" : prompt.messages ? "chat" : "text");
}

/** One line of text that stands for a prompt in menus and in the editor of its kind. */
export function promptText(prompt: PromptValue): string {
  switch (kindOf(prompt)) {
    case "ids":
      return `[${(prompt.ids ?? []).join(", ")}]`;
    case "chat":
      return (prompt.messages ?? []).map((message) => `${message.role}: ${message.content}`).join("\n");
    default:
      return prompt.text ?? "";
  }
}

export function samePrompt(left: PromptValue | null, right: PromptValue | null): boolean {
  if (!left || !right) return left === right;
  return (
    kindOf(left) === kindOf(right) &&
    promptText(left) === promptText(right) &&
    JSON.stringify(left.messages ?? null) === JSON.stringify(right.messages ?? null)
  );
}

/** A prompt's text on one line, for menus and captions. */
export function promptLine(text: string, length: number): string {
  return clipped(visible(text).replaceAll("·", " "), length);
}

/** What was run, as text. */
export function textOf({ text, strings }: TokenTable): string {
  return text ?? strings.join("");
}

/**
 * Whether a picture of the prompts `of` may be one of these: false only where it certainly is not. What a chat template
 * or the lack of a tokenizer hides cannot be told.
 */
export function mayBeOf(of: TokenTable[], prompt: PromptValue | null, compare: PromptValue | null): boolean {
  const may = (table: TokenTable | undefined, asked: PromptValue | null): boolean => {
    if (!table || !asked) return true;
    const kind = kindOf(asked);
    if (kind === "ids") return table.ids.length === asked.ids?.length && table.ids.every((id, at) => id === asked.ids![at]);
    return kind === "chat" || table.text === null || table.text === asked.text;
  };
  return may(of[0], prompt) && may(of[1], compare) && (of.length < 2 || !prompt || compare !== null);
}

/** Token ids from "[1, 2, 3]" or "1 2 3"; a sentence that says what is wrong where they are none. */
export function parseIds(text: string): number[] | string {
  const body = text.trim().replace(/^\[/, "").replace(/\]$/, "").trim();
  if (!body) return [];
  const ids: number[] = [];
  for (const part of body.split(/[\s,]+/)) {
    if (!part) continue;
    if (!/^\d+$/.test(part)) return `“${part.slice(0, 20)}” is no token id: write whole numbers, as in [1, 2, 3].`;
    ids.push(Number(part));
  }
  return ids;
}

/** Whether what was typed is meant as a list of ids, however badly: it begins with a bracket or a number. */
export function looksLikeIds(text: string): boolean {
  return /^\s*[[\d]/.test(text);
}

/** Earlier and later prompts across runs. A new prompt after an undo drops what could have been redone. */
export class PromptHistory {
  #entries: PromptValue[] = [];
  #at = -1;

  /** Prompts from before this page, oldest first, then the present one. */
  constructor(earlier: PromptValue[], present: PromptValue | null) {
    for (const prompt of earlier) this.visit(prompt);
    if (present) this.visit(present);
  }

  get present(): PromptValue | null {
    return this.#entries[this.#at] ?? null;
  }

  get canUndo(): boolean {
    return this.#at > 0;
  }

  get canRedo(): boolean {
    return this.#at < this.#entries.length - 1;
  }

  /** Notes that `prompt` is the present one, wherever it came from. */
  visit(prompt: PromptValue): void {
    if (samePrompt(prompt, this.present)) return;
    this.#entries = [...this.#entries.slice(0, this.#at + 1), prompt];
    this.#at = this.#entries.length - 1;
  }

  undo(): PromptValue | null {
    if (!this.canUndo) return null;
    this.#at -= 1;
    return this.present;
  }

  redo(): PromptValue | null {
    if (!this.canRedo) return null;
    this.#at += 1;
    return this.present;
  }
}
