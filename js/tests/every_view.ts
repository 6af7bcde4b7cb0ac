/** Every kind of view with its state and its pictures, for tests of what must hold in each of them. */
import attention from "../src/widgets/attention/index";
import attribution from "../src/widgets/logit_attribution/index";
import lens from "../src/widgets/logit_lens/index";
import prompt from "../src/widgets/prompt/index";
import { attributionPicture, attributionState, comparedPicture, OTHER as OTHER_WORDS } from "./attribution_state";
import { lensPicture, lensState } from "./lens_state";
import { A, B, EQUAL_PAIRS, promptPicture, promptState } from "./prompt_state";
import { packed, syntheticManifest, syntheticPicture, syntheticState } from "./synthetic";

const WORDS = ["<bos>", "When", " Mary", " and", " John"];
const OTHER = ["<bos>", "When", " Anna", " and", " Tom"];
const PAIRS = WORDS.map((_, at) => [at, at]);
const table = (strings: string[]) => syntheticManifest(strings, 1).tokens;

export interface EveryView {
  name: string;
  view: { render(given: { model: never; el: HTMLElement }): () => void };
  state(change?: Record<string, unknown>): Record<string, unknown>;
  /** A picture of `words`, its own prompt, as a run of this number. */
  picture(run: number): DataView;
  words: string;
  /** The same of two prompts, and the second one. */
  compared: { picture(run: number): DataView; words: string };
}

export const EVERY_VIEW: EveryView[] = [
  {
    name: "attention",
    view: attention,
    state: (change) => syntheticState(WORDS, change),
    picture: (run) => syntheticPicture(WORDS, run),
    words: WORDS.join(""),
    compared: {
      picture: (run) => packed([], { ...syntheticManifest(WORDS, run), compare: { tokens: table(OTHER), pairs: PAIRS } }),
      words: OTHER.join(""),
    },
  },
  {
    name: "logit_lens",
    view: lens,
    state: (change) => lensState({ strings: WORDS }, change),
    picture: (run) => lensPicture({ strings: WORDS, run }),
    words: WORDS.join(""),
    compared: {
      picture: (run) => lensPicture({ strings: WORDS, run, compare: { what: "prompt", strings: OTHER, pairs: PAIRS } }),
      words: OTHER.join(""),
    },
  },
  {
    name: "logit_attribution",
    view: attribution,
    state: (change) => attributionState(change),
    picture: (run) => attributionPicture({ run }),
    words: "<bos>When Mary and John gave to",
    compared: { picture: (run) => comparedPicture(run), words: OTHER_WORDS.join("") },
  },
  {
    name: "prompt",
    view: prompt,
    state: (change) => promptState(change),
    picture: (run) => promptPicture(run, [A]),
    words: "<bos>Tom and Sue",
    compared: { picture: (run) => promptPicture(run, [A, B], EQUAL_PAIRS), words: B.strings.join("") },
  },
];

export const NO_PICTURE = new DataView(new ArrayBuffer(0));

/** A status of the kernel, with what is not given left empty. */
export function status(state: string, run: number, change: Record<string, unknown> = {}): Record<string, unknown> {
  return { state, run, message: "", hint: "", done: 0, total: 0, estimate: "", elapsed_ms: 0, ...change };
}
