"""Columns out of RecBole's atomic files, whose header gives every column a type: `user_id:token`, `rating:float`.

The format is that of RecBole 1.2 ("Atomic Files" in its documentation): tabs between columns, blanks between the values
of a sequence. Values are read as of any other text, so a whole number is one id however it is written, and a time keeps
all its digits, where RecBole itself keeps every `float` in 32 bits: times in seconds are there exact to 128 seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from coset.data.attributes import Attributes
from coset.data.columns import Named
from coset.data.files import DataFile
from coset.data.foreign import HEAD
from coset.data.ids import ids_from_text, texts_of
from coset.data.shards import PACKINGS, Shard, unpacked_name
from coset.data.sources.base import Wanted, register_source
from coset.data.sources.delimited import Delimited
from coset.data.sources.text import Head, first_line

_TYPED = re.compile(r"([^:\t]+):(token|token_seq|float|float_seq)")
ENDING = ".inter"
"""Of the name of a file of interactions; `.user` and `.item` beside it say something of its users and items."""


@register_source("recbole")
class Recbole(Delimited):
    """Reads RecBole's atomic files."""

    title = "a RecBole atomic file"

    def sniff(self, file: DataFile) -> bool:
        """Whether every column of the header has a type."""
        return bool(_types(file))

    def named(self, field: str) -> str:
        """The name without its type."""
        return field.strip().rpartition(":")[0]


def interactions(parts: Sequence[Shard]) -> list[Shard]:
    """Of the files of data, those of interactions alone where there are such; of the parts that RecBole reads apart,
    training comes first and testing last."""
    ends = [f".{stage}{ENDING}" for stage in ("train", "valid", "test")]

    def stage(part: Shard) -> int:
        return next((at for at, end in enumerate(ends) if unpacked_name(part.name).endswith(end)), 0)

    return sorted([part for part in parts if is_interactions(part.name)] or parts, key=stage)


def is_interactions(name: str) -> bool:
    """Whether a file is called as those of interactions are, packed or not."""
    return unpacked_name(name).endswith(ENDING)


def listings(name: str, role: str) -> list[str]:
    """What the file of a `"user"`'s or `"item"`'s attributes may be called that lies beside interactions; the nearest
    name first. Parts have one more word in their names, as `.train`, which it has not.

    Example:
        >>> listings("ml.train.inter", "user")[:6:5]
        ['ml.train.user', 'ml.user']
    """
    words = unpacked_name(name).split(".")[:-1]
    return [f"{'.'.join(words[:count])}.{role}{end}" for count in range(len(words), 0, -1) for end in ("", *PACKINGS)]


def read_attributes(file: DataFile) -> Attributes | None:
    """What a file of users or items says of them: its columns of tokens, of which a sequence is one value as a whole.

    Left out are measures (`float`), and columns of more than half as many values as there are ids, such as titles and
    postal codes: each would be another id, not a partition. `None` where nothing is left, or the file is no atomic one.

    Raises:
        InputError: names the file and the line.
    """
    types = _types(file)
    key, *others = types or ("",)
    names = [name for name in others if types[name].startswith("token")]
    if not names:
        return None
    pieces = [block.columns for block in Recbole().blocks(file, Wanted(Named((key, *names))))]
    ids, *columns = (_together(column, file.where) for column in zip(*pieces, strict=True))
    kept = {
        name: values
        for name, values in zip(names, columns, strict=True)
        if 2 * len(dict.fromkeys(values.tolist())) <= len(ids)
    }
    return Attributes(ids, kept, file.where) if kept else None


def types_of(header: str) -> dict[str, str]:
    """The types of the columns by name; empty where a header is not of this format.

    Example:
        >>> types_of("user_id:token\\tprice:float"), types_of("user_id\\tprice")
        ({'user_id': 'token', 'price': 'float'}, {})
    """
    found = {field.strip().rpartition(":")[0]: type_of(field) for field in header.split("\t")}
    return {name: kind for name, kind in found.items() if kind} if all(found.values()) else {}


def type_of(field: str) -> str | None:
    """The type that a field of a header has in its name, if any."""
    match = _TYPED.fullmatch(field.strip())
    return match[2] if match else None


def _types(file: DataFile) -> dict[str, str]:
    head = Head.of(file.head, HEAD)
    header = first_line(head.data)
    if head.cut and b"\n" not in head.data.lstrip(b"\r\n"):
        header = header.rpartition("\t")[0]  # the last field is cut off
    return types_of(header)


def _together(pieces: tuple[Any, ...], where: str) -> np.ndarray:
    """A column as ids are; a missing value is the empty text."""
    import polars

    return ids_from_text(polars.concat([texts_of(piece, where).fill_null("") for piece in pieces]))
