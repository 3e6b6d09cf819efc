"""What torch does to its own embeddings, done to tables: transforms, nested tensors, second derivatives, odd ids."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from coset import Embedding, EmbeddingBag, EmbeddingBagCollection, EmbeddingCollection, Table
from coset.errors import InputError
from coset.methods import Method, registered
from coset.optimizers import SGD
from coset.storage import StoredRows
from coset.testing.cases import attributed

N, DIM = 60, 8
TABLE = attributed("item", N, DIM, dtype=torch.float64, std=0.5)
EXAMPLES = [
    pytest.param(example, id=f"{name}-{at}")
    for name, kind in sorted(registered().items())
    for at, example in enumerate(kind.examples(TABLE))
]
IDS = torch.tensor([[1, 2, 2], [59, 0, 30]])


def jagged(*lists: list[Any]) -> Tensor:
    values = torch.cat([torch.tensor(each, dtype=torch.int64) for each in lists])
    ends = torch.tensor([0, *np.cumsum([len(each) for each in lists])])
    return torch.nested.nested_tensor_from_jagged(values, ends)


@pytest.mark.parametrize("method", EXAMPLES)
def test_transforms_of_functions(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_JIT", "0")  # or torch compiles for many seconds what it has for other functions
    module = Embedding.from_table(TABLE, method)
    torch.testing.assert_close(vmap(module)(IDS), module(IDS))
    given, index = {name: p.detach() for name, p in module.named_parameters()}, dict(module.named_buffers())

    def vectors(parameters: dict[str, Tensor], ids: Tensor) -> Tensor:
        found: Tensor = functional_call(module, (parameters, index), (ids,))
        return found

    def loss(parameters: dict[str, Tensor], ids: Tensor) -> Tensor:
        return vectors(parameters, ids).sin().sum()

    each = vmap(grad(loss), (None, 0))(given, IDS)
    for row, ids in enumerate(IDS):
        for name, expected in grad(loss)(given, ids).items():
            torch.testing.assert_close(each[name][row], expected)
    step = {name: torch.full_like(value, 1e-6) for name, value in given.items()}
    moved = {name: value + step[name] for name, value in given.items()}
    _, along = jvp(lambda parameters: vectors(parameters, IDS), (given,), (step,))
    torch.testing.assert_close(along, vectors(moved, IDS) - vectors(given, IDS), rtol=1e-2, atol=1e-9)
    by_row = jacrev(lambda parameters: vectors(parameters, IDS).sum())(given)
    assert all(by_row[name].shape == value.shape for name, value in given.items())
    for wrong in (-1, N):
        with pytest.raises(IndexError, match=f"'item': id {wrong} is out of range"):
            vmap(module)(torch.tensor([[1], [wrong]]))


@pytest.mark.parametrize("method", EXAMPLES)
def test_second_derivatives(method: Method) -> None:
    table, how = attributed("item", N, 2 * 2, dtype=torch.float64, std=0.5), method_for(method)
    module, bag = Embedding.from_table(table, how), EmbeddingBag.from_table(table, how, mode="mean")
    for ids in ([59], []):  # none of some block, and none at all
        first = torch.autograd.grad(
            module(torch.tensor(ids, dtype=torch.int64)).sin().sum(), tuple(module.parameters()), create_graph=True
        )
        sum(each.square().sum() for each in first).backward()  # type: ignore[union-attr]
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in module.parameters())
    for of, given in (
        (module, (torch.tensor([1, 2, 2]),)),
        (bag, (torch.tensor([1, 2, 2, 59]), torch.tensor([0, 0, 3]))),
    ):
        names, values = zip(*of.named_parameters(), strict=True)

        def vectors(*values: Tensor, of: Any = of, given: Any = given, names: Any = names) -> Any:
            return functional_call(of, dict(zip(names, values, strict=True)), given)

        assert torch.autograd.gradgradcheck(vectors, values, fast_mode=True)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch has no rule for its own pooling under vmap
@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_derivatives_of_bags(mode: Any, padding_idx: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTORCH_JIT", "0")  # or torch compiles for many seconds what it has for other functions
    torch.manual_seed(0)
    module = EmbeddingBag(6, 2, mode=mode, padding_idx=padding_idx, dtype=torch.float64, std=1.0)
    ((name, weight),) = module.named_parameters()
    ids, offsets = torch.tensor([[1, 2, 3, 4], [5, 5, 0, 2]]), torch.tensor([[0, 1, 1], [0, 0, 3]])
    square = ids.view(2, 2, 2)

    def pooled(weight: Tensor, *given: Any) -> Tensor:
        found: Tensor = functional_call(module, {name: weight}, given)
        return found

    def loss(weight: Tensor, *given: Any) -> Tensor:
        return pooled(weight, *given).sin().sum()

    for every in ((square,), (ids, offsets)):
        one = [each[1] for each in every]
        assert torch.autograd.gradcheck(lambda w, one=one: pooled(w, *one), (weight,), check_forward_ad=True)
        assert torch.autograd.gradgradcheck(lambda w, one=one: pooled(w, *one), (weight,))
        plain = weight.detach()
        torch.testing.assert_close(
            hessian(loss)(plain, *one), torch.autograd.functional.hessian(lambda w, one=one: loss(w, *one), plain)
        )
        torch.testing.assert_close(
            vmap(module)(*every), torch.stack([module(*each) for each in zip(*every, strict=True)])
        )
        torch.testing.assert_close(
            vmap(grad(loss), (None, *[0] * len(every)))(plain, *every),
            torch.stack([grad(loss)(plain, *each) for each in zip(*every, strict=True)]),
        )
        several = torch.stack([plain, 2 * plain])
        torch.testing.assert_close(
            vmap(lambda w, one=one: pooled(w, *one))(several), torch.stack([pooled(w, *one) for w in several])
        )
    torch.testing.assert_close(vmap(module, (0, 1))(ids, offsets.t()), vmap(module)(ids, offsets))
    with pytest.raises(InputError, match=r"offsets must begin at 0, not fall, and stay within 4, not \[0, 9\]"):
        vmap(module)(ids, torch.tensor([[0, 1], [0, 9]]))
    if mode == "sum":
        factors = torch.rand(4, dtype=torch.float64, requires_grad=True)
        both = weight, factors
        assert torch.autograd.gradcheck(lambda w, f: pooled(w, ids[0], offsets[1], f), both, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(lambda w, f: pooled(w, ids[0], offsets[1], f), both)


@pytest.mark.parametrize("kind", [EmbeddingCollection, EmbeddingBagCollection])
def test_kernels_know_no_transforms(kind: Any) -> None:
    tables = kind([(Table("item", N, DIM), "full")])
    optimizer = SGD(tables, lr=0.1)

    def loss(factor: Tensor) -> Tensor:
        return (tables({"item": IDS})["item"] * factor).sum()

    for act in (lambda: vmap(tables)({"item": IDS}), lambda: grad(loss)(torch.tensor(1.0))):
        with pytest.raises(
            InputError, match=r"\['item'\] belong to SGD, whose kernels do not work within transforms of torch.func"
        ):
            act()
    optimizer.release()
    assert grad(loss)(torch.tensor(1.0)).isfinite()


def method_for(method: Method) -> Method:
    """The example of the same place for a narrower table, so that all is small."""
    kind = type(method)
    at = kind.examples(TABLE).index(method)
    found: Method = kind.examples(attributed("item", N, 4))[at]
    return found


@pytest.mark.parametrize("method", EXAMPLES)
def test_jagged_ids(method: Method) -> None:
    ids, flat, bounds = jagged([1, 2], [3], []), torch.tensor([1, 2, 3]), torch.tensor([0, 2, 3])
    module, bag = Embedding.from_table(TABLE, method), EmbeddingBag.from_table(TABLE, method, mode="mean")
    found = module(ids)
    assert found.is_nested
    assert torch.equal(found.values(), module(flat))
    assert torch.equal(found.offsets(), ids.offsets())
    found.values().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert torch.equal(bag(ids), bag(flat, bounds))
    several, bags = EmbeddingCollection([(TABLE, method)]), EmbeddingBagCollection([(TABLE, method)])
    for name, vectors in several({"item": ids}).items():
        assert torch.equal(vectors.values(), several({"item": flat})[name])
    for name, vectors in bags({"item": ids}).items():
        assert torch.equal(vectors, bags({"item": (flat, bounds)})[name])


def test_jagged_ids_are_those_of_torch() -> None:
    torchs, ours = nn.Embedding(N, DIM), Embedding(N, DIM)
    ours.load_state_dict({"tables.embedding.rows.weight": torchs.weight.detach()}, strict=False)
    ids = jagged([1, 2], [3])
    assert torch.equal(ours(ids).values(), torchs(ids).values())
    with pytest.raises(IndexError, match="id 60 is out of range"):
        ours(jagged([1], [60]))


def test_jagged_weights() -> None:
    bag = EmbeddingBag(N, DIM, mode="sum")
    weights = torch.nested.nested_tensor_from_jagged(torch.tensor([2.0, 3.0, 4.0]), torch.tensor([0, 2, 3]))
    expected = bag(torch.tensor([1, 2, 3]), torch.tensor([0, 2]), torch.tensor([2.0, 3.0, 4.0]))
    torch.testing.assert_close(bag(jagged([1, 2], [3]), per_sample_weights=weights), expected)
    with pytest.raises(TypeError, match="'embedding': ids must be a dense tensor here, not nested"):
        bag(jagged([1, 2], [3]), torch.tensor([0]))


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (np.array([1]), "not ndarray; torch.as_tensor"), ([1, 2], "not list; torch.as_tensor"), (None, "not NoneType"),
        (torch.tensor([1.5]), r"not float32; \.long\(\)"), (torch.tensor([True]), "not bool"),
        (torch.tensor([1], dtype=torch.uint8), "not uint8"), (torch.tensor([1j]), "not complex64$"),
        (torch.tensor([[1, 2]]).to_sparse(), "dense tensor here, not sparse_coo"),
    ],
    ids=["numpy", "list", "none", "float", "bool", "uint8", "complex", "sparse"],
)  # fmt: skip
def test_ids_of_other_types_are_told(kind: Any, ids: Any, said: str) -> None:
    with pytest.raises(TypeError, match=f"^table 'embedding': ids must be .*{said}"):
        kind(N, DIM)(ids)


def test_ids_of_another_device_are_told() -> None:
    for module in (Embedding(N, DIM), EmbeddingBag(N, DIM)):
        with pytest.raises(InputError, match="'embedding': ids are on meta, and the table is on cpu"):
            module(torch.zeros(2, 2, dtype=torch.int64, device="meta"))


@pytest.mark.parametrize(
    ("offsets", "weights", "said"),
    [
        ([0], None, "offsets must be a 1-D tensor.*not list"),
        (np.array([0]), None, "offsets must be a 1-D tensor.*not ndarray"),
        (torch.tensor([0]), [1.0, 2.0], "per_sample_weights must be a tensor of real numbers, not list"),
        (torch.tensor([0]), torch.tensor([1j, 2j]), "real numbers, not complex64"),
    ],
)
def test_offsets_and_weights_of_other_types_are_told(offsets: Any, weights: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"^table 'embedding': .*{said}"):
        EmbeddingBag(N, DIM, mode="sum")(torch.tensor([1, 2]), offsets, weights)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, "float32"])
def test_types_that_nothing_is_computed_in_are_refused(dtype: Any) -> None:
    with pytest.raises(InputError, match=r"'item': dtype must be .* that torch computes in"):
        Table("item", N, DIM, dtype=dtype)


@pytest.mark.parametrize("method", EXAMPLES)
def test_copies_and_other_types(method: Method) -> None:
    module, every = Embedding.from_table(TABLE, method, order=torch.arange(N).flip(0)), torch.arange(N)
    expected = module(every)
    for same in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), AveragedModel(module)):
        assert torch.equal(same(every), expected)
    assert torch.equal(module.share_memory()(every), expected)
    assert module.half()(every).dtype == torch.float16
    for inner in [inner for inner in module.modules() if isinstance(inner, StoredRows)]:
        prune.random_unstructured(inner, "weight", 0.5)
    module(every).float().sum().backward()
    with pytest.raises(InputError, match=r"'item'.*are float8_e4m3fn now.*float16"):
        module.to(torch.float8_e4m3fn)


@pytest.mark.parametrize("ids", [10**13, 2**60])
def test_a_table_without_memory_for_it_is_named(ids: int) -> None:
    with pytest.raises(InputError, match=r"^table 'large': there is no memory for its [\d,]+ bytes, stored by full"):
        EmbeddingCollection([(Table("small", 9, DIM), "full"), (Table("large", ids, 64), "full")])
