"""`WordVocabulary`: the words of a feature, strings or whole numbers, and the id of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from reprlib import repr as short
from typing import Any

import numpy as np
from keras import ops

MAX_IDS = 2**31 - 1
"""Most ids of a table: JAX computes in 32-bit integers unless told otherwise."""


class WordVocabulary:
    """The id of a word is its position, so order words by popularity for layers that use that order.

    Args:
        words: all strings or all whole numbers below 2^31, each once, at least one: a list, an array or a tensor.
            Bytes are read as UTF-8, and floats without a fraction as whole numbers.
        num_oov_indices: 0: a word that is not in the vocabulary is an error; 1: all such words share one more id,
            the last.
        where: the name of the vocabulary in errors.

    Raises:
        ValueError: no words, a word twice, words of two sorts, words without an order (a set), or a number of
            out-of-vocabulary ids that is not 0 or 1.

    Example:
        >>> WordVocabulary(["b", "a"], num_oov_indices=1).lookup(["a", "b", "z"])
        array([1, 0, 2], dtype=int32)
    """

    def __init__(self, words: Iterable[str] | Iterable[int], num_oov_indices: int = 0, where: str = "vocabulary"):
        self.words = checked_words(words, where)
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
        asked = _array(words)
        flat = [_plain(word, self.where) for word in _elements(asked.ravel())]
        for word in flat:
            if not isinstance(word, str if self.is_text else int) or isinstance(word, bool):
                holds = f"{'strings' if self.is_text else 'whole numbers'} such as {short(self.words[0])}"
                raise ValueError(f"{self.where} holds {holds}, but {short(word)} came")
        ids = np.fromiter((self._place.get(word, self.missing) for word in flat), dtype=np.int32, count=len(flat))
        if not self.num_oov_indices and (ids < 0).any():
            unseen = short(flat[int((ids < 0).argmax())])
            raise ValueError(
                f"{self.where}: expected one of its {len(self.words)} words, but {unseen} came; with num_oov_indices=1 "
                f"unseen words share one row"
            )
        return ids.reshape(asked.shape)

    def lookup_numbers(self, numbers: Any) -> Any:
        """As `lookup`, for a tensor of whole numbers inside a model; an unseen number without a row gives -1."""
        words = np.array(self.words, dtype=np.int64)
        order = np.argsort(words)
        dtype = numbers.dtype  # that of the numbers, so that none of 64 bits is truncated to a known one
        ascending = ops.cast(words[order].astype(np.int32), dtype)
        flat = ops.reshape(numbers, (-1,))  # TensorFlow searches for one row of numbers only
        place = ops.minimum(ops.searchsorted(ascending, flat), len(words) - 1)
        known = ops.equal(ops.take(ascending, place, axis=0), flat)
        ids = ops.where(known, ops.take(order.astype(np.int32), place, axis=0), self.missing)
        return ops.reshape(ids, ops.shape(numbers))


def checked_words(words: Any, where: str) -> tuple[str, ...] | tuple[int, ...]:
    """Words of one sort, each once, as Python's own strings or whole numbers."""
    if isinstance(words, set | frozenset):
        raise ValueError(f"{where}: expected words in an order, which gives their ids, but a set came; sort it")
    if isinstance(words, str | bytes) or not isinstance(words, Iterable):
        raise ValueError(f"{where}: expected a list of words, strings or whole numbers, not {short(words)}")
    if hasattr(words, "__array__"):
        words = _array(words)
        if words.ndim != 1:
            raise ValueError(f"{where}: expected a list of words, not an array of shape {words.shape}")
        words = _elements(words)
    listed = [_plain(word, where) for word in words]
    if not listed:
        raise ValueError(f"{where}: expected at least one word, but it is empty")
    first = listed[0]
    sort = str if isinstance(first, str) else int
    for place, word in enumerate(listed):
        if not isinstance(word, sort) or isinstance(word, bool):
            came = f"{short(first)} and {short(word)}" if place else short(word)
            raise ValueError(f"{where}: expected all strings or all whole numbers, but {came} came")
        if isinstance(word, int) and not -(2**31) <= word < 2**31:
            raise ValueError(f"{where}: expected whole numbers of 32 bits, but {word} came; use strings")
    if len(set(listed)) < len(listed):
        repeated, _ = Counter(listed).most_common(1)[0]
        raise ValueError(f"{where}: expected every word once, but {short(repeated)} came more than once")
    return tuple(listed)


def _array(words: Any) -> np.ndarray:
    """Words of any shape as an array: of a tensor, or of lists, without numpy's conversion of ["a", nan] to strings."""
    if ops.is_tensor(words):
        return np.asarray(ops.convert_to_numpy(words))
    return np.asarray(words, dtype=None if hasattr(words, "__array__") else object)


def _elements(words: np.ndarray) -> Iterable[Any]:
    """Python values, which are faster to read than numpy's; floats stay numpy's, which have a precision."""
    return words if words.dtype.kind in "fmM" else words.tolist()


def _plain(word: Any, where: str) -> Any:
    """A word as Python's own string or whole number, where it is one."""
    if isinstance(word, np.floating) and abs(word) > 2 ** (np.finfo(word).nmant + 1):
        raise ValueError(
            f"{where}: expected whole numbers that {word.dtype} holds exactly, but {word} came; read ids as int64 or "
            f"as strings"
        )
    if getattr(word, "ndim", None) == 0 and not isinstance(word, np.datetime64 | np.timedelta64):  # of arrays, tensors
        word = _array(word).item()
    if isinstance(word, bytes):
        try:
            return word.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{where}: expected bytes of UTF-8, but {short(word)} came; decode them first") from None
    return int(word) if isinstance(word, float) and word.is_integer() else word
