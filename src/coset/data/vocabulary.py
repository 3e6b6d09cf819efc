"""`Vocabulary`: raw ids of one feature ↔ the ids 0 … n-1 of its table, the most frequent first.

Because ids are ordered by training frequency, "hot" means `id < h` and blocks of a table are ranges of ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from coset.data.ids import are_text, as_ids, plain
from coset.documents import parse_json
from coset.errors import InputError, unknown
from coset.files import path_of, replacing_tensors
from coset.partitions import hash_words

IdOrder = Literal["frequency", "first_appearance", "random"]
Known = Literal["all", "training"]
Unseen = Literal["error", "shared"]

_FORMAT, _VERSION = "coset.vocabulary", 2
_ATTRIBUTE = "attribute."  # prefix of the names of stored columns of attributes


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The ids of one feature.

    Args:
        name: of the feature; every error about it says this name.
        values: raw ids in the order of their ids, distinct; int64 or text (object array of `str`), shape
            `(n,)`.
        frequencies: how often each id occurs in the training data, int64, shape `(num_embeddings,)`.
        unseen: the treatment of a raw id that is not among `values`: `"error"` refuses it, `"shared"` gives it
            the last id, n, whose row all unseen ids share and whose frequency is 0.
        order: the order of the ids.
        attributes: name → column of codes, whole numbers from 0 on, shape `(num_embeddings,)`, so that the shared id
            has codes too; becomes int64. `coset.data.Attributes` makes them of years, genres and the like.

    Example:
        >>> movies = Vocabulary.build("movie", [50, 7, 50, 9, 50, 9])
        >>> movies.values, movies.lookup([7, 50])
        (array([50,  9,  7]), array([2, 0]))
    """

    name: str
    values: np.ndarray = field(repr=False)
    frequencies: np.ndarray = field(repr=False)
    unseen: Unseen = "error"
    order: IdOrder = "frequency"
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        where = f"vocabulary {self.name!r}"
        for what, options in (("unseen", Unseen), ("order", IdOrder)):
            if getattr(self, what) not in get_args(options):
                raise unknown(f"{what} of {where}", str(getattr(self, what)), get_args(options))
        values = as_ids(self.values, where)
        frequencies = np.asarray(self.frequencies, dtype=np.int64)
        if values.ndim != 1 or len(values) == 0:
            raise InputError(f"{where}: needs a column of at least one raw id, not shape {values.shape}")
        if frequencies.shape != (len(values) + (self.unseen == "shared"),):
            raise InputError(
                f"{where}: {len(values)} raw ids with unseen={self.unseen!r} need "
                f"{len(values) + (self.unseen == 'shared')} frequencies, not {frequencies.shape}"
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "frequencies", frequencies)
        codes = {
            name: _codes(of, len(frequencies), f"{where}, attribute {name!r}") for name, of in self.attributes.items()
        }
        object.__setattr__(self, "attributes", codes)
        if are_text(values):
            _check_unicode(values, where)
        if len(self._text_index if are_text(values) else np.unique(values)) < len(values):
            raise InputError(f"{where}: a raw id occurs twice")

    @classmethod
    def build(
        cls,
        name: str,
        values: Any,
        *,
        training: Any = None,
        order: IdOrder = "frequency",
        known: Known = "all",
        unseen: Unseen = "error",
    ) -> Vocabulary:
        """The vocabulary of the raw ids in a column of data.

        Args:
            name: of the feature.
            values: raw ids of all rows: whole numbers or text.
            training: the rows that train, as row numbers or a boolean mask; `None` means all. Frequencies are
                counted there.
            order: `"frequency"`, most frequent first, ties by raw value; `"first_appearance"`; or `"random"`, the same
                for the same raw ids, to measure the worth of an order.
            known: rows whose raw ids the vocabulary has: `"all"`, where those of no training row have frequency 0; or
                `"training"`.
            unseen: see the class.

        Raises:
            InputError: an option is unknown, there are no rows, or ids are of mixed sorts.
        """
        where = f"vocabulary {name!r}"
        for what, option, options in (("order", order, IdOrder), ("known", known, Known)):
            if option not in get_args(options):
                raise unknown(f"{what} of {where}", str(option), get_args(options))
        column = as_ids(values, where).ravel()
        try:
            counted = column if training is None else column[training]
        except (IndexError, TypeError, ValueError, RuntimeError):  # the last of a tensor with a gradient
            counted = column[:0, None]
        if counted.ndim != 1:
            raise InputError(f"{where}: training must be numbers of rows, or a boolean for each of {len(column)} rows")
        if len(counted) == 0:
            raise InputError(f"{where}: there are no training rows to count ids in")
        listed = column if known == "all" else counted
        distinct, first, frequencies = _count(listed, counted)
        # All orders start from ascending raw values, so a stable sort leaves ties in that order.
        by = {"frequency": -frequencies, "first_appearance": first, "random": hash_words(np.arange(len(first)), 0)}
        rank = np.argsort(by[order], kind="stable")
        frequencies = frequencies[rank]
        if unseen == "shared":
            frequencies = np.append(frequencies, 0)
        return cls(name, distinct[rank], frequencies, unseen, order)

    @property
    def num_embeddings(self) -> int:
        """Number of ids, the shared one included."""
        return len(self.frequencies)

    def __len__(self) -> int:
        return self.num_embeddings

    @property
    def bytes(self) -> int:
        """Bytes of the arrays that `save` stores."""
        return sum(array.nbytes for array in _arrays(self).values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return (
            (self.name, self.unseen, self.order) == (other.name, other.unseen, other.order)
            and self.values.dtype == other.values.dtype
            and np.array_equal(self.values, other.values)
            and np.array_equal(self.frequencies, other.frequencies)
            and self.attributes.keys() == other.attributes.keys()
            and all(np.array_equal(codes, other.attributes[name]) for name, codes in self.attributes.items())
        )

    __hash__ = None  # type: ignore[assignment]  # equal by contents, which are arrays

    def lookup(self, raw: Any, *, convert: bool = False, first: int = 1) -> np.ndarray:
        """The ids of raw ids.

        Args:
            raw: raw ids of any shape, of the sort that the vocabulary holds.
            convert: treat a whole number and its text, such as `"55"` or `"55.0"`, as the same raw id. For ids of
                another file, whose column may be of the other sort because of a single value. Unsigned numbers of 64
                bits, which are text where they are large, are always treated so.
            first: number of the first of them among the rows of the data, for errors.

        Returns:
            int64 ids of the same shape.

        Raises:
            InputError: a raw id is unseen and `unseen` is `"error"`, or the ids are of the other sort.
        """
        where = f"feature {self.name!r}"
        ids = as_ids(raw, where)
        if ids.size and are_text(ids) != are_text(self.values):
            if not convert and getattr(raw, "dtype", None) != np.uint64:
                raise self._wrong_sort(ids)
            found = self._lookup_text(np.array([plain(str(raw_id)) for raw_id in ids.ravel().tolist()], dtype=object))
        elif are_text(self.values):
            found = self._lookup_text(ids.ravel())
        else:
            found = self._lookup_numbers(ids.ravel().astype(np.int64))
        unseen = found < 0
        if unseen.any():
            if self.unseen == "error":
                position = int(unseen.argmax())
                raw_id = ids.ravel().tolist()[position]  # a Python value, whose repr is the text of the file
                raise InputError(
                    f"{where}: the raw id {raw_id!r} at row {position + first} of the data (counted from 1) is not in "
                    f"the vocabulary of {len(self.values)} ids; leave such rows out, train on data that holds them, "
                    "or train with unseen = 'shared' (--set vocabulary.unseen=shared), so that they share one row"
                )
            found[unseen] = len(self.values)
        return found.reshape(ids.shape)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file to `path`, wholly or not at all.

        It holds `frequencies` and either `values` (int64) or `text` (all values in UTF-8, one after the
        other) with `offsets` (int64, where each begins and, last, where the text ends); `attribute.<name>` for
        each column of codes, in the smallest unsigned type that holds them; the rest is JSON in the metadata.
        """
        from safetensors.numpy import save_file

        head: dict[str, Any] = {
            "format": _FORMAT,
            "version": 1,
            "name": self.name,
            "unseen": self.unseen,
            "order": self.order,
        }
        if self.attributes:  # only then of the version that older readers refuse
            head |= {"version": _VERSION, "attributes": list(self.attributes)}
        with replacing_tensors(path_of(path)) as aside:
            save_file(_arrays(self), str(aside), metadata={_FORMAT: json.dumps(head)})

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """The vocabulary saved at `path`.

        Raises:
            InputError: there is no such file, it is damaged, no vocabulary, or of a newer version.
        """
        head, arrays = _read(path_of(path))
        try:
            values = arrays["values"] if "values" in arrays else _unpack(arrays["text"], arrays["offsets"])
            frequencies = arrays["frequencies"]
            if values.dtype not in (np.dtype(np.int64), np.dtype(object)) or frequencies.dtype != np.int64:
                raise ValueError(f"arrays of types {values.dtype} and {frequencies.dtype}")
            attributes = {name: arrays[_ATTRIBUTE + name] for name in head.get("attributes", [])}
            return cls(head["name"], values, frequencies, head["unseen"], head["order"], attributes)
        except (KeyError, TypeError, ValueError) as error:  # InputError is a ValueError
            raise InputError(f"{path}: the vocabulary in it is damaged ({error}); restore or rebuild it") from None

    def _lookup_numbers(self, ids: np.ndarray) -> np.ndarray:
        ascending, order = self._number_index
        place = np.searchsorted(ascending, ids)
        place[place == len(ascending)] = 0  # beyond the largest, and found unequal below
        return np.where(ascending[place] == ids, order[place], -1)

    def _lookup_text(self, ids: np.ndarray) -> np.ndarray:
        index = self._text_index
        return np.fromiter(map(index.get, ids.tolist(), repeat(-1)), dtype=np.int64, count=len(ids))

    @cached_property
    def _number_index(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.values, kind="stable")
        return self.values[order], order

    @cached_property
    def _text_index(self) -> dict[str, int]:
        return {str(value): place for place, value in enumerate(self.values.tolist())}

    def _wrong_sort(self, ids: np.ndarray) -> InputError:
        holds, came, way = (
            ("text", "whole numbers", "str") if are_text(self.values) else ("whole numbers", "text", "int")
        )
        return InputError(
            f"feature {self.name!r}: the vocabulary holds {holds} such as {self.values[0]!r}, but {came} came, "
            f"such as {ids.ravel()[0]!r}; convert them with {way}(), or pass convert=True to treat both as one id"
        )


def _count(listed: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct ids of `listed`, ascending, where each first appears, and how often it is in `counted`."""
    if not are_text(listed):
        distinct, first = np.unique(listed, return_index=True)
        frequencies = np.bincount(np.searchsorted(distinct, counted), minlength=len(distinct))
        return distinct, first, frequencies.astype(np.int64)
    place: dict[str, int] = {}
    for value in listed.tolist():
        place.setdefault(value, len(place))
    codes = np.fromiter(map(place.__getitem__, counted.tolist()), dtype=np.int64, count=len(counted))
    by_appearance = np.bincount(codes, minlength=len(place)).astype(np.int64)
    ascending = sorted(place)
    first = np.array([place[value] for value in ascending], dtype=np.int64)
    return np.array(ascending, dtype=object), first, by_appearance[first]


def _check_unicode(values: np.ndarray, where: str) -> None:
    try:
        "".join(values.tolist()).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{where}: a raw id is not valid Unicode text ({error.reason}), so it cannot be stored"
        ) from None


