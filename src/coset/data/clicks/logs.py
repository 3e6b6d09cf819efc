"""The files of a log, and its schema where the user names none."""

from __future__ import annotations

import os
from pathlib import Path

from coset.data.built_in import CRITEO, TWIN
from coset.data.clicks.atomic import schema_of_atomic
from coset.data.clicks.forms import atomic_types, form_of, tells_itself
from coset.data.clicks.schema import CRITEO_KAGGLE, ClickSchema, load_schema
from coset.data.clicks.source import LogFile
from coset.data.download import cache_folder
from coset.data.shards import Shard, is_given, shards
from coset.data.sources.recbole import interactions
from coset.errors import InputError
from coset.files import path_of

_ENDINGS = (
    ".csv", ".tsv", ".txt", ".inter", ".parquet", ".pq", ".svm", ".libsvm", ".ffm", ".libffm",
    ".gz", ".zst", ".bz2", ".xz", ".zip",
)  # fmt: skip


def log_files(data: str | Path) -> list[Shard]:
    """The files of a log, in the order in which they are read: itself, those of a folder or of a pattern (see
    `coset.data.shards`), or those of a built-in name.

    Raises:
        InputError: there are none.
    """
    path = path_of(data)
    if str(data) == TWIN and not path.exists():
        raise InputError(
            f"{TWIN}: coset makes it as columns, so there is nothing to prepare; give its name to train or compare"
        )
    if str(data) == CRITEO and not path.exists():
        folders = [Path(given) for given in [os.environ.get("COSET_DATA")] if given] + [cache_folder()]
        places = [folder / str(data) / f"train.txt{end}" for folder in folders for end in ("", ".gz", ".zst")]
        path = next((place for place in places if place.exists()), path)
        if not path.exists():
            raise InputError(
                f"{data}: not found; get train.txt of the Criteo Display Advertising Challenge from its publisher, and "
                f"put it at {folders[0] / str(data)}/train.txt, or set COSET_DATA to the folder that "
                f"{data}/train.txt is in, or give the path of the file in place of the name"
            )
        data = path
    found = shards(data, _ENDINGS)
    # Spark and others write files without a row where a part has none.
    return interactions([each for each in found if not _is_empty(each.path)] or found[:1])


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def schema_of(given: ClickSchema | str | Path | None, files: list[LogFile]) -> ClickSchema:
    """The schema of a log: the given one; or for files that are recognised, that of Criteo, of libsvm or libffm text or
    of a RecBole file.

    Raises:
        InputError: the files are not recognised, or the schema does not fit them.
    """
    from coset.data.clicks.sparse import schema_of_sparse  # which needs kernels

    schema = given if given is None or isinstance(given, ClickSchema) else load_schema(given)
    if schema is None or (schema.names is None and schema.reader is None):
        form = form_of(files[0])
        if form is not None:
            return schema_of_sparse(schema, form, files)
        if types := atomic_types(files[0]):
            return schema_of_atomic(schema, types, files[0].path)
    if schema is not None:
        return schema
    assert CRITEO_KAGGLE.names is not None
    if files[0].is_text and files[0].first_line().count("\t") + 1 == len(CRITEO_KAGGLE.names):
        return CRITEO_KAGGLE
    raise InputError(
        f"{files[0].path}: not in Criteo's layout of {len(CRITEO_KAGGLE.names)} columns between tabs, so a schema must "
        "say what the columns are: --schema FILE.toml, with label, numeric, categorical and lists"
    )


def is_log(data: str | Path) -> bool:
    """Whether data are recognisable as a click log by the first megabyte of their first file; false for pipes and
    unreadable files.

    Example:
        >>> is_log("no such file")
        False
    """
    try:
        return is_given(data) and tells_itself(LogFile(log_files(data)[0]))
    except (InputError, OSError):
        return False
