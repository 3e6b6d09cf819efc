"""What cannot be made smaller is refused by the name of its module, and the model is as it was."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

import coset
from coset import LowRank, QuotientRemainder, compress_, expand_
from coset.errors import InputError
from coset.planning import compress
from coset.planning.plan import Plan


class Model(nn.Module):
    """A table that is fine, and a place for one that is not."""

    def __init__(self, bad: nn.Module | None = None) -> None:
        super().__init__()
        self.fine = nn.Embedding(30, 4)
        self.inner = nn.ModuleDict({"bad": bad or nn.Embedding(20, 4)})
        self.head = nn.Linear(4, 20)


class Mine(nn.Embedding):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input + 1)


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def bad(change: Callable[[Any], Any], **options: Any) -> Callable[[], Model]:
    def make() -> Model:
        model = Model(nn.Embedding(20, 4, **options))
        change(model)
        return model

    return make


def calling(module: nn.Module) -> Callable[[Tensor], Tensor]:
    def call(ids: Tensor) -> Tensor:
        found: Tensor = module(ids)
        return found

    return call


def everything(model: nn.Module) -> dict[str, Any]:
    """All that could have changed: which modules and tensors there are, and every value."""
    values = {name: value.clone() for name, value in model.state_dict().items() if not value.is_meta}
    return {"modules": {name: id(of) for name, of in model.named_modules()}, "values": values}


def as_before(model: nn.Module, before: dict[str, Any]) -> bool:
    now = everything(model)
    same = all(
        torch.equal(now["values"][name], value) for name, value in before["values"].items() if not value.isnan().any()
    )
    return now["modules"] == before["modules"] and now["values"].keys() == before["values"].keys() and same


def set_padding(model: Model) -> None:
    model.inner["bad"].weight.data[2] = 1


MODULES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "sparse": (bad(lambda m: None, sparse=True), "sparse gradients"),
    "max_norm": (bad(lambda m: None, max_norm=1.0), "max_norm needs a row for each id"),
    "scale": (bad(lambda m: None, scale_grad_by_freq=True), "scale_grad_by_freq needs a row for each id"),
    "padding": (bad(set_padding, padding_idx=2), "padding_idx 2 is not zero"),
    "subclass": (lambda: Model(Mine(20, 4)), "a Mine may compute something of its own"),
    "parametrized": (
        bad(lambda m: parametrize.register_parametrization(m.inner["bad"], "weight", Halved())), "from other tensors",
    ),
    "forward": (bad(lambda m: setattr(m.inner["bad"], "forward", lambda ids: ids)), "forward was replaced"),
    "buffer": (bad(lambda m: m.inner["bad"].register_buffer("more", torch.zeros(1))), "may compute"),
    "state hook": (bad(lambda m: m.inner["bad"].register_state_dict_pre_hook(lambda *_: None)), "hooks on its state"),
    "state hook, after": (
        bad(lambda m: m.inner["bad"].register_state_dict_post_hook(lambda *_: None)), "hooks on its state",
    ),
    "loading hook": (
        bad(lambda m: m.inner["bad"].register_load_state_dict_pre_hook(lambda *_: None)), "hooks on its state",
    ),
    "loading hook, after": (
        bad(lambda m: m.inner["bad"].register_load_state_dict_post_hook(lambda *_: None)), "hooks on its state",
    ),
    "hook of what was added up": (
        bad(lambda m: m.inner["bad"].weight.register_post_accumulate_grad_hook(lambda p: None)), "its weight has hooks",
    ),
    "gradient hook": (bad(lambda m: m.inner["bad"].weight.register_hook(lambda g: g)), "its weight has hooks"),
    "tied to a layer": (bad(lambda m: setattr(m.head, "weight", m.inner["bad"].weight)), "tied to 'head.weight'"),
    "in a list": (bad(lambda m: setattr(m, "all", [m.fine, {"x": (m.inner["bad"],)}])), "'all' refers to it"),
    "bound": (bad(lambda m: setattr(m, "look", m.inner["bad"].forward)), "'look' refers to it"),
    "partial": (bad(lambda m: setattr(m, "look", partial(F.embedding, weight=m.inner["bad"].weight))), "'look' refers"),
    "closed over": (bad(lambda m: setattr(m, "look", calling(m.inner["bad"]))), "'look' refers to it"),
    "weight in a list": (bad(lambda m: setattr(m, "all", [m.inner["bad"].weight])), "'all' refers to it"),
    "memory": (bad(lambda m: setattr(m.head.weight, "data", m.inner["bad"].weight.data)), "memory of 'head.weight'"),
    "weight norm": (bad(lambda m: nn.utils.weight_norm(m.inner["bad"])), "is computed from other tensors"),
    "complex": (bad(lambda m: m.inner["bad"].to(torch.complex64)), "has floating-point numbers"),
    "float8": (bad(lambda m: m.inner["bad"].to(torch.float8_e4m3fn)), "of 16, 32 or 64 bits"),
    "nan": (bad(lambda m: m.inner["bad"].weight.data.fill_(float("nan"))), "NaN or infinite"),
    "meta": (bad(lambda m: m.inner["bad"].to("meta")), "use fit=False"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Complex modules")  # torch's, of what is made here
@pytest.mark.parametrize("case", MODULES)
def test_a_module_that_cannot_be_kept_is_named_and_nothing_changes(case: str) -> None:
    make, words = MODULES[case]
    model = make()
    before = everything(model)
    name = "fine" if case == "in a list" else "inner.bad"
    with pytest.raises(InputError, match=rf"^module '{re.escape(name)}': .*{re.escape(words)}"):
        compress_(model, {"*": LowRank(2)})
    assert as_before(model, before)
    if case != "in a list":
        compress_(model, LowRank(2), leave=["*.bad"])
        assert isinstance(model.fine, coset.Embedding)
        assert isinstance(model.inner["bad"], nn.Embedding)


def tied(**rules: Any) -> tuple[nn.Module, dict[str, Any]]:
    model = nn.ModuleDict({"a": nn.Embedding(30, 4), "b": nn.Embedding(30, 4)})
    model["b"].weight = model["a"].weight
    return model, rules


PLAN = {
    "embedding_dim": 4,
    "tables": {name: {"method": {"method": "low_rank", "rank": 2}} for name in ("fine", "inner.bad")},
}


def planned(**changes: Any) -> Plan:
    return Plan.from_json(PLAN | changes)


RULES: dict[str, tuple[Callable[[], tuple[nn.Module, Any, dict[str, Any]]], str]] = {
    "unknown name": (lambda: (Model(), {"fin": LowRank(2)}, {}), "with a table 'fin': did you mean 'fine'"),
    "a layer": (lambda: (Model(), {"head": LowRank(2)}, {}), "unknown module with a table 'head'"),
    "pattern": (lambda: (Model(), {"outer.*": LowRank(2)}, {}), "unknown module with a table that matches 'outer.*'"),
    "rule": (lambda: (Model(), {3: LowRank(2)}, {}), "not for 3"),
    "method": (lambda: (Model(), {"fine": "low_rnk"}, {}), "module 'fine': unknown method 'low_rnk'"),
    "no method": (lambda: (Model(), {"fine": 3}, {}), "module 'fine': a method is a name"),
    "size": (lambda: (Model(), {"*": QuotientRemainder(25)}, {}), "module 'inner.bad': table 'inner/bad'"),
    "rank": (lambda: (Model(), LowRank(5), {}), "module 'fine': table 'fine': rank 5"),
    "attributes": (lambda: (Model(), coset.AttributePartitions(("x",)), {}), "module 'fine'"),
    "leave": (lambda: (Model(), LowRank(2), {"leave": ["nothing"]}), "unknown module to leave as it is 'nothing'"),
    "seed": (lambda: (Model(), LowRank(2), {"seed": float("nan")}), "seed must be a whole number, not nan"),
    "share": (lambda: (Model(), "1e400%", {}), "a share is a number and a percent sign"),
    "no share": (lambda: (Model(), "nan%", {}), "a share is a number and a percent sign"),
    "digits": (lambda: (Model(), "9" * 5000, {}), "expected a number of 0 or more"),
    "a number of digits": (lambda: (Model(), 10**5000, {}), "a number of 16610 bits: larger than"),
    "no number": (lambda: (Model(), float("nan"), {}), "size nan"),
    "counts of nobody": (lambda: (Model(), LowRank(2), {"frequencies": {"bad": []}}), "module with frequencies"),
    "counts": (lambda: (Model(), LowRank(2), {"frequencies": {"inner.bad": [1.0]}}), "module 'inner.bad': table"),
    "negative": (lambda: (Model(), LowRank(2), {"frequencies": {"fine": [-1.0] * 30}}), "module 'fine': table"),
    "budget": (lambda: (Model(), "100", {"storages": ["float32"]}), "of this model: low_rank needs at least 232B"),
    "a row for all": (lambda: (Model(), "2", {}), "the tables of this model: the smallest plan for"),
    "storages": (lambda: (Model(), "300", {"storages": ["int9"]}), "unknown storage 'int9'"),
    "a storage": (lambda: (Model(), "300", {"storages": "int8"}), "storages must be a list of names or of storages"),
    "unit": (lambda: (Model(), "1XB", {}), "unknown unit 'XB'"),
    "itself": (lambda: (nn.Embedding(3, 3), LowRank(1), {}), "the model is itself a Embedding"),
    "tied, one": (lambda: (*tied(a=LowRank(2)), {}), "module 'a': its weight is tied to 'b.weight'"),
    "tied, two ways": (lambda: (*tied(a=LowRank(2), b=LowRank(3)), {}), "'a': its weight is tied to that of 'b'"),
    "shared, two ways": (
        lambda: (nn.ModuleList([one := nn.Embedding(9, 4), one]), {"0": LowRank(2), "1": LowRank(3)}, {}),
        "module '0': two rules match it",
    ),
    "shares for counts": (
        lambda: (Model(), "400B", {"frequencies": {"fine": [1 / 30] * 30, "inner.bad": [1 / 20] * 20}}),
        "its frequencies sum to 1; give counts",
    ),
    "plan, dim": (lambda: (Model(), planned(embedding_dim=8), {}), "table 'fine': the plan has embedding_dim 8"),
    "plan, more": (
        lambda: (Model(), planned(tables=PLAN["tables"] | {"other": {"method": "full"}}), {}),
        "unknown module of the plan 'other'",
    ),
    "plan, less": (
        lambda: (Model(), planned(tables={"fine": {"method": "full"}}), {}),
        "module 'inner.bad': the plan has no method for it",
    ),
    "plan, ids": (
        lambda: (Model(), planned(tables=PLAN["tables"] | {"fine": {"method": "full", "num_embeddings": 7}}), {}),
        "table 'fine': the plan is for 7 ids and the table has 30",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_a_plan_that_does_not_fit_the_model_is_refused_and_nothing_changes(case: str) -> None:
    model, plan, options = RULES[case][0]()
    before = everything(model)
    with pytest.raises(InputError, match=re.escape(RULES[case][1])):
        compress_(model, plan, **options)
    assert as_before(model, before)


def test_a_table_that_is_compiled_by_itself_is_named() -> None:
    model = nn.ModuleDict({"bad": torch.compile(nn.Embedding(20, 4), backend="eager")})  # which goes on using it
    with pytest.raises(InputError, match=r"^module 'bad\._orig_mod': 'bad\.forward' refers to it"):
        compress_(model, LowRank(2))


def test_an_interrupt_between_two_swaps_undoes_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stops(dict[str, nn.Module]):
        def __setitem__(self, key: str, value: nn.Module) -> None:
            if not isinstance(value, nn.Embedding):
                raise KeyboardInterrupt
            super().__setitem__(key, value)

    model = Model()
    before = everything(model)
    model.inner._modules = Stops(model.inner._modules)
    with pytest.raises(KeyboardInterrupt):
        compress_(model, LowRank(2))
    assert as_before(model, before)


def test_a_fit_that_fails_late_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    before = everything(model)
    real, calls = compress.fit_, []

    def fails(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError
        return real(*given)

    monkeypatch.setattr(compress, "fit_", fails)
    with pytest.raises(MemoryError):
        compress_(model, LowRank(2))
    assert as_before(model, before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: setattr(m, "all", [m.inner["bad"]]), "'all' refers to it"),
        (lambda m: setattr(m, "again", next(m.inner["bad"].parameters())), "'again' holds one"),
        (lambda m: setattr(m.inner["bad"], "forward", lambda ids: ids), "forward was replaced"),
    ],
)
def test_what_cannot_be_expanded_is_named(change: Callable[[Any], None], words: str) -> None:
    model = Model()
    compress_(model, LowRank(2))
    change(model)
    before = everything(model)
    with pytest.raises(InputError, match=rf"^module 'inner.bad': .*{words}"):
        expand_(model)
    assert as_before(model, before)
    expand_(model, leave=["inner.bad"])
    assert type(model.fine) is nn.Embedding


def test_several_vectors_an_id_are_not_expanded() -> None:
    method = next(of for of in coset.FeatureGeneration.examples(coset.Table("t", 20, 4)) if of.table_outputs > 1)
    model = nn.Sequential(coset.Embedding(20, 4, method))
    with pytest.raises(InputError, match="module '0': 'feature_generation' gives several vectors an id"):
        expand_(model)
    with pytest.raises(InputError, match="unknown module to leave as it is 'x'"):
        expand_(model, leave=["x"])
