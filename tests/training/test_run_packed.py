"""Runs of packed tables: floats first, rounded later, and stored as codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coset import Dense, Full, Packed, QuotientRemainder
from coset.data import Ratings
from coset.engine import reading
from coset.errors import InputError
from coset.training.finished import FinishedRun
from coset.training.run import Saving
from tests.training.runs import Interrupted, bare, evaluated, execute, interrupt_after, same_weights, spec_of

METHODS = {
    "user": Full(storage=Packed((3, 2, 2, 0))),
    "item": Full(storage=Packed(4, step="row")),
    "user_bias": Full(storage=Packed(4)),
}


def packed(**training: Any) -> Any:
    spec = spec_of(methods=METHODS)
    return replace(spec, task=spec.task.having("training", replace(spec.task.training, **training)))


@pytest.fixture(scope="module")
def whole(ratings: Ratings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "run"
    execute(packed(), folder, ratings)
    return folder


def test_a_finished_run_holds_codes(whole: Path, ratings: Ratings) -> None:
    run = FinishedRun.load(whole)
    state = load_file(whole / "model.safetensors")
    users = run.model.user.num_embeddings
    assert state["embeddings.tables.user.rows.codes"].shape == (-(-users * 7 // 8),)
    assert (
        sum(value.nbytes for name, value in state.items() if not name.endswith("extra_state")) == run.metrics["bytes"]
    )
    assert evaluated(whole, ratings)["mse"] > 0
    last = run.metrics["history"][-1]["val_mse"]
    task = run.spec.task
    found = task.evaluate(run.model, task.part(task.encoded(ratings, 3), "validation"))
    assert found["mse"] == last  # what was reported is what is stored


@pytest.mark.parametrize("round_from", [0.0, 0.5, 0.6])
def test_resuming_ends_at_the_same_bits(round_from: float, ratings: Ratings, tmp_path: Path) -> None:
    spec = packed(round_from=round_from)
    execute(spec, tmp_path / "whole", ratings)
    for epochs in (1, 2, 3):
        folder = tmp_path / f"{epochs}"
        with pytest.raises(Interrupted):
            execute(spec, folder, ratings, on_step=interrupt_after(epochs), saving=Saving(steps=7))
        execute(spec, folder, ratings, resume=True)
        assert same_weights(folder, tmp_path / "whole")


def test_further_training_begins_with_levels(whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    slow = packed(epochs=1, learning_rate=1e-12)
    execute(slow, tmp_path / "further", ratings, after=whole)
    assert evaluated(tmp_path / "further", ratings) == pytest.approx(evaluated(whole, ratings), rel=1e-5)


def test_methods_of_biases(ratings: Ratings) -> None:
    spec = spec_of(methods={"user_bias": Full(storage=Packed(2)), "items_bias": Full()})
    with pytest.raises(InputError, match=r"'items_bias', but the tables are .*'user_bias' and 'item_bias'"):
        spec.build(spec.task.encoded(ratings, 3))
    spec = spec_of(methods={"user_bias": Full(storage=Packed(2))})
    model = spec.build(spec.task.encoded(ratings, 3))
    assert model.biases is not None
    fresh = model.biases.tables["user"](torch.arange(3)).detach()
    assert float(fresh.abs().max()) < 0.1


def test_what_a_training_reports_does_not_depend_on_kernels(ratings: Ratings, tmp_path: Path) -> None:
    """Kernels take over lookups at some point of a process, which differs where a run is continued."""
    whole = execute(packed(epochs=2), tmp_path / "whole", ratings)
    reading._left[0] = 0
    try:
        again = execute(packed(epochs=2), tmp_path / "again", ratings)
    finally:
        reading._left[0] = reading.PATIENCE
    assert bare(again) == bare(whole)


def without_masters(optimizer: str = "row_wise_adagrad") -> Any:
    bare_codes = Packed(8, step="row", step_dtype="float16", masters=False)
    spec = spec_of(methods={"user": QuotientRemainder(8, storage=bare_codes), "item": Full(storage=bare_codes)})
    settings = replace(spec.task.training, optimizer=optimizer, dense_optimizer="Adagrad", dense_learning_rate=0.01)
    return replace(spec, task=spec.task.having("training", settings))


def test_codes_without_masters_are_trained_and_resumed(ratings: Ratings, tmp_path: Path) -> None:
    spec = without_masters()
    whole = execute(spec, tmp_path / "whole", ratings)
    assert whole["engine"] == "fused"
    first, *_, last = [of["val_mse"] for of in whole["history"]]
    assert last < first
    state = load_file(tmp_path / "whole" / "model.safetensors")
    assert state["embeddings.tables.item.rows.codes"].dtype == torch.uint8
    with pytest.raises(Interrupted):
        execute(spec, tmp_path / "again", ratings, on_step=interrupt_after(2), saving=Saving(steps=7))
    execute(spec, tmp_path / "again", ratings, resume=True)
    assert same_weights(tmp_path / "again", tmp_path / "whole")


def test_what_cannot_train_codes_without_masters_says_what_can(ratings: Ratings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'user': its codes have no masters.* engine 'fused'"):
        execute(without_masters(), tmp_path / "plain", ratings, engine="plain")
    with pytest.raises(InputError, match=r"codes without masters .*give Adam\(mode='lazy'\)"):
        execute(without_masters("adam"), tmp_path / "dense", ratings)


def test_rounding_after_training(ratings: Ratings, tmp_path: Path) -> None:
    """Floats are trained as they are without a storage, and codes of 8 bits lose next to nothing of them."""
    found = {}
    for name, storage in (("floats", Dense()), ("bytes", Packed(8))):
        spec = spec_of(methods={"user": Full(storage=storage), "item": Full(storage=storage)})
        settings = replace(spec.task.training, optimizer="row_wise_adagrad", round_from=1.0,
                           dense_optimizer="Adagrad", dense_learning_rate=0.01)  # fmt: skip
        spec = replace(spec, task=spec.task.having("training", settings))
        found[name] = execute(spec, tmp_path / name, ratings)
    for one, other in zip(found["floats"]["history"], found["bytes"]["history"], strict=True):
        assert one["train_mse"] == pytest.approx(other["train_mse"], rel=1e-4)
        assert one["val_mse"] == pytest.approx(other["val_mse"], rel=2e-3)
