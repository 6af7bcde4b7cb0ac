"""Interventions by a sparse coder: its output spliced into a run, one of its features clamped.

The coder is held as it is and never looked into: whatever encodes, decodes and says who it is will do. In files it is
its name, folder and fingerprint. Knows nothing of models, torch or how a coder computes.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mi_widgets.data.held import identity, plain
from mi_widgets.data.integers import number, place, truth
from mi_widgets.data.interventions import KINDS, AtHook, at_positions, checked_positions
from mi_widgets.errors import DataError

#: What a coder must have to be computed with.
NEEDED = ("encode", "decode", "fingerprint", "hook_in", "hook_out", "d_sae")


@dataclass(frozen=True)
class CoderName:
    """What is known of a coder that was read from a file: who it is, not what it computes.

    Attributes:
        name: a few words.
        folder: where it lay, or None.
        fingerprint: of its settings and weights.
        hook_in: what it encodes, in full.
        hook_out: what it decodes.
        d_sae: features.
    """

    name: str
    folder: str | None
    fingerprint: str
    hook_in: str
    hook_out: str
    d_sae: int

    @classmethod
    def of(cls, coder: Any) -> CoderName:
        """Who `coder` is."""
        folder = getattr(coder, "folder", None)
        return cls(
            str(getattr(coder, "name", "") or "coder"),
            None if folder is None else str(folder),
            str(coder.fingerprint),
            coder.hook_in,
            coder.hook_out,
            int(coder.d_sae),
        )

    def matches(self, coder: Any) -> bool:
        """Whether `coder` is the one."""
        return self.fingerprint == coder.fingerprint


def checked_coder(given: Any) -> Any:
    """A coder of one layer that says where it stands; or what a file says of one, as `CoderName`.

    Raises:
        DataError: something else.
    """
    if isinstance(given, dict):
        wanted = [one.name for one in fields(CoderName)]
        if sorted(given) != sorted(wanted):
            raise DataError(f"a damaged coder: it has {', '.join(map(str, given))}.", f"It needs {', '.join(wanted)}.")
        return CoderName(**given)
    if isinstance(given, CoderName):
        return given
    if hasattr(given, "layers") and hasattr(given, "__getitem__"):
        raise DataError("these are coders of several layers.", "Give that of one: coders[layer].")
    lacking = [name for name in NEEDED if not hasattr(given, name)]
    if lacking:
        raise DataError(
            f"{given!r:.60} is no sparse coder: it has no {', '.join(lacking)}.", "Load one: mw.sae.load(folder)."
        )
    if not given.hook_in or not given.hook_out:
        raise DataError(
            f"{getattr(given, 'name', given)} does not say at which hooks it stands.",
            'Give them when loading it, e.g. mw.sae.load(folder, hook_in="blocks.3.hook_resid_post").',
        )
    return given


def hook_label(hook: str) -> str:
    """`"L3 resid_post"` for `"blocks.3.hook_resid_post"`; any other hook as it is."""
    found = re.fullmatch(r"blocks\.(\d+)\.(.+)", hook)
    return f"L{found[1]} {found[2].replace('hook_', '')}" if found else hook


class CoderChange(AtHook):
    """What the interventions by a coder have in common."""

    coder: Any
    positions: tuple[int, ...] | None

    @property
    def hook_name(self) -> str:  # type: ignore[override]
        """Where it writes, in full."""
        return self.coder.hook_out

    @property
    def layer(self) -> int | None:
        """The block it writes in; None outside of blocks."""
        parts = self.hook_name.split(".")
        return int(parts[1]) if parts[0] == "blocks" else None

    @property
    def identity(self) -> Hashable:
        """See `Change`: coders are the same by what they compute."""
        rest = [identity(getattr(self, one.name)) for one in fields(self)[1:]]  # type: ignore[arg-type]
        return (type(self).__name__, self.coder.fingerprint, *rest)

    def to_dict(self) -> dict[str, Any]:
        """See `Change`; of the coder who it is."""
        who = self.coder if isinstance(self.coder, CoderName) else CoderName.of(self.coder)
        rest = {one.name: plain(getattr(self, one.name)) for one in fields(self)[1:]}  # type: ignore[arg-type]
        return {"kind": self.kind, "coder": {one.name: getattr(who, one.name) for one in fields(who)}, **rest}

    def _positional(self) -> tuple[str, ...]:
        return ("coder",)


@dataclass(frozen=True, eq=False, repr=False)
class Splice(CoderChange):
    """Put a coder's output in place of what it stands for: the run goes on from what the coder can say.

    Splices and clamps of one coder in one run read one encoding, of what stands at the coder's `hook_in` where the
    first of them acts, and act together there.

    Attributes:
        coder: as `mw.sae.load` gives it, of one layer.
        error: put in also what the coder leaves out in this run, its error term: so nothing changes, and a clamp beside
            it does what it does in the untouched run.
        positions: only there (negative ones count from the end); if None everywhere, but at position 0 where the
            coder's metadata leaves that out.

    Raises:
        DataError: no coder, or a word or number that means nothing.
    """

    kind: ClassVar[str] = "splice"

    coder: Any
    error: bool = False
    positions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self._set("coder", checked_coder(self.coder))
        self._set("error", truth("error", self.error))
        self._set("positions", checked_positions("positions", self.positions))

    @property
    def label(self) -> str:
        """See `Change`."""
        error = " with its error" if self.error else ""
        return f"{hook_label(self.hook_name)} spliced{error}{at_positions(self.positions)} ({self.coder.name})"


@dataclass(frozen=True, eq=False, repr=False)
class Clamp(CoderChange):
    """Hold one feature of a coder at a value: `(value − activation) · W_dec[feature]` is added at its `hook_out`. What
    the coder leaves out stays, unless it is spliced in beside (see `Splice`). A value of 0 takes the feature out.

    Attributes:
        coder: as `mw.sae.load` gives it, of one layer.
        feature: from 0.
        value: in units of the feature's own activation.
        positions: only there; if None everywhere, but at position 0 where the coder's metadata leaves that out.

    Raises:
        DataError: no coder, a feature that it does not have, or a number that means nothing.
    """

    kind: ClassVar[str] = "clamp"

    coder: Any
    feature: int
    value: float
    positions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self._set("coder", checked_coder(self.coder))
        self._set("feature", place("feature", self.feature, int(self.coder.d_sae)))
        self._set("value", number("value", self.value))
        self._set("positions", checked_positions("positions", self.positions))

    def _positional(self) -> tuple[str, ...]:
        return ("coder", "feature", "value")

    @property
    def label(self) -> str:
        """See `Change`."""
        where = f"{hook_label(self.hook_name)} feature {self.feature}"
        return f"{where} = {self.value:g}{at_positions(self.positions)} ({self.coder.name})"


KINDS.update({kind.kind: kind for kind in (Splice, Clamp)})
