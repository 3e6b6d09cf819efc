"""Click models on tables of every method, plain and fused, and on features of every form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coset.engine.owners import owner_of
from coset.errors import InputError
from coset.methods import FeatureGeneration, Hashing, Method, QuotientRemainder, registered
from coset.models.base import ClickModel
from coset.models.clicks import CLICK_MODELS, build, make_settings
from coset.models.dcn import DCNSettings
from coset.models.dlrm import DLRMSettings
from coset.optimizers import RowWiseAdagrad
from coset.tables import EmbeddingBagCollection
from coset.testing.cases import attributed, stored

pytestmark = pytest.mark.filterwarnings("ignore::coset.errors.UnownedTables")  # an optimizer of torch trains those

ROWS, DIM, BATCH, NUMERIC = 30, 4, 40, 3
SMALL: dict[str, dict[str, Any]] = {
    "dcn": {"embedding_dim": DIM, "deep": (6,), "cross_layers": 2},
    "dlrm": {"embedding_dim": DIM, "bottom": (6,), "top": (6,)},
}
EXAMPLES = [
    pytest.param(example, id=f"{name}-{number}")
    for name, cls in sorted(registered().items())
    for number, example in enumerate(cls.examples(attributed("a", ROWS, DIM)))
]
LEARNING = [
    pytest.param(model, *example.values, id=f"{example.id}-{model}")
    for model in sorted(CLICK_MODELS)
    for example in EXAMPLES
    if model == "dlrm" or str(example.id).endswith("-0")
]
"""Every example in one model, and the first of each method in the others, which take the same vectors."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Batches of a few rows: one thread is enough for them, and two would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_of(name: str, methods: dict[str, Any], features: dict[str, str] | None = None, **options: Any) -> ClickModel:
    torch.manual_seed(0)
    tables = [(attributed(table, ROWS, DIM, std=0.3), how) for table, how in methods.items()]
    collection = EmbeddingBagCollection(tables, features, **options)
    return build(name, collection, NUMERIC, make_settings(name, SMALL[name]))


