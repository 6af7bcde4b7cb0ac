"""One JupyterLab server for all browser tests of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab import LabServer, Notebook
from playwright.sync_api import Browser


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
