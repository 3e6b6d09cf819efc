"""Checks on how torch runs a method: any number of threads, and compiled as one graph."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from coset.testing.cases import Case, attributed, equal, gradients, near
from coset.testing.check import check, expect


@check(attributed("broad", 1000, 64))
def thread_count_does_not_matter(case: Case) -> None:
    """vectors, bags and gradients have the same bits with one thread and with two"""
    ids, offsets = case.ids(2000), torch.arange(0, 2000, 10)
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


class Side(nn.Module):
    """Modules side by side, all given the same: their graph takes little more time than that of one of them."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, *given: Tensor) -> list[Tensor]:
        """What each of them gives."""
        return [part(*given) for part in self.parts]


@check(attributed("prime", 101, 8), of_variants=True, together=True)
def compiles_whole(*cases: Case) -> None:
    """one graph of `torch.compile(fullgraph=True)` takes any number of ids, forward and backward, changes nothing, and
    gives NaN for ids out of range"""
    cases = tuple(dict.fromkeys((cases[0], cases[-1])))  # what lies between is made of the same operators
    case, *_ = cases
    ids, more, n = case.ids(12), case.ids(10, seed=1), case.table.num_embeddings
    wrong = torch.cat([case.ids(7, seed=2), torch.tensor([-1, n, 2**40])])
    # Bags pool these vectors, whatever the method, so they need no graph of their own here.
    side = Side(case.embedding(padding_idx=int(ids[1]), order=case.every_id.flip(0)) for case in cases)
    torch.compiler.reset()
    compiled = torch.compile(side, fullgraph=True, dynamic=True, backend="aot_eager")
    _gradients(side, compiled(ids.view(3, 4)))
    with torch.compiler.set_stance("fail_on_recompile"):
        plain, found = side(more.view(2, 5)), compiled(more.view(2, 5))
        expected, graph = _gradients(side, plain), _gradients(side, found)
        missing = compiled(wrong.view(2, 5))
    expect(all(map(_near, found, plain)), "compiled values differ")
    for key, gradient in graph.items():
        eager = expected[key]
        same = gradient is eager or (gradient is not None and eager is not None and near(gradient, eager, 1e-5, 1e-7))
        expect(same, f"the compiled gradient of {key!r} differs")
    for vectors in missing:
        for place, row in enumerate(vectors.isnan().reshape(len(wrong), -1)):
            is_wrong = place >= 7
            expect(bool(row.all()) == is_wrong, f"vector {place} is {'not ' if is_wrong else ''}NaN in a graph")
            expect(bool(row.any()) == is_wrong, f"vector {place} is NaN in part")


def _near(left: Tensor, right: Tensor) -> bool:
    return near(left, right, 1e-6, 1e-7)


def _gradients(side: Side, vectors: list[Tensor]) -> dict[str, Tensor | None]:
    return gradients(side, torch.cat([each.reshape(-1) for each in vectors]))
