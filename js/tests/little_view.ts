/** The smallest view that the shared parts make: a word per run, for tests of what is shared. */
import type { Parcel } from "../src/core/blocks";
import { Linked, type Given, type LinkedState, type Pictured } from "../src/core/linked";
import { Signal } from "../src/core/signal";
import type { PromptValue } from "../src/core/wire.gen";
import { h } from "../src/dom/element";
import { framed } from "../src/dom/frame";
import { followKeys, PROMPT_KEYS, promptKey } from "../src/dom/keys";
import { packed } from "./synthetic";

/** It compares nothing. */
export interface LittleState extends LinkedState {
  prompt: PromptValue | null;
  history: PromptValue[];
  options: LittleOptions;
  picture: DataView;
}

export interface LittleOptions {
  depth: number;
  loud: boolean;
}

interface LittlePicture extends Pictured {
  word: string;
}

export class Little extends Linked<LittleState, LittleOptions, LittlePicture> {
  constructor(given: Given<LittleState>) {
    super(given, { defaults: { depth: 1, loud: false }, height: 300, computed: ["depth"] });
    this.begin(["picture"]);
  }

  protected pictured(parcel: Parcel): LittlePicture {
    const manifest = parcel.manifest as LittlePicture["manifest"] & { run: number; word: string };
    const prompts = [{ ids: [], strings: [], special: [], spans: [], text: manifest.word }];
    return { run: manifest.run, word: manifest.word, prompts, manifest };
  }
}

export default framed<LittleState>("little", (frame) => {
  const little = new Little(frame);
  frame.begin(little, [...PROMPT_KEYS, ["l", "loud or not"]], () => "plain data", { compare: false });
  const word = h("p", { class: "miw-word", tabindex: 0 });
  frame.hold(little, { controls: [], body: [word] });
  followKeys(frame.scope, frame.root, (key) => {
    if (key === "l") little.setOptions({ loud: !little.options.peek().loud });
    else return promptKey(frame.prompts, key);
    return true;
  });
  const drawn = new Signal(0);
  frame.scope.effect(() => {
    const text = little.picture.value?.word ?? "";
    word.textContent = little.options.value.loud ? text.toUpperCase() : text;
    drawn.value = drawn.peek() + 1;
  });
  frame.announce(little, new Signal(true), drawn);
});

export function littlePicture(run: number, word: string): DataView {
  return packed([], { run, word, model: "synthetic", checks: [{ label: "sums hold", ok: true, detail: "1e-7" }], notes: [] });
}

export function littleState(change: Partial<LittleState> = {}): Record<string, unknown> {
  return {
    session_id: "session",
    prompt: { kind: "text", text: "one" },
    history: [],
    selection: { layer: null, head: null, query: null, key: null, position: null, feature: null, heads: [], stamp: 0 },
    options: {},
    status: { state: "idle", run: 1, message: "", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 12 },
    picture: littlePicture(1, "one"),
    height: 240,
    ...change,
  };
}
