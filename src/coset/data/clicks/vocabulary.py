"""`ClickVocabulary`: the categories of one feature ↔ the ids of its table, the most frequent first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from coset.data.clicks.block import TYPES
from coset.data.clicks.numbering import KeyTable
from coset.data.clicks.schema import CategoryType
from coset.documents import parse_json
from coset.errors import InputError
from coset.files import replacing_tensors
from coset.kernels import parse

_FORMAT, _VERSION = "coset.click-vocabulary", 1


@dataclass(frozen=True, eq=False)
class ClickVocabulary:
    """The categories of a feature that have ids, in the order of their ids.

    A category is known by its key, a number of 64 bits: the number itself, or the FNV-1a hash of a text (Fowler, Noll
    and Vo; the chance that any two of ten million texts have the same key, and so the same id, is 3 in a million).

    Args:
        name: of the feature.
        type: the type of its categories.
        keys: of the categories, int64.
        missing: the id of rows without a category, if there were such in training.
        shared: the id of all other categories, if they have one.
        text: of all categories that are texts, in UTF-8, one after the other, and `offsets` where each begins and, at
            last, where the text ends.
    """

    name: str
    type: CategoryType
    keys: np.ndarray = field(repr=False)
    missing: int | None
    shared: int | None
    text: np.ndarray | None = field(default=None, repr=False)
    offsets: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if wrong := self._wrong():
            raise InputError(f"the vocabulary of {str(self.name)[:60]!r} is damaged: {wrong}")

    def _wrong(self) -> str | None:
        """The first contradiction, as text; None where there is none."""
        if not isinstance(self.name, str) or self.type not in TYPES:
            return "its name must be text, and its type one of " + ", ".join(TYPES)
        if self.keys.dtype != np.int64 or self.keys.ndim != 1:
            return f"its keys are of type {self.keys.dtype} and shape {self.keys.shape}"
        for what, of in (("missing", self.missing), ("shared", self.shared)):
            if of is not None and (type(of) is not int or not 0 <= of < self.num_embeddings):
                return f"the id of {what} categories is {str(of)[:30]!r}"
        if self.text is None or self.offsets is None:
            return "its texts are missing" if self.type == "text" else None
        ends, text = self.offsets, self.text
        if text.dtype != np.uint8 or ends.dtype != np.int64 or text.ndim != 1 or ends.shape != (len(self.keys) + 1,):
            return "its texts are of another type or number"
        if ends[0] != 0 or ends[-1] != len(text) or (np.diff(ends) < 0).any():
            return "its texts do not begin where they should"
        return None

    @property
    def num_embeddings(self) -> int:
        """Number of ids, those of missing and of other categories included."""
        return len(self.keys) + (self.missing is not None) + (self.shared is not None)

    def lookup(self, values: Sequence[str | None]) -> np.ndarray:
        """The ids of categories, each as the text of a file, None or empty for a missing one.

        Raises:
            InputError: one has no id, or is not of the feature's type.

        Example:
            >>> items = ClickVocabulary("item", "hex", np.array([0xA1, 7]), missing=None, shared=2)
            >>> items.lookup(["a1", "07", "ff", None])
            array([0, 1, 2, 2])
        """
        texts = [(value or "").encode() for value in values]
        ends = np.cumsum([0, *map(len, texts)])
        bounds = np.stack([ends[:-1] - 1, ends[1:]], axis=1).astype(np.int32)
        keys, states = np.empty((1, len(texts)), dtype=np.int64), np.empty((1, len(texts)), dtype=np.uint8)
        parse.categories(
            np.frombuffer(b"".join(texts), dtype=np.uint8), bounds, 0, len(texts), np.zeros(1, dtype=np.int64),
            np.array([TYPES[self.type]], dtype=np.int64), False, parse.marks([]), keys, states,
        )  # fmt: skip
        if bad := np.flatnonzero(states[0] > parse.MISSING).tolist():
            raise InputError(f"feature {self.name!r}: {values[bad[0]]!r} is not of type {self.type}")
        return self.ids(keys[0], states[0])

    def ids(self, keys: np.ndarray, missing: np.ndarray, *, refuse: bool = True) -> np.ndarray:
        """The ids of keys, int64; `missing` is 1 where there is none. A category without an id is an error, or with
        `refuse=False`, negative."""
        table = KeyTable(len(self.keys))
        table.add(self.keys, np.zeros(len(self.keys), dtype=np.uint8))
        found = table.find(keys, missing).astype(np.int64)
        if self.missing is not None:
            found[found >= self.missing] += 1  # keys leave out that id
            found[found == -1] = self.missing
        if self.shared is not None:
            found[found < 0] = self.shared
        if refuse and (bad := np.flatnonzero(found < 0).tolist()):
            raise InputError(f"feature {self.name!r}: the category at row {bad[0] + 1} (counted from 1) has no id")
        return found

    def texts(self) -> list[str]:
        """The categories as text, in the order of their ids, the missing one left out."""
        if self.text is None or self.offsets is None:
            if self.type == "hex":
                return [f"{key:x}" for key in self.keys.view(np.uint64).tolist()]
            return [str(key) for key in self.keys.tolist()]
        whole = self.text.tobytes()
        return [whole[start:stop].decode("utf-8") for start, stop in pairwise(self.offsets.tolist())]

    def save(self, path: Path) -> None:
        """Write one safetensors file, wholly or not at all; the caller flushes its folder."""
        from safetensors.numpy import save_file

        arrays = {"keys": self.keys}
        if self.text is not None and self.offsets is not None:
            arrays |= {"text": self.text, "offsets": self.offsets}
        head = {"format": _FORMAT, "version": _VERSION, "name": self.name, "type": self.type,
                "missing": self.missing, "shared": self.shared}  # fmt: skip
        with replacing_tensors(path, flush_folder=False) as aside:
            save_file(arrays, str(aside), metadata={_FORMAT: json.dumps(head)})

    @classmethod
    def load(cls, path: str | Path) -> ClickVocabulary:
        """The vocabulary saved at `path`.

        Raises:
            InputError: there is none, it is damaged, or of a newer version.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                head: Any = parse_json((file.metadata() or {}).get(_FORMAT, "null"), "its metadata")
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{path}: not readable as a safetensors file ({error}); prepare the data again") from None
        if not isinstance(head, dict) or head.get("format") != _FORMAT or head.get("version") != _VERSION:
            raise InputError(f"{path}: not a vocabulary of clicks, or one of a newer coset")
        try:
            return cls(
                head["name"], head["type"], arrays["keys"], head["missing"], head["shared"],
                arrays.get("text"), arrays.get("offsets"),
            )  # fmt: skip
        except KeyError as error:
            raise InputError(f"{path}: damaged ({error} is missing); prepare the data again") from None
        except InputError as error:
            raise InputError(f"{path}: {error}; prepare the data again") from None
