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
    """one graph of `torch.compile(fullgraph=True)` takes any number of ids, forward and backward, changes nothing, and
    gives NaN for ids out of range"""
    ids, more, n = case.ids(12), case.ids(10, seed=1), case.table.num_embeddings
    wrong = torch.cat([case.ids(7, seed=2), torch.tensor([-1, n, 2**40])])
    # Bags pool these vectors, whatever the method, so they need no graph of their own here.
    module = case.embedding(padding_idx=int(ids[1]), order=case.every_id.flip(0))
    _compiled(module, (ids.view(3, 4),), (more.view(2, 5),), (wrong.view(2, 5),), [True] * 7 + [False] * 3)


def _compiled(
    module: nn.Module, first: tuple[Any, ...], then: tuple[Any, ...], wrong: tuple[Any, ...], right: list[bool]
) -> None:
    """Compile for `first`; hold what the graph gives to eager calls for `then`, of another size, and to NaN for those
    vectors of `wrong` that are not `right`."""
    torch.compiler.reset()
    name = type(module).__name__
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    gradients(module, compiled(*first))
    with torch.compiler.set_stance("fail_on_recompile"):
        plain, found = module(*then), compiled(*then)
        expect(near(found, plain, 1e-6, 1e-7), f"{name}: compiled values differ")
        expected = gradients(module, plain)
        for key, gradient in gradients(module, found).items():
            eager = expected[key]
            same = gradient is eager or (
                gradient is not None and eager is not None and near(gradient, eager, 1e-5, 1e-7)
            )
            expect(same, f"{name}: the compiled gradient of {key!r} differs")
        missing = compiled(*wrong).isnan().reshape(len(right), -1)
    for place, (row, is_right) in enumerate(zip(missing, right, strict=True)):
        expect(bool(row.all()) != is_right, f"{name}: vector {place} is {'NaN' if is_right else 'not NaN'} in a graph")
        expect(bool(row.any()) != is_right, f"{name}: vector {place} is NaN in part")
