"""Offsets that do not lie side by side in memory."""

from __future__ import annotations

import torch

from coset import EmbeddingBag, Full


def test_strided_offsets_are_those_of_their_values() -> None:
    bag = EmbeddingBag(6, 1, Full(), mode="sum")
    bag.fit_(torch.arange(6.0).view(6, 1))
    found = bag(torch.arange(6), torch.arange(6)[::2])
    assert found.detach().ravel().tolist() == [1.0, 5.0, 9.0]
