"""`TableLayer`: the base of all layers, from words or ids to vectors."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from coset.keras.composition import OPERATIONS
from coset.keras.stored import StoredLayer
from coset.keras.vocabulary import MAX_IDS, WordVocabulary

Tensor = Any
LAYOUTS = ("compact", "keras")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


class TableLayer(StoredLayer):
    """The table of one categorical feature: ids, or words of a vocabulary, of any shape `s` → vectors `(*s, dim)`.

    The model looks up a vocabulary of whole numbers on every backend, and one of strings on TensorFlow. On all
    backends, integers given to a layer with a vocabulary of strings are ids, as `layer.vocabulary.lookup(strings)`
    gives them.

    An id out of range, or an unseen word without a row, is a `ValueError` in eager calls. Functions compiled by
    TensorFlow and JAX cannot raise: there the vector is NaN, never that of another id. (TensorFlow's lookup of strings
    can, and raises an error of its own.)

    Ids or words of TensorFlow's ragged tensors have ragged vectors, as in `keras.layers.Embedding`.

    Args:
        vocabulary, num_embeddings: the words, whose position is their id, or the number of ids; exactly one of the two,
            and either may come first.
        embedding_dim: elements of a vector.
        num_oov_indices: with a vocabulary: 0 refuses unseen words, 1 gives them one row together.
        std: standard deviation of the elements of fresh vectors, on average over the elements where rows are
            projected.
        embeddings_initializer: of all stored rows, instead of the layer's own.
        embeddings_regularizer: of all stored rows.
        mask_zero: whether id 0, the first word, is padding and masked in later layers.
        storage: how the numbers of all arrays are stored: `"dense"`, a type of numbers such as `"bfloat16"`,
            `"packed"` for 8 bits, the JSON of a storage, such as `{"storage": "packed", "bits": 4}`, or one of coset,
            such as `coset.Packed(4)`.
        kwargs: of `keras.layers.Layer`: `name`, `dtype`, `trainable`.
    """

    torch_method: ClassVar[str]
    """Name of the torch method that computes the same."""

    def __init__(
        self,
        vocabulary: Any,
        num_embeddings: Any,
        embedding_dim: Any,
        *,
        num_oov_indices: int = 0,
        std: float = 0.05,
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        mask_zero: bool = False,
        storage: Any = "dense",
        **kwargs: Any,
    ) -> None:
        super().__init__(storage, embeddings_initializer, embeddings_regularizer, **kwargs)
        self.embedding_dim = self._positive("embedding_dim", embedding_dim)
        self.num_embeddings, self.vocabulary = self._ids_or_words(vocabulary, num_embeddings, num_oov_indices)
        self.num_oov_indices = num_oov_indices
        self.std = self._deviation(std)
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self._strings = self._string_lookup()

    @abstractmethod
    def vectors(self, ids: Tensor) -> Tensor:
        """Vectors of ids that are in range."""

    def vectors_or_nan(self, ids: Tensor, inside: Tensor) -> Tensor:
        """Vectors of any ids; NaN for those that are not `inside` the range."""
        vectors = self.vectors(ops.where(inside, ids, 0))
        # Selected, not added: a sum would pass the gradient of the NaN on to the rows of id 0.
        return ops.where(ops.expand_dims(inside, -1), vectors, ops.cast(float("nan"), vectors.dtype))

    @abstractmethod
    def torch_fields(self) -> dict[str, Any]:
        """The fields of the torch method that computes the same."""

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Vectors of ids or words of any shape, symbolic or not."""
        if isinstance(inputs, list | tuple):
            inputs = self._array(inputs)
        if isinstance(inputs, np.ndarray) and inputs.dtype.kind == "O" and inputs.size:
            whole = all(isinstance(one, int | np.integer) for one in inputs.flat)
            inputs = self._array(inputs.tolist()) if whole else inputs
        sort = self._checked_sort(inputs)
        if sort == "integer" and isinstance(inputs, np.ndarray):
            self._check_width(inputs)
        if sort == "string" and isinstance(inputs, np.ndarray):
            inputs = ops.convert_to_tensor(inputs.astype(object), dtype="string")
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Vectors of ids or words."""
        if _is_ragged(inputs):
            return inputs.with_flat_values(self.call(inputs.flat_values))
        ids = self._ids(inputs)
        if _sort(inputs) == "string":
            return self.vectors(ids)  # looked-up ids are in range
        inside = ops.logical_and(ids >= 0, ids < self.num_embeddings)
        if (all_inside := _known(ops.all(inside))) is not None:
            if not all_inside:
                raise self._out_of_range(inputs, inside)
            return self.vectors(ids)
        return self.vectors_or_nan(ids, inside)

    def compute_mask(self, inputs: Tensor, previous_mask: Any = None) -> Tensor | None:
        """With `mask_zero`, where the id is not 0."""
        if not self.mask_zero:
            return None
        if _is_ragged(inputs):
            return inputs.with_flat_values(self.compute_mask(inputs.flat_values))
        return ops.not_equal(self._ids(inputs), 0)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """`(*input_shape, embedding_dim)`."""
        return (*input_shape, self.embedding_dim)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Shape and dtype of the vectors, and ragged where the ids are."""
        if not getattr(inputs, "ragged", False):
            return super().compute_output_spec(inputs, *args, **kwargs)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype, ragged=True)

    def get_config(self) -> dict[str, Any]:
        """Everything that makes an equal layer, as plain values."""
        return {
            **super().get_config(),
            "vocabulary": list(self.vocabulary.words) if self.vocabulary else None,
            "num_embeddings": None if self.vocabulary else self.num_embeddings,
            "embedding_dim": self.embedding_dim,
            "num_oov_indices": self.num_oov_indices,
            "std": self.std,
            "mask_zero": self.mask_zero,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TableLayer:
        """The layer of a `get_config`, also from an HDF5 file, where Keras replaces a string that names one of its
        functions, such as "add", by the function."""
        own = ("embeddings_initializer", "embeddings_regularizer")  # these may be functions
        words = {k: v.__name__ for k, v in config.items() if inspect.isfunction(v) and k not in own}
        config = config | words
        packed = config.pop("packed", False)
        layer = cls(**config)
        layer._packed = packed
        return layer

    # -- inputs ------------------------------------------------------------------------------------------------

    def _checked_sort(self, inputs: Any) -> str:
        """`integer` or `string`; an error for anything else, and for strings where they cannot be looked up."""
        sort = _sort(inputs)
        if sort not in ("integer", "string"):
            raise ValueError(
                f"{self._what}: expected whole numbers{' or strings' if self._strings else ''}, not values of type "
                f"{sort}; cast ids to int32, and write keras.Input(..., dtype='int32')"
            )
        if sort == "string" and self._strings is None:
            expected = f"{self._what}: expected whole numbers, but strings came"
            if self.vocabulary is None or not self.vocabulary.is_text:
                raise ValueError(f"{expected}; give the layer a vocabulary of strings")
            raise ValueError(
                f"{expected}, which only the TensorFlow backend can look up inside a model; hand over "
                f"layer.vocabulary.lookup(strings)"
            )
        return sort

    def _array(self, listed: Any) -> np.ndarray:
        try:
            return np.asarray(listed)
        except ValueError:
            ragged = "; tf.ragged.constant takes them" if keras.backend.backend() == "tensorflow" else ""
            raise ValueError(f"{self._what}: expected lists of one length, but their lengths differ{ragged}") from None

    def _check_width(self, inputs: np.ndarray) -> None:
        """An error for numbers of more than 32 bits, which JAX would truncate silently."""
        if inputs.dtype.itemsize < 8 or not inputs.size:
            return
        for number in (inputs.min(), inputs.max()):
            if not -(2**31) <= number < 2**31:
                raise ValueError(
                    f"{self._what}: expected whole numbers of 32 bits, ids in 0 … {self.num_embeddings - 1} or words, "
                    f"but {number} came"
                )

    def _ids(self, inputs: Tensor) -> Tensor:
        """int32, or int64 where the input has 64 bits: truncation could turn a wrong id into a valid one."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if dtype == "string":
            assert self.vocabulary is not None
            assert self._strings is not None
            found = ops.cast(self._strings(inputs), "int32")
            if not self.num_oov_indices:
                return found
            # Keras gives unseen strings the first id, coset the last, so that the others are in order of popularity.
            return ops.where(found == 0, self.vocabulary.missing, found - 1)
        ids = ops.cast(inputs, "int64" if dtype in ("int64", "uint64") else "int32")
        if self.vocabulary is not None and not self.vocabulary.is_text:
            return self.vocabulary.lookup_numbers(ids)
        return ids

    def _string_lookup(self) -> Any:
        """Keras' own lookup of strings, where it works."""
        if self.vocabulary is None or not self.vocabulary.is_text or keras.backend.backend() != "tensorflow":
            return None
        unseen = "[UNK]"
        while unseen in self.vocabulary.words:
            unseen = f"[{unseen}]"
        return keras.layers.StringLookup(
            vocabulary=list(self.vocabulary.words),
            mask_token=None,
            num_oov_indices=self.num_oov_indices,
            oov_token=unseen,
            name="strings",
        )

    def _out_of_range(self, inputs: Tensor, inside: Tensor) -> ValueError:
        first = int(ops.reshape(inputs, (-1,))[int(ops.argmin(ops.cast(ops.reshape(inside, (-1,)), "int32")))])
        if self.vocabulary is not None and not self.vocabulary.is_text:
            return ValueError(
                f"{self._what}: expected one of the {len(self.vocabulary.words)} words of its vocabulary, but {first} "
                f"came; with num_oov_indices=1 unseen words share one row"
            )
        return ValueError(f"{self._what}: expected ids in 0 … {self.num_embeddings - 1}, but {first} came")

    # -- checks of arguments -----------------------------------------------------------------------------------

    def _ids_or_words(self, one: Any, other: Any, num_oov_indices: int) -> tuple[int, WordVocabulary | None]:
        given = [value for value in (one, other) if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"{self._what}: expected a vocabulary or num_embeddings, one of them, but "
                f"{'both' if given else 'neither'} came"
            )
        if isinstance(given[0], int | np.integer | float):
            count = self._positive("num_embeddings", given[0])
            if count > MAX_IDS:
                raise ValueError(f"{self._what}: expected at most 2^31 - 1 = {MAX_IDS} ids, not {count}")
            if num_oov_indices != 0:
                raise ValueError(
                    f"{self._what}: num_oov_indices is for a vocabulary; count the row of unseen ids in num_embeddings"
                )
            return count, None
        vocabulary = WordVocabulary(given[0], num_oov_indices, f"{self._what}: vocabulary")
        return len(vocabulary), vocabulary

    def _positive(self, what: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{self._what}: {what} must be a positive integer, not {value!r}")
        return int(value)

    def _one_of(self, what: str, value: Any, allowed: Sequence[str]) -> Any:
        if value not in allowed:
            raise ValueError(f"{self._what}: {what} must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def _operation(self, operation: Any, parts: int) -> Any:
        """A known operation whose parts fit the dim."""
        if self._one_of("operation", operation, OPERATIONS) == "concat" and self.embedding_dim % parts:
            raise ValueError(
                f"{self._what}: concat of {parts} parts needs an embedding_dim divisible by {parts}, "
                f"not {self.embedding_dim}"
            )
        return operation

    def _deviation(self, std: Any) -> float:
        if isinstance(std, bool) or not isinstance(std, int | float | np.number) or not 0 < std < float("inf"):
            raise ValueError(f"{self._what}: std must be a positive number, not {std!r}")
        return float(std)


def _sort(inputs: Any) -> str:
    """`integer`, `string`, or the name of another type."""
    dtype = getattr(inputs, "dtype", None)
    if dtype is None:
        dtype = np.asarray(inputs).dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind == "O" and isinstance(inputs, np.ndarray):
            types = {"string" if isinstance(one, str | bytes) else type(one).__name__ for one in inputs.flat}
            return " and ".join(sorted(types or {"string"}))
        if dtype.kind in "USOT":
            return "string"
        name = dtype.name
    else:
        name = keras.backend.standardize_dtype(dtype)
    return "integer" if name in _INTEGERS else name


def _is_ragged(inputs: Any) -> bool:
    """Whether rows are of different lengths: TensorFlow's, the one backend that has such tensors."""
    return hasattr(inputs, "with_flat_values")


def _known(fact: Tensor) -> bool | None:
    """A boolean tensor as a Python one; None while a function is traced to be compiled, when there is no value."""
    try:
        return bool(fact)
    except Exception:  # every backend has an error of its own for this
        return None
