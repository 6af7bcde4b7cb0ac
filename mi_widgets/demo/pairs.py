"""The demo world's prompts as pairs: clean and corrupt, with the next tokens that tell them apart.

Knows the grammar and what a pair is; imports no torch.
"""

from collections.abc import Callable, Hashable

from mi_widgets.data.pairs import Pair, Pairs
from mi_widgets.errors import DataError, choose

from . import vocabulary as words
from .grammar import TASKS, prompts
from .records import SPLITS, DemoPrompt, split_tokens

#: Prompts are drawn until enough of them are alike, but no more than so many, or for each that is wanted.
MOST_DRAWN, MOST_FOR_EACH = 4096, 64


def pairs(
    task: str,
    n: int = 16,
    seed: int = 0,
    split: str = "test",
    *,
    kind: str | None = None,
    where: Callable[[DemoPrompt], bool] | None = None,
    alike: bool = True,
) -> Pairs:
    """`n` pairs of one task of the demo model, the same for the same arguments on every machine.

    ```python
    pairs = mw.demo.pairs("ioi", n=16)            # who receives the gift; in the corrupt prompt the other one gives
    pairs = mw.demo.pairs("entity", n=16)         # which thing a box holds; the corrupt prompt asks for another box
    ```

    Args:
        task: one of `TASKS`.
        n: how many.
        seed: of the draw.
        split: `"test"`: of scenes that the model was not trained on; `"train"`: that it may have seen.
        kind: only this variant of the task (`DemoPrompt.kind`: `"when"`, `"content"` …). None: with `alike` the one
            that most of the drawn prompts are of, else any.
        where: only prompts that it says True of: `where=lambda prompt: "Move" in prompt.text`.
        alike: only prompts of one build, that of most of the drawn ones: of one length and kind, and of boxes with the
            same sentences about other things. So a position means the same in each.

    Raises:
        DataError: no such task, kind or split, or fewer such pairs than are asked for.
    """
    if task not in TASKS:
        raise DataError(f"the demo model has no task {task!r}.", choose(task, TASKS))
    if n < 1:
        raise DataError(f"n={n}.", "Ask for one pair or more.")
    found: list[DemoPrompt] = []
    drawn, most, kinds = n, max(MOST_DRAWN, MOST_FOR_EACH * n), set()
    while len(found) < n and drawn <= most:
        several = _drawn(task, drawn, seed, split)
        kinds |= {one.kind for one in several}
        groups: dict[Hashable, list[DemoPrompt]] = {}
        for one in several:
            if kind in (None, one.kind) and (where is None or where(one)):
                groups.setdefault(_build(one) if alike else None, []).append(one)
        found = max(groups.values(), key=len, default=[])
        drawn = 2 * drawn if len(several) == drawn else most + 1  # there are no more
    if kind is not None and kind not in kinds:
        raise DataError(f"the task {task!r} has no kind {kind!r}.", choose(kind, tuple(sorted(kinds))))
    if len(found) < n:
        raise DataError(
            f"only {len(found)} such pairs of {task} were found.", f"Ask for n={len(found)}, or alike=False."
        )
    return Pairs(tuple(Pair(one.text, one.corrupt, one.answer, one.foil) for one in found[:n]))


def _drawn(task: str, n: int, seed: int, split: str) -> list[DemoPrompt]:
    """As many prompts as there are, up to `n`."""
    while True:
        try:
            return prompts(task, n, seed, split)
        except ValueError as reason:
            if split not in SPLITS or n == 1:
                raise DataError(str(reason)) from reason
            n -= max(1, n // 8)


def _build(prompt: DemoPrompt) -> Hashable:
    """Equal for prompts in which the same position means the same."""
    tokens = split_tokens(prompt.text)
    if prompt.task != "entity":
        return prompt.kind, len(tokens), prompt.differs
    named = {f" {word}" for word in (*words.THINGS, *words.BOXES)}
    return prompt.kind, prompt.differs, tuple("…" if token in named else token for token in tokens)
