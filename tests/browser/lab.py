"""A real JupyterLab in a real Chromium: open a notebook, run its cells, look and click.

One server serves all tests of a session, on a free port of 127.0.0.1 with folders of its own, and one tab of the
browser opens one notebook after the other: JupyterLab is loaded once for a file of tests, or again where a test did to
the page what another must not find. Each notebook has a kernel of its own. Nothing outside 127.0.0.1 is asked for:
`Notebook.external` lists what the page tried to fetch elsewhere. Knows nothing of views.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import forked_kernels
import nbformat
from playwright.sync_api import Browser, Locator, Page

from mi_widgets.cli import lab_environment

START_SECONDS = 90
#: Opens a notebook in the JupyterLab that is loaded, and waits for its kernel.
OPEN = """async name => {
    const panel = await window.jupyterapp.commands.execute('docmanager:open', {path: name, factory: 'Notebook'});
    await panel.revealed;
    await panel.sessionContext.ready;
}"""
#: Closes what is open, unsaved, and ends its kernel.
CLOSE = """async () => {
    for (const panel of [...window.jupyterapp.shell.widgets('main')]) {
        if (!panel.sessionContext) continue;
        panel.context.model.dirty = false;
        await panel.sessionContext.shutdown();
        panel.dispose();
    }
}"""


class LabServer:
    """JupyterLab on `folder`, until `stop`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mi-widgets-lab-"))
        home = self.folder / ".home"
        home.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.kept: tuple[Browser, Page] | None = None
        address, kernels = home / "kernels.sock", home / "data" / "kernels" / forked_kernels.NAME
        kernels.mkdir(parents=True)
        (kernels / "kernel.json").write_text(json.dumps(forked_kernels.specification(address)))
        environment = {
            **lab_environment(),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "OMP_NUM_THREADS": "1",
        }
        self.log = (self.folder / "server.log").open("w")
        options = ["--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={self.port}", "--LabApp.news_url="]
        options += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
        options += [
            "--IdentityProvider.token=t",
            f"--ServerApp.root_dir={self.folder}",
            "--LabApp.expose_app_in_browser=True",
        ]
        commands = [
            [sys.executable, "-m", "jupyterlab", *options],
            [sys.executable, forked_kernels.__file__, "serve", str(address)],
        ]
        self.processes = [
            subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment, cwd=self.folder)
            for command in commands
        ]
        self._wait_until(lambda: socket.create_connection(("127.0.0.1", self.port), 0.2).close())
        self._wait_until(address.stat)

    def _wait_until(self, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                ready()
                return
            except OSError:
                if any(process.poll() is not None for process in self.processes) or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError((self.folder / "server.log").read_text()[-2000:]) from None
                time.sleep(0.1)

    def stop(self) -> None:
        """End the server and its kernels."""
        for process in self.processes:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        self.log.close()

    def open(
        self,
        browser: Browser,
        cells: Sequence[str],
        viewport: tuple[int, int] = (1300, 1000),
        kernel: str = forked_kernels.NAME,
    ) -> Notebook:
        """A new notebook with these code cells, opened and connected to its kernel."""
        name = f"{uuid.uuid4().hex[:8]}.ipynb"
        spec = {"kernelspec": {"name": kernel, "display_name": "Python 3", "language": "python"}}
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=spec)
        nbformat.write(notebook, self.folder / name)
        return Notebook(self, browser, name, viewport)


