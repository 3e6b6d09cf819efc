"""RecBole's atomic files as click logs: the schema that the types in their header give."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from coset.data.clicks.forms import ATOMIC_LABEL
from coset.data.clicks.schema import ClickSchema
from coset.data.columns import looks_like
from coset.data.sources.recbole import type_of
from coset.errors import InputError


def schema_of_atomic(given: ClickSchema | None, types: Mapping[str, str], path: Path) -> ClickSchema:
    """The schema of such a file: the given one, with the separators of the format; or one of all columns.

    Numbers are those of the type `float`, categories `token`, lists `token_seq`. A column of times is for a split by
    time. It leaves out a rating beside the label, which tells the label, and `float_seq`.

    Raises:
        InputError: no schema is given, and the file has no column of labels.
    """
    if given is not None:
        own = given.list_separator != ClickSchema.list_separator
        return replace(given, separator="\t", list_separator=given.list_separator if own else " ")
    if ATOMIC_LABEL not in types:
        raise InputError(
            f"{path}: a RecBole file without the column {ATOMIC_LABEL}, so a schema must say what the columns are "
            "(--schema FILE.toml); if it has ratings, coset train takes it as it is"
        )
    times = [name for name, kind in types.items() if kind == "float" and looks_like("time", name)]
    left = {ATOMIC_LABEL, *times[:1], *(name for name in types if looks_like("rating", name))}
    numeric, categorical, lists = (
        tuple(name for name, found in types.items() if found == kind and name not in left)
        for kind in ("float", "token", "token_seq")
    )
    return ClickSchema(
        ATOMIC_LABEL, numeric, categorical, lists,
        time=times[0] if times else None, separator="\t", list_separator=" ",
    )  # fmt: skip


def without_types(names: Sequence[str], wanted: Collection[str]) -> tuple[str, ...]:
    """The names in a header without their types, if all have one and no wanted name includes its type.

    Example:
        >>> without_types(["label:float", "user_id:token"], ["label"])
        ('label', 'user_id')
    """
    if not all(map(type_of, names)):
        return tuple(names)
    return tuple(name if name in wanted else name.rpartition(":")[0] for name in names)
