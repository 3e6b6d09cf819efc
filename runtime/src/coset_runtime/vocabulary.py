"""Vocabularies: raw ids ↔ ids of a table, searched where they lie in the mapped file."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from coset_runtime.errors import Damaged, InputError, UnknownId, brief, entry, whole
from coset_runtime.tensors import Tensor, Tensors

_UNSIGNED = ("U8", "U16", "U32", "U64")


class Vocabulary(ABC):
    """The raw ids of one kind of thing.

    Args:
        name: for errors.
        count: how many raw ids there are.
        rows: the id of each place in the order of raw ids; None where that is its place.
        shared: whether all other raw ids have the id `count`.
    """

    kind: str
    """What its raw ids are."""

    def __init__(self, name: str, count: int, rows: np.ndarray | None, shared: bool) -> None:
        self.name, self.count, self.shared = name, count, shared
        self._rows = rows
        self._places: np.ndarray | None = None

    @property
    def ids(self) -> int:
        """Number of ids, that of all others included."""
        return self.count + self.shared

    def find(self, raw: Any, unknown: bool = False) -> np.ndarray:
        """The ids of raw ids, int64, shape `(ids,)`.

        Args:
            raw: a list or an array of one dimension.
            unknown: whether ids that it does not hold become -1, instead of an error or the id that all share.

        Raises:
            InputError: raw ids of another type, or an `UnknownId`.
        """
        given = raw.tolist() if isinstance(raw, np.ndarray) else [_plain(one) for one in raw]
        if isinstance(raw, np.ndarray) and raw.ndim != 1:
            raise InputError(f"ids of {self.name!r} are a list, not an array of shape {raw.shape}")
        for place, one in enumerate(given):
            if not self._is_one(one):
                raise InputError(
                    f"ids of {self.name!r} are {self.kind}, and {brief(one)} at place {place} is {_said(one)}"
                )
        places = self._find(given)
        found = places if self._rows is None else self._rows[np.maximum(places, 0)].astype(np.int64)
        missing = places < 0
        if missing.any():
            if not unknown and not self.shared:
                place = int(missing.argmax())
                raise UnknownId(f"{self.name} {brief(given[place])} is unknown: it is none of {self.count:,} ids")
            found = np.where(missing, -1 if unknown else self.count, found)
        return found

    def raw(self, ids: np.ndarray) -> np.ndarray:
        """The raw ids of ids below `count`, int64 or an object array of `str`."""
        if self._rows is None:
            return self._raw(ids)
        if self._places is None:
            self._places = np.empty_like(self._rows)
            self._places[self._rows] = np.arange(self.count, dtype=self._rows.dtype)
        return self._raw(self._places[ids].astype(np.int64))

    @abstractmethod
    def _is_one(self, one: Any) -> bool: ...

    @abstractmethod
    def _find(self, given: list[Any]) -> np.ndarray:
        """The places of raw ids in the order; -1 for those that are not there."""

    @abstractmethod
    def _raw(self, places: np.ndarray) -> np.ndarray: ...


class Numbers(Vocabulary):
    """Whole numbers: of each block, the first as it is, and the distances of all from it."""

    kind = "whole numbers"

    def __init__(
        self, name: str, count: int, rows: np.ndarray | None, shared: bool, block: int, anchors: np.ndarray,
        offsets: np.ndarray | None,
    ) -> None:  # fmt: skip
        super().__init__(name, count, rows, shared)
        self.block, self.anchors, self.offsets = block, anchors, offsets

    def _is_one(self, one: Any) -> bool:
        return isinstance(one, int) and not isinstance(one, bool) and -(2**63) <= one < 2**63

    def _find(self, given: list[Any]) -> np.ndarray:
        wanted = np.array(given, np.int64)
        number = np.searchsorted(self.anchors, wanted, side="right") - 1
        inside = np.maximum(number, 0)
        away = wanted.view(np.uint64) - self.anchors[inside].view(np.uint64)  # of 64 bits, without overflow
        begin = inside * self.block
        end = np.minimum(begin + self.block, self.count)
        if self.offsets is None:
            place = np.where(away < (end - begin).astype(np.uint64), begin + away.astype(np.int64), -1)
            return np.where(number < 0, -1, place)
        low, high = begin, end - 1  # the answer, if there is one, is among these
        for _ in range(int(max(1, self.block)).bit_length()):
            middle = (low + high + 1) >> 1
            below = self.offsets[middle] <= away
            low, high = np.where(below, middle, low), np.where(below, high, middle - 1)
        low = np.maximum(low, begin)
        return np.where((number >= 0) & (self.offsets[low] == away), low, -1)

    def _raw(self, places: np.ndarray) -> np.ndarray:
        away = (places % self.block).astype(np.uint64) if self.offsets is None else self.offsets[places]
        anchors = self.anchors[places // self.block].view(np.uint64)
        return np.asarray((anchors + away.astype(np.uint64)).view(np.int64))


class Texts(Vocabulary):
    """Texts, in the order of their bytes."""

    kind = "text"

    def __init__(
        self, name: str, count: int, rows: np.ndarray | None, shared: bool, text: memoryview, offsets: np.ndarray
    ) -> None:
        super().__init__(name, count, rows, shared)
        self.text, self.offsets = text, offsets

    def _is_one(self, one: Any) -> bool:
        return isinstance(one, str)

    def _find(self, given: list[Any]) -> np.ndarray:
        return np.fromiter((self._place(one.encode("utf-8", "surrogatepass")) for one in given), np.int64, len(given))

    def _place(self, wanted: bytes) -> int:
        low, high = 0, self.count
        while low < high:
            middle = (low + high) >> 1
            if self._at(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < self.count and self._at(low) == wanted else -1

    def _at(self, place: int) -> bytes:
        return self.text[int(self.offsets[place]) : int(self.offsets[place + 1])].tobytes()

    def _raw(self, places: np.ndarray) -> np.ndarray:
        try:
            texts = [self._at(place).decode("utf-8") for place in places.tolist()]
        except UnicodeDecodeError:
            raise Damaged(f"vocabulary {self.name!r}: an id is not in UTF-8") from None
        found = np.empty(len(texts), object)
        found[:] = texts
        return found


def vocabulary(name: str, of: Any, tensors: Tensors) -> Vocabulary:
    """The vocabulary of an entry of the manifest.

    Raises:
        Damaged: it contradicts itself, or its tensors.
    """
    where = f"vocabulary {name!r}"
    count, kind = whole(of, "count", where, 1), entry(of, "ids", str, where)
    unseen = entry(of, "unseen", str, where)
    if unseen not in ("error", "shared"):
        raise Damaged(f"{where}: 'unseen' is {brief(unseen)}, not 'error' or 'shared'")
    rows = None
    if entry(of, "rows", (str, type(None)), where) is not None:
        rows = _tensor(of, "rows", tensors, _UNSIGNED, count, where)
        seen = np.zeros(count, bool)
        if int(rows.max()) >= count:
            raise Damaged(f"{where}: one of its rows is {int(rows.max())}, of {count}")
        seen[rows] = True
        if not seen.all():
            raise Damaged(f"{where}: two raw ids have one row")
    if kind == "text":
        text = tensors[entry(of, "text", str, where)]
        offsets = _tensor(of, "offsets", tensors, _UNSIGNED, count + 1, where)
        if text.type != "U8" or text.array.ndim != 1:
            raise Damaged(f"{where}: its text is of {text.type}, not of bytes")
        if int(offsets[0]) != 0 or int(offsets[-1]) != len(text.array) or bool((offsets[1:] < offsets[:-1]).any()):
            raise Damaged(f"{where}: its texts do not begin where its offsets say")
        return Texts(name, count, rows, unseen == "shared", text.array.data, offsets)
    if kind != "whole numbers":
        raise Damaged(f"{where}: its ids are {brief(kind)}, which this coset-runtime does not know; update it")
    block = whole(of, "block", where, 1)
    anchors = _tensor(of, "anchors", tensors, ("I64",), -(-count // block), where)
    away = None
    if entry(of, "offsets", (str, type(None)), where) is not None:
        away = _tensor(of, "offsets", tensors, _UNSIGNED, count, where)
    found = Numbers(name, count, rows, unseen == "shared", block, anchors, away)
    ends = np.minimum(np.arange(1, len(anchors) + 1) * block, count) - 1
    last = found._raw(ends)
    rising = bool((last >= anchors).all()) and bool((last[:-1] < anchors[1:]).all())
    if away is not None:
        within = away[1:] > away[:-1]
        within[block - 1 :: block] = True
        rising &= bool(within.all()) and not bool(away[::block].any())
    if not rising:
        raise Damaged(f"{where}: its numbers are not in order")
    return found


def listed(raw: Any, what: str) -> tuple[list[Any], bool]:
    """Raw ids as a list, and whether there was one alone.

    Raises:
        InputError: something else, such as a table.
    """
    if isinstance(raw, str | bytes | int | float | np.generic) or (isinstance(raw, np.ndarray) and raw.ndim == 0):
        return [raw.item() if isinstance(raw, np.generic | np.ndarray) else raw], True
    if isinstance(raw, dict) or not isinstance(raw, Iterable):
        raise InputError(f"{what} are a raw id or a list of them, not {brief(raw)}")
    return (raw.tolist() if isinstance(raw, np.ndarray) else list(raw)), False


def _tensor(of: Any, key: str, tensors: Tensors, types: tuple[str, ...], count: int, where: str) -> np.ndarray:
    found: Tensor = tensors[entry(of, key, str, where)]
    if found.type not in types or found.array.shape != (count,):
        raise Damaged(
            f"{where}: its {key} are of {found.type} and shape {found.array.shape}, and should be of "
            f"{' or '.join(types)} and {(count,)}"
        )
    return found.array


def _plain(one: Any) -> Any:
    return one.item() if isinstance(one, np.generic) else one


def _said(one: Any) -> str:
    if isinstance(one, int) and not isinstance(one, bool):
        return "a whole number" if -(2**63) <= one < 2**63 else "beyond 64 bits"
    return "text" if isinstance(one, str) else f"a {type(one).__name__}"


assert sys.byteorder == "little", "tensors are read as they lie, lowest byte first"
