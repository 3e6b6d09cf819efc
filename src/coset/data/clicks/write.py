"""`ClickWriter`: writes a folder of prepared data from chunks of rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence, Sized
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from coset import settings
from coset.data.clicks.columns import LONGEST_NAME, ColumnFacts, ColumnWriter, FileFacts, file_name, narrowest
from coset.data.clicks.described import (
    FORMAT,
    PARTS,
    VERSION,
    Described,
    FeatureFacts,
    LogFacts,
    frequencies_path,
    ids_path,
    label_path,
    numeric_path,
    offsets_path,
)
from coset.data.clicks.store import ClickData, Feature
from coset.errors import InputError, brief, unknown
from coset.files import claimed, flush_below, path_of, write_json

Lists = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Multi-hot features by name: the ids of all rows of a chunk one after the other, and how many each row has."""

MARK = "writing.json"
"""The file that marks a folder while it is written."""


class ClickWriter:
    """Writes prepared data, chunk by chunk; the folder is complete once the `with` block ends without an error.

    Args:
        folder: empty or missing.
        name: of the data.
        numeric: names of the numeric columns.
        features: of the data, the one-hot ones first; their frequencies are counted here.
        synthetic: whether the data are made up.
        facts: further facts of the data, as plain JSON values; `facts` may be extended until the block ends.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "clicks"
        >>> with ClickWriter(folder, "small", ("age",), [Feature("item", 3)]) as writer:
        ...     writer.append("training", [1, 0], [[0.5], [-0.5]], [[2, 0]])
        ...     writer.append("validation", [1], [[1.5]], [[1]])
        >>> ClickData.open(folder).parts
        {'training': 2, 'validation': 1}
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        numeric: Sequence[str],
        features: Sequence[Feature],
        *,
        synthetic: bool = False,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = path_of(folder)
        self.name = settings.of_kind("the name of the data", name, str, "text")
        self.numeric: tuple[str, ...] = settings.checked(tuple[str, ...], numeric, f"{name}: numeric")
        features = settings.checked(tuple[Feature, ...], features, f"{name}: features", _FEATURES)
        self.one_hot = tuple(feature for feature in features if not feature.multi_hot)
        self.multi_hot = tuple(feature for feature in features if feature.multi_hot)
        self.synthetic = settings.truth(f"{name}: synthetic", synthetic)
        self.facts: dict[str, Any] = dict(settings.of_kind(f"{name}: facts", facts or {}, Mapping, "a table"))
        self._check_facts()
        self._open_now = False
        if (*self.one_hot, *self.multi_hot) != features:
            raise InputError("features are given with the one-hot ones first")
        names = ["label", *self.numeric, *(feature.name for feature in features)]
        if twice := sorted({each for each in names if names.count(each) > 1}):
            raise InputError(f"two columns are called {twice[0]!r}; rename one")
        if long := [each for each in names if len(file_name(each)) > LONGEST_NAME]:
            raise InputError(
                f"{name}: the name of the column {brief(long[0])} is too long for that of a file; rename it"
            )

    def _check_facts(self) -> None:
        try:
            json.dumps(self.facts, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.name}: facts cannot be written as JSON ({error})") from None

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._columns = ExitStack()
        try:
            # What a killed writer left behind has that mark, and cannot be resumed.
            self._stack.enter_context(claimed(self.folder, MARK, resume=(self.folder / MARK).exists()))
            clear(self.folder)
            write_json(self.folder / MARK, {"name": self.name})
            self._open()
            self._open_now = True
        except BaseException as error:
            self._columns.__exit__(type(error), error, error.__traceback__)
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _open(self) -> None:
        self._writers: dict[Path, ColumnWriter] = {}
        for part in PARTS:
            self._column(label_path(self.folder, part), "uint8")
            for name in self.numeric:
                self._column(numeric_path(self.folder, part, name), "float32")
            for feature in (*self.one_hot, *self.multi_hot):
                self._column(ids_path(self.folder, part, feature.name), narrowest(feature.num_embeddings - 1))
            for feature in self.multi_hot:
                self._column(offsets_path(self.folder, part, feature.name), "int64").append(np.zeros(1))
        self._counts = {
            feature.name: np.zeros(feature.num_embeddings, dtype=np.uint32)
            for feature in (*self.one_hot, *self.multi_hot)
        }
        self._ends = {(part, feature.name): 0 for part in PARTS for feature in self.multi_hot}
        self._rows = dict.fromkeys(PARTS, 0)

    def _column(self, path: Path, dtype: Any) -> ColumnWriter:
        self._writers[path] = self._columns.enter_context(ColumnWriter(path, np.dtype(dtype)))
        return self._writers[path]

    def append(self, part: str, labels: Any, numeric: Any, ids: Any, lists: Lists | None = None) -> None:
        """Write more rows of a part.

        Args:
            part: `"training"` or `"validation"`.
            labels: 0 or 1, shape `(rows,)`.
            numeric: shape `(rows, numeric columns)`, finite.
            ids: of the one-hot features, shape `(one-hot features, rows)`, or a list of columns.
            lists: see `Lists`; every multi-hot feature.

        Raises:
            InputError: shapes do not fit each other, labels are others than 0 and 1, numbers are not finite, or ids
                out of range.
        """
        if not self._open_now:
            raise InputError(f"{self.name}: append works within the `with` block of the writer only")
        if not isinstance(part, str) or part not in self._rows:
            raise unknown("part of the data", part, PARTS)
        labels = np.asarray(labels)
        if labels.ndim != 1:
            raise InputError(f"{self.name}: labels must have the shape (rows,), not {labels.shape}")
        rows = len(labels)
        numbers = self._numbers(numeric, rows)
        settings.of_kind(f"{self.name}: ids", ids, Sized, "a list of columns")
        lists = settings.of_kind(f"{self.name}: lists", lists or {}, Mapping, "a table")
        if len(ids) != len(self.one_hot) or set(lists) != {feature.name for feature in self.multi_hot}:
            raise InputError(
                f"{self.name}: ids of {len(self.one_hot)} one-hot features and of "
                f"{', '.join(feature.name for feature in self.multi_hot) or 'no multi-hot ones'} are needed"
            )
        if not np.isin(labels, (0, 1)).all():
            raise InputError(f"{self.name}: labels must be 0 or 1")
        if not np.isfinite(numbers).all():
            raise InputError(f"{self.name}: numbers must be finite")
        columns = {feature.name: _checked(feature, of, rows) for feature, of in zip(self.one_hot, ids, strict=True)}
        lengths = {}
        for feature in self.multi_hot:
            values, lengths[feature.name] = _list_of(feature, lists[feature.name], rows)
            columns[feature.name] = _checked(feature, values, int(lengths[feature.name].sum()))
        # All is checked by now, so all columns get the same rows.
        self._writers[label_path(self.folder, part)].append(labels)
        for place, name in enumerate(self.numeric):
            self._writers[numeric_path(self.folder, part, name)].append(numbers[:, place])
        for name, column in columns.items():
            self._writers[ids_path(self.folder, part, name)].append(column)
            if part == "training":
                np.add.at(self._counts[name], column, 1)
        for name, of in lengths.items():
            ends = self._ends[part, name] + np.cumsum(of, dtype=np.int64)
            self._writers[offsets_path(self.folder, part, name)].append(ends)
            self._ends[part, name] += int(of.sum())
        self._rows[part] += rows

    def _numbers(self, numeric: Any, rows: int) -> np.ndarray:
        try:
            numbers = np.asarray(numeric, dtype=np.float32)
        except (TypeError, ValueError, RuntimeError):  # the last of a tensor with a gradient
            raise InputError(f"{self.name}: the numeric columns must hold numbers alone") from None
        shape = (rows, len(self.numeric))
        if numbers.shape != shape and (self.numeric or numbers.size):
            raise InputError(
                f"{self.name}: numeric columns must have the shape (rows, columns), {shape} here, not {numbers.shape}"
            )
        return numbers.reshape(shape)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open_now = False
        try:
            if kind is None:
                self._check_facts()
            if kind is None and not self._rows["training"]:
                kind, error = InputError, InputError(f"{self.name}: there are no training rows")
            if kind is None:
                for feature in (*self.one_hot, *self.multi_hot):
                    self._column(frequencies_path(self.folder, feature.name), "int64").append(
                        self._counts[feature.name]
                    )
            self._columns.__exit__(kind, error, at)
            if kind is None:
                write_prepared(
                    self.folder,
                    name=self.name,
                    synthetic=self.synthetic,
                    numeric=self.numeric,
                    features=(*self.one_hot, *self.multi_hot),
                    parts=self._rows,
                    columns={path: writer.facts for path, writer in self._writers.items()},
                    facts=self.facts,
                )
            else:
                clear(self.folder)
            (self.folder / MARK).unlink()
        finally:
            self._stack.__exit__(kind, error, at)
        if isinstance(error, InputError) and at is None:
            raise error


def clear(folder: Path) -> None:
    """Remove the columns of a folder."""
    for name in (*PARTS, "frequencies"):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def write_prepared(
    folder: Path,
    *,
    name: str,
    synthetic: bool,
    numeric: Sequence[str],
    features: Sequence[Feature],
    parts: Mapping[str, int],
    columns: Mapping[Path, ColumnFacts],
    facts: Mapping[str, Any],
    vocabularies: Mapping[Path, FileFacts] | None = None,
    log: Sequence[LogFacts] = (),
) -> ClickData:
    """Write the description of a folder whose columns are complete, and open it."""

    def below(of: Mapping[Path, Any]) -> dict[str, Any]:
        return {path.relative_to(folder).as_posix(): facts for path, facts in sorted(of.items())}

    described = Described(
        format=FORMAT,
        version=VERSION,
        name=name,
        synthetic=synthetic,
        parts=dict(parts),
        numeric=tuple(numeric),
        features=tuple(
            FeatureFacts(of.name, of.num_embeddings, of.multi_hot, frequencies_path(folder, of.name) in columns)
            for of in features
        ),
        facts=dict(facts),
        columns=below(columns),
        vocabularies=below(vocabularies or {}),
        log=tuple(log),
    )
    flush_below(folder)  # columns reach the disk before their description
    described.write(folder)
    return ClickData.open(folder)


_FEATURES: settings.Readers = {Feature: lambda value: settings.of_kind("a feature", value, Feature, "a Feature")}


def _list_of(feature: Feature, given: Any, rows: int) -> tuple[Any, np.ndarray]:
    """The ids of a multi-hot feature as they are, and their number in each row."""
    if not isinstance(given, Sequence) or len(given) != 2:
        raise InputError(f"feature {feature.name!r}: needs its ids and the number of them in each row, as a pair")
    values, lengths = np.asarray(given[0]), np.asarray(given[1])
    if lengths.size == 0:
        lengths = lengths.astype(np.int64)
    if lengths.shape != (rows,) or lengths.dtype.kind not in "iu":
        raise InputError(f"feature {feature.name!r}: needs a length for each of {rows} rows, a whole number")
    if rows and not 0 <= int(lengths.min()) <= int(lengths.max()) <= values.size:
        raise InputError(
            f"feature {feature.name!r}: lengths lie in 0 … {values.size}, the number of ids, but some in "
            f"{lengths.min()} … {lengths.max()}"
        )
    return values, lengths


def _checked(feature: Feature, ids: Any, count: int) -> np.ndarray:
    """The ids, after a check of their number and range."""
    column = np.asarray(ids)
    if column.size == 0:
        column = column.astype(np.int64)
    if column.shape != (count,) or column.dtype.kind not in "iu":
        raise InputError(
            f"feature {feature.name!r}: needs {count} whole numbers, not an array of {column.dtype} of shape "
            f"{column.shape}"
        )
    if count and (int(column.min()) < 0 or int(column.max()) >= feature.num_embeddings):
        raise InputError(
            f"feature {feature.name!r}: ids lie in 0 … {feature.num_embeddings - 1}, but some in {column.min()} … "
            f"{column.max()}"
        )
    return column
