"""`Vocabulary`: the words of a feature, strings or whole numbers, and the id of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

MAX_IDS = 2**31 - 1
"""Most ids of a table: JAX computes in 32-bit integers unless told otherwise."""


class Vocabulary:
    """The id of a word is its place, so order words by popularity where a layer cares for it.

    Args:
        words: all strings or all whole numbers below 2^31, each once, at least one.
        num_oov_indices: 0: a word that is not in the vocabulary is an error; 1: all such words share one more id,
            the last.
        where: what errors call it.

    Raises:
        ValueError: no words, a word twice, words of two sorts, or a number of out-of-vocabulary ids that is not 0
            or 1.

    Example:
        >>> Vocabulary(["b", "a"], num_oov_indices=1).lookup(["a", "b", "z"])
        array([1, 0, 2], dtype=int32)
    """

    def __init__(self, words: Iterable[str] | Iterable[int], num_oov_indices: int = 0, where: str = "vocabulary"):
        self.words = _checked_words(words, where)
        if num_oov_indices not in (0, 1) or isinstance(num_oov_indices, bool):
            raise ValueError(
                f"{where}: num_oov_indices must be 0 (unseen words are errors) or 1 (they share one row), "
                f"not {num_oov_indices!r}"
            )
        self.num_oov_indices = num_oov_indices
        self.where = where
        self._place = {word: place for place, word in enumerate(self.words)}

    @property
    def is_text(self) -> bool:
        """Whether the words are strings."""
        return isinstance(self.words[0], str)

    @property
    def missing(self) -> int:
        """The id of words that are not in the vocabulary; -1 if there is none."""
        return len(self.words) if self.num_oov_indices else -1

    def __len__(self) -> int:
        """The number of ids, the out-of-vocabulary one included."""
        return len(self.words) + self.num_oov_indices

    def lookup(self, words: Any) -> np.ndarray:
        """The ids of words of any shape, outside of any model and on any backend: int32, of the same shape.

        Raises:
            ValueError: a word is not in the vocabulary and `num_oov_indices` is 0, or is of another sort.
        """
        asked = np.asarray(words)
        if asked.dtype.kind == "S":
            asked = np.char.decode(asked, "utf-8")
        if asked.dtype.kind not in ("UO" if self.is_text else "iu") and asked.size:
            holds = "strings" if self.is_text else "whole numbers"
            raise ValueError(
                f"{self.where} holds {holds} such as {self.words[0]!r}, but values of type {asked.dtype} came"
            )
        flat = [word.decode() if isinstance(word, bytes) else word for word in asked.ravel().tolist()]
        ids = np.fromiter((self._place.get(word, self.missing) for word in flat), dtype=np.int32, count=len(flat))
        if not self.num_oov_indices and (ids < 0).any():
            raise ValueError(
                f"{self.where}: expected one of its {len(self.words)} words, but {flat[int((ids < 0).argmax())]!r} "
                f"came; with num_oov_indices=1 unseen words share one row"
            )
        return ids.reshape(asked.shape)

    def lookup_numbers(self, numbers: Any) -> Any:
        """As `lookup`, for a tensor of whole numbers inside a model; an unseen number without a row gives -1."""
        words = np.array(self.words, dtype=np.int64)
        order = np.argsort(words)
        dtype = numbers.dtype  # that of the numbers, so that none of 64 bits is cut down to one that is known
        ascending = ops.cast(words[order].astype(np.int32), dtype)
        place = ops.minimum(ops.searchsorted(ascending, numbers), len(words) - 1)
        known = ops.equal(ops.take(ascending, place, axis=0), numbers)
        return ops.where(known, ops.take(order.astype(np.int32), place, axis=0), self.missing)


def _checked_words(words: Any, where: str) -> tuple[str, ...] | tuple[int, ...]:
    if isinstance(words, str | bytes) or not isinstance(words, Iterable):
        raise ValueError(f"{where}: expected a list of words, strings or whole numbers, not {words!r}")
    listed = [word.item() if isinstance(word, np.generic) else word for word in words]
    if not listed:
        raise ValueError(f"{where}: expected at least one word, but it is empty")
    sort = str if isinstance(listed[0], str) else int
    for word in listed:
        if not isinstance(word, sort) or isinstance(word, bool):
            raise ValueError(f"{where}: expected all strings or all whole numbers, but {listed[0]!r} and {word!r} came")
        if isinstance(word, int) and not -(2**31) <= word < 2**31:
            raise ValueError(f"{where}: expected whole numbers of 32 bits, but {word} came; use strings")
    if len(set(listed)) < len(listed):
        repeated, _ = Counter(listed).most_common(1)[0]
        raise ValueError(f"{where}: expected every word once, but {repeated!r} came more than once")
    return tuple(listed)
