/** The logit attribution as an anywidget module: builds the view from its parts and ties them together. */
import { computed } from "../../core/signal";
import type { AttributionState } from "../../core/wire.gen";
import { h } from "../../dom/element";
import { framed, type Frame } from "../../dom/frame";
import { sizeOf } from "../../dom/surface";
import { Attribution } from "./attribution";
import { HeadMap } from "./head_map";
import { handleKeys, KEYS } from "./keyboard";
import { Parts } from "./parts";
import { Question } from "./question";
import { Sources } from "./sources";
import { Toolbar } from "./toolbar";

/** Two lines of the prompt stand over the picture; a longer one scrolls. In pixels. */
const CONTEXT = 52;
/** Of the right half, what the map may take from the sources; a deep model's may take all but what they need. */
const MAP_SHARE = 0.6;
const SOURCES = 136;
const TITLE = 20;

export default framed<AttributionState>("logit_attribution", (frame) => {
  const { scope, ink, tooltip } = frame;
  const attribution = new Attribution(frame);
  frame.begin(attribution, KEYS, () => size(attribution));
  const toolbar = new Toolbar(attribution);
  const question = new Question(attribution, tooltip);
  const parts = new Parts(attribution, tooltip);
  const map = new HeadMap(attribution, ink, tooltip);
  const sources = new Sources(attribution, tooltip);
  const where = h("div", "miw-where", map.section, sources.element);
  frame.hold(attribution, {
    controls: toolbar.elements,
    over: [question.element],
    body: [parts.element, where],
    popovers: [question.terms.answer.list, question.terms.foil.list],
  });
  scope.effect(() => (question.element.hidden = !attribution.picture.value));
  handleKeys(frame, { attribution, toolbar, question, parts, map, sources });
  fitPanels(frame, attribution, where, { question, parts, map, sources });
  frame.announce(
    attribution,
    computed(() => true),
    computed(() => Math.min(parts.drawn.value, map.drawn.value)),
  );
});

/** The prompt over the picture takes the lines it needs; the map the height of its rows, the sources what is left. */
function fitPanels(
  frame: Frame<AttributionState>,
  attribution: Attribution,
  where: HTMLElement,
  { question, parts, map, sources }: { question: Question; parts: Parts; map: HeadMap; sources: Sources },
): void {
  let shown = 0;
  const follow = (): void => void [attribution.rows.value, attribution.answers.refused.value];
  frame.fit(attribution, follow, () => {
    const picture = attribution.shown.peek()!;
    question.strip.element.style.height = `${Math.min(question.strip.textHeight, CONTEXT)}px`;
    const whole = where.clientHeight - TITLE;
    const room = picture.manifest.has_sources ? [whole * MAP_SHARE, whole - SOURCES] : [whole - 2 * TITLE, whole - 2 * TITLE];
    where.style.setProperty("--map", `${Math.round(TITLE + map.idealHeight(picture, room[0]!, room[1]!))}px`);
    parts.size.value = sizeOf(parts.list, parts.size.peek());
    map.fit();
    // Lines that are broken elsewhere hide what was in sight.
    const wide = frame.width.peek();
    if (wide !== shown) {
      shown = wide;
      question.reveal();
      sources.reveal();
    }
    question.strip.look();
    sources.strip.look();
  });
}

/** What a view of plain data says in the place of its prompt. */
function size(attribution: Attribution): string {
  const { n_layers, n_heads, tokens } = attribution.picture.value!.manifest;
  return `${n_layers} layers${n_heads ? ` × ${n_heads} heads` : ""}, ${tokens.strings.length} positions`;
}
