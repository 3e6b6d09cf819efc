"""Vocabularies as sorted arrays that are searched where they lie: raw id → rank → row of the table.

Whole numbers are cut into blocks: the first of each as it is, and all others by their distance from it, in the smallest
type that holds them, or not at all where they follow each other without gaps. Texts are their bytes in UTF-8, one after
the other, and where each begins. The row of each rank is stored where it differs from the rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from coset.data.ids import are_text
from coset.documents import Json
from coset.errors import InputError
from coset.tasks.served import RawIds

_BLOCKS = (64, 256, 1024, 8192)
"""Lengths of blocks that are tried, beside one for all."""
_TYPES = (np.uint8, np.uint16, np.uint32, np.uint64)


def encoded(name: str, vocabulary: RawIds) -> tuple[Json, dict[str, np.ndarray]]:
    """A vocabulary as its entry in the manifest and its tensors, which are called `<name>.<what>`."""
    values = vocabulary.values
    if are_text(values):
        pieces = [value.encode("utf-8") for value in values.tolist()]
        order = np.array(sorted(range(len(pieces)), key=pieces.__getitem__), np.int64)
        ends = np.cumsum([0, *(len(pieces[at]) for at in order.tolist())], dtype=np.int64)
        text = np.frombuffer(b"".join(pieces[at] for at in order.tolist()), np.uint8)
        how: Json = {"ids": "text", "text": f"{name}.text", "offsets": f"{name}.offsets"}
        arrays = {"text": text, "offsets": _small(ends)}
    else:
        order = np.argsort(values, kind="stable")
        how, arrays = _numbers(values[order])
        how = {"ids": "whole numbers", **how, "anchors": f"{name}.anchors",
               "offsets": f"{name}.offsets" if "offsets" in arrays else None}  # fmt: skip
    ranked = bool((order == np.arange(len(order))).all())
    if not ranked:
        arrays["rows"] = _small(order)
    how |= {"count": len(values), "unseen": vocabulary.unseen, "rows": None if ranked else f"{name}.rows"}
    return how, {f"{name}.{what}": np.ascontiguousarray(array) for what, array in arrays.items()}


def decoded(of: Json, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The raw ids of a vocabulary in the order of their rows, int64 or an object array of `str`.

    Raises:
        InputError: entry and tensors contradict each other.
    """
    count = of["count"]
    if of["ids"] == "text":
        whole, ends = arrays[of["text"]].tobytes(), arrays[of["offsets"]].astype(np.int64)
        if len(ends) != count + 1 or ends[0] != 0 or ends[-1] != len(whole) or (np.diff(ends) < 0).any():
            raise InputError("its texts do not begin where its offsets say")
        try:
            texts = [whole[begin:end].decode("utf-8") for begin, end in pairwise(ends.tolist())]
        except UnicodeDecodeError:
            raise InputError("its texts are not in UTF-8") from None
        values = np.array([*texts, None], dtype=object)[:-1]  # an array of one text would be cut into letters
    else:
        anchors, block = arrays[of["anchors"]], of["block"]
        if anchors.dtype != np.int64 or type(block) is not int or block < 1 or len(anchors) != -(-count // block):
            raise InputError("its anchors are of another type or number")
        places = np.arange(count)
        offsets = (places % block).astype(np.uint64) if of["offsets"] is None else arrays[of["offsets"]]
        if offsets.shape != (count,) or offsets.dtype.kind != "u":
            raise InputError("its offsets are of another type or number")
        values = (anchors[places // block].view(np.uint64) + offsets.astype(np.uint64)).view(np.int64)
        if (values[1:] <= values[:-1]).any():
            raise InputError("its numbers are not in order")
    if of["rows"] is None:
        return values
    rows = arrays[of["rows"]]
    if rows.shape != (count,) or rows.dtype.kind != "u" or not np.array_equal(np.sort(rows), np.arange(count)):
        raise InputError("its rows are not each of those of the table once")
    found = np.empty_like(values)
    found[rows.astype(np.int64)] = values
    return found


def _numbers(values: np.ndarray) -> tuple[Json, dict[str, np.ndarray]]:
    """Sorted numbers in the blocks that take the fewest bytes."""
    found: list[tuple[int, Json, dict[str, np.ndarray]]] = []
    for block in (len(values), *(each for each in _BLOCKS if each < len(values))):
        anchors = values[::block]
        places = np.arange(len(values))
        away = values.view(np.uint64) - anchors[places // block].view(np.uint64)  # of 64 bits, without overflow
        arrays: dict[str, Any] = {"anchors": np.ascontiguousarray(anchors)}
        if not np.array_equal(away, (places % block).astype(np.uint64)):
            arrays["offsets"] = _small(away)
        found.append((sum(of.nbytes for of in arrays.values()), {"block": block}, arrays))
    _, how, arrays = min(found, key=lambda each: each[0])
    return how, arrays


def _small(numbers: np.ndarray) -> np.ndarray:
    """In the smallest type that holds them."""
    most = int(numbers.max(initial=0))
    return numbers.astype(next(of for of in _TYPES if most <= np.iinfo(of).max))