class Notebook:
    """One open notebook.

    Attributes:
        page: the browser's page.
        errors: console errors and uncaught exceptions.
        external: addresses outside 127.0.0.1 that the page asked for.
    """

    def __init__(
        self, server: LabServer, browser: Browser, name: str, viewport: tuple[int, int], fresh: bool = False
    ) -> None:
        self.server, self.browser, self.name, self.viewport = server, browser, name, viewport
        self.kernel_ended = False
        self.tabs: list[Notebook] = []
        self.errors: list[str] = []
        self.external: list[str] = []
        self.hears: dict[Any, Callable[[Any], None]] = {
            "console": lambda message: self.errors.append(message.text) if message.type == "error" else None,
            "pageerror": lambda error: self.errors.append(str(error)),
            "request": self._note,
        }
        kept, server.kept = (None, server.kept) if fresh else (server.kept, None)
        size = {"width": viewport[0], "height": viewport[1]}
        if kept and kept[0] is browser:
            self.page = kept[1]
            self._listen()
            self.page.set_viewport_size(size)  # type: ignore[arg-type]
            self.page.evaluate(OPEN, name)
            self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
            self.wait_idle()
        else:
            self.page = browser.new_page(viewport=size)  # type: ignore[arg-type]
            self._listen()
            self.load()

    def _listen(self) -> None:
        for event, hear in self.hears.items():
            self.page.on(event, hear)

    def _note(self, request: Any) -> None:
        if request.url.startswith("http") and "127.0.0.1" not in request.url:
            self.external.append(request.url)

    @property
    def path(self) -> Path:
        """The notebook's file."""
        return self.server.folder / self.name

    def load(self, kernel: bool = True) -> None:
        """Open (or reload) the notebook and wait for its kernel; or open it without one."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}/lab/tree/{self.name}?token=t&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
        if kernel:
            self.wait_idle()

    def shut_down(self) -> None:
        """End this notebook's kernel and forget its session, as a reader without one would find it."""
        self.page.evaluate(
            """async () => {
                const headers = {Authorization: 'token t'};
                const sessions = await (await fetch('/api/sessions', {headers})).json();
                for (const session of sessions) await fetch('/api/sessions/' + session.id, {method: 'DELETE', headers});
            }"""
        )

    def wait_idle(self) -> None:
        """Until the status bar says that the kernel is idle."""
        self.page.wait_for_function(
            "() => /\\| Idle/.test(document.querySelector('#jp-main-statusbar')?.textContent || '')", timeout=90_000
        )

    def cell(self, index: int) -> Locator:
        """Cell `index`."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def view(self, index: int) -> Locator:
        """The first of our views in the output of cell `index`."""
        return self.cell(index).locator(".miw-view").first

    def run(self, index: int, timeout: int = 120_000) -> str:
        """Run cell `index`, wait until it has finished, and return its text output."""
        self.cell(index).locator(".cm-content").click()
        before = self.cell(index).locator(".jp-InputPrompt").first.inner_text()
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function(
            """([index, before]) => {
                const prompt = document.querySelectorAll('.jp-Notebook .jp-Cell')[index].querySelector('.jp-InputPrompt');
                const text = prompt?.textContent || '';
                return /\\[\\d+\\]/.test(text) && text.trim() !== before.trim();
            }""",
            arg=[index, before],
            timeout=timeout,
        )
        return self.output(index)

    def output(self, index: int) -> str:
        """The text of cell `index`'s output."""
        return "\n".join(self.cell(index).locator(".jp-OutputArea-output").all_inner_texts())

    def expected(self, error: str) -> bool:
        """Whether JupyterLab itself reports `error` when a kernel is restarted or ended under it."""
        return self.kernel_ended and any(
            text in error for text in ("WebSocket", "Kernel", "kernel", "404", "Canceled", "disposed", "Failed to load")
        )

    def restart_kernel(self) -> None:
        """Restart the kernel by the page's own command."""
        self.kernel_ended = True
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("0")
        self.page.keyboard.press("0")
        self.page.locator("button.jp-mod-accept, button.jp-mod-warn").first.click()
        self.wait_idle()

    def save(self) -> nbformat.NotebookNode:
        """Save with the widget state, and return what is in the file."""
        stamp = self.path.stat().st_mtime_ns
        self.page.keyboard.press("Control+s")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.path.stat().st_mtime_ns != stamp:
                try:
                    return nbformat.read(self.path, as_version=4)
                except nbformat.reader.NotJSONError:
                    pass  # read while it was being written
            self.page.wait_for_timeout(50)
        raise TimeoutError("the notebook was not saved within 30 s")

    def another_tab(self) -> Notebook:
        """The same notebook in a second tab of the browser, on the same kernel; it closes with this one."""
        tab = Notebook(self.server, self.browser, self.name, self.viewport, fresh=True)
        tab.errors, tab.external = self.errors, self.external
        self.tabs.append(tab)
        return tab

    def close(self) -> None:
        """Close the notebook, end its kernel, and leave the page to the next one if nothing went wrong on it."""
        for tab in self.tabs:
            tab.page.close()
        if self.kernel_ended or self.errors or self.tabs:
            self.page.close()
            return
        self.page.evaluate(CLOSE)
        for event, hear in self.hears.items():
            self.page.remove_listener(event, hear)
        self.server.kept = self.browser, self.page
