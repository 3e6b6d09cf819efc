"""Checks on how torch runs a method: any number of threads, and compiled as one graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from coset.testing.cases import Case, attributed, equal, gradients, near
from coset.testing.check import check, expect


@check(attributed("broad", 3000, 64), attributed("long", 20_000, 16))
def thread_count_does_not_matter(case: Case) -> None:
    """vectors, bags and gradients have the same bits with one thread and with two"""
    ids, offsets = case.ids(5000), torch.arange(0, 5000, 10)
    embedding, bag = case.embedding(), case.bag(mode="sum")
    seen: list[dict[str, Tensor | None]] = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        vectors, pooled = embedding(ids), bag(ids, offsets)
        of_vectors, of_bags = gradients(embedding, vectors), gradients(bag, pooled)
        seen.append(
            {"vectors": vectors, "bags": pooled, "materialize()": embedding.materialize()}
            | {f"the gradient of {name!r}": gradient for name, gradient in of_vectors.items()}
            | {f"the gradient of {name!r} by bags": gradient for name, gradient in of_bags.items()}
        )
    for what in seen[0]:
        expect(equal(seen[0][what], seen[1][what]), f"{what} differ between one thread and two")


@check(attributed("prime", 101, 8))
def compiles_whole(case: Case) -> None:
    """`torch.compile(fullgraph=True)` takes Embedding and EmbeddingBag, forward and backward, and changes nothing"""
    ids = case.ids(12)
    options: tuple[dict[str, Any], ...] = ({}, {"padding_idx": int(ids[1]), "order": case.every_id.flip(0)})
    for given in options:
        _compiled(case.embedding(**given), (ids.view(3, 4),))
        _compiled(case.bag(mode="mean", **given), (ids, torch.tensor([0, 0, 3, 7])))


def _compiled(module: nn.Module, arguments: tuple[Any, ...]) -> None:
    torch.compiler.reset()
    plain = module(*arguments)
    expected = gradients(module, plain)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")(*arguments)
    name = type(module).__name__
    expect(near(compiled, plain, 1e-6, 1e-7), f"{name}: compiled values differ")
    for key, gradient in gradients(module, compiled).items():
        eager = expected[key]
        same = gradient is eager or (gradient is not None and eager is not None and near(gradient, eager, 1e-5, 1e-7))
        expect(same, f"{name}: the compiled gradient of {key!r} differs")
