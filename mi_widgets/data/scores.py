"""Tables of numbers per head, by which heads are sorted and filtered: measured on a prompt, or the user's own.

Knows nothing of models; `compute.head_scores` measures a model's heads on random tokens.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mi_widgets.data.attention import AttentionPatterns
from mi_widgets.data.integers import is_integer
from mi_widgets.errors import DataError

PROMPT_BASIS = "Measured on this prompt."


def prompt_scores(patterns: AttentionPatterns) -> pd.DataFrame:
    """How each head reads this prompt, one row per layer and head.

    Columns (attention weight in 0…1 unless said otherwise; NaN where the prompt has no such position):
        previous_token: mean over queries ≥ 1 of the weight on the position before.
        duplicate_token: mean, over queries whose token occurred before, of the weight on its earlier occurrences.
        induction: mean, over the same queries, of the weight on the tokens that followed those occurrences
            (Olsson et al. 2022).
        entropy: mean over queries of the pattern's entropy, in bits.
        first_token: mean over queries ≥ 1 of the weight on position 0 (attention sink).

    Raises:
        DataError: for pre-softmax scores, which are no weights.
    """
    if patterns.weighting == "scores":
        raise DataError("head scores are of attention weights, not of pre-softmax scores.")
    base, count = patterns.base, patterns.shape[2]
    keys = [
        (int(number), string)
        for number, string in zip(patterns.tokens.ids.tolist(), patterns.tokens.strings, strict=True)
    ]
    same = np.array([[left == right for right in keys] for left in keys]) if count <= 64 else _equal(keys)
    duplicate = np.tril(same, -1)
    follow = np.zeros_like(duplicate)
    follow[:, 1:] = duplicate[:, :-1]
    np.fill_diagonal(follow, False)
    columns: dict[str, np.ndarray] = {}
    if count > 1:
        columns["previous_token"] = np.diagonal(base, -1, axis1=2, axis2=3).mean(-1)
    else:
        columns["previous_token"] = np.full(base.shape[:2], np.nan)
    columns["duplicate_token"] = _weight_on(base, duplicate)
    columns["induction"] = _weight_on(base, follow)
    entropy = np.empty(base.shape[:2])
    for row in range(base.shape[0]):
        weights = np.where(patterns.allowed(patterns.layers[row]), base[row], 0.0)
        with np.errstate(invalid="ignore"):  # what is no weight (NaN, negative) has no entropy
            entropy[row] = -(weights * np.log2(np.where(weights == 0, 1.0, weights))).sum(-1).mean(-1)
    columns["entropy"] = entropy
    columns["first_token"] = base[:, :, 1:, 0].mean(-1) if count > 1 else np.full(base.shape[:2], np.nan)
    layer, head = np.meshgrid(patterns.layers, range(patterns.n_heads), indexing="ij")
    return pd.DataFrame(
        {"layer": layer.ravel(), "head": head.ravel()} | {name: grid.ravel() for name, grid in columns.items()}
    )


def _equal(keys: list[tuple[int, str]]) -> np.ndarray:
    _, codes = np.unique([f"{number}\0{string}" for number, string in keys], return_inverse=True)
    return codes[:, None] == codes[None, :]


def _weight_on(base: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Mean over the queries that have any such cell of the weight on those cells: `[layer, head]`."""
    queries = np.flatnonzero(cells.any(1))
    if not len(queries):
        return np.full(base.shape[:2], np.nan)
    query, key = np.nonzero(cells)
    return np.stack([layer[:, query, key].sum(-1) for layer in base]) / len(queries)


def checked_scores(scores: pd.DataFrame | None) -> pd.DataFrame | None:
    """The user's table, if it can sort heads: layer and head as int64, missing numbers (pandas' NA) as NaN.

    Raises:
        DataError: no table with one row for each head.
    """
    if scores is None:
        return None
    if not isinstance(scores, pd.DataFrame) or not {"layer", "head"} <= set(scores.columns):
        raise DataError("scores must be a DataFrame with columns layer and head.", "One row per head.")
    if not scores.columns.is_unique:
        twice = scores.columns[scores.columns.duplicated()][0]
        raise DataError(f"scores has several columns {twice!r}.", "Give each a name of its own.")
    table = scores.copy()
    for name in ("layer", "head"):
        column = scores[name]
        lost = np.flatnonzero(column.isna())
        if len(lost):
            raise DataError(f"the column {name} of scores has no value in row {lost[0]}.", "Give one row per head.")
        if not (pd.api.types.is_integer_dtype(column) or all(is_integer(value) for value in column)):
            raise DataError("the columns layer and head of scores must be whole numbers.", "One row per head.")
        table[name] = column.to_numpy(np.int64)
    for name in scores.columns.difference(["layer", "head"]):
        column = scores[name]
        if pd.api.types.is_complex_dtype(column):
            raise DataError(f"the score column {name!r} holds complex numbers.", "Give real ones.")
        if pd.api.types.is_numeric_dtype(column) and pd.api.types.is_extension_array_dtype(column):
            table[name] = column.to_numpy(np.float64, na_value=np.nan)
    if table.duplicated(["layer", "head"]).to_numpy().any():
        raise DataError("scores has several rows for one head.", "Give one row per layer and head.")
    return table


def joined(measured: pd.DataFrame, given: pd.DataFrame | None) -> pd.DataFrame:
    """The measured columns and the user's beside them; the user's win where names are equal."""
    if given is None:
        return measured
    kept = measured.drop(columns=[name for name in given.columns if name in measured and name not in ("layer", "head")])
    table = kept.merge(given, on=["layer", "head"], how="left")
    table.attrs = {**measured.attrs, "given": [str(name) for name in given.columns]}
    return table


def scores_of_prompt(patterns: AttentionPatterns, given: pd.DataFrame | None) -> pd.DataFrame | None:
    """The prompt's own scores with the user's beside them; for pre-softmax scores only the user's, or None."""
    if patterns.weighting == "scores":
        if given is not None:
            given = given.copy(deep=False)
            given.attrs = {"given": [str(name) for name in given.columns]}
        return given
    measured = prompt_scores(patterns)
    measured.attrs["basis"] = PROMPT_BASIS
    return joined(measured, given)


def unknown_columns(table: pd.DataFrame | None, *names: str | None) -> tuple[str, ...]:
    """One sentence for each name that is no score column of `table`."""
    known = [] if table is None else [str(name) for name in table.columns if name not in ("layer", "head")]
    there = f"there are {', '.join(known)}" if known else "there are none"
    return tuple(f"No score column {name!r}; {there}." for name in sorted({*names} - {None, *known}, key=str))