def _codes(codes: Any, n: int, where: str) -> np.ndarray:
    column = np.asarray(codes)
    if column.dtype.kind not in "iu" or column.shape != (n,):
        raise InputError(
            f"{where}: needs {n} whole numbers, one an id, not an array of {column.dtype} of shape {column.shape}"
        )
    column = column.astype(np.int64)
    if column.min() < 0:
        raise InputError(f"{where}: codes are numbered from 0 on, but one is {column.min()}")
    return column


def _arrays(vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    besides = {"frequencies": np.ascontiguousarray(vocabulary.frequencies)}
    for name, codes in vocabulary.attributes.items():
        besides[_ATTRIBUTE + name] = codes.astype(np.min_scalar_type(codes.max()))
    if not are_text(vocabulary.values):
        return {"values": np.ascontiguousarray(vocabulary.values), **besides}
    pieces = [value.encode("utf-8") for value in vocabulary.values.tolist()]
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return {"text": np.frombuffer(b"".join(pieces), dtype=np.uint8), "offsets": offsets, **besides}


def _unpack(text: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    if text.dtype != np.uint8 or offsets.dtype != np.int64 or text.ndim != 1 or offsets.ndim != 1:
        raise ValueError("text or offsets of a wrong type")
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(text) or (np.diff(offsets) < 0).any():
        raise ValueError("offsets that do not fit the text")
    whole = text.tobytes()
    bounds = offsets.tolist()
    pieces = [whole[start:stop].decode("utf-8") for start, stop in pairwise(bounds)]
    return np.array(pieces, dtype=object)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The metadata and the arrays of a vocabulary's file, checked to be one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            head = parse_json((file.metadata() or {}).get(_FORMAT, "null"), "its metadata")
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not readable as a safetensors file ({error}); it seems cut off or damaged") from None
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise InputError(f"{path}: a safetensors file, but not a vocabulary saved by coset")
    version = head.get("version")
    if not isinstance(version, int) or version < 1:
        raise InputError(f"{path}: the vocabulary in it is damaged (version {version!r})")
    if version > _VERSION:
        raise InputError(
            f"{path}: a vocabulary of version {version}, but this coset reads versions up to {_VERSION}; upgrade coset"
        )
    return cast("dict[str, Any]", head), arrays
