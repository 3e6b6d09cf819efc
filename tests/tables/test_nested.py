"""Jagged nested tensors: every weight meets the id of its own list, or nobody's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from coset.errors import InputError
from coset.schema import Table
from coset.tables import EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection


def jagged(*lists: list[Any], dtype: torch.dtype = torch.float32) -> Tensor:
    found: Tensor = torch.nested.nested_tensor([torch.tensor(each, dtype=dtype) for each in lists], layout=torch.jagged)
    return found


IDS = jagged([1, 2], [3], dtype=torch.int64)
HOLES = torch.nested.nested_tensor_from_jagged(torch.ones(3), torch.tensor([0, 2, 3]), torch.tensor([1, 1]))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (jagged([1.0], [3.0, 2.0]), "have 1 elements in bag 0, the ids 2; give a weight for each id"),
        (jagged([1.0, 3.0], [2.0, 4.0]), "have 2 elements in bag 1, the ids 1"),
        (jagged([1.0, 3.0], [], [2.0]), "have 3 lists, the ids 2"),
        (HOLES, "are one list a bag, without room between lists"),
    ],
    ids=["order", "lengths", "lists", "holes"],
)
def test_weights_in_lists_of_other_lengths_are_told(weights: Tensor, said: str) -> None:
    with pytest.raises(InputError, match=f"^table 'embedding': nested per_sample_weights .*{said}"):
        EmbeddingBag(10, 4, mode="sum")(IDS, per_sample_weights=weights)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_weights_of_the_older_layout_are_told() -> None:
    weights = torch.nested.nested_tensor([torch.ones(2), torch.ones(1)], layout=torch.strided)
    with pytest.raises(InputError, match=r"nested per_sample_weights must be of layout torch.jagged, not strided"):
        EmbeddingBag(10, 4, mode="sum")(IDS, per_sample_weights=weights)


def test_a_graph_gives_nan_for_bags_of_other_lengths() -> None:
    module = EmbeddingBag(10, 4, mode="sum")
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    alike = jagged([1.0, 3.0], [2.0])
    expected = module(IDS, per_sample_weights=alike)
    torch.testing.assert_close(compiled(IDS, per_sample_weights=alike), expected)
    found = compiled(jagged([3], [1, 2], dtype=torch.int64), per_sample_weights=jagged([2.0], [1.0, 3.0]))
    torch.testing.assert_close(found, expected.flip(0))
    assert compiled(IDS, per_sample_weights=jagged([1.0], [3.0, 2.0])).isnan().all()


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
@pytest.mark.parametrize("rest", [1, 2], ids=["offsets", "weights"])
def test_collections_take_nested_ids_alone(kind: Any, rest: int) -> None:
    collection = kind([(Table("u", 10, 4), "full")])
    with pytest.raises(InputError, match=r"^feature 'u': nested ids hold where each bag begins"):
        collection({"u": (IDS, torch.tensor([0, 2]), torch.ones(3))[: rest + 1]})
