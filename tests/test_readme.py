"""The README's commands are the ones CI runs, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    return re.findall(r"```sh\n(.*?)\n```", README, flags=re.S)


def test_ci_runs_the_second_command_word_for_word() -> None:
    assert len(commands()) == 2
    assert commands()[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_each_command_is_one_line_that_makes_its_own_environment() -> None:
    for command in commands():
        assert "\n" not in command
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt")


def test_every_local_link_and_picture_exists() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if not target.startswith("http")]
    assert local
    missing = [target for target in local if not (ROOT / target).exists()]
    assert missing == []


def test_every_room_in_the_map_exists() -> None:
    rooms = [
        name
        for line in README.split("## Map of the code")[1].splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w/.]+)`", line.split("|")[1])
    ]
    here = [name for name in rooms if "/" in name]
    assert len(here) >= 10
    missing = [name for name in here if not (ROOT / name).exists()]
    assert missing == []


def test_five_lines_run() -> None:
    import mi_widgets as mw

    code = re.search(r"```python\n(.*?)```", README, flags=re.S)
    assert code is not None
    names: dict[str, object] = {}
    exec(code.group(1), names)
    assert isinstance(names["view"], mw.Attention)
    assert names["view"].data.values.ndim == 4
