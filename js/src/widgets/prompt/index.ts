/** The prompt view as an anywidget module: builds the view from its parts and ties them together. */
import { Signal } from "../../core/signal";
import type { PromptState } from "../../core/wire.gen";
import { framed } from "../../dom/frame";
import { KeyHelp } from "../../dom/keys";
import { Prompts } from "../../dom/prompts";
import { handleKeys, KEYS, undoWritten } from "./keyboard";
import { PromptView } from "./model";
import { NextPanel } from "./next";
import { TextPanel } from "./text";
import { Toolbar } from "./toolbar";
import { plural } from "./words";

export default framed<PromptState>("prompt", (frame) => {
  const { scope, root, tooltip, announcer } = frame;
  // In every view `.miw-prompt` is the prompt's editor.
  root.classList.replace("miw-prompt", "miw-prompt-view");
  const view = new PromptView(frame.source, frame.theme, scope);
  const prompts = new Prompts(view, { compare: true, width: frame.width, size: () => plural(view.picture.value!.a.count, "token") });
  const help = new KeyHelp(scope, KEYS);
  const toolbar = new Toolbar(view, help.button, () => undoWritten(view, prompts));
  const text = new TextPanel(view, tooltip);
  const next = new NextPanel(view);
  frame.hold(view, {
    above: [prompts.element, toolbar.element],
    body: [text.element, next.element],
    popovers: [help.popover, prompts.popover],
  });
  handleKeys({ scope, view, prompts, toolbar, help, text, next, tooltip, root, announcer });
  frame.fit(
    view,
    () => void view.show.value,
    () => text.lines.look(),
  );
  frame.announce(view, new Signal(true), text.drawn);
});
