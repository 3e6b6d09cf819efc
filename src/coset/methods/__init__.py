"""Methods: ways to store a table in fewer bytes, one file each.

This package imports every module of its folder, and has the classes decorated with `@register` by class name
(`coset.methods.LowRank`). Methods of other packages are found through the entry-point group `coset.methods`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coset.lazy import handing_on
from coset.methods.base import Method, TableModule, from_json, register
from coset.methods.registry import method, method_class, registered
from coset.methods.sizing import Sizes

__all__ = ["Method", "Sizes", "TableModule", "from_json", "method", "method_class", "register", "registered"]

# -- made by `make docs` of the registered methods --
if TYPE_CHECKING:
    from coset.methods.attribute_partitions import AttributePartitions
    from coset.methods.blocks import Blocks
    from coset.methods.bloom import Bloom
    from coset.methods.chinese_remainder import ChineseRemainder
    from coset.methods.deep_hash import DeepHash
    from coset.methods.feature_generation import FeatureGeneration
    from coset.methods.full import Full
    from coset.methods.generalized_quotient_remainder import GeneralizedQuotientRemainder
    from coset.methods.hash_embedding import HashEmbedding
    from coset.methods.hashing import Hashing
    from coset.methods.low_rank import LowRank
    from coset.methods.mixed_dimension import MixedDimension
    from coset.methods.path_based import PathBased
    from coset.methods.quotient_remainder import QuotientRemainder
    from coset.methods.robe import Robe
    from coset.methods.tensor_train import TensorTrain

_HOMES = {
    "AttributePartitions": "attribute_partitions",
    "Blocks": "blocks",
    "Bloom": "bloom",
    "ChineseRemainder": "chinese_remainder",
    "DeepHash": "deep_hash",
    "FeatureGeneration": "feature_generation",
    "Full": "full",
    "GeneralizedQuotientRemainder": "generalized_quotient_remainder",
    "HashEmbedding": "hash_embedding",
    "Hashing": "hashing",
    "LowRank": "low_rank",
    "MixedDimension": "mixed_dimension",
    "PathBased": "path_based",
    "QuotientRemainder": "quotient_remainder",
    "Robe": "robe",
    "TensorTrain": "tensor_train",
}
__all__ += [
    "AttributePartitions",
    "Blocks",
    "Bloom",
    "ChineseRemainder",
    "DeepHash",
    "FeatureGeneration",
    "Full",
    "GeneralizedQuotientRemainder",
    "HashEmbedding",
    "Hashing",
    "LowRank",
    "MixedDimension",
    "PathBased",
    "QuotientRemainder",
    "Robe",
    "TensorTrain",
]
# -- end --


def _of_another_package(name: str) -> type[Method]:
    for cls in registered().values():
        if cls.__name__ == name:
            return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # to a type checker, only the names above are there
    __getattr__, __dir__ = handing_on(__name__, _HOMES, _of_another_package)
