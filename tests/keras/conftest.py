"""Every test here runs on the backend that KERAS_BACKEND names: torch in `make test`, the others in
`make test-keras`."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the backends say while they are imported is their own matter
    import keras

    from coset.keras import (
        CompositionalEmbedding,
        FullEmbedding,
        HashingEmbedding,
        LowRankEmbedding,
        MDEmbedding,
        QREmbedding,
    )

HERE = Path(__file__).parent

# name → (class, arguments), for 101 ids and vectors of 8 elements
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "qr mult": (QREmbedding, {"num_embeddings": 101, "embedding_dim": 8, "num_buckets": 11}),
    "qr add": (QREmbedding, {"num_embeddings": 101, "embedding_dim": 8, "num_buckets": 7, "operation": "add"}),
    "qr concat": (QREmbedding, {"num_embeddings": 101, "embedding_dim": 8, "num_buckets": 30, "operation": "concat"}),
    "qr keras": (QREmbedding, {"num_embeddings": 101, "embedding_dim": 8, "num_buckets": 11, "layout": "keras"}),
    "md": (
        MDEmbedding,
        {"block_sizes": [10, 30, 61], "blocks_embedding_dims": [8, 4, 1], "base_embedding_dim": 8},
    ),
    "md one block": (MDEmbedding, {"block_sizes": [101], "blocks_embedding_dims": [3], "base_embedding_dim": 8}),
    "md keras": (
        MDEmbedding,
        {
            "block_sizes": [10, 30, 61],
            "blocks_embedding_dims": [8, 4, 1],
            "base_embedding_dim": 8,
            "layout": "keras",
        },
    ),
    "mixed radix": (
        CompositionalEmbedding,
        {"num_embeddings": 101, "embedding_dim": 8, "moduli": [5, 4, 6], "operation": "add"},
    ),
    "chinese remainder": (
        CompositionalEmbedding,
        {
            "num_embeddings": 101,
            "embedding_dim": 8,
            "moduli": [13, 8],
            "operation": "concat",
            "scheme": "chinese_remainder",
        },
    ),
    "hash remainder": (HashingEmbedding, {"num_embeddings": 101, "embedding_dim": 8, "num_buckets": 25}),
    "hash": (
        HashingEmbedding,
        {"num_embeddings": 101, "embedding_dim": 8, "num_buckets": 25, "hash": "multiply_shift", "seed": 7},
    ),
    "full": (FullEmbedding, {"num_embeddings": 101, "embedding_dim": 8}),
    "low rank": (LowRankEmbedding, {"num_embeddings": 101, "embedding_dim": 8, "rank": 3}),
    "low rank full": (LowRankEmbedding, {"num_embeddings": 101, "embedding_dim": 8, "rank": 8}),
}


# name → a storage in JSON, as it may be given to a layer without torch
STORAGES: dict[str, Any] = {
    "8 bits": "packed",
    "4 bits": {"storage": "packed", "bits": 4},
    "3 bits by row": {"storage": "packed", "bits": 3, "step": "row", "padded": True},
    "2 bits by block": {"storage": "packed", "bits": 2, "step": "block", "block": 3, "step_dtype": "float16"},
}


# a case, and its storage
ROUNDED = [("qr mult", "8 bits"), ("full", "4 bits"), ("low rank", "3 bits by row"), ("md", "2 bits by block")]


def with_words(arguments: dict[str, Any], words: Any) -> dict[str, Any]:
    """Arguments of a case with a vocabulary in the place of the number of ids."""
    arguments = dict(arguments)
    if arguments.pop("num_embeddings", None):
        return arguments | {"vocabulary": words}
    stops = np.cumsum([0, *arguments.pop("block_sizes")])
    return arguments | {"blocks_vocabulary": [words[a:b] for a, b in itertools.pairwise(stops)]}


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Keras and the backends warn of what they do among themselves; what coset does stays an error."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`make` and `make_of` are run for every case."""
    for fixture in ("make", "make_of"):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, list(CASES), indirect=True)


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`make(**options)` gives a fresh layer of one case."""
    cls, arguments = CASES[request.param]
    keras.utils.set_random_seed(0)
    return lambda **options: cls(**(arguments | options))


@pytest.fixture
def make_of(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`make_of(words, **options)` gives a fresh layer of one case, with a vocabulary of 101 words; None: of ids."""

    def make(words: Any, **options: Any) -> Any:
        cls, arguments = CASES[request.param]
        return cls(**((arguments if words is None else with_words(arguments, words)) | options))

    return make


@pytest.fixture
def to_numpy() -> Callable[[Any], np.ndarray]:
    """A tensor of the backend as numpy."""
    return keras.ops.convert_to_numpy


@pytest.fixture
def backend() -> str:
    """Name of the backend."""
    return str(keras.backend.backend())


@pytest.fixture
def layer_of() -> Callable[..., Any]:
    """`layer_of(case, storage, **options)` gives a built layer of a case with a storage of the list, or another one."""

    def make(case: str, storage: Any, **options: Any) -> Any:
        cls, arguments = CASES[case]
        keras.utils.set_random_seed(0)
        chosen = STORAGES.get(storage, storage) if isinstance(storage, str) else storage
        layer = cls(**arguments, storage=chosen, **options)
        layer.build()
        return layer

    return make


@pytest.fixture(params=ROUNDED, ids=" ".join)
def layer(request: pytest.FixtureRequest, layer_of: Callable[..., Any]) -> Any:
    """A fresh layer `user` that rounds, of one method with one storage."""
    return layer_of(*request.param, name="user")


@pytest.fixture
def model_of() -> Callable[..., Any]:
    """`model_of(layer)` gives a compiled model of ids and a layer; `rate` is that of SGD."""

    def make(layer: Any, *, loss: Any = "mse", rate: float = 0.1) -> Any:
        model = keras.Sequential([keras.Input((), dtype="int32"), layer])
        model.compile(keras.optimizers.SGD(rate), loss, jit_compile=False)
        return model

    return make


@pytest.fixture
def bytes_of() -> Callable[[Any], int]:
    """The bytes of the weights of a layer."""
    return lambda layer: sum(keras.ops.convert_to_numpy(weight).nbytes for weight in layer.weights)
