"""Results on disk: one npz with a JSON header that names the kind and the schema version.

Knows nothing of what the arrays mean; each kind describes itself by `header()` and `arrays()`.
"""

from __future__ import annotations

import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np

from mi_widgets.data.attention import AttentionComparison, AttentionPatterns
from mi_widgets.data.files import replacing
from mi_widgets.data.logit_attribution import LogitAttribution
from mi_widgets.data.logit_lens import LogitLens
from mi_widgets.data.logit_lens_comparison import LogitLensComparison
from mi_widgets.data.next_tokens import Continuation, NextTokens, NextTokensComparison
from mi_widgets.errors import DataError

SCHEMA = 1
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        AttentionPatterns,
        AttentionComparison,
        LogitLens,
        LogitLensComparison,
        NextTokens,
        NextTokensComparison,
        Continuation,
        LogitAttribution,
    )
}


def save(data: Any, path: str | Path) -> Path:
    """Write `data` to `path` as npz. Arrays keep their dtype; read back with `load`.

    Raises:
        DataError: `data` is no result of this package.
        ExportError: the file cannot be written; what stood there before stands as it was.
    """
    kind = type(data).__name__
    if KINDS.get(kind) is not type(data):
        raise DataError(f"a {kind} is no result that can be saved.", f"There are {', '.join(KINDS)}.")
    header = {"kind": kind, "schema": SCHEMA, **data.header()}
    # A file object, or numpy would add a suffix of its own.
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **data.arrays())
    return Path(path)


def load(path: str | Path) -> Any:
    """The result that `save` wrote.

    Raises:
        DataError: not such a file, or written by a newer version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = {name: file[name] for name in file.files if name != "header"}
        kind, schema = header.pop("kind"), int(header.pop("schema"))
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, BadZipFile, UnpicklingError) as reason:
        raise DataError(f"{path} holds no result of mi_widgets ({reason}).") from None
    if kind not in KINDS or schema > SCHEMA:
        raise DataError(f"{path} was written by a newer mi_widgets ({kind}, schema {schema}).", "Update mi_widgets.")
    return KINDS[kind].restore(header, arrays)
