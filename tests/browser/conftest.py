"""What browser tests share: one JupyterLab server for a session, and offline pages that must stay silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import LabServer, Notebook
from playwright.sync_api import Browser, Page


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def server(chromium: str) -> Iterator[LabServer]:
    running = LabServer()
    yield running
    running.stop()


@pytest.fixture
def open_notebook(server: LabServer, browser: Browser) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook with given cells; closed after the test, which also fails on console errors and on any
    request that leaves this machine."""
    opened: list[Notebook] = []

    def open_one(*cells: str, **options: Any) -> Notebook:
        notebook = server.open(browser, cells, **options)
        opened.append(notebook)
        return notebook

    yield open_one
    errors = [error for notebook in opened for error in notebook.errors if not notebook.expected(error)]
    external = [address for notebook in opened for address in notebook.external]
    for notebook in opened:
        notebook.close()
    assert errors == []
    assert external == []


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[Path], Page]]:
    """Open a file as a reader would; afterwards there must be no request beyond it and no console error."""
    asked: list[str] = []
    errors: list[str] = []
    pages: list[Page] = []

    def open_file(path: Path) -> Page:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_file
    for page in pages:
        page.close()
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert errors == []
