"""An index of features, opened: statistics of all, the dashboard of one, questions in words or in SQL.

Reads the folder that `indexing.py` wrote, through DuckDB; needs neither the model nor the coder. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from mi_widgets.compute.coded_corpus import Reading
from mi_widgets.compute.feature_tables import About, dashboard_of
from mi_widgets.data.feature_dashboard import FeatureDashboard
from mi_widgets.data.integers import number, place, text
from mi_widgets.errors import DataError
from mi_widgets.sae.index_files import (
    damaged,
    parquet_pattern,
    read_labels,
    read_manifest,
    read_table,
    write_labels,
)

#: Tables that queries can name, beside `labels`.
TABLES = ("features", "examples", "together", "vocabulary")
#: Columns of `Index.features`, from the table of that name.
COLUMNS = "feature, n_active, max_activation, min_activation, mean_activation, sum, sum_of_squares"


class Index:
    """An index in its folder. Opening it reads the manifest alone.

    Args:
        folder: of a finished index.

    Attributes:
        folder: where it is.
        about: what its numbers are of.
        d_sae: features.

    Raises:
        DataError: there is no index, it is unfinished, or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise DataError(f"there is no index in {folder}.", "Make one: sae.index(model, coder, texts, folder).")
        if not manifest["complete"]:
            raise DataError(
                f"the index in {folder} is unfinished: {manifest['place']['read']:,} of "
                f"{manifest['corpus']['n_texts']:,} texts are read.",
                "Call sae.index again with the same model, coder and texts: it goes on from there.",
            )
        try:
            said = dict(manifest["about"])
            reading = Reading(**said.pop("reading"))
            self.about = About(**said | {"reading": reading, "of_weights": tuple(said["of_weights"])})
            self.d_sae = int(manifest["tables"]["features"]["rows"])
        except (KeyError, TypeError, ValueError) as reason:
            raise damaged(self.folder, f"its manifest lacks {reason}") from None
        self.manifest = manifest
        #: Who keeps the folder as long as this object lives.
        self.place: Any = None

    def __repr__(self) -> str:
        return f"<index of {self.about.coder}: {self.d_sae:,} features over {self.n_tokens:,} tokens, in {self.folder}>"

    @property
    def n_tokens(self) -> int:
        """Positions that count; `notes` says which do not."""
        return self.about.n_tokens

    @property
    def n_texts(self) -> int:
        """Texts that were read."""
        return self.about.n_texts

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of any number must know: the corpus, what is left out."""
        return self.about.notes

    @property
    def features(self) -> pd.DataFrame:
        """One row per feature: feature, density (share of the tokens where it is active), n_active, max_activation,
        min_activation and mean_activation (where active; NaN where it never is), sum, sum_of_squares, label, rating."""
        table = self._counted.copy()
        labels = read_labels(self.folder)
        table["label"] = [labels.get(feature, {}).get("label") or "" for feature in range(self.d_sae)]
        ratings = [labels.get(feature, {}).get("rating") for feature in range(self.d_sae)]
        table["rating"] = np.array([np.nan if rating is None else rating for rating in ratings], np.float64)
        return table

    @cached_property
    def _counted(self) -> pd.DataFrame:
        table = self._rows("features", f"select {COLUMNS} from read_parquet(?) order by feature").df()
        table.insert(1, "density", table["n_active"] / self.n_tokens)
        return table

    def dashboard(self, feature: int) -> FeatureDashboard:
        """What one feature means.

        Raises:
            DataError: there is no such feature.
        """
        feature = place("feature", feature, self.d_sae)
        mine = f"select * from read_parquet(?) where feature = {feature}"
        row = {name: column[0] for name, column in _arrays(self._rows("features", mine)).items()}
        examples = self._rows("examples", f"{mine} order by activation desc, text, position")
        said = read_labels(self.folder).get(feature, {})
        return dashboard_of(
            self.about, row, self._windows(_arrays(examples)), self._names, said.get("label") or "", said.get("rating")
        )

    def _windows(self, examples: dict[str, Any]) -> dict[str, Any]:
        width = 2 * self.manifest["keeping"]["context"] + 1
        for name, dtype in (("token_ids", np.int32), ("activations", np.float32)):
            rows = [np.asarray(row, dtype) for row in examples[name]]
            examples[name] = np.stack(rows) if rows else np.empty((0, width), dtype)
        return examples

    def _names(self, tokens: list[int]) -> dict[int, str]:
        strings = self._vocabulary
        return {token: strings[token] for token in tokens}

    @cached_property
    def _vocabulary(self) -> list[str]:
        return read_table(self.folder, self.manifest, "vocabulary")["string"]

    # --- questions ----------------------------------------------------------------------------------

    def search(
        self,
        token: str | None = None,
        *,
        promotes: str | None = None,
        label: str | None = None,
        where: str = "",
        limit: int = 50,
    ) -> pd.DataFrame:
        """Features by what they are active on, what they write, or what they were called.

        Args:
            token: active on this token: it is the own token of one of the feature's largest activations. Spaces around
                it and capitals do not matter.
            promotes: this token is among the ten whose logits the feature raises most.
            label: this is part of its label.
            where: a condition in SQL on the columns of `features`, such as `"density < 0.01 and max_activation > 2"`.
            limit: rows at most.

        Returns:
            The rows of `features` that fit all of these, with a column `matches` (how many of the largest activations
            are on `token`) or `effect` (on the logit of `promotes`), and in the order of these; else by density.

        Raises:
            DataError: a condition that cannot be understood.
        """
        joins, orders, columns, values = [], [], ["f.*"], []
        if token is not None:
            joins.append(
                "join (select e.feature, count(*) as matches from examples e join vocabulary v on v.token = "
                "e.token_ids[len(e.token_ids) // 2 + 1] where e.rank > 0 and lower(trim(v.string)) = lower(trim(?)) "
                "group by e.feature) t on t.feature = f.feature"
            )
            columns, orders = [*columns, "t.matches"], [*orders, "t.matches desc"]
            values.append(text("token", token))
        if promotes is not None:
            joins.append(
                "join (select p.feature, max(p.effect) as effect from (select feature, unnest(promoted) as token, "
                "unnest(promoted_by) as effect from features) p join vocabulary v on v.token = p.token "
                "where lower(trim(v.string)) = lower(trim(?)) group by p.feature) w on w.feature = f.feature"
            )
            columns, orders = [*columns, "w.effect"], [*orders, "w.effect desc"]
            values.append(text("promotes", promotes))
        conditions = [f"({where})"] if where else []
        if label is not None:
            conditions.append("contains(lower(f.label), lower(?))")
            values.append(text("label", label))
        held = f" where {' and '.join(conditions)}" if conditions else ""
        order = ", ".join([*orders, "f.density desc", "f.feature"])
        found = f"select {', '.join(columns)} from shown f {' '.join(joins)}{held} order by {order} limit {int(limit)}"
        return self.sql(found, values)

    def sql(self, query: str, values: list[Any] | None = None) -> pd.DataFrame:
        """The answer to a query in DuckDB's SQL.

        Tables: `features` (all of a feature, lists too), `shown` (what `Index.features` has), `examples` (feature,
        rank, sampled, interval, text, position, activation, token_ids, activations), `together` (feature, other with
        feature ≤ other, positions where both are active), `vocabulary` (token, string), `labels`.

        Args:
            query: one statement; nothing in the index can be changed by it.
            values: for its question marks.

        Raises:
            DataError: a query that cannot be understood.
        """
        connection = self._with_tables.cursor()
        connection.register("labels", self._labelled())
        connection.execute(
            f"create or replace temp view shown as select f.feature, f.n_active / {max(self.n_tokens, 1)} as density, "
            f"{COLUMNS.removeprefix('feature, ')}, coalesce(l.label, '') as label, l.rating from features f "
            "left join labels l on l.feature = f.feature"
        )
        try:
            return connection.execute(query, values or []).df()
        except duckdb.Error as reason:
            raise DataError(f"the query cannot be answered: {str(reason)[:500]}", "Look at the columns.") from None

    def _labelled(self) -> pd.DataFrame:
        labels = read_labels(self.folder)
        return pd.DataFrame(
            {
                "feature": np.array(list(labels), np.int32),
                "label": np.array([said.get("label") or "" for said in labels.values()], dtype=object),
                "rating": np.array([np.nan if (r := said.get("rating")) is None else r for said in labels.values()]),
            }
        ).astype({"label": "str", "rating": "float64"})

    def label(self, feature: int, label: str | None = None, rating: float | None = None) -> None:
        """Give a feature a name, a rating, or both; what is left out stays as it was. Kept with the index.

        Raises:
            DataError: there is no such feature.
            ExportError: the folder cannot be written to.
        """
        feature = place("feature", feature, self.d_sae)
        labels = read_labels(self.folder)
        said = dict(labels.get(feature, {}))
        if label is not None:
            said["label"] = text("label", label)
        if rating is not None:
            said["rating"] = number("rating", rating)
        write_labels(self.folder, labels | {feature: said})

    # --- reading ------------------------------------------------------------------------------------

    @cached_property
    def _connection(self) -> Any:
        return duckdb.connect()

    @cached_property
    def _with_tables(self) -> Any:
        connection = duckdb.connect()
        try:
            for name in TABLES:
                table = connection.read_parquet(self._file(name))
                if name == "together":  # levels are of the counting alone
                    table = table.aggregate("feature, other, sum(positions)::bigint as positions", "feature, other")
                table.create_view(name)
        except duckdb.Error as reason:
            raise damaged(self.folder, str(reason)) from None
        return connection

    def _file(self, name: str) -> str:
        return parquet_pattern(self.folder / self.manifest["tables"][name]["file"])

    def _rows(self, name: str, query: str) -> Any:
        try:
            return self._connection.cursor().execute(query, [self._file(name)])
        except duckdb.Error as reason:
            raise damaged(self.folder, str(reason)) from None


def _arrays(found: Any) -> dict[str, Any]:
    """By column: numpy arrays, of lists one each."""
    columns: Mapping[str, Any] = found.fetchnumpy()
    return {name: np.ma.filled(column) if np.ma.isMaskedArray(column) else column for name, column in columns.items()}
