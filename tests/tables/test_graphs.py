"""Graphs of torch.compile, torch.export and ONNX: the vectors of eager calls, for any number of ids and bags, and NaN
for ids out of range. Tables of all methods stand side by side in one module, whose graph takes little more time than
that of one table; one variant of each method, or all of them where COSET_EVERY_EXAMPLE is set, which takes minutes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim

from coset.methods import Blocks, FeatureGeneration, Full, LowRank, Method, registered
from coset.tables import Embedding, EmbeddingBag
from coset.testing.cases import attributed
from coset.testing.engines import Side

N, DIM = 101, 8
ITEM = attributed("item", N, DIM)
ORDER = torch.arange(N - 1, -1, -1)
MODES = ("sum", "mean", "max")
WRONG = (-1, N, 2**40, -(2**40))
EVERY = bool(os.environ.get("COSET_EVERY_EXAMPLE"))
METHODS: list[Method] = [
    method
    for kind in registered().values()
    for method in (kind.examples(ITEM) if EVERY else kind.examples(ITEM)[:2][-1:])
]
KINDS = METHODS if EVERY else list({type(method.build(ITEM)): method for method in METHODS}.values())
"""One method for each way to look up."""
POOLED = METHODS if EVERY else [*[Full()] * 3, *[FeatureGeneration((5, 5, 5))] * 3]
"""Methods of bags: these pool vectors, whatever they are made of; one vector an id and several, in each mode."""
ANY = Dim.DYNAMIC

pytestmark = pytest.mark.timeout(1800 if EVERY else 240)


def embeddings(methods: Sequence[Method] = METHODS, **options: Any) -> Side:
    torch.manual_seed(0)
    return Side([Embedding.from_table(ITEM, method, **options) for method in methods])


def bags(methods: Sequence[Method] = METHODS, modes: Sequence[str] = MODES, **options: Any) -> Side:
    """A bag of each method, in one mode after another."""
    torch.manual_seed(0)
    made = (EmbeddingBag.from_table(ITEM, m, mode=modes[at % len(modes)], **options) for at, m in enumerate(methods))
    return Side(list(made))


def draw(*shape: int) -> Tensor:
    return torch.randint(N, shape, generator=torch.Generator().manual_seed(sum(shape)))


def agree(module: Side, graph: Callable[..., Sequence[Tensor]], *given: Tensor) -> None:
    """A graph gives what the module gives when it is called as it is."""
    for part, found, expected in zip(module.parts, graph(*given), module(*given), strict=True):
        torch.testing.assert_close(
            torch.as_tensor(found), expected, rtol=1e-5, atol=1e-6, msg=lambda text, p=part: f"{p}: {text}"
        )


def nan_where_wrong(graph: Callable[..., Sequence[Tensor]], right: Sequence[int], *given: Tensor) -> None:
    """Of what a graph gives, all is NaN but the rows `right`, in which nothing is."""
    for found in map(torch.as_tensor, graph(*given)):
        expected = torch.ones(len(found), dtype=torch.bool)
        expected[list(right)] = False
        assert found.flatten(1).isnan().all(1).tolist() == expected.tolist()
        assert found.flatten(1).isnan().any(1).tolist() == expected.tolist()


def graphs(module: nn.Module, calls: Sequence[tuple[Any, ...]]) -> int:
    """How many graphs torch.compile makes for these calls."""
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(module, backend=counter, fullgraph=True)
    for given in calls:
        compiled(*given)
    return counter.frame_count


# -- torch.compile -------------------------------------------------------------------------------------------
# Every variant of every method is compiled by the contract suite, for any number of ids.

RAGGED = [(draw(count), torch.tensor(offsets)) for count, offsets in [(20, [0, 7]), (25, [0, 7]), (60, [0, 3, 3])]]
PADDED = [(draw(*shape),) for shape in [(3, 4), (5, 6), (40, 7)]]


@pytest.mark.parametrize("calls", [RAGGED, PADDED], ids=["ragged", "padded"])
def test_bags_make_the_graphs_of_torch(calls: list[tuple[Tensor, ...]]) -> None:
    allowed = graphs(nn.EmbeddingBag(N, DIM, mode="sum"), calls)
    assert graphs(EmbeddingBag(N, DIM, Blocks((4,), (Full(), LowRank(2))), mode="sum"), calls) <= allowed


def test_an_id_out_of_range_makes_its_bag_nan_wherever_it_stands() -> None:
    module = bags([Full()] * 3, padding_idx=0)
    compiled = torch.compile(module, dynamic=True, fullgraph=True, backend="aot_eager")
    for wrong in WRONG:
        ids, begin = torch.tensor([3, wrong, 4, 5, wrong, 0, 1, 0, 2]), torch.tensor([0, 3, 3, 5, 7])
        nan_where_wrong(compiled, [1, 3, 4], ids, begin)
        nan_where_wrong(compiled, [0, 2], torch.tensor([[3, 4, 5], [0, 1, wrong], [0, 0, 0], [wrong, 0, 4]]))


def test_an_id_out_of_range_gives_no_row_a_gradient() -> None:
    module = Side([*embeddings([Full(), LowRank(2)]).parts, *bags([Full()] * 3).parts])
    compiled = torch.compile(module, dynamic=True, fullgraph=True, backend="aot_eager")
    found = compiled(torch.tensor([[3, 4], [-1, N], [5, 5]]))
    torch.stack([each.flatten(1).nan_to_num(0).sum() for each in found]).sum().backward()
    for part in module.parts:
        rows = next(part.parameters()).grad
        assert rows is not None
        assert sorted(set(rows.abs().sum(1).nonzero().flatten().tolist())) == [3, 4, 5]


# -- torch.export --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [False, True], ids=["traced", "strict"])
def test_exported_lookups_take_any_number_of_ids(strict: bool) -> None:
    # Strict export goes by way of torch.compile, to which the contract suite holds every method.
    module = embeddings(METHODS[:4] if strict and not EVERY else METHODS)
    exported = torch.export.export(module, (draw(7),), dynamic_shapes=(({0: ANY},),), strict=strict).module()
    for count in (7, 40, 1, 0):
        agree(module, exported, draw(count))
    nan_where_wrong(exported, [1, 4], torch.tensor([WRONG[0], 5, *WRONG[1:3], 100, WRONG[3]]))


@pytest.mark.parametrize("strict", [False, True], ids=["traced", "strict"])
def test_exported_bags_take_any_number_of_ids_and_bags(strict: bool) -> None:
    module = bags(POOLED)
    ids, bag = (Dim("ids"), Dim("bags")) if strict else (ANY, ANY)
    given = draw(7), torch.tensor([0, 2, 5])
    exported = torch.export.export(module, given, dynamic_shapes=(({0: ids}, {0: bag}),), strict=strict).module()
    for count, offsets in [(7, [0, 2, 5]), (40, [0, 0, 39, 40]), (5, [0]), (1, [0, 1]), (0, [0])]:
        agree(module, exported, draw(count), torch.tensor(offsets))
    nan_where_wrong(exported, [0, 2], torch.tensor([1, 2, 3, WRONG[0], 4, 5, WRONG[1]]), torch.tensor([0, 3, 5, 6]))


# -- ONNX ----------------------------------------------------------------------------------------------------


def in_onnxruntime(module: nn.Module, given: Tensor, sizes: dict[int, Any]) -> Callable[[Tensor], list[Tensor]]:
    """What onnxruntime computes of a module that was exported with free sizes."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    program = torch.onnx.export(
        module.eval(), (given,), dynamo=True, dynamic_shapes=((sizes,),), verbose=False, optimize=False
    )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (name,) = (one.name for one in session.get_inputs())
    return lambda ids: [torch.from_numpy(found) for found in session.run(None, {name: ids.numpy()})]


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's exporter, of torch's own trees
def test_lookups_and_padded_bags_run_in_onnxruntime_for_any_number_of_bags_and_ids() -> None:
    lookups, padded = embeddings(KINDS), bags(POOLED, padding_idx=0)
    both = Side([*lookups.parts, *padded.parts])
    graph = in_onnxruntime(both, draw(3, 4), {0: ANY, 1: ANY})
    for shape in [(5, 6), (1, 1), (40, 3)]:
        agree(both, graph, draw(*shape))
    agree(both, graph, torch.tensor([[0, 0, 5], [0, 0, 0]]))
    for wrong in WRONG:
        ids = torch.tensor([[3, 4, 5], [0, 1, wrong], [0, 0, 0], [wrong, 0, 4]])
        right = (ids != wrong).flatten().nonzero().flatten().tolist()
        nan_where_wrong(lambda ids: [v.flatten(0, 1) for v in graph(ids)[: len(lookups.parts)]], right, ids)
        nan_where_wrong(lambda ids: graph(ids)[len(lookups.parts) :], [0, 2], ids)
