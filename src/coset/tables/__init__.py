"""Tables as users put them in a model: `Embedding`, `EmbeddingBag`, `EmbeddingCollection`, `EmbeddingBagCollection`.

They own, once for all methods, what is not storage: checks of ids, padding, pooling, per-sample weights, arrays that
tables share, and the order of popularity where ids do not come in it.
"""

from coset.tables.bags import Mode
from coset.tables.collections import EmbeddingBagCollection, EmbeddingCollection
from coset.tables.owner import MethodLike, check_ids
from coset.tables.single import Embedding, EmbeddingBag

__all__ = [
    "Embedding",
    "EmbeddingBag",
    "EmbeddingBagCollection",
    "EmbeddingCollection",
    "MethodLike",
    "Mode",
    "check_ids",
]
