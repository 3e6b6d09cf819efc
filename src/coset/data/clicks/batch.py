"""`ClickBatch`: the rows of one training step of a click model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from coset.errors import InputError


@dataclass(frozen=True, eq=False)
class ClickBatch:
    """Rows of a click log.

    Args:
        labels: 0 or 1, float32, shape `(rows,)`.
        numeric: float32, shape `(rows, number of numeric columns)`.
        ids: one id a row of every one-hot feature, int64, contiguous, shape `(one-hot features, rows)`.
        bags: multi-hot features by name: the ids of all rows one after the other, and where those of each row begin
            among them, both int64.
    """

    labels: Tensor
    numeric: Tensor
    ids: Tensor
    bags: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def features(self, names: Sequence[str]) -> Tensor | dict[str, Any]:
        """The input of an `EmbeddingBagCollection`: the matrix of ids, or a mapping where there are bags.

        Args:
            names: of all features, the one-hot ones first, as `ClickData.features` has them.

        Raises:
            InputError: there are more or fewer names than features.
        """
        if len(names) != len(self.ids) + len(self.bags):
            raise InputError(
                f"a batch of {len(self.ids)} one-hot and {len(self.bags)} multi-hot features, but {len(names)} names"
            )
        if not self.bags:
            return self.ids
        one_hot = dict(zip(names, self.ids, strict=False))
        return one_hot | {name: self.bags[name] for name in names[len(one_hot) :]}
