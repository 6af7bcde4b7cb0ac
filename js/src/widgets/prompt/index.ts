/** The prompt view as an anywidget module: builds the view from its parts and ties them together. */
import { Signal } from "../../core/signal";
import type { PromptState } from "../../core/wire.gen";
import { framed } from "../../dom/frame";
import { handleKeys, KEYS, undoWritten } from "./keyboard";
import { PromptView } from "./model";
import { NextPanel } from "./next";
import { TextPanel } from "./text";
import { Toolbar } from "./toolbar";
import { plural } from "./words";

export default framed<PromptState>("prompt", (frame) => {
  const { root, tooltip } = frame;
  // In every view `.miw-prompt` is the prompt's editor.
  root.classList.replace("miw-prompt", "miw-prompt-view");
  const view = new PromptView(frame);
  frame.begin(view, KEYS, () => plural(view.picture.value!.a.count, "token"));
  const toolbar = new Toolbar(view, () => undoWritten(view, frame.prompts));
  const text = new TextPanel(view, tooltip);
  const next = new NextPanel(view);
  frame.hold(view, { controls: toolbar.elements, about: "what is shown, and writing", body: [text.element, next.element] });
  handleKeys(frame, { view, toolbar, text, next });
  frame.fit(
    view,
    () => void view.show.value,
    () => text.lines.look(),
  );
  frame.announce(view, new Signal(true), text.drawn);
});