def matrix(features: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Numeric columns, ids, every one of each feature, and labels."""
    draw = torch.Generator().manual_seed(seed)
    numeric = torch.randn(BATCH, NUMERIC, generator=draw)
    ids = torch.stack([torch.randperm(BATCH, generator=draw) % ROWS for _ in range(features)])
    return numeric, ids, torch.randint(2, (BATCH,), generator=draw).float()


def step(model: ClickModel, numeric: Tensor, ids: Any, labels: Tensor, *optimizers: torch.optim.Optimizer) -> float:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(model(numeric, ids), labels)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name", sorted(CLICK_MODELS))
def test_numeric_columns_alone_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="at least one feature"):
        build(name, EmbeddingBagCollection([]), 3, make_settings(name, SMALL[name]))


# -- every method ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "example"), LEARNING)
def test_every_method_learns(name: str, example: Method) -> None:
    """A few steps on one batch make its loss smaller, and a gradient reaches every parameter, of torch's and of coset's
    optimizers alike; both engines see one model."""
    losses = {}
    for engine in ("plain", "fused"):
        model = model_of(name, {"a": example, "b": "full", "c": example})
        before = {key: value.clone() for key, value in model.state_dict().items()}
        if engine == "fused":
            tables = RowWiseAdagrad(model, lr=0.05)
            optimizers = [tables, torch.optim.Adagrad(tables.others(model), lr=0.05)]
            owned = {name for name, p in model.named_parameters() if owner_of(p) is tables}
            assert any(key.startswith("tables.") for key in owned)  # of `b` at least
        else:
            optimizers = [torch.optim.Adagrad(model.parameters(), lr=0.05)]
        losses[engine] = [step(model, *matrix(), *optimizers) for _ in range(6)]
        assert losses[engine][-1] < losses[engine][0]
        trained = {key for key, _ in model.named_parameters()}
        still = [key for key, value in model.state_dict().items() if key in trained and torch.equal(value, before[key])]
        assert still == []
    assert losses["plain"][0] == pytest.approx(losses["fused"][0], rel=1e-5)


@pytest.mark.parametrize("name", sorted(CLICK_MODELS))
def test_features_of_several_vectors_take_part_with_each(name: str) -> None:
    methods = {"a": QuotientRemainder(6, "add"), "b": FeatureGeneration((6, 5))}
    plain, fused = model_of(name, methods), model_of(name, methods)
    assert list(plain.tables.output_dims) == ["a", "b@0", "b@1"]
    optimizer = RowWiseAdagrad(fused)
    assert len(optimizer.engines[0].program.numbers) == 2  # in one call, nothing copied
    numeric, ids, _ = matrix(2)
    found = plain.tables({"a": ids[0], "b": ids[1]})
    vectors = torch.cat([found["a"], found["b@0"], found["b@1"]], 1)
    assert torch.equal(plain.vectors(numeric, ids), vectors)
    torch.testing.assert_close(fused.vectors(numeric, ids), vectors)
    torch.testing.assert_close(fused(numeric, ids), plain(numeric, ids))


@pytest.mark.parametrize("name", sorted(CLICK_MODELS))
def test_thresholds_keep_small_tables_full(name: str) -> None:
    model = model_of(name, {"a": Hashing(5), "b": Hashing(5)}, full_below=ROWS + 1)
    assert {tuple(p.shape) for p in model.tables.parameters()} == {(ROWS, DIM)}
    model = model_of(name, {"a": Hashing(5), "b": Hashing(5)}, full_below=ROWS)
    assert {tuple(p.shape) for p in model.tables.parameters()} == {(5, DIM)}


# -- features of every form --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("name", sorted(CLICK_MODELS))
def test_multi_hot_features(name: str, mode: str, fused: bool) -> None:
    """Bags, one of them empty, beside single ids; two features read one table; in whatever order they come."""
    features = {"one": "a", "seen": "b", "liked": "b"}
    model = model_of(name, {"a": "full", "b": QuotientRemainder(6)}, features, mode={"seen": mode})
    numeric, ids, labels = matrix(1)
    bags = (torch.randint(ROWS, (2 * BATCH,)), torch.arange(BATCH).clamp(min=1) * 2 - 2)
    given = {"liked": torch.randint(ROWS, (BATCH, 3)), "seen": bags, "one": ids[0]}
    weights = [module.materialize().detach() for module in (model.tables.tables["a"], model.tables.tables["b"])]
    seen = nn.functional.embedding_bag(bags[0], weights[1], bags[1], mode=mode)
    expected = torch.cat([weights[0][ids[0]], seen, weights[1][given["liked"]].sum(1)], 1)
    optimizers = [RowWiseAdagrad(model)] if fused else []
    torch.testing.assert_close(model.vectors(numeric, given), expected)
    assert torch.equal(model(numeric, given), model(numeric, {key: given[key] for key in features}))
    rest = optimizers[0].others(model) if fused else model.parameters()
    assert step(model, numeric, given, labels, *optimizers, torch.optim.SGD(rest, lr=0.01)) > 0


class Jagged:
    """What a TorchRec `KeyedJaggedTensor` is known by."""

    def __init__(self, of: dict[str, Tensor]) -> None:
        self.of = of

    def keys(self) -> list[str]:
        return list(self.of)

    def to_dict(self) -> dict[str, Any]:
        return {name: JaggedColumn(ids) for name, ids in self.of.items()}


class JaggedColumn:
    def __init__(self, ids: Tensor) -> None:
        self.ids = ids

    def values(self) -> Tensor:
        return self.ids

    def offsets(self) -> Tensor:
        return torch.arange(len(self.ids) + 1)

    def weights_or_none(self) -> None:
        return None


@pytest.mark.parametrize("fused", [False, True])
def test_all_ways_to_give_ids_agree(fused: bool) -> None:
    model = model_of("dlrm", {"a": "full", "b": "full", "c": QuotientRemainder(6)})
    optimizer = RowWiseAdagrad(model) if fused else None
    numeric, ids, _ = matrix()
    named = dict(zip("abc", ids, strict=True))
    expected = model(numeric, ids)
    backwards = dict(reversed(named.items()))
    for given in (named, backwards, Jagged(backwards | {"elsewhere": ids[0]}), ids.int()):
        assert torch.equal(model(numeric, given), expected)
    offsets = torch.arange(BATCH)
    assert torch.equal(model(numeric, {name: (of, offsets) for name, of in named.items()}), expected)
    assert (optimizer is None) != fused


# -- what is there around ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CLICK_MODELS))
def test_components_are_the_state(name: str) -> None:
    model = model_of(name, {"a": QuotientRemainder(6), "b": "full"})
    state = model.state_dict()
    assert {component.key: component.shape for component in model.components()} == {
        key: tuple(value.shape) for key, value in stored(model).items()
    }
    other = model_of(name, {"a": QuotientRemainder(6), "b": "full"})
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(7.0)
    other.load_state_dict(state)
    numeric, ids, _ = matrix(2)
    assert torch.equal(model(numeric, ids), other(numeric, ids))


@pytest.mark.parametrize("name", sorted(CLICK_MODELS))
@pytest.mark.parametrize("fused", [False, True])
def test_compiled_models_give_the_same(name: str, fused: bool) -> None:
    model = model_of(name, {"a": QuotientRemainder(6), "b": "full"})
    optimizer = RowWiseAdagrad(model) if fused else None
    numeric, ids, labels = matrix(2)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    found, expected = compiled(numeric, ids), model(numeric, ids)
    torch.testing.assert_close(found, expected)
    gradients = []
    for logits in (found, expected):
        model.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == (len(optimizer.others(model)) if optimizer else len(list(model.parameters())))
    torch.testing.assert_close(*gradients)


def test_layers_are_of_the_type_of_the_tables() -> None:
    settings = DLRMSettings(embedding_dim=DIM)
    tables = [(settings.table(name, ROWS, dtype=torch.float64), "full") for name in ("a", "b")]
    model = build("dlrm", EmbeddingBagCollection(tables), NUMERIC, settings)
    assert {p.dtype for p in model.parameters()} == {torch.float64}


def test_tables_have_the_deviation_of_the_settings() -> None:
    assert DCNSettings().table("a", 12).std == pytest.approx(1 / 6)
    table = DCNSettings(embedding_dim=8, std=0.01).table("a", 12, dtype=torch.float64)
    assert (table.std, table.embedding_dim, table.dtype) == (0.01, 8, torch.float64)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", sorted(CLICK_MODELS))
def test_bad_input(name: str, fused: bool) -> None:
    model = model_of(name, {"a": "full", "b": "full"})
    optimizer = RowWiseAdagrad(model) if fused else None
    numeric, ids, _ = matrix(2)
    a, b = ids
    bad: list[tuple[Any, Any, type[Exception], str]] = [
        (numeric, {"a": a}, InputError, "'b' is missing"),
        (numeric, {"a": a, "b": b, "bb": b}, InputError, "unknown feature 'bb': did you mean 'b'"),
        (numeric, ids[:1], InputError, r"\(2 features, bags\)"),
        (numeric, 7, InputError, "mapping"),
        (numeric[:-1], ids, InputError, r"numeric columns.*\(40, 3\).*not of shape \(39, 3\)"),
        (numeric[:, :2], ids, InputError, r"\(40, 2\)"),
        (numeric[0], ids, InputError, r"\(3,\)"),
        (numeric, ids + 1 - ids.min() + ROWS, IndexError, "table 'a'.*0 … 29"),
        (numeric, ids.float(), TypeError, "int64"),
    ]
    for columns, features, error, message in bad:
        with pytest.raises(error, match=message):
            model(columns, features)
    assert (optimizer is None) != fused


def test_bad_models() -> None:
    settings = DLRMSettings(embedding_dim=DIM)
    tables = EmbeddingBagCollection([(settings.table("a", ROWS), "full")])
    with pytest.raises(InputError, match="unknown click model 'dlmr': did you mean 'dlrm'"):
        build("dlmr", tables, NUMERIC)
    with pytest.raises(InputError, match="takes DCNSettings"):
        build("dcn", tables, NUMERIC, settings)
    with pytest.raises(InputError, match="numeric columns"):
        build("dlrm", tables, -1, settings)
    with pytest.raises(InputError, match="unknown field of model 'dlrm' 'botom': did you mean 'bottom'"):
        make_settings("dlrm", {"botom": [1]})
    assert make_settings("dcn", {"cross": "low_rank", "deep": [8]}) == DCNSettings(cross="low_rank", deep=(8,))


@pytest.mark.parametrize("name", sorted(CLICK_MODELS))
def test_it_begins_at_a_base_rate(name: str) -> None:
    numeric, ids, _ = matrix()
    model = model_of(name, {"a": "full", "b": "full", "c": "full"})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.begin(0.2)
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert changed == ["head.bias"]
    assert torch.sigmoid(model.head.bias).item() == pytest.approx(0.2)
    with torch.no_grad():
        model.head.weight.zero_()
    torch.testing.assert_close(model.predict(numeric, ids), torch.full((BATCH,), 0.2))
    for rate in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            model.begin(rate)
