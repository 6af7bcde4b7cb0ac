"""A real JupyterLab in a real Chromium: open a notebook, run its cells, look and click.

One server serves all tests of a session, on a free port of 127.0.0.1 with folders of its own. Nothing outside
127.0.0.1 is asked for: `Notebook.external` lists what the page tried to fetch elsewhere. Knows nothing of views.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Locator, Page

from mi_widgets.cli import lab_environment

START_SECONDS = 90
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


class LabServer:
    """JupyterLab on `folder`, until `stop`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mi-widgets-lab-"))
        home = self.folder / ".home"
        home.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
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
        options += ["--IdentityProvider.token=t", f"--ServerApp.root_dir={self.folder}"]
        command = [sys.executable, "-m", "jupyterlab", *options]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, env=environment, cwd=self.folder)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError((self.folder / "server.log").read_text()[-2000:]) from None
                time.sleep(0.1)

    def stop(self) -> None:
        """End the server and its kernels."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def open(
        self, browser: Browser, cells: Sequence[str], viewport: tuple[int, int] = (1300, 1000), **page: Any
    ) -> Notebook:
        """A new notebook with these code cells, opened and connected to its kernel."""
        name = f"{uuid.uuid4().hex[:8]}.ipynb"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=KERNEL)
        nbformat.write(notebook, self.folder / name)
        return Notebook(self, browser, name, viewport, page)


class Notebook:
    """One open notebook.

    Attributes:
        page: the browser's page.
        errors: console errors and uncaught exceptions.
        external: addresses outside 127.0.0.1 that the page asked for.
    """

    def __init__(self, server: LabServer, browser: Browser, name: str, viewport: tuple[int, int], options: Any) -> None:
        self.server, self.name, self.options = server, name, options
        self.kernel_ended = False
        self.tabs: list[Notebook] = []
        self.errors: list[str] = []
        self.external: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": viewport[0], "height": viewport[1]}, **options)
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._note)
        self.load()

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
        size = self.page.viewport_size or {"width": 1300, "height": 1000}
        assert self.page.context.browser is not None
        tab = Notebook(self.server, self.page.context.browser, self.name, (size["width"], size["height"]), self.options)
        tab.errors, tab.external = self.errors, self.external
        self.tabs.append(tab)
        return tab

    def close(self) -> None:
        """Close the page, and other tabs on it."""
        for page in (*self.tabs, self):
            page.page.close()
