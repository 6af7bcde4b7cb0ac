"""What tests of several rooms share: tiny models, the shared material, Chromium. A missing helper skips a test
with its reason, and fails it where everything must be there (`CI`, or `MI_WIDGETS_REQUIRE_ALL=1`)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chrome
import pytest
import torch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

torch.set_num_threads(1)  # two threads on a busy machine are ten times slower on small models
# In the background of a shell a process hears no Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


def missing(reason: str) -> None:
    """Skip with `reason`, or fail where nothing may be left out."""
    if os.environ.get("CI") or os.environ.get("MI_WIDGETS_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared test material: `MI_WIDGETS_SHARED`, or `../shared` beside the checkout."""
    folder = Path(os.environ.get("MI_WIDGETS_SHARED") or Path(__file__).parents[2] / "shared")
    if not (folder / "models").is_dir():
        missing(f"no shared test material at {folder}; set MI_WIDGETS_SHARED to the folder that holds models/")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium."""
    found = chrome.find()
    if found is None:
        missing("no Chromium; install it: apt-get install chromium")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A real browser, closed with the file: Playwright keeps an event loop running on this thread meanwhile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=chrome.FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_folder(architecture, config=None)`: a tiny random model on disk, of `tiny_models.CONFIGS` or of another
    configuration than those there (class and values)."""
    import tiny_models

    root, made = tmp_path_factory.mktemp("tiny"), {}

    def folder(architecture: str, config: tuple[str, dict] | None = None) -> Path:
        key = (architecture, str(config))
        if key not in made:
            made[key] = tiny_models.save(architecture, root / f"{architecture}-{len(made)}", config)
        return made[key]

    return folder


@pytest.fixture
def tiny_model(tiny_folder: Callable[[str], Path]) -> Callable[..., Any]:
    """`tiny_model(architecture)`: freshly loaded, so that a test may do to it what it likes."""
    from mi_widgets.models import load_model

    return lambda architecture="llama", **options: load_model(tiny_folder(architecture), **options)


@pytest.fixture
def model(tiny_model: Callable[..., Any]) -> Any:
    """A tiny Llama with grouped-query attention."""
    return tiny_model("llama")


@pytest.fixture(scope="session")
def stories(shared: Path) -> Any:
    """A pretrained Llama with a real tokenizer."""
    from mi_widgets.models import load_model

    return load_model(shared / "models" / "stories260K-llama")


@pytest.fixture(scope="session")
def demo_model() -> Any:
    """The embedded model."""
    from mi_widgets.models import DEMO_FOLDER, load_demo

    if not (DEMO_FOLDER / "config.json").exists():
        missing("the demo model's weights are not in this checkout")
    return load_demo()


@pytest.fixture
def in_loop() -> Callable[[Callable[[], Any]], Any]:
    """`in_loop(coroutine function)`: run it in a fresh event loop, as a notebook's kernel does."""
    return lambda main: asyncio.run(asyncio.wait_for(main(), 60))


@pytest.fixture
def lived_in(model):
    """A model as users have them: some of it training, a hook of theirs, some of it frozen."""
    model.train()
    model.blocks[0].eval()
    next(model.parameters()).requires_grad_(False)
    model.add_hook("blocks.0.hook_resid_pre", lambda value, hook: value)
    model.set_use_attn_result(True)
    model(torch.tensor([[3, 4, 5]]))  # transformers installs hooks of its own in a first pass, and leaves them
    return model
