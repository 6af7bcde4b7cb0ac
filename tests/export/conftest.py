"""Two small modules, a host that follows the page's format, and Chromium."""

import pytest

#: Runs each view from a blob, as `js/src/standalone` does, in a dozen lines.
HOST = """
(async () => {
  const page = JSON.parse(document.getElementById("miw-page").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unzipped = async (text) => new Uint8Array(await new Response(
    new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
  const revive = async (value) => Array.isArray(value) ? Promise.all(value.map(revive))
    : value && typeof value === "object"
      ? "$gzip" in value ? new DataView((await unzipped(value.$gzip)).buffer)
        : Object.fromEntries(await Promise.all(
            Object.entries(value).map(async ([name, entry]) => [name, await revive(entry)])))
      : value;
  const modules = {};
  for (const script of document.querySelectorAll("script[id^=miw-module-]")) {
    const url = URL.createObjectURL(new Blob([await unzipped(script.textContent)], { type: "text/javascript" }));
    modules[script.id.slice("miw-module-".length)] = import(url);
  }
  for (const [slot, view] of page.views.entries()) {
    const module = await modules[view.module];
    module.default.render({ state: await revive(view.state), el: document.querySelector(`[data-slot="${slot}"]`) });
  }
  document.body.dataset.ready = "yes"; // "</script>" and "<!--" in a string must not end the host
})();
"""
MODULE = """
export default { render({ state, el }) {
  el.textContent = state.tokens.join("|");
  el.dataset.sum = new Uint8Array(state.picture.buffer, state.picture.byteOffset, state.picture.byteLength)
    .reduce((sum, byte) => sum + byte, 0);
  el.dataset.word = "größe 漢字";
} };
"""


@pytest.fixture
def host():
    return HOST


@pytest.fixture
def module():
    return MODULE
