"""Keras 3 layers: coset's tables on TensorFlow, JAX and torch.

They share `coset.partitions` with the torch methods, keep numbers as `coset.storage` does, and compute with `keras.ops`
alone, so one layer runs on every backend of Keras. Importing `coset` does not import this module; importing this module
imports keras, but no torch.
"""

from __future__ import annotations

try:
    import keras as _keras  # noqa: F401 - asked for here, so that what is missing is said in one sentence
except ImportError as error:
    raise ImportError(
        "coset.keras needs Keras 3 and one of its backends: pip install 'coset[keras]', and tensorflow, jax or torch"
    ) from error

from coset.keras.base import TableLayer
from coset.keras.bridge import from_torch, to_torch
from coset.keras.compositional import CompositionalEmbedding
from coset.keras.forms import pack_layers, store_layers, unpack_layers
from coset.keras.full import FullEmbedding
from coset.keras.hashing import HashingEmbedding
from coset.keras.low_rank import LowRankEmbedding
from coset.keras.mixed_dimension import MDEmbedding
from coset.keras.quotient_remainder import QREmbedding
from coset.keras.vocabulary import WordVocabulary

__all__ = [
    "CompositionalEmbedding",
    "FullEmbedding",
    "HashingEmbedding",
    "LowRankEmbedding",
    "MDEmbedding",
    "QREmbedding",
    "TableLayer",
    "WordVocabulary",
    "from_torch",
    "pack_layers",
    "store_layers",
    "to_torch",
    "unpack_layers",
]
