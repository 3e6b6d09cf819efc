"""`StoredLayer`: a layer whose weights are arrays that a storage keeps, in the training form or packed."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops

from coset.keras.composition import Array
from coset.keras.storage import ArrayStorage, LayerArray, Weight, layer_storage

_CHOICE = "storage"
"""The entry of saved weights that says what they mean."""


class StoredLayer(keras.layers.Layer):
    """A subclass says which arrays there are, in `arrays`, and reads them in `call`.

    Args:
        storage: of all arrays, by its name, its JSON, a type of numbers, or as a storage of coset.
        embeddings_initializer: of all stored rows, instead of the layer's own.
        embeddings_regularizer: of all stored rows.
        kwargs: of `keras.layers.Layer`.
    """

    built: bool  # Keras has no types
    name: str
    _packed: bool = False

    def __init__(
        self, storage: Any, embeddings_initializer: Any, embeddings_regularizer: Any, **kwargs: Any
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        with self._named():
            self.storage: ArrayStorage = layer_storage(storage)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self._stored_arrays: dict[str, LayerArray] = {}

    @abstractmethod
    def arrays(self) -> list[Array]:
        """The stored arrays, in the order of the weights."""

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; their sizes do not depend on the input."""
        if self.built:
            return
        with _outside_of_graphs():  # steps are fitted to numbers, which are to be there
            for number, (array, stored) in enumerate(self._unmade(self.storage)):
                weights = stored.unfilled() if self._packed else stored.fresh(self._drawing(array, number))
                with self._named(array.name):
                    self._give(array, stored, weights)
        self.built = True

    @property
    def stored(self) -> dict[str, Any]:
        """The weights by their keys in the state of the table's torch module."""
        return {
            f"{name}.{key}": variable
            for name, array in self._stored_arrays.items()
            for key, variable in array.variables.items()
        }

    # -- forms ------------------------------------------------------------------------------------------------------

    @property
    def packed(self) -> bool:
        """Whether the weights are packed codes, which are read and not trained."""
        return self._packed

    @property
    def trainable(self) -> bool:
        """Whether optimizers train the layer; never while it is packed."""
        return bool(super().trainable) and not self._packed

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value and self._packed:
            raise ValueError(
                f"{self._what}: its rows are packed, and packed rows are not trained; coset.keras.unpack_layers makes "
                f"them trainable"
            )
        keras.layers.Layer.trainable.fset(self, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """As in Keras, but on TensorFlow, too, where it leaves out values that a property has already."""
        if name == "trainable":
            StoredLayer.trainable.fset(self, value)  # type: ignore[attr-defined]
        else:
            super().__setattr__(name, value)

    def fault(self) -> str | None:
        """Why `pack` would refuse, as a phrase; None where it would not."""
        faults = ((name, array.fault()) for name, array in self._stored_arrays.items())
        return next((f"{self._what}: {name}: {fault}" for name, fault in faults if fault is not None), None)

    def pack(self) -> None:
        """Keep the stored form alone, which reads the same; as in `coset.keras.pack_layers`, which sees to models."""
        if self.storage.has_forms and not self._packed:
            if not self.built:
                self.build()
            self._become({name: array.pack() for name, array in self._stored_arrays.items()}, packed=True)

    def unpack(self) -> None:
        """Go to the training form."""
        if self._packed:
            if not self.built:
                self.build()
            self._become({name: array.unpack() for name, array in self._stored_arrays.items()}, packed=False)

    def storable(self, storage: Any) -> ArrayStorage:
        """The storage that is given, which can hold the arrays of the layer.

        Raises:
            ValueError: it cannot.
        """
        with self._named():
            chosen = layer_storage(storage)
        self._unmade(chosen)
        return chosen

    def store(self, storage: Any) -> None:
        """Keep the same numbers, as near as it can, in another storage, in its training form."""
        chosen = self.storable(storage)
        if not self.built:
            self.build()
        new = {array.name: stored for array, stored in self._unmade(chosen)}
        weights = {}
        for name, stored in new.items():
            with self._named(name):
                weights[name] = stored.holding(_whole(self._stored_arrays[name]))
        self._become(weights, packed=False, arrays=new)
        self.storage = chosen

    # -- the torch module of the table --------------------------------------------------------------------------------

    def torch_state(self) -> dict[str, dict[str, np.ndarray]]:
        """The state of the torch module of each array, by the array's name in that of the table."""
        return {name: array.torch_state() for name, array in self._stored_arrays.items()}

    def take_torch_state(self, state: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Hold the weights of such states, in the form that they have: all in one."""
        if not self.built:
            self.build()
        new = {array.name: stored for array, stored in self._unmade(self.storage)}
        weights = {}
        for name, stored in new.items():
            with self._named(name):
                weights[name] = stored.from_torch_state(state[name])
        packed = {not any(weight.trainable for weight in of.values()) for of in weights.values()}
        if len(packed) > 1:
            raise ValueError(f"{self._what}: some of its arrays are packed, and some are not; coset.pack_ packs all")
        self._become(weights, packed=packed.pop(), arrays=new)

    # -- saving -------------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """What makes an equal layer, in the same form."""
        return {
            **super().get_config(),
            "trainable": bool(super().trainable),
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(self.embeddings_regularizer),
            "storage": self.storage.to_json(),
            "packed": self._packed,
        }

    def save_own_variables(self, store: Any) -> None:
        """The weights, and what they mean where another storage would read them as something else."""
        super().save_own_variables(store)
        if self.storage.has_forms:
            store[_CHOICE] = np.frombuffer(self._choice.encode(), dtype=np.uint8)

    def load_own_variables(self, store: Any) -> None:
        """The weights, of this storage and form.

        Raises:
            ValueError: they are of another one.
        """
        keys = list(store.keys())
        if _CHOICE in keys or self.storage.has_forms:
            found = np.asarray(store[_CHOICE]).tobytes().decode() if _CHOICE in keys else None
            if found != self._choice:
                raise ValueError(
                    f"{self._what}: expected weights of {self._choice}, but these are of "
                    f"{found or 'a layer without packed storage'}; give the layer the same storage and form"
                )
        super().load_own_variables({key: np.asarray(store[key]) for key in keys if key != _CHOICE})

    @property
    def _choice(self) -> str:
        return json.dumps(self.storage.to_json() | {"packed": self._packed})

    # -- weights ------------------------------------------------------------------------------------------------------

    @property
    def _what(self) -> str:
        """The name of the layer in errors."""
        return f"{type(self).__name__} {self.name!r}"

    @contextmanager
    def _named(self, array: str | None = None) -> Iterator[None]:
        """Errors begin with the name of the layer, and perhaps of an array."""
        try:
            yield
        except ValueError as error:
            raise ValueError(": ".join([self._what, *([array] if array else []), str(error)])) from None

    def _unmade(self, storage: ArrayStorage) -> list[tuple[Array, LayerArray]]:
        unmade = []
        for array in self.arrays():
            with self._named(array.name):
                unmade.append((array, storage.build(*array.shape, self.variable_dtype)))
        return unmade

    def _give(self, array: Array, stored: LayerArray, weights: Mapping[str, Weight]) -> None:
        """Make the weights of an array."""
        self._stored_arrays[array.name] = stored
        prefix = array.name.replace(".", "_")  # torch allows no dots
        for key, weight in weights.items():
            stored.variables[key] = self.add_weight(
                name=prefix if key == "weight" else f"{prefix}_{key}",
                shape=weight.shape,
                dtype=weight.dtype,
                initializer=weight.initial(),
                trainable=weight.trainable,
                regularizer=self.embeddings_regularizer if array.is_rows and weight.is_numbers else None,
                autocast=False,  # rows are cast after they are read: casting the table would cost more than reading
            )

    def _become(
        self, weights: Mapping[str, Mapping[str, Weight]], packed: bool, arrays: Mapping[str, LayerArray] | None = None
    ) -> None:  # fmt: skip
        """Hold these weights instead of the present ones. Keras locks layers once they are built; its own layers unlock
        themselves likewise to be quantized."""
        for variable in self.stored.values():
            self._untrack_variable(variable)
        self._packed = packed
        self._tracker.unlock()
        try:
            with keras.name_scope(self.name):
                for array in self.arrays():
                    stored = (arrays or self._stored_arrays)[array.name]
                    stored.variables = {}
                    self._give(array, stored, weights[array.name])
        finally:
            self._tracker.lock()

    def _drawing(self, array: Array, number: int) -> Any:
        """The initializer of an array."""
        given = self.embeddings_initializer
        if given is None or not array.is_rows:
            return array.initializer()
        if not hasattr(given, "get_config"):
            return given
        # One initializer with one seed would fill arrays of one shape with the same values.
        config = given.get_config()
        if isinstance(config.get("seed"), int):
            config["seed"] += number
        return type(given).from_config(config)


def _outside_of_graphs() -> AbstractContextManager[Any]:
    """Where weights have values at once, also while TensorFlow makes a graph of the call that builds a layer."""
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    scope: AbstractContextManager[Any] = tf.init_scope()
    return scope


def _whole(array: LayerArray) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(array.whole()), dtype=np.float64)
